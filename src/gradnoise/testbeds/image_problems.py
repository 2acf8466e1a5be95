"""Stock models on images of fewer classes, or of every one-pixel shift."""

import itertools
from typing import Any

import numpy as np
from jaxtyping import Float

from gradnoise import _checks
from gradnoise.problem import Problem, from_arrays
from gradnoise.testbeds.catalogue import MODELS
from gradnoise.testbeds.datasets import Data
from gradnoise.testbeds.networks import shape_of_image

NUM_SHIFTS = 9


def image_problem(
    data: Data,
    model: str = "conv",
    num_classes: int | None = None,
    num_pool: int | None = None,
    shifts: bool = False,
    **options: Any,
) -> Problem:
    """A stock model on the first `num_pool` images of the classes 0, ..., num_classes - 1; `options` are the model's.

    With `shifts` the pool holds every image moved by -1, 0 or 1 pixels in both directions, nine times as many, the edge
    filled with the image's smallest value: a draw from it is an image and a random shift, so that augmentation is part
    of the population, and its covariance exact. Held-out images are not moved.

    >>> from gradnoise.testbeds.datasets import digits
    >>> image_problem(digits(), "logistic", num_classes=2, num_pool=10, shifts=True).num_pool
    90

    Raises ValueError for an unknown model, more classes or images than there are, and features that are no square image.
    """
    if data.task != "classification":
        raise ValueError("data holds floating targets, expected labels of classes. Give integer y.")
    _checks.one_of("model", model, MODELS)
    classes = (
        data.num_outputs if num_classes is None else _checks.integer("num_classes", num_classes, 2, data.num_outputs)
    )
    pool = _first_classes(data.pool, classes)
    most = len(pool["y"])
    count = most if num_pool is None else _checks.integer("num_pool", num_pool, 1, most)
    pool = {name: leaf[:count] for name, leaf in pool.items()}
    if shifts:
        pool = {"x": shifted(pool["x"]), "y": np.repeat(pool["y"], NUM_SHIFTS)}
    held_out = None if data.test_pool is None else _first_classes(data.test_pool, classes)
    built = MODELS[model](data.num_features, classes, **options)
    name = f"{model}, {classes} classes" + (", shifted" if shifts else "")
    return from_arrays(
        built.loss, built.init, pool, name, measured=built.measured, test_pool=held_out, metrics=built.metrics
    )


def shifted(x: Float[np.ndarray, "n f"]) -> Float[np.ndarray, "m f"]:
    """Each flat square image in its nine places, one after the other, f numbers each; m = 9 n.

    >>> shifted(np.arange(1.0, 5.0)[None]).reshape(9, 2, 2)[[0, 8]]              # down and right, up and left
    array([[[1., 1.],
            [1., 1.]],
           [[4., 1.],
            [1., 1.]]])
    """
    shape = shape_of_image(x.shape[1], None)
    images = x.reshape(-1, *shape)
    smallest = images.min(axis=(1, 2, 3), keepdims=True)
    around = np.pad(images - smallest, ((0, 0), (0, 0), (1, 1), (1, 1)))
    places = itertools.product(range(3), repeat=2)
    moved = [around[:, :, i : i + shape[1], j : j + shape[2]] + smallest for i, j in places]
    return np.stack(moved, axis=1).reshape(-1, x.shape[1]).astype(x.dtype)


def _first_classes(examples: dict[str, np.ndarray], num_classes: int) -> dict[str, np.ndarray]:
    kept = examples["y"] < num_classes
    return {name: leaf[kept] for name, leaf in examples.items()}
