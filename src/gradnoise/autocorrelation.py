"""How long a series remembers: the integrated autocorrelation time and the effective sample size."""

import math

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

WINDOW = 5
"""Autocorrelations are summed up to so many autocorrelation times."""


def autocorrelation_time(series: ArrayLike) -> float:
    """The integrated autocorrelation time tau = 1 + 2 sum_{k>=1} rho_k of a stationary series, in records.

    The mean of n records has variance Var(x) tau / n: 1 for independent records, (1 + phi)/(1 - phi) for a first-order
    autoregression. `series` has shape (record,) or (replica, record): replicas are independent copies of one law, their
    autocovariances are averaged about the common mean. The sum stops at the first lag W >= 5 tau(W). Below one (records
    that alternate) it is left at one. A series that does not change has tau = 1; inf says that the series is too short
    for the sum to stop.

    >>> autocorrelation_time(np.random.default_rng(0).normal(size=10_000))
    1.0

    Raises ValueError for fewer than 2 records or numbers that are not finite.

    Source: Sokal 1997, "Monte Carlo Methods in Statistical Mechanics", section 3.
    """
    rows = rows_of("series", series)
    correlations = _autocorrelations(rows)
    if correlations is None:
        return 1.0
    times = 2 * np.cumsum(correlations) - 1
    lags = np.arange(len(times))
    stops = np.flatnonzero((lags >= WINDOW * np.maximum(times, 1.0)) & (lags > 0))
    return max(float(times[stops[0]]), 1.0) if len(stops) else math.inf


def effective_sample_size(series: ArrayLike) -> float:
    """How many independent records a series is worth: (number of records, all replicas) / tau.

    >>> effective_sample_size(np.random.default_rng(0).normal(size=(4, 1000)))
    4000.0

    Raises what `autocorrelation_time` raises.
    """
    return rows_of("series", series).size / autocorrelation_time(series)


def rows_of(name: str, series: ArrayLike) -> Float[np.ndarray, "replica record"]:
    """The series as (replica, record) in float64; raises unless there are two finite records."""
    values = np.asarray(series, dtype=float)
    if values.ndim not in (1, 2) or values.shape[-1] < 2 or values.size == 0:
        raise ValueError(
            f"{name} has shape {values.shape}, expected (record,) or (replica, record) with at least 2 records."
        )
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{name} holds NaN or infinity, expected finite numbers. Leave diverged replicas out.")
    return np.atleast_2d(values)


def _autocorrelations(rows: Float[np.ndarray, "replica record"]) -> np.ndarray | None:
    """rho_0 = 1, rho_1, ... averaged over replicas, by Fourier transform; None where nothing changes."""
    centred = rows - rows.mean()
    records = rows.shape[1]
    spectrum = np.abs(np.fft.rfft(centred, 2 * records)) ** 2
    covariances = np.fft.irfft(spectrum.mean(axis=0), 2 * records)[:records] / np.arange(records, 0, -1)
    rounding = (np.finfo(float).eps * np.abs(rows).max()) ** 2 * records
    return None if covariances[0] <= rounding else covariances / covariances[0]
