"""SGD and gradient descent, in the arithmetic of PyTorch's `torch.optim.SGD`."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradnoise import _checks, _tree
from gradnoise._rates import per_leaf
from gradnoise._types import Examples, Key, Params, PyTree
from gradnoise.problem import Problem, require_problem
from gradnoise.process import Batches, Process


class MomentumState(NamedTuple):
    """Weights and, where there is momentum, its buffer and whether it has had its first gradient."""

    params: Params
    velocity: PyTree = None
    started: Any = None


@dataclass(frozen=True)
class MomentumStep:
    """One update theta - eta * direction; equal by value, so equal processes share one compiled function."""

    problem: Problem
    full_batch: bool
    momentum: float
    nesterov: bool
    dampening: float
    weight_decay: float
    injected_noise: float

    def __call__(self, key: Key, state: MomentumState, batches: Batches, learning_rate: Any) -> MomentumState:
        params = state.params
        examples = batches.training_set if self.full_batch else _tree.take(batches.examples, 0)
        gradient = jax.grad(lambda weights: mean_loss(self.problem, weights, examples))(params)
        if self.weight_decay:
            gradient = jax.tree.map(lambda g, w: g + self.weight_decay * w, gradient, params)
        if self.injected_noise:
            amplitude = self.injected_noise / batches.spacetime.batch_size**0.5
            gradient = jax.tree.map(lambda g, xi: g + amplitude * xi, gradient, normal_like(key, gradient))
        direction, velocity = gradient, None
        if self.momentum:
            fresh = jnp.where(state.started, 1 - self.dampening, 1.0)  # the first gradient is not dampened
            velocity = jax.tree.map(
                lambda v, g: self.momentum * v + fresh.astype(g.dtype) * g, state.velocity, gradient
            )
            direction = velocity
            if self.nesterov:
                direction = jax.tree.map(lambda g, v: g + self.momentum * v, gradient, velocity)
        rates = per_leaf(learning_rate, params)
        moved = jax.tree.map(lambda w, rate, d: w - rate * d, params, rates, direction)
        return MomentumState(moved, velocity, None if velocity is None else jnp.array(True))


def sgd(
    problem: Problem,
    momentum: float = 0.0,
    nesterov: bool = False,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    injected_noise: float = 0.0,
) -> Process:
    """Stochastic gradient descent, as PyTorch's SGD does it.

        g = (1/B) sum_{n in batch} grad l_n(theta) + weight_decay * theta + (injected_noise / sqrt(B)) w,   w ~ N(0, I)
        v <- momentum * v + (1 - dampening) * g     (v = g at the first step)
        theta <- theta - learning_rate * v          (nesterov: g + momentum * v in place of v)

    `weight_decay` is coupled: it adds weight_decay/2 |theta|^2 to every loss, so its unit is that of a curvature,
    loss / parameter^2.
    `injected_noise` is the amplitude beta of isotropic noise with per-example covariance beta^2 I beside the gradients'
    own D: each step of the weights gets learning_rate * (learning_rate / B) * beta^2 I.

    >>> import jax, numpy as np
    >>> from gradnoise.problem import from_arrays
    >>> problem = from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float32(0), np.array([-1.0, 1.0]))
    >>> sgd(problem, momentum=0.9).name
    'sgd'

    Raises ValueError for momentum or dampening outside [0, 1), negative weight_decay or injected_noise, nesterov
    without momentum or with dampening; TypeError if `problem` is no Problem.

    Source: PyTorch's SGD for momentum; Gomez-Uribe, "Studying Generalization Through Data Averaging", eq (15), for the
    injected noise (there without momentum; here it is part of g, so momentum filters it as it does the gradient).
    """
    step = _momentum_step(problem, False, momentum, nesterov, dampening, weight_decay, injected_noise)
    return Process("sgd", problem, _initial_state(step), step, current_params, settings=_settings(step))


def gradient_descent(
    problem: Problem,
    momentum: float = 0.0,
    nesterov: bool = False,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    injected_noise: float = 0.0,
) -> Process:
    """Gradient descent on the mean loss of the replica's whole training set; arguments as in `sgd`.

    The spacetime gives the number of steps and the training set's size. Its batch size is used only in the amplitude
    of `injected_noise`, so that sgd and gradient_descent inject the same noise.

    >>> import jax, numpy as np
    >>> from gradnoise.problem import from_arrays
    >>> problem = from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float32(0), np.array([-1.0, 1.0]))
    >>> gradient_descent(problem).batches_per_substep
    0
    """
    step = _momentum_step(problem, True, momentum, nesterov, dampening, weight_decay, injected_noise)
    start, settings = _initial_state(step), _settings(step)
    return Process("gradient_descent", problem, start, step, current_params, batches_per_substep=0, settings=settings)


def mean_loss(problem: Problem, params: Params, examples: Examples) -> jax.Array:
    """The mean of the problem's loss over stacked examples: one scalar."""
    return jnp.mean(jax.vmap(problem.loss, in_axes=(None, 0))(params, examples))


def normal_like(key: Key, tree: PyTree) -> PyTree:
    """Independent standard normal numbers in the shapes and dtypes of `tree`."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    return structure.unflatten(
        [jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
    )


def start_plain(params: Params) -> MomentumState:
    """The state before the first step without momentum."""
    return MomentumState(params)


def start_with_velocity(params: Params) -> MomentumState:
    """The state before the first step with momentum."""
    return MomentumState(params, jax.tree.map(jnp.zeros_like, params), jnp.array(False))


def current_params(state: MomentumState) -> Params:
    """The weights of a state."""
    return state.params


def _settings(step: MomentumStep) -> tuple[tuple[str, Any], ...]:
    names = ("momentum", "nesterov", "dampening", "weight_decay", "injected_noise")
    return tuple((name, getattr(step, name)) for name in names)


def _initial_state(step: MomentumStep) -> Any:
    return start_with_velocity if step.momentum else start_plain


def _momentum_step(
    problem: Any, full_batch: bool, momentum: Any, nesterov: Any, dampening: Any, weight_decay: Any, injected_noise: Any
) -> MomentumStep:
    require_problem(problem)
    momentum = _checks.number("momentum", momentum, minimum=0, below=1)
    dampening = _checks.number("dampening", dampening, minimum=0, below=1)
    if not isinstance(nesterov, bool):
        raise TypeError(f"nesterov={nesterov!r} is not True or False. Give one of them.")
    if nesterov and (momentum == 0 or dampening != 0):
        raise ValueError(
            f"nesterov=True came with momentum={momentum} and dampening={dampening}, expected momentum above 0 and "
            "dampening 0. Set momentum=0.9, dampening=0, say, or leave nesterov out."
        )
    if dampening and not momentum:
        raise ValueError(f"dampening={dampening} came with momentum=0, where it would do nothing. Leave it out.")
    decay = _checks.number("weight_decay", weight_decay, minimum=0)
    noise = _checks.number("injected_noise", injected_noise, minimum=0)
    return MomentumStep(problem, full_batch, momentum, nesterov, dampening, decay, noise)
