"""Oracles for one step: all batches of a five-point pool in turn, and moments by their definitions in numpy."""

from itertools import combinations, product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from brute_force import covariance, gradient_rows
from gradnoise import _tree
from gradnoise.problem import Problem, from_arrays
from gradnoise.process import Batches, Process
from gradnoise.spacetime import Spacetime

POOL = {
    "x": np.array([[0.9, -0.4], [-1.1, 0.3], [0.2, 1.4], [1.6, 0.8], [-0.3, -1.2]]),
    "y": np.array([0.7, -0.2, 1.3, 0.1, -0.9]),
}
PARAMS = {"a": np.array([0.6, -0.8]), "b": np.array(0.25)}
RATE, B = 0.3, 2
WITH, WITHOUT = (
    Spacetime(5, B, sampling="with_replacement", num_steps=1),
    Spacetime(5, B, sampling="subset", num_steps=1),
)


def loss(params: Any, example: Any) -> Any:
    return (jnp.tanh(example["x"] @ params["a"] + params["b"]) - example["y"]) ** 2 / 2


def five_points() -> Problem:
    """Three weights in two leaves, five different examples, no polynomial."""
    return from_arrays(loss, lambda key: PARAMS, POOL, "five points")


class Noise(NamedTuple):
    """Of one batch mean gradient at PARAMS: mean, covariance Sigma and third cumulant Lambda, from all batches."""

    mean: np.ndarray
    covariance: np.ndarray
    third: np.ndarray


def every_batch(spacetime: Spacetime) -> np.ndarray:
    """All batches of the pool, equally likely: rows (number, B)."""
    if spacetime.sampling == "with_replacement":
        return np.array(list(product(range(5), repeat=spacetime.batch_size)))
    return np.array(list(combinations(range(5), spacetime.batch_size)))


def every_pair(spacetime: Spacetime) -> np.ndarray:
    """All pairs of independent batches: (number, 2, B)."""
    batches = every_batch(spacetime)
    return np.array(list(product(batches, repeat=2)))


def batch_noise(spacetime: Spacetime) -> Noise:
    rows = gradient_rows(five_points(), PARAMS)
    means = rows[every_batch(spacetime)].mean(axis=1)
    return Noise(rows.mean(0), covariance(means), third(means - means.mean(0)))


def displacements(process: Process, spacetime: Spacetime, batches: np.ndarray, key: Any = None, rate: Any = RATE):
    """State after one substep minus state before, flat, for each of `batches` (number, batches_per_substep, B)."""
    key = jax.random.key(0) if key is None else key
    with jax.enable_x64(True):
        pool = _tree.cast(POOL, float)
        state = process.init(_tree.cast(PARAMS, float))

        @jax.jit
        @jax.vmap
        def move(rows):
            after = process.step(key, state, Batches(_tree.take(pool, rows), pool, spacetime), rate)
            return ravel_pytree(process.params(after))[0] - ravel_pytree(process.params(state))[0]

        return np.asarray(move(jnp.asarray(batches)))


def third(rows: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """sum_i weights_i r_i (x) r_i (x) r_i; equal weights 1/n by default."""
    weights = np.full(len(rows), 1 / len(rows)) if weights is None else weights
    return np.einsum("i,ia,ib,ic->abc", weights, rows, rows, rows)


def three_symmetric(vector: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """3 sym(v (x) M) = v_a M_bc + v_b M_ac + v_c M_ab."""
    return sum(np.einsum(f"{one},{two}->abc", vector, matrix) for one, two in (("a", "bc"), ("b", "ac"), ("c", "ab")))


def assert_equal(found: Any, expected: Any, digits: float = 1e-14) -> None:
    """Equal to rounding: `digits` times the largest entry."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=digits * max(1.0, float(np.max(np.abs(expected)))))


def affine_in_draws(
    step: Any, spacetime: Spacetime, rate: Any = RATE, start: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """(mu, A) of the displacement mu + A z of the flat state, z the step's five random numbers; checks that it is affine.

    `step.move(draws, ...)` is the substep for given numbers. If they are standard normal the displacement has mean mu,
    covariance A A^T and no other cumulant: no sampling is needed.
    """
    with jax.enable_x64(True):
        pool = _tree.cast(POOL, float)
        start = step.rule.start(_tree.cast(PARAMS, float)) if start is None else start
        before = ravel_pytree(start[:2])[0]

        @jax.jit
        @jax.vmap
        def move(draws):
            after = step.move(draws, jax.random.key(0), start, Batches(None, pool, spacetime), rate)
            return ravel_pytree(after[:2])[0] - before

        draws = np.concatenate([np.zeros((1, 5)), np.eye(5), np.random.default_rng(0).normal(size=(3, 5))])
        moves = np.asarray(move(jnp.asarray(draws)))
    mu, matrix = moves[0], (moves[1:6] - moves[0]).T
    assert_equal(moves[6:], mu + draws[6:] @ matrix.T)
    return mu, matrix
