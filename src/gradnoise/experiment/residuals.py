"""How the residual of a truncated series falls with the learning rate: the exponent says which order is missing."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from gradnoise.experiment.comparison import Comparison


class Slope(NamedTuple):
    """The exponent s of residual = c * learning_rate^s with a 95 % interval; `expected` = order + 1."""

    value: float
    low: float
    high: float
    expected: int

    @property
    def holds(self) -> bool:
        """Whether the expected exponent lies in the interval."""
        return self.low <= self.expected <= self.high


def residual_slope(comparisons: Sequence[Comparison], order: int) -> Slope:
    """The exponent with which mean(simulation) - prediction of `order` falls, over comparisons at several learning rates.

    Weighted least squares of c learning_rate^s (1 + d learning_rate) to the residuals at the last step: c is the first
    term that is missing, d lets the next one bend the line, by at most a factor two at the largest rate. c has a sign,
    so noise does not pass for signal. The interval (95 %) is that of the profile likelihood, widened by the misfit.
    Infinite ends: the residuals cannot tell.

    Raises ValueError for fewer than four different learning rates.
    """
    rates = np.array([c.learning_rate for c in comparisons], dtype=float)
    residuals = np.array([c.difference[-1, order] for c in comparisons])
    errors = np.array([max(c.stderr[-1, order], 1e-12 * abs(c.predicted[-1, order]), 1e-300) for c in comparisons])
    return Slope(*fit_power_law(rates, residuals, errors), order + 1)


def fit_power_law(rates: np.ndarray, residuals: np.ndarray, errors: np.ndarray) -> tuple[float, float, float]:
    """(s, low, high) of residuals = c rates^s (1 + d rates) with known errors; see `residual_slope`.

    >>> rates = np.array([0.1, 0.2, 0.4, 0.8])
    >>> fit_power_law(rates, 3 * rates**2 * (1 + rates), np.full(4, 1e-6))[0]
    2.0
    """
    if len(np.unique(rates)) < 4:
        raise ValueError(
            f"comparisons hold {len(np.unique(rates))} learning rates, expected at least 4 different ones."
        )
    scaled = rates / rates.max()
    exponents, bends = np.linspace(-2, 10, 2401), np.linspace(-1, 1, 41)
    shapes = scaled ** exponents[:, None, None] * (1 + bends[:, None] * scaled) / errors
    overlap = (shapes * (residuals / errors)).sum(-1)
    norm = np.maximum(np.square(shapes).sum(-1), np.finfo(float).tiny)
    misfit = (np.sum(np.square(residuals / errors)) - np.square(overlap) / norm).min(axis=1)
    best = int(np.argmin(misfit))
    spread = max(1.0, misfit[best] / max(len(rates) - 3, 1))
    inside = exponents[misfit <= misfit[best] + spread * stats.chi2.ppf(0.95, 1)]
    low = -np.inf if inside[0] == exponents[0] else float(inside[0])
    high = np.inf if inside[-1] == exponents[-1] else float(inside[-1])
    return round(float(exponents[best]), 3), low, high
