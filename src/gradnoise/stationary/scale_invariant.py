"""Whether a loss is scale-invariant: what the linear-scaling theorems ask of it."""

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _tree
from gradnoise._types import Key, Params
from gradnoise.problem import Problem

FACTORS = (2.0, 10.0, 0.3)
TOLERANCE = 1e-3
NUM_POINTS = 4
LARGEST_SAMPLE = 256


def is_scale_invariant(problem: Problem, params: Params) -> bool:
    """Whether loss(c * w) = loss(w) for c = 2, 10, 0.3, within 0.1 % of the losses' spread.

    Tried on up to 256 examples of the pool (or drawn) at 4 points w near `params`: normal noise as large as the weights
    of each leaf is added (of fixed seed; unit size where all are zero), for at zero any loss is invariant. The spread is
    the standard deviation over examples and points, so a constant in the loss hides nothing. A small constant inside a
    normalization breaks exact invariance; a bias, an affine gain or a free last layer breaks it plainly. Where the loss
    is not finite at a point it is not asked.

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
        points = [_perturbed(weights, key) for key in jax.random.split(jax.random.key(1), NUM_POINTS)]
        losses = jax.jit(jax.vmap(problem.loss, (None, 0)))

        def at(factor: float) -> np.ndarray:
            return np.stack([np.asarray(losses(jax.tree.map(lambda w: factor * w, p), examples)) for p in points])

        here = at(1.0)
        asked = np.isfinite(here)
        changes = [np.abs(at(factor)[asked] - here[asked]) for factor in FACTORS]
    if not asked.any():
        return False
    rounding = np.finfo(float).eps * np.sqrt(here.size) * np.max(np.abs(here[asked]))
    return bool(np.max(changes) <= TOLERANCE * np.std(here[asked]) + rounding)


def _perturbed(weights: Params, key: Key) -> Params:
    """The weights plus normal noise of each leaf's root mean square: of all weights' for a leaf of zeros, else 1."""
    leaves, structure = jax.tree.flatten(weights)
    overall = float(jnp.sqrt(jnp.mean(jnp.square(_tree.flatten(weights)[0]))))
    sizes = [float(jnp.sqrt(jnp.mean(jnp.square(leaf)))) or overall or 1.0 for leaf in leaves]
    keys = jax.random.split(key, len(leaves))
    noise = [size * jax.random.normal(k, leaf.shape) for size, k, leaf in zip(sizes, keys, leaves, strict=True)]
    return structure.unflatten([leaf + extra for leaf, extra in zip(leaves, noise, strict=True)])
