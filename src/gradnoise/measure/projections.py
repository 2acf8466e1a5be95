"""The noise of a mini-batch's mean gradient along a few directions: draws at one point, projected as they are made."""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gradnoise import _checks, _tree
from gradnoise._types import Examples, Key, Params
from gradnoise.measure.directions import Directions, chosen_directions
from gradnoise.measure.gradients import ExampleGradients, example_gradients, traced_bytes
from gradnoise.problem import Loss, Problem, require_problem

BLOCK = 64
"""Batches are drawn so many at a time: draws then depend on no setting of memory."""
DRAWS_WITHOUT_POOL = 1000
"""How many examples stand for the population where there is no pool: they only serve eigenvectors."""


@dataclass(frozen=True, eq=False)
class ProjectedNoise:
    """Batch noise at one point along unit vectors u: g_batch.u - gbar.u; made by `projected_noise`."""

    problem: Problem
    gradients: ExampleGradients
    directions: Directions
    key: Key

    @cached_property
    def singles(self) -> Float[np.ndarray, "N k"] | None:
        """g_n.u - gbar.u for each example of the pool; None without a pool."""
        if self.gradients.drawn:
            return None
        vectors = self.directions.vectors
        along = [rows @ vectors for rows in self.gradients.chunks()]
        return np.concatenate(along) - self.gradients.mean @ vectors

    def samples(self, batch_size: int, num_draws: int) -> Float[np.ndarray, "n k"]:
        """One row a batch of `batch_size` examples drawn with replacement, independent of the others.

        Without a pool the mean over the draws takes the place of gbar. Raises ValueError where nothing is noisy.
        """
        batch_size, num_draws = _checks.integer("batch_size", batch_size), _checks.integer("num_draws", num_draws, 8)
        with jax.enable_x64(True):
            inputs, columns = (self.gradients.loss, self.gradients.params), jnp.asarray(self.directions.vectors)
            at_once, blocks = self._at_once(batch_size, columns), []
            for number in range(-(-num_draws // BLOCK)):
                blocks.append(np.asarray(_projected(at_once, *inputs, self._batches(number, batch_size), columns)))
        raw = np.concatenate(blocks)[:num_draws]
        _require_noise(raw, self.directions)
        return raw - (raw.mean(axis=0) if self.gradients.drawn else self.gradients.mean @ self.directions.vectors)

    def _batches(self, number: int, batch_size: int) -> Examples:
        """Block `number` of batches: leaves (BLOCK, batch_size, ...)."""
        drawn = _tree.cast(self.problem.sample(jax.random.fold_in(self.key, number), BLOCK * batch_size), float)
        return jax.tree.map(lambda leaf: leaf.reshape(BLOCK, batch_size, *leaf.shape[1:]), drawn)

    def _at_once(self, batch_size: int, columns: jax.Array) -> int:
        """How many batches' gradients fit, a power of two."""
        batch = _tree.take(self._batches(0, batch_size), np.arange(1))
        one = traced_bytes(partial(_projected, 1, self.gradients.loss), self.gradients.params, batch, columns)
        self.gradients.require(one, f"the gradient of a batch of {batch_size}", "Take a smaller batch_size")
        return 1 << (min(BLOCK, self.gradients.room // one).bit_length() - 1)


def projected_noise(
    problem: Problem, params: Params, directions: Any, key: Key, memory: int | str | None = None
) -> ProjectedNoise:
    """Batch noise at `params`, ready to be drawn along `directions` (as in `gaussianity`); one key, one set of draws.

    Nothing of size num_draws x P is formed: each gradient is projected where it is made. Random directions depend on key
    and number of weights alone. Raises as `gaussianity` does.
    """
    require_problem(problem)
    batch_key, direction_key, example_key = jax.random.split(_checks.random_key("key", key), 3)
    population = (None, None) if problem.pool is not None else (DRAWS_WITHOUT_POOL, example_key)
    gradients = example_gradients(problem, params, *population, memory, "the projected noise")
    return ProjectedNoise(problem, gradients, chosen_directions(directions, gradients, direction_key), batch_key)


@partial(jax.jit, static_argnums=(0, 1))
def _projected(
    at_once: int, loss: Loss, params: Params, batches: Examples, columns: jax.Array
) -> Float[jax.Array, "c k"]:
    """Mean gradients of batches along columns, `at_once` of them at a time."""

    def one(batch: Examples) -> jax.Array:
        mean_loss = lambda at: jax.vmap(loss, (None, 0))(at, batch).mean()  # noqa: E731
        return _tree.flatten(jax.grad(mean_loss)(params))[0] @ columns

    return jax.lax.map(one, batches, batch_size=at_once)


def _require_noise(raw: np.ndarray, directions: Directions) -> None:
    still = raw.std(axis=0) <= 1e-12 * np.abs(raw).max(axis=0)
    for name in np.array(directions.names)[still]:
        raise ValueError(
            f"directions: along {str(name)!r} all draws are equal, there is no noise to test. Leave it out, or look at a "
            "point or a pool where the gradients differ."
        )
