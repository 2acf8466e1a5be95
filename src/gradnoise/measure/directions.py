"""Directions in the space of weights: random ones, leading eigenvectors of the noise, or given ones; unit columns."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gradnoise import _checks
from gradnoise._types import Key
from gradnoise.measure.eigen import largest_pairs
from gradnoise.measure.gradients import ExampleGradients

NUM_RANDOM = 10
"""How many random directions directions="top" takes."""
NUM_TOP = 10
"""How many leading eigenvectors directions="top" takes beside them, or as many as there are."""


class Directions(NamedTuple):
    """Unit vectors as columns, (P, k), and what each of them is."""

    vectors: Float[np.ndarray, "P k"]
    names: tuple[str, ...]


def chosen_directions(directions: Any, gradients: ExampleGradients, key: Key) -> Directions:
    """k random unit vectors (an int), "top" eigenvectors of D with random ones, or the given vectors made unit.

    Given: a vector (P,), columns (P, k), or a tree like params. Random ones are uniform on the sphere. Raises ValueError
    for anything else, and for a vector that is zero or not finite.
    """
    size = gradients.num_parameters
    if isinstance(directions, str):
        _checks.one_of("directions", directions, ["top"])
        top, rest = _eigenvectors(gradients), _random(key, size, NUM_RANDOM)
        return Directions(np.concatenate([top.vectors, rest.vectors], axis=1), top.names + rest.names)
    if not isinstance(directions, bool) and isinstance(directions, (int, np.integer)):
        return _random(key, size, _checks.integer("directions", directions))
    return _given(directions, gradients)


def _random(key: Key, size: int, count: int) -> Directions:
    with jax.enable_x64(True):
        columns = np.asarray(jax.random.normal(key, (count, size), jnp.float64)).T
    return Directions(_unit(columns), tuple(f"random {i + 1}" for i in range(count)))


def _eigenvectors(gradients: ExampleGradients) -> Directions:
    side = min(gradients.num_examples, gradients.num_parameters)
    values, vectors = largest_pairs(gradients, max(1, min(NUM_TOP, side - 2)))
    noisy = values > 1e-12 * values[0]
    return Directions(vectors[:, noisy], tuple(f"eigenvector {i + 1}" for i in range(int(noisy.sum()))))


def _given(directions: Any, gradients: ExampleGradients) -> Directions:
    size, params = gradients.num_parameters, gradients.params
    shapes = lambda tree: [np.shape(leaf) for leaf in jax.tree.leaves(tree)]  # noqa: E731
    if jax.tree.structure(directions) == jax.tree.structure(params) and shapes(directions) == shapes(params):
        directions = np.concatenate([np.ravel(np.asarray(leaf, float)) for leaf in jax.tree.leaves(directions)])
    try:
        columns = np.asarray(directions, dtype=float)
    except (TypeError, ValueError):
        columns = np.empty(0)
    if columns.ndim not in (1, 2) or len(columns) != size:
        came = f"have shape {np.shape(directions)}" if hasattr(directions, "shape") else f"are {directions!r}"
        raise ValueError(
            f'directions {came}, expected how many random ones, "top", an array ({size},) or ({size}, k), or a pytree '
            "like params. Give 20, say."
        )
    columns = columns.reshape(size, -1)
    if not np.all(np.isfinite(columns)) or not np.all(np.any(columns != 0, axis=0)):
        raise ValueError("directions holds a zero vector, NaN or infinity, expected directions. Leave those out.")
    return Directions(_unit(columns), tuple(f"given {i + 1}" for i in range(columns.shape[1])))


def _unit(columns: np.ndarray) -> np.ndarray:
    return columns / np.linalg.norm(columns, axis=0)
