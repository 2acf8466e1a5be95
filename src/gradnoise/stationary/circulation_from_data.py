"""The circulation of a stationary process read off its paths: area swept, and the antisymmetric lagged covariance."""

import math

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from gradnoise import _checks
from gradnoise.autocorrelation import autocorrelation_time
from gradnoise.estimate import Estimate, from_samples

FEWEST_SAMPLES = 16
"""So many replicas, or blocks of fewer replicas, are behind every standard error."""
MEMORIES = 5
"""A block spans at least so many integrated autocorrelation times of the slowest coordinate."""


def area_rate(paths: ArrayLike, interval: float = 1.0) -> Estimate:
    """Rate at which paths sweep area, twice over: E[x_i dx_j - x_j dx_i]/dt, from successive records.

        E[x_i(t) x_j(t + h) - x_j(t) x_i(t + h)] / h,    h = interval        ->  2 Q_ij/beta as h -> 0

    An antisymmetric (d, d) matrix; positive [0, 1]: from axis 0 towards axis 1. For SGD recorded at every step, h =
    learning_rate, its expectation is `circulation` of the decomposition at that learning rate, exactly; for a diffusion it
    is off by O(h). `paths`: stationary records (replica, record, d), or (record, d) of one run; burn-in left out.
    `stderr` is over replicas, or over blocks where there are fewer than 16. The mean of all records is taken off.

    >>> turn = 0.99 * np.exp(0.1j) ** np.arange(400)                    # a damped circle is not stationary, but turns
    >>> noise = np.random.default_rng(0).normal(size=(16, 400, 2))
    >>> paths = np.stack([turn.real, turn.imag], axis=-1) + 0.01 * noise
    >>> bool(area_rate(paths, 0.1).value[0, 1] > 0)
    True

    Raises ValueError for other shapes, numbers that are not finite, and records too few for an error.

    Source: docs/theory/stationary.md, "Circulation"; docs/theory/spectra.md.
    """
    return lag_covariance_slope(paths, interval, num_lags=1)


def lag_covariance_slope(paths: ArrayLike, interval: float = 1.0, num_lags: int = 3) -> Estimate:
    """Minus the slope at lag 0 of C(t) - C(t)^T, C(t) = E x_{s+t} x_s^T: the same rate as `area_rate`, at order h^m.

        sum_{k=1..m} w_k (C(kh)^T - C(kh))/h,    sum_k w_k k^p = 1 for p = 1, 0 for p = 2, ..., m = num_lags

    With m = 1 it is `area_rate`. More lags take off the bias of records that are h = `interval` apart, up to O(h^m), and
    add noise. For a diffusion; for SGD recorded at every step m = 1 is exact. Shapes and errors as in `area_rate`.

    Raises what `area_rate` raises, and ValueError for more lags than a block of records holds.

    Source: docs/theory/spectra.md, "Circulation from data".
    """
    length = _checks.number("interval", interval, above=0.0)
    lags = _checks.integer("num_lags", num_lags)
    blocks = _blocks(_paths(paths))
    if lags >= blocks.shape[1]:
        raise ValueError(
            f"num_lags={lags} needs blocks of more than {lags} records, and they have {blocks.shape[1]}. Record more."
        )
    samples = sum(
        weight * _turned(blocks, lag) for lag, weight in zip(range(1, lags + 1), slope_weights(lags), strict=True)
    )
    return from_samples(np.asarray(samples) / length)


def circulating_part(rate: Estimate, inverse_temperature: float) -> Estimate:
    """Q = (beta/2) E[x_i dx_j - x_j dx_i]/dt from a measured rate; for SGD beta = 2 batch_size/learning_rate.

    >>> circulating_part(Estimate(np.array([[0.0, 0.1], [-0.1, 0.0]]), np.zeros((2, 2)), 16), 4.0).value[0, 1].item()
    0.2
    """
    half = _checks.number("inverse_temperature", inverse_temperature, above=0.0) / 2
    return Estimate(half * rate.value, half * rate.stderr, rate.num_samples)


def slope_weights(num_lags: int) -> Float[np.ndarray, "m"]:
    """w with sum_k w_k k^p = 1 for p = 1 and 0 for p = 2..m: the slope at 0 of a polynomial that vanishes there.

    >>> slope_weights(2)
    array([ 2. , -0.5])
    """
    lags = np.arange(1, num_lags + 1, dtype=float)
    powers = lags ** np.arange(1, num_lags + 1)[:, None]
    return np.linalg.solve(powers, np.eye(num_lags)[0])


def _turned(blocks: Float[np.ndarray, "n record d"], lag: int) -> Float[np.ndarray, "n d d"]:
    """x_i(t) x_j(t + lag) - x_j(t) x_i(t + lag), averaged over the records of each block."""
    before, after = blocks[:, :-lag], blocks[:, lag:]
    products = np.einsum("nti,ntj->nij", before, after) / before.shape[1]
    return products - products.transpose(0, 2, 1)


def _paths(paths: ArrayLike) -> Float[np.ndarray, "replica record d"]:
    values = np.asarray(paths, dtype=float)
    values = values[None] if values.ndim == 2 else values
    if values.ndim != 3 or values.shape[1] < 2 or values.shape[2] < 2:
        raise ValueError(
            f"paths has shape {np.shape(paths)}, expected (replica, record, d) or (record, d) with at least 2 records of "
            "d >= 2 numbers. Project the weights on two directions, say."
        )
    if not np.all(np.isfinite(values)):
        raise ValueError("paths holds NaN or infinity, expected finite numbers. Leave diverged replicas out.")
    return values - values.mean(axis=(0, 1))


def _blocks(values: Float[np.ndarray, "replica record d"]) -> Float[np.ndarray, "n block d"]:
    """Replicas, or equal consecutive blocks of them where they are fewer than FEWEST_SAMPLES."""
    replicas, records, d = values.shape
    if replicas >= FEWEST_SAMPLES:
        return values
    each = math.ceil(FEWEST_SAMPLES / replicas)
    length = records // each
    memory = max(autocorrelation_time(values[:, :, i]) for i in range(d))
    if length < max(2, MEMORIES * memory):
        raise ValueError(
            f"paths has {replicas} x {records} records with an autocorrelation time of {memory:.3g}: too few for an "
            f"error from {each} blocks a replica. Record at least {MEMORIES * each} autocorrelation times, or "
            f"{FEWEST_SAMPLES} replicas."
        )
    return values[:, : each * length].reshape(replicas * each, length, d)
