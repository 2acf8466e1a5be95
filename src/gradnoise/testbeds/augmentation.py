"""Augmentation as part of the population: an example is an image and the number of a transform, and the loss applies it."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _checks, _tree
from gradnoise._types import Examples
from gradnoise.problem import Loss, Problem, from_arrays, require_pool
from gradnoise.testbeds.networks import shape_of_image

TESTS = ("plain", "augmented")


def augmented(
    problem: Problem,
    flips: bool = True,
    shifts: int = 2,
    image_shape: tuple[int, int, int] | None = None,
    test: str = "plain",
) -> Problem:
    """The problem whose population is the law of transformed images: a uniform image, a uniform transform.

    Transforms are shifts by up to `shifts` pixels in each direction, zeros moved in, and with `flips` their mirror images:
    T = (2 shifts + 1)^2, or twice that. The pool holds all n T pairs {"image": row, "transform": number}, so that draws,
    pool means and covariances are exact as for any pool. Held-out images stay as they are, or with `test="augmented"`
    have all their transforms too. Loss, measured and metrics look the image up and transform it.

    Images are not copied for the pool: a pair takes 8 bytes. But they are constants of every compiled function (60,000 MNIST
    images: 14 s and 1.5 GB at the first call of a gradient; 0.5 s and 1 GB with JAX_USE_SIMPLIFIED_JAXPR_CONSTANTS=1 in the
    environment), and a pass over the pool costs n T losses.

    >>> import gradnoise as gn
    >>> digits = gn.testbeds.problem("digits-logistic", num_pool=100)
    >>> augmented(digits, flips=False, shifts=1).num_pool
    900

    Raises ValueError without a pool, for a pool that is no {"x": images, "y": ...}, images of another shape than given,
    shifts that move an image out of sight, and an unknown test.
    """
    pool = require_pool(problem, "augmented")
    if not isinstance(pool, dict) or set(pool) != {"x", "y"}:
        raise ValueError(
            'augmented came with a pool that is no {"x": images, "y": labels}. Build the problem from such.'
        )
    own = pool["x"].shape[1:]
    shape = shape_of_image(math.prod(own), own if image_shape is None and len(own) == 3 else image_shape)
    shifts = _checks.integer("shifts", shifts, 0, min(shape[1:]) - 1)
    _checks.one_of("test", test, TESTS)
    images, count = pool, num_transforms(flips, shifts)
    pairs, test_pairs = _pairs(range(len(pool["y"])), range(count)), None
    if problem.test_pool is not None:
        images = jax.tree.map(lambda *both: np.concatenate(both), pool, problem.test_pool)
        held_out = range(len(pool["y"]), len(images["y"]))
        test_pairs = _pairs(held_out, range(count) if test == "augmented" else [identity_transform(shifts)])

    def seen(example: Any) -> Examples:
        one = jax.tree.map(_canonical, _tree.take(images, example["image"]))
        x = transformed(one["x"].reshape(shape), example["transform"], shifts)
        return {"x": x.reshape(one["x"].shape), "y": one["y"]}

    def on_seen(function: Loss) -> Loss:
        return lambda params, example: function(params, seen(example))

    return _rebuilt(problem, on_seen, pairs, test_pairs, f"{problem.name}, augmented")


def transformed(image: jax.Array, number: Any, shifts: int) -> jax.Array:
    """Transform `number` of an image (C, H, W): with k = 2 shifts + 1, mirrored if number >= k^2, then moved.

    number mod k^2 = k i + j moves it up by i - shifts and left by j - shifts pixels, zeros moved in.

    >>> transformed(jnp.array([[[1.0, 2.0, 3.0]]]), 9 + 5, shifts=1)            # mirrored, then one to the left
    Array([[[2., 1., 0.]]], dtype=float32)
    """
    side = 2 * shifts + 1
    mirrored, place = jnp.divmod(number, side**2)
    image = jnp.where(mirrored == 1, image[..., ::-1], image)
    around = jnp.pad(image, ((0, 0), (shifts, shifts), (shifts, shifts)))
    return jax.lax.dynamic_slice(around, (jnp.zeros_like(place), place // side, place % side), image.shape)


def num_transforms(flips: bool, shifts: int) -> int:
    """How many transforms there are."""
    return (2 if flips else 1) * (2 * shifts + 1) ** 2


def identity_transform(shifts: int) -> int:
    """The number of the transform that leaves an image as it is."""
    return ((2 * shifts + 1) ** 2 - 1) // 2


def _canonical(leaf: jax.Array) -> jax.Array:
    """The leaf in the width in force: what was a 64-bit constant once, JAX gives as such outside of 64-bit mode too."""
    return leaf.astype(jax.dtypes.canonicalize_dtype(leaf.dtype))


def _pairs(rows: Any, numbers: Any) -> dict[str, np.ndarray]:
    """Each row with each number, row by row."""
    rows, numbers = np.asarray(rows, np.int32), np.asarray(numbers, np.int32)
    return {"image": np.repeat(rows, len(numbers)), "transform": np.tile(numbers, len(rows))}


def _rebuilt(
    problem: Problem, change: Callable[[Loss], Loss], pool: Examples, test_pool: Examples, name: str
) -> Problem:
    """The problem on other pools, each of its functions of (params, example) changed."""
    made = from_arrays(change(problem.loss), problem.init, pool, name, test_pool=test_pool)
    measured = None if problem.measured is None else change(problem.measured)
    metrics = {label: change(metric) for label, metric in dict(problem.metrics or {}).items()}
    return replace(made, measured=measured, metrics=metrics, weight_decay=problem.weight_decay)
