"""The arguments of `predict_path`, read and checked: what all methods of predicting start from."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _checks, _tree
from gradnoise._rates import learning_rates, per_leaf
from gradnoise._types import Examples, Params
from gradnoise.predict.path.landscape import Landscape, landscape
from gradnoise.predict.path.noise_weights import TRAINING_SETS, gap_weight, noise_weights, pattern_weights
from gradnoise.predict.path.probes import Motion
from gradnoise.predict.path.update import Update
from gradnoise.problem import Problem, penalized, probe_problem, require_pool, require_problem
from gradnoise.smoothness import kinks
from gradnoise.spacetime import Spacetime, require_spacetime

DIVERGED = 10.0
"""A path whose loss has risen by so many times its start (or the spread of the losses there) is said to diverge."""


@dataclass(frozen=True, eq=False)
class Setting:
    """A problem, a start and a grid as arrays: float64, flat weights. Use it inside `jax.enable_x64(True)`.

    `rates` is (T,) or, with per-parameter rates, (T, P). `test` is None where test loss is measured over the pool.
    """

    problem: Problem
    motion: Motion
    spacetime: Spacetime
    training_set: str
    learning_rate: Any
    kinks: tuple[str, ...]
    start: jax.Array
    rates: jax.Array
    pool: Examples
    test: Examples

    @property
    def num_pool(self) -> int:
        """How many examples the pool holds."""
        return _tree.num_examples(self.pool)

    @property
    def num_weights(self) -> int:
        """P."""
        return len(self.start)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The patterns of the batch noise (noise_weights); at least one, so that arrays have it as an axis."""
        found = noise_weights(self.spacetime, self.training_set, self.num_pool)
        return tuple(found) or ("fresh",)

    @property
    def pattern_weights(self) -> np.ndarray:
        """The weight of each of `kinds` in the one-loop part, (K,)."""
        return pattern_weights(self.kinds, self.spacetime, self.training_set, self.num_pool)

    @property
    def is_drawn(self) -> bool:
        """Whether training sets differ from the pool, so that there is a gap."""
        return gap_weight(self.spacetime, self.training_set, self.num_pool) != 0

    @property
    def settings(self) -> tuple[tuple[str, Any], ...]:
        """The optimizer's, in the names of `sgd`."""
        update, damping = self.motion.update, self.motion.hessian_damping
        named = (*update._asdict().items(), ("hessian_damping", damping))
        return (*named, ("weight_decay", self.problem.weight_decay))

    def with_chunk(self, chunk: int) -> Landscape:
        """The landscape that treats `chunk` examples at a time."""
        return self.motion.landscape._replace(chunk=chunk)


def read_setting(
    problem: Problem, params: Params, spacetime: Spacetime, learning_rate: Any, training_set: str, momentum: float,
    nesterov: bool, dampening: float, weight_decay: float, hessian_damping: float,
) -> Setting:  # fmt: skip
    """Check everything that can be known before work; call it inside `jax.enable_x64(True)`."""
    require_problem(problem)
    pool = require_pool(problem, "predict_path")
    require_spacetime(spacetime)
    _check_training_set(training_set, spacetime, _tree.num_examples(pool))
    problem = _penalized(problem, weight_decay) if weight_decay else problem
    probe_problem(problem, params, pool)
    params = _tree.cast(params, jnp.float64)
    start, _ = _tree.flatten(params)
    test = None if problem.test_pool is None else _tree.cast(problem.test_pool, jnp.float64)
    view = landscape(problem, params, _tree.num_examples(pool))
    motion = Motion(view, _read_update(momentum, nesterov, dampening), _read_damping(hessian_damping, momentum))
    rates = _flat_rates(learning_rate, params, spacetime.num_steps)
    found = kinks(problem, params)
    pool = _tree.cast(pool, jnp.float64)
    return Setting(problem, motion, spacetime, training_set, learning_rate, found, start, rates, pool, test)


@lru_cache(maxsize=16)
def _penalized(problem: Problem, weight_decay: float) -> Problem:
    """The same object for the same arguments, so that its functions compile once."""
    return penalized(problem, weight_decay)


class PathDiverges(ValueError):
    """Gradient descent itself does not converge at this learning rate."""


