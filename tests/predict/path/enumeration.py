"""The oracle: every training set with every schedule, SGD run through all of them with its noise scaled by s.

An outcome is the list of batches of a run and its training set, each as counts of the pool's examples. loss_n(s) =
mean + s (loss_n - mean) in batches and in the train loss; the part of order s^2 of a mean is one loop, exactly.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from itertools import combinations, product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from gradnoise import _tree
from gradnoise.predict.path import PathPrediction
from gradnoise.problem import Problem
from gradnoise.spacetime import Spacetime


class Outcomes(NamedTuple):
    """S equally or unequally likely runs: `batches` (S, T, n) and `sets` (S, n), counts of examples; `chances` (S,)."""

    batches: np.ndarray
    sets: np.ndarray
    chances: list[Fraction]

    def padded(self, size: int) -> "Outcomes":
        """As many as `size`, the added ones without chance: one shape compiles once."""
        more = size - len(self.chances)
        assert more >= 0
        batches, sets = (np.concatenate([each, np.repeat(each[:1], more, 0)]) for each in self[:2])
        return Outcomes(batches, sets, [*self.chances, *[Fraction(0)] * more])


def outcomes(spacetime: Spacetime, training_set: str, num_pool: int) -> Outcomes:
    """Every training set with every schedule, equal runs joined."""
    found: Counter = Counter()
    counts = partial(_counts, num_pool=num_pool)
    for rows in _training_sets(spacetime, training_set, num_pool):
        for schedule in _schedules(spacetime, training_set, rows):
            found[tuple(map(counts, schedule)), counts(rows)] += 1
    total = sum(found.values())
    shape = (len(found), spacetime.num_steps, num_pool)
    batches = np.array([key[0] for key in found], dtype=int).reshape(shape)
    return Outcomes(batches, np.array([key[1] for key in found]), [Fraction(c, total) for c in found.values()])


def _counts(rows: tuple[int, ...], num_pool: int) -> tuple[int, ...]:
    return tuple(np.bincount(rows, minlength=num_pool).tolist())


def _training_sets(spacetime: Spacetime, training_set: str, num_pool: int) -> Iterator[tuple[int, ...]]:
    if training_set in ("given", "population"):
        return iter([tuple(range(num_pool))])
    size = spacetime.num_examples
    return combinations(range(num_pool), size) if training_set == "distinct" else product(range(num_pool), repeat=size)


def _schedules(spacetime: Spacetime, training_set: str, rows: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], ...]]:
    steps, batch = spacetime.num_steps, spacetime.batch_size
    if training_set == "population" or spacetime.sampling == "with_replacement":
        return product(product(rows, repeat=batch), repeat=steps)
    if spacetime.sampling == "subset":
        return product(combinations(rows, batch), repeat=steps)
    orders = list(_orders(rows, batch))
    epochs = -(-steps // max(spacetime.steps_per_epoch, 1))
    chosen = product(orders, repeat=epochs) if spacetime.sampling == "reshuffle" else ((o,) * epochs for o in orders)
    return (sum(epoch, ())[:steps] for epoch in chosen)


def _orders(rows: tuple[int, ...], batch: int) -> Iterator[tuple[tuple[int, ...], ...]]:
    """All ways to cut the rows into batches, in order."""
    if not rows:
        yield ()
    for places in combinations(range(len(rows)), batch):
        rest = tuple(row for place, row in enumerate(rows) if place not in places)
        for others in _orders(rest, batch):
            yield (tuple(rows[place] for place in places), *others)


class Settings(NamedTuple):
    """Optimizer of the exact runs, as PyTorch's SGD has them; all traced."""

    momentum: float = 0.0
    nesterov: float = 0.0
    dampening: float = 0.0


def means(problem: Problem, params: Any, runs: Outcomes, rates: np.ndarray, settings: Settings, order: int) -> dict:
    """Coefficients of s^0, ..., s^order of the exact means: (order + 1, T + 1) of "test", "train", "gap" and
    "test_variance", (order + 1, T + 1, P) of "weights". Call it inside `jax.enable_x64(True)`."""
    start, _ = ravel_pytree(_tree.cast(params, jnp.float64))
    steps = runs.batches.shape[1]
    rates = np.asarray(rates, float)
    rates = np.broadcast_to(rates if rates.ndim == 2 else rates[:, None], (steps, len(start)))
    batches = runs.batches / runs.batches.sum(-1, keepdims=True)
    sets = runs.sets / runs.sets.sum(-1, keepdims=True)
    chances = np.array([float(chance) for chance in runs.chances])
    settings = Settings(*map(float, settings))
    return _means(problem, order, params, start, batches, sets, chances, jnp.asarray(rates), settings)


@partial(jax.jit, static_argnums=(0, 1))
def _means(problem, order, params, start, batches, sets, chances, rates, settings):
    unflatten = ravel_pytree(params)[1]
    pool = _tree.cast(problem.pool, jnp.float64)
    test = pool if problem.test_pool is None else _tree.cast(problem.test_pool, jnp.float64)
    on = lambda function, examples: lambda w: jax.vmap(lambda x: function(unflatten(w), x))(examples)  # noqa: E731
    losses, measured, tested = on(problem.loss, pool), on(problem.measured_loss, pool), on(problem.measured_loss, test)

    def run(s, batches, shares):
        uniform = jnp.full(shares.shape, 1 / len(shares))
        scaled = lambda own: uniform + s * (own - uniform)  # noqa: E731

        def step(state, inputs):
            (w, v), (batch, rate, is_first) = state, inputs
            g = jax.grad(lambda w: scaled(batch) @ losses(w))(w)
            v = settings.momentum * v + jnp.where(is_first, 1.0, 1.0 - settings.dampening) * g
            return (w - rate * jnp.where(settings.nesterov, g + settings.momentum * v, v), v), w

        (last, _), path = jax.lax.scan(step, (start, 0 * start), (batches, rates, jnp.arange(len(rates)) == 0))
        path = jnp.concatenate([path, last[None]])
        return jax.vmap(lambda w: tested(w).mean())(path), jax.vmap(lambda w: scaled(shares) @ measured(w))(path), path

    def mean(s):
        each = jax.vmap(run, (None, 0, 0))(s, batches, sets)
        test, train, weights = (jnp.tensordot(chances, one, 1) for one in each)
        variance = chances @ each[0] ** 2 - test**2
        return {"test": test, "train": train, "gap": test - train, "weights": weights, "test_variance": variance}

    return taylor(mean, order)


def taylor(function: Callable, order: int, at: float = 0.0) -> Any:
    """Coefficients of s^0, ..., s^order of function(at + s), stacked in front, by nested derivatives."""

    def derivatives(s, left):
        if left == 0:
            return [function(s)]
        values, slopes = jax.jvp(lambda s: derivatives(s, left - 1), (s,), (jnp.ones_like(s),))
        return [*values, slopes[-1]]

    found = derivatives(jnp.asarray(at, jnp.float64), order)
    factorials = np.cumprod([1.0, *range(1, order + 1)])
    return jax.tree.map(lambda *each: jnp.stack([e / f for e, f in zip(each, factorials, strict=True)]), *found)


def partial_sums(path: PathPrediction, target: str, **sizes: int) -> np.ndarray:
    """A predicted curve by order of the noise, (T + 1, loops + 1): the path alone, with one loop, with two."""
    table = path.curve(target, **sizes).partial_sums
    assert table is not None
    return np.asarray(table.value)
