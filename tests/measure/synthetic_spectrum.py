"""A `NoiseSpectrum` of given gradients by numpy alone: nothing to compile."""

import numpy as np

from gradnoise.estimate import exact
from gradnoise.measure import NoiseSpectrum


def spectrum_of(rows: np.ndarray) -> NoiseSpectrum:
    """What `noise_spectrum` says of a linear problem with these gradients."""
    count, size = rows.shape
    centred = (rows - rows.mean(axis=0)) / np.sqrt(count)
    values = np.zeros(size)
    values[: min(rows.shape)] = np.linalg.svd(centred, compute_uv=False) ** 2
    square, largest = float(values @ values), float(values[0])
    ratio, stable = (values.sum() ** 2 / square, values.sum() / largest) if square > 0 else (0.0, 0.0)
    numbers = (values.sum(), values.mean(), values.std(), ratio, stable)
    threshold = largest * size * float(np.finfo(float).eps)
    rank = int((values > threshold).sum())
    told = [exact(float(number), count) for number in numbers]
    grid = np.ones(1)
    return NoiseSpectrum(
        "D", "exact", values, np.zeros(size), *told, rank, threshold, grid, exact(np.zeros(1), count), count, size
    )
