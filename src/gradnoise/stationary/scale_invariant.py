"""Whether a loss is scale-invariant, as a whole or in some parameter groups: what the linear-scaling theorems ask."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _tree
from gradnoise._types import Examples, Key, Params
from gradnoise.problem import Loss, Problem, require_problem

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
    return _is_invariant(_compiled(problem.loss), *_examples_and_points(problem, params), _scaled)


def scale_invariant_groups(problem: Problem, params: Params) -> dict[str, bool]:
    """For each parameter group: does scaling it alone, all others kept, leave the data loss as it is?

    Groups are leaves, named as in `noise_scale(...).groups`; the loss is `problem.measured_loss`, without weight decay.
    A group is invariant if loss(.., c w, ..) = loss(.., w, ..) for c = 2, 10, 0.3, tried as in `is_scale_invariant`, and
    <g_i, w> = 0 for its part of each example's gradient (`gradient_along_weights`).

    Invariant groups may be scaled in any combination, so R, G and N restricted to them obey the equilibrium identities
    whatever the other groups do: a network with normalized layers, a trained last layer and biases is treated by its
    normalized layers alone. A loss may be invariant as a whole and in no group (the ratio of two weights): then R runs
    over all weights, if `is_scale_invariant` says so.

    >>> import gradnoise as gn
    >>> loss = lambda w, x: w["free"] * (w["unit"] @ x) / jnp.linalg.norm(w["unit"])
    >>> params = {"free": np.float64(1.0), "unit": np.array([1.0, 2.0])}
    >>> scale_invariant_groups(gn.from_arrays(loss, lambda key: params, np.eye(2)), params)
    {'free': False, 'unit': True}

    Source: Li, Malladi, Arora 2021, section 5; by group: docs/theory/equilibrium.md.
    """
    require_problem(problem)
    losses, given = _compiled(problem.measured_loss), _examples_and_points(problem, params)
    along = gradient_along_weights(problem, params)
    return {
        name: along[name] <= TOLERANCE and _is_invariant(losses, *given, partial(_scaled, number=n))
        for n, name in enumerate(_tree.group_slices(params))
    }


def gradient_along_weights(problem: Problem, params: Params) -> dict[str, float]:
    """For each parameter group, how far gradients point along the weights: zero if scaling the group changes nothing.

        ( mean_i <g_i, w>^2 / (mean_i |g_i|^2 |w|^2) )^(1/2)

    g_i and w: the group's part of example i's gradient of the data loss and of the weights, at the points and examples
    of `is_scale_invariant`; the largest of the points. Between 0 and 1; 0 where a gradient is zero.

    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: x * w / jnp.abs(w) + w, lambda key: np.float64(1.0), np.ones(2))
    >>> gradient_along_weights(problem, np.float64(1.0))
    {'weights': 1.0}

    Source: Li, Malladi, Arora 2021, section 5 (<grad L(x), x> = 0).
    """
    examples, points = _examples_and_points(problem, params)
    gradients = jax.jit(jax.vmap(jax.grad(problem.measured_loss), (None, 0)))
    largest = dict.fromkeys(_tree.group_slices(params), 0.0)
    with jax.enable_x64(True):
        for point in points:
            pairs = zip(jax.tree.leaves(gradients(point, examples)), jax.tree.leaves(point), strict=True)
            for name, (rows, weights) in zip(largest, pairs, strict=True):
                largest[name] = max(largest[name], _along(np.asarray(rows), np.asarray(weights)))
    return largest


def _along(rows: np.ndarray, weights: np.ndarray) -> float:
    rows, weights = rows.reshape(len(rows), -1), weights.reshape(-1)
    rows = rows[np.all(np.isfinite(rows), axis=1)]
    size = np.mean(np.square(rows).sum(axis=1)) * (weights @ weights) if len(rows) else 0.0
    return float(np.sqrt(np.mean(np.square(rows @ weights)) / size)) if size > 0 else 0.0


def _examples_and_points(problem: Problem, params: Params) -> tuple[Examples, list[Params]]:
    """Up to 256 examples and the points to look at, in float64."""
    with jax.enable_x64(True):
        if problem.pool is None:
            examples = problem.sample(jax.random.key(0), LARGEST_SAMPLE)
        else:
            examples = jax.tree.map(lambda leaf: leaf[:LARGEST_SAMPLE], problem.pool)
        weights = _tree.cast(params, jnp.float64)
        points = [_perturbed(weights, key) for key in jax.random.split(jax.random.key(1), NUM_POINTS)]
        return _tree.cast(examples, jnp.float64), points


def _compiled(loss: Loss) -> Callable[[Params, Examples], jax.Array]:
    return jax.jit(jax.vmap(loss, (None, 0)))


def _is_invariant(
    losses: Callable[[Params, Examples], jax.Array],
    examples: Examples,
    points: list[Params],
    scaled: Callable[[Params, float], Params],
) -> bool:
    with jax.enable_x64(True):

        def at(factor: float) -> np.ndarray:
            return np.stack([np.asarray(losses(scaled(point, factor), examples)) for point in points])

        here = at(1.0)
        asked = np.isfinite(here)
        changes = [np.abs(at(factor)[asked] - here[asked]) for factor in FACTORS]
    if not asked.any():
        return False
    rounding = np.finfo(float).eps * np.sqrt(here.size) * np.max(np.abs(here[asked]))
    return bool(np.max(changes) <= TOLERANCE * np.std(here[asked]) + rounding)


def _scaled(weights: Params, factor: float, number: int | None = None) -> Params:
    """All weights, or only leaf `number`, times `factor`."""
    leaves, structure = jax.tree.flatten(weights)
    return structure.unflatten([factor * leaf if number in (None, i) else leaf for i, leaf in enumerate(leaves)])


def _perturbed(weights: Params, key: Key) -> Params:
    """The weights plus normal noise of each leaf's root mean square: of all weights' for a leaf of zeros, else 1."""
    leaves, structure = jax.tree.flatten(weights)
    overall = float(jnp.sqrt(jnp.mean(jnp.square(_tree.flatten(weights)[0]))))
    sizes = [float(jnp.sqrt(jnp.mean(jnp.square(leaf)))) or overall or 1.0 for leaf in leaves]
    keys = jax.random.split(key, len(leaves))
    noise = [size * jax.random.normal(k, leaf.shape) for size, k, leaf in zip(sizes, keys, leaves, strict=True)]
    return structure.unflatten([leaf + extra for leaf, extra in zip(leaves, noise, strict=True)])
