"""Where the landscapes' noise comes from: normal numbers, or signs, whose finite pool is an exact population."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import jax
import numpy as np

from gradnoise import _checks
from gradnoise._types import Examples, Key, Params
from gradnoise.problem import Loss, Problem, from_arrays

LAWS = ("signs", "normal")


def landscape(loss: Loss, theta0: Sequence[float] | np.ndarray, law: str, num_noises: int, name: str) -> Problem:
    """A problem on a weight vector that starts at `theta0`, with examples of `num_noises` independent numbers.

    Both laws have mean 0 and variance 1. "signs": each is +1 or -1, the pool holds all 2^num_noises rows; "normal":
    no pool. `init` gives theta0 in float64 as a NumPy array, which keeps its digits outside 64-bit mode too.
    """
    start = np.array(theta0, dtype=np.float64)
    _checks.floating_tree("theta0", start)

    def init(key: Key) -> Params:
        return start.copy()

    def sample(key: Key, n: int) -> Examples:
        return jax.random.normal(key, (n, num_noises))

    if _checks.one_of("law", law, LAWS) == "normal":
        return Problem(loss, sample, init, name)
    if num_noises > 12:
        raise ValueError(f"law='signs' with {num_noises} noises needs 2^{num_noises} examples. Use law='normal'.")
    return from_arrays(loss, init, np.array(list(product((-1.0, 1.0), repeat=num_noises))), name)


def vector(name: str, value: Any, length: int) -> np.ndarray:
    """`value` as a vector of `length` floats; a single number stands for all of them."""
    array = np.asarray(value, dtype=np.float64)
    if array.shape not in ((), (length,)):
        raise ValueError(f"{name} has shape {array.shape}, expected {length} numbers. Give one for each weight.")
    return np.broadcast_to(array, (length,)).copy()
