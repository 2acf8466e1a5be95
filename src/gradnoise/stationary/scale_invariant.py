"""Whether a loss is scale-invariant: what the linear-scaling theorems ask of it."""

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _tree
from gradnoise._types import Params
from gradnoise.problem import Problem

TOLERANCE = 1e-3
LARGEST_SAMPLE = 256


def is_scale_invariant(problem: Problem, params: Params, factor: float = 10.0) -> bool:
    """Whether loss(c * params) = loss(params) on the examples, within 0.1 % of the losses' spread and size.

    Tried at c = `factor` on up to 256 examples of the pool (or drawn). A small constant inside a normalization breaks
    exact invariance; a bias, an affine gain or a free last layer breaks it plainly.

    >>> import gradnoise as gn
    >>> pool = np.eye(2)
    >>> direction = gn.from_arrays(lambda w, x: -(w @ x) / jnp.linalg.norm(w), lambda key: np.ones(2), pool)
    >>> is_scale_invariant(direction, np.array([1.0, 2.0]))
    True

    Source: Li, Malladi, Arora 2021, section 5 (L(cx) = L(x) for c > 0).
    """
    with jax.enable_x64(True):
        if problem.pool is None:
            examples = problem.sample(jax.random.key(0), LARGEST_SAMPLE)
        else:
            examples = jax.tree.map(lambda leaf: leaf[:LARGEST_SAMPLE], problem.pool)
        examples, weights = _tree.cast(examples, jnp.float64), _tree.cast(params, jnp.float64)
        losses = jax.jit(jax.vmap(problem.loss, (None, 0)))
        here = np.asarray(losses(weights, examples))
        there = np.asarray(losses(jax.tree.map(lambda w: factor * w, weights), examples))
    size = np.max(np.abs(here)) + np.std(here)
    return bool(np.max(np.abs(there - here)) <= TOLERANCE * size)
