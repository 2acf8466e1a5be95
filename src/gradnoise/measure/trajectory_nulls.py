"""What spectra and autocorrelations of reversible processes look like: closed forms to draw beside a run's.

All are of equilibrium, without a current. A run that shows them may be out of it, and one that does not may be in it.
"""

import math

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from gradnoise import _checks

QUANTILE_99 = 2.576
"""Of the standard normal law: 99 % lie within +- this."""


def autoregression_increment_power(coefficient: float, frequency: ArrayLike) -> Float[np.ndarray, " frequency"]:
    """Power of the increments of x_{t+1} = a x_t + e, e of variance 1, at `frequency` f in cycles per record.

        2 (1 - cos w)/(1 + a^2 - 2 a cos w),    w = 2 pi f

    It rises with the frequency for every -1 < a < 1, from 0 at f = 0 to 4/(1 + a)^2 at f = 1/2; a = 1 is Brownian motion,
    whose increments are white: 1 at all frequencies. For an Ornstein-Uhlenbeck process of rate k recorded every dt,
    a = exp(-k dt).

    >>> autoregression_increment_power(0.99, [1 / 4096, 0.5]).tolist()
    [0.0230, 1.0101]

    Raises ValueError for a coefficient outside (-1, 1].

    Source: docs/theory/trajectories.md.
    """
    a = _coefficient(coefficient, one=True)
    cosine = np.cos(2 * np.pi * np.asarray(frequency, dtype=float))
    if a == 1:
        return np.ones_like(cosine)
    return 2 * (1 - cosine) / (1 + a**2 - 2 * a * cosine)


def autoregression_autocorrelation(coefficient: float, lags: ArrayLike) -> Float[np.ndarray, " lag"]:
    """a^k: the autocorrelation of x_{t+1} = a x_t + e at lag k.

    >>> autoregression_autocorrelation(0.99, [0, 1, 100]).tolist()
    [1.0, 0.99, 0.366]

    Raises ValueError for a coefficient outside (-1, 1].
    """
    return _coefficient(coefficient, one=True) ** np.asarray(lags, dtype=float)


def random_walk_autocorrelation(lags: ArrayLike, num_records: int) -> Float[np.ndarray, " lag"]:
    """What the estimator of `weight_autocorrelation` shows of Brownian motion: 1 - 5 u + 6 u^2 - 2 u^3, u = k/n.

    The ratio of expectations (the expectation of the ratio is a little different), for n large. No constant of time
    enters but the length n of the record: the autocorrelation stays near 1 for as long as k << n, and first vanishes at
    u = 1 - 1/sqrt(2).

    >>> random_walk_autocorrelation([0, 10, 100], num_records=1000).tolist()
    [1.0, 0.951, 0.558]

    Raises ValueError for lags that are negative or reach beyond the records.

    Source: derived in docs/theory/trajectories.md.
    """
    share = np.asarray(lags, dtype=float) / _checks.integer("num_records", num_records, 2)
    if np.any((share < 0) | (share > 1)):
        raise ValueError(f"lags goes outside the {num_records} records. Give lags from 0 to num_records.")
    return 1 - 5 * share + 6 * share**2 - 2 * share**3


def white_noise_band(num_records: int) -> float:
    """2.576/sqrt(n): what 99 % of the autocorrelations of n independent numbers stay below, at any lag > 0.

    >>> white_noise_band(4096)
    0.04025
    """
    return QUANTILE_99 / math.sqrt(_checks.integer("num_records", num_records))


def autoregression_band(coefficient: float, lags: ArrayLike, num_records: int) -> Float[np.ndarray, " lag"]:
    """2.576 (Var r_k)^(1/2) of n records of x_{t+1} = a x_t + e, around a^k, by Bartlett's formula.

        Var r_k = (1/n) [ (1 + a^2)(1 - a^(2k))/(1 - a^2) - 2 k a^(2k) ]

    For a = 0 it is `white_noise_band` at every lag > 0. Good for n well above the autocorrelation time (1 + a)/(1 - a).

    >>> autoregression_band(0.99, [1, 100], num_records=4096).tolist()
    [0.0057, 0.3101]

    Raises ValueError for a coefficient outside (-1, 1).

    Source: Bartlett 1946, "On the theoretical specification and sampling properties of autocorrelated time-series".
    """
    a, k = _coefficient(coefficient), np.asarray(lags, dtype=float)
    decayed = a ** (2 * k)
    variance = (1 + a**2) * (1 - decayed) / (1 - a**2) - 2 * k * decayed
    return QUANTILE_99 * np.sqrt(np.maximum(variance, 0.0) / _checks.integer("num_records", num_records))


def _coefficient(value: float, one: bool = False) -> float:
    return 1.0 if one and value == 1 else _checks.number("coefficient", value, above=-1.0, below=1.0)