def walk(setting: Setting) -> jax.Array:
    """The path itself, weights (T+1, P); raises PathDiverges, a ValueError naming the step, where it does."""
    weights, losses = _walk(setting.motion, setting.start, setting.rates, setting.pool)
    losses = np.asarray(losses)
    spread = np.std(np.asarray(jax.vmap(setting.motion.landscape.loss, (None, 0))(setting.start, setting.pool)))
    allowed = losses[0] + DIVERGED * max(abs(losses[0]), spread, 1e-12)
    bad = np.flatnonzero(~(losses <= allowed))
    if len(bad):
        raise PathDiverges(
            f"learning_rate={setting.learning_rate}: the path of gradient descent itself diverges, its loss is "
            f"{losses[bad[0]]:.3g} after step {bad[0]} and was {losses[0]:.3g} at the start. Give a smaller learning rate."
        )
    return weights


@jax.jit(static_argnums=0)
def _walk(motion: Motion, start: jax.Array, rates: jax.Array, pool: Examples) -> tuple[jax.Array, jax.Array]:
    gradient = lambda w: motion.landscape.mean_gradient(w, pool)  # noqa: E731
    loss = jax.vmap(motion.landscape.loss, (None, 0))

    def body(state: jax.Array, inputs: Any) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        step, rate = inputs
        moved = motion.step(state, gradient, rate, step == 0)
        return moved, (state[0], loss(state[0], pool).mean())

    steps = jnp.arange(len(rates))
    last, (weights, losses) = jax.lax.scan(body, motion.update.start(start), (steps, rates))
    end = last[0][None], loss(last[0], pool).mean()[None]
    return jnp.concatenate([weights, end[0]]), jnp.concatenate([losses, end[1]])


def _flat_rates(learning_rate: Any, params: Params, num_steps: int) -> jax.Array:
    """(T,), or (T, P) for per-parameter rates."""
    rates = learning_rates(learning_rate, params, num_steps, jnp.float64)
    factors, leaves = rates.factors[:num_steps], per_leaf(rates.base, params)
    flat, _ = _tree.flatten(jax.tree.map(lambda rate, leaf: jnp.broadcast_to(rate, leaf.shape), leaves, params))
    return factors * flat[0] if bool(jnp.all(flat == flat[0])) else factors[:, None] * flat


def _read_update(momentum: float, nesterov: bool, dampening: float) -> Update:
    mass = _checks.number("momentum", momentum, minimum=0, below=1)
    loss = _checks.number("dampening", dampening, minimum=0, below=1)
    if not isinstance(nesterov, bool):
        raise TypeError(f"nesterov={nesterov!r} is not True or False. Give one of them.")
    if loss and not mass:
        raise ValueError(f"dampening={loss:g} came with momentum=0, where it would do nothing. Leave it out.")
    if nesterov and (mass == 0 or loss != 0):
        raise ValueError(
            f"nesterov=True came with momentum={mass:g} and dampening={loss:g}, expected a momentum above 0 and no "
            "dampening, as in PyTorch. Set momentum=0.9, say, and dampening=0."
        )
    return Update(mass, nesterov, loss)


def _read_damping(hessian_damping: float, momentum: float) -> float:
    damping = _checks.number("hessian_damping", hessian_damping, minimum=0)
    if damping and momentum:
        raise ValueError(
            f"hessian_damping={damping:g} came with momentum={momentum:g}, expected one of the two. Leave one out."
        )
    return damping


def _check_training_set(training_set: str, spacetime: Spacetime, num_pool: int) -> None:
    _checks.one_of("training_set", training_set, TRAINING_SETS)
    if training_set == "given" and spacetime.num_examples != num_pool:
        raise ValueError(
            f'num_examples={spacetime.num_examples} is not the pool\'s {num_pool}, and training_set="given" trains on the '
            f"whole pool. Give Spacetime({num_pool}, ...)."
        )
    if training_set == "distinct" and spacetime.num_examples > num_pool:
        raise ValueError(
            f'num_examples={spacetime.num_examples} exceeds the pool\'s {num_pool}, and training_set="distinct" takes '
            f"distinct examples. Use at most {num_pool}."
        )
