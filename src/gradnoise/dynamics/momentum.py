"""What a gradient does to the weights: weight decay, injected noise, momentum; whole steps and fractions of steps."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradnoise import _checks
from gradnoise._rates import per_leaf
from gradnoise._types import Key, Params, PyTree


class MomentumState(NamedTuple):
    """Weights and, where there is momentum, its buffer and whether it has had its first gradient."""

    params: Params
    velocity: PyTree = None
    started: Any = None


@dataclass(frozen=True)
class MomentumRule:
    """The update of `torch.optim.SGD` for a given gradient; equal by value, so equal processes share compiled code.

        v <- momentum * v + (1 - dampening) * g     (v = g at the first step)
        theta <- theta - learning_rate * v          (nesterov: g + momentum * v in place of v)

    For a process of several substeps the same update is taken on the whole state s = (theta, v) a fraction at a time:
    s <- s + (update(s) - s) / num_substeps. Raises ValueError or TypeError, naming the argument, for settings that
    `torch.optim.SGD` refuses or that do nothing.
    """

    momentum: float = 0.0
    nesterov: bool = False
    dampening: float = 0.0
    weight_decay: float = 0.0
    injected_noise: float = 0.0

    def __post_init__(self) -> None:
        momentum = _checks.number("momentum", self.momentum, minimum=0, below=1)
        dampening = _checks.number("dampening", self.dampening, minimum=0, below=1)
        if not isinstance(self.nesterov, bool):
            raise TypeError(f"nesterov={self.nesterov!r} is not True or False. Give one of them.")
        if self.nesterov and (momentum == 0 or dampening != 0):
            raise ValueError(
                f"nesterov=True came with momentum={momentum} and dampening={dampening}, expected momentum above 0 and "
                "dampening 0. Set momentum=0.9, dampening=0, say, or leave nesterov out."
            )
        if dampening and not momentum:
            raise ValueError(f"dampening={dampening} came with momentum=0, where it would do nothing. Leave it out.")
        decay = _checks.number("weight_decay", self.weight_decay, minimum=0)
        noise = _checks.number("injected_noise", self.injected_noise, minimum=0)
        checked = {"momentum": momentum, "dampening": dampening, "weight_decay": decay, "injected_noise": noise}
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def settings(self) -> tuple[tuple[str, Any], ...]:
        """The options by name, as `Process.settings` wants them."""
        return tuple((name, getattr(self, name)) for name in self.__dataclass_fields__)

    @property
    def start(self) -> Any:
        """`Process.init`: the state before the first step."""
        return start_with_velocity if self.momentum else MomentumState

    def decayed(self, gradient: PyTree, params: Params) -> PyTree:
        """The gradient with the decay's weight_decay * theta added."""
        if not self.weight_decay:
            return gradient
        return jax.tree.map(lambda g, w: g + self.weight_decay * w, gradient, params)

    def noisy(self, key: Key, gradient: PyTree, batch_size: int, num_substeps: int = 1) -> PyTree:
        """The gradient with the injected noise of one substep: m substeps have together covariance injected_noise^2/B."""
        if not self.injected_noise:
            return gradient
        amplitude = self.injected_noise * (num_substeps / batch_size) ** 0.5
        return jax.tree.map(lambda g, xi: g + amplitude * xi, gradient, normal_like(key, gradient))

    def regularized(self, key: Key, gradient: PyTree, params: Params, batch_size: int, num_substeps: int = 1) -> PyTree:
        """The gradient with weight decay and injected noise."""
        return self.noisy(key, self.decayed(gradient, params), batch_size, num_substeps)

    def velocity_and_direction(self, state: MomentumState, gradient: PyTree) -> tuple[PyTree, PyTree]:
        """The buffer after a whole step (None without momentum), and what the learning rate then multiplies."""
        if not self.momentum:
            return None, gradient
        fresh = jnp.where(state.started, 1 - self.dampening, 1.0)  # the first gradient is not dampened
        velocity = jax.tree.map(lambda v, g: self.momentum * v + fresh.astype(g.dtype) * g, state.velocity, gradient)
        if not self.nesterov:
            return velocity, velocity
        return velocity, jax.tree.map(lambda g, v: g + self.momentum * v, gradient, velocity)

    def advance(
        self, state: MomentumState, gradient: PyTree, learning_rate: Any, num_substeps: int = 1
    ) -> MomentumState:
        """The state after 1 / num_substeps of the update with this gradient; learning_rate is that of a whole step."""
        velocity, direction = self.velocity_and_direction(state, gradient)
        rates = per_leaf(learning_rate, state.params)
        moved = jax.tree.map(lambda w, rate, d: w - rate / num_substeps * d, state.params, rates, direction)
        if velocity is None:
            return MomentumState(moved)
        if num_substeps > 1:
            velocity = jax.tree.map(lambda v, new: v + (new - v) / num_substeps, state.velocity, velocity)
        return MomentumState(moved, velocity, jnp.array(True))


def start_with_velocity(params: Params) -> MomentumState:
    """The state before the first step with momentum."""
    return MomentumState(params, jax.tree.map(jnp.zeros_like, params), jnp.array(False))


def current_params(state: MomentumState) -> Params:
    """The weights of a state."""
    return state.params


def normal_like(key: Key, tree: PyTree) -> PyTree:
    """Independent standard normal numbers in the shapes and dtypes of `tree`."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    return structure.unflatten(
        [jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
    )
