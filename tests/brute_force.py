"""Oracles that form everything: gradients by a loop over examples, covariances by their definition in numpy."""

from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from gradnoise.problem import Problem, from_arrays


def gradient_rows(problem: Problem, params: Any, examples: Any = None) -> np.ndarray:
    """One flat gradient a row, for the pool or for `examples`, one example at a time in float64."""
    with jax.enable_x64(True):
        examples = jax.tree.map(_double, problem.pool if examples is None else examples)
        params = jax.tree.map(_double, params)
        count = len(jax.tree.leaves(examples)[0])
        gradient = jax.jit(lambda example: ravel_pytree(jax.grad(problem.loss)(params, example))[0])
        return np.stack([np.asarray(gradient(_one(examples, i))) for i in range(count)])


def covariance(rows: np.ndarray, ddof: int = 0) -> np.ndarray:
    """sum_i (g_i - gbar)(g_i - gbar)^T / (n - ddof)."""
    centred = rows - rows.mean(axis=0)
    return centred.T @ centred / (len(rows) - ddof)


def linear_problem(rows: np.ndarray) -> Problem:
    """A problem whose per-example gradients are `rows`, whatever the weights (P,)."""
    rows = np.asarray(rows, dtype=float)
    return from_arrays(_dot, lambda key: np.zeros(rows.shape[1]), rows, "linear")


def fixed_draws(rows: np.ndarray) -> Problem:
    """A problem without a pool that always draws the first n of `rows`, which are also the gradients."""
    rows = np.asarray(rows, dtype=float)
    return Problem(_dot, lambda key, n: rows[:n], lambda key: np.zeros(rows.shape[1]), "fixed draws")


def _one(examples: Any, index: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], examples)


def _double(leaf: Any) -> np.ndarray:
    array = np.asarray(leaf)
    return array.astype(float) if array.dtype.kind == "f" else array


def _dot(params: Any, example: Any) -> Any:
    return params @ example
