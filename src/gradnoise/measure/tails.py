"""The tail index of a stable law, from sums of blocks of independent draws."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gradnoise import _checks
from gradnoise.estimate import Estimate


@dataclass(frozen=True, eq=False, repr=False)
class TailIndex(Estimate):
    """A tail index alpha as it came out (`value`, which may exceed 2), its error, and `clipped` to what a law can have."""

    @property
    def clipped(self) -> Any:
        """The value, but at most 2: no stable law has a larger index."""
        return np.minimum(self.value, 2.0)[()]


def tail_index(
    samples: Any, block_size: int, axis: int = 0, *, mean: Any = None, vector_axis: int | None = None
) -> TailIndex:
    """The tail index alpha of symmetric stable draws, by how much faster sums grow than single draws.

        1/alpha = (1/log K) [ mean_i log|Y_i| - mean_j log|X_j| ],    Y_i = X_{(i-1)K+1} + ... + X_{iK},    K = block_size

    `samples`: independent draws along `axis`; other axes are other quantities, one index each, never pooled: blocks of
    coordinates of one gradient measure how unequal and how correlated they are (docs/theory/tails.md), not a tail.
    With `vector_axis` the entries along it are one vector and |.| its norm. Draws are centred by their own mean, or by
    `mean` where it is known (a number, or an array without `axis`). Know it where alpha may be below 2: there one large
    draw can move the sample mean by more than the sums spread, which `stderr` does not see. Exact zeros are dropped,
    and the draws at the end that fill no block; blocks whose sum is exactly zero too.

    `stderr` is by the delta method from the spread over blocks of log|Y_i| - mean_{j in i} log|X_j|; it covers the
    sampling, not that other laws have another index on every scale: a Gaussian gives 2, a law with finite variance and
    heavy tails less than 2, slowly rising with K. NaN where fewer than two blocks are left. `num_samples` counts the
    draws used (the fewest of all quantities).

    >>> draws = np.random.default_rng(0).standard_cauchy((100_000, 2))
    >>> alpha = tail_index(draws, block_size=100, mean=0)
    >>> np.round(alpha.value, 1), np.abs(alpha.value - 1) < 4 * alpha.stderr
    (array([1., 1.]), array([ True,  True]))

    Raises ValueError for a block_size below 2, fewer than two blocks, no such axis, or values that are not finite;
    TypeError for samples that are no numbers.

    Source: the estimator attributed to Mohammadi, Mohammadpour, Ogata 2015 for stable laws; docs/theory/tails.md.
    """
    block_size = _checks.integer("block_size", block_size, 2)
    array = _numbers(samples, axis, vector_axis)
    num_draws = array.shape[axis]
    if num_draws < 2 * block_size:
        raise ValueError(
            f"samples holds {num_draws} draws along axis={axis}, expected at least two blocks of block_size={block_size}. "
            "Give more draws, or a smaller block_size."
        )
    array = array - _centre(array, axis, mean)
    if vector_axis is None:
        array, vector_axis = array[..., None], array.ndim
        axis = axis % vector_axis
    draws = np.moveaxis(array, (axis, vector_axis), (0, -1))
    shape = draws.shape[1:-1]
    columns = draws.reshape(num_draws, -1, draws.shape[-1]).transpose(1, 0, 2)
    found = [_one_index(column, block_size) for column in columns]
    values, errors, used = (np.array(part) for part in zip(*found, strict=True))
    return TailIndex(values.reshape(shape), errors.reshape(shape), int(used.min()))


def _one_index(vectors: np.ndarray, block_size: int) -> tuple[float, float, int]:
    """Index, standard error and draws used, of centred draws (n, d)."""
    vectors = vectors[np.any(vectors != 0, axis=1)]
    num_blocks = len(vectors) // block_size
    blocks = vectors[: num_blocks * block_size].reshape(num_blocks, block_size, vectors.shape[1])
    sums = np.linalg.norm(blocks.sum(axis=1), axis=-1)
    kept = sums > 0
    if kept.sum() < 2:
        return np.nan, np.nan, int(kept.sum()) * block_size
    singles = np.log(np.linalg.norm(blocks[kept], axis=-1)).mean(axis=1)
    growth = (np.log(sums[kept]) - singles) / np.log(block_size)
    inverse, spread = growth.mean(), growth.std(ddof=1) / np.sqrt(len(growth))
    with np.errstate(divide="ignore"):
        return 1 / inverse, spread / inverse**2, len(growth) * block_size


def _numbers(samples: Any, axis: int, vector_axis: int | None) -> np.ndarray:
    """The samples as an array that has these axes."""
    try:
        array = np.asarray(samples, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(
            f"samples is {type(samples).__name__}, expected an array of numbers. Convert it first."
        ) from None
    given = {"axis": axis} if vector_axis is None else {"axis": axis, "vector_axis": vector_axis}
    for name, value in given.items():
        if not -array.ndim <= _checks.integer(name, value, -array.ndim) < array.ndim:
            raise ValueError(f"{name}={value} does not exist in samples of shape {array.shape}. Give one that does.")
    if vector_axis is not None and (axis - vector_axis) % array.ndim == 0:
        raise ValueError(f"axis={axis} and vector_axis={vector_axis} are the same, expected two. Give two axes.")
    if not np.all(np.isfinite(array)):
        raise ValueError("samples holds NaN or infinity, expected finite numbers. Remove the draws that diverged.")
    return array


def _centre(array: np.ndarray, axis: int, mean: Any) -> np.ndarray:
    """What to subtract from every draw."""
    if mean is None:
        return array.mean(axis=axis, keepdims=True)
    known, shape = np.asarray(mean, dtype=float), np.delete(array.shape, axis)
    if known.ndim and known.shape != tuple(shape):
        raise ValueError(
            f"mean has shape {known.shape}, expected {tuple(map(int, shape))}: samples without axis={axis}."
        )
    return np.expand_dims(known, axis) if known.ndim else known
