"""How the means of SVAG approach their limit as l grows: the coefficient of 1/l, and the exponent."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from gradnoise.estimate import Estimate, from_samples
from gradnoise.experiment.residuals import Slope

MOST_EXPONENT = 6.0


class Approach(NamedTuple):
    """`limit` + `coefficient` / l at every recorded step, and the exponent s of l^-s at the step `at` (a record)."""

    limit: Estimate
    coefficient: Estimate
    slope: Slope
    at: int


def fit_approach(samples: Float[np.ndarray, "replica row record"], inverse_l: Sequence[float]) -> Approach:
    """Fit mean_l = limit + C/l to rows with these 1/l; 0 stands for a run of the limit itself.

    SGD, l = 1, is left out: it is far from the limit, and the next term, of order 1/l^2, would go into C. On the four
    linear gradients of `linear_gradients` (rate .4, ten steps, l up to 16) the limits of E x, ..., E x^4 are then off by
    at most 4.1e-4, C by at most 38 %; with SGD by 1.4e-3 and 78 %. The fit is plain least squares, replica by replica, so
    that the errors are those over replicas, whatever the rows share; they do not cover the next term.

    The exponent is fitted at one step, that with the largest |C| in standard errors, to limit + C l^-s with the covariance
    of the rows' means; its interval (95 %) is that of the profile likelihood, and does not know of that choice: where C is
    noise it means little. (0, inf) says that the runs cannot tell.

    >>> means = 2.0 + 0.5 / np.array([2.0, 4.0, 8.0])
    >>> replicas = means[None, :, None] + 1e-3 * np.random.default_rng(0).normal(size=(100, 3, 1))
    >>> found = fit_approach(replicas, [1 / 2, 1 / 4, 1 / 8])
    >>> found.limit.value, found.coefficient.value, found.slope.holds
    (array([2.00]), array([0.50]), True)
    """
    used = [row for row, inverse in enumerate(inverse_l) if inverse < 1]
    inverse, rows = np.asarray(inverse_l)[used], samples[:, used]
    weights = np.linalg.pinv(np.stack([np.ones(len(used)), inverse], axis=1))
    limit, coefficient = (from_samples(np.einsum("l,rlk->rk", weight, rows)) for weight in weights)
    error = np.where(coefficient.stderr > 0, coefficient.stderr, np.inf)
    at = int(np.argmax(np.abs(coefficient.value) / error))
    return Approach(limit, coefficient, _slope(rows[:, :, at], inverse), at)


def _slope(rows: Float[np.ndarray, "replica row"], inverse: np.ndarray) -> Slope:
    """s of limit + C inverse^s by generalized least squares, profiled over limit and C."""
    mean, covariance = rows.mean(axis=0), np.atleast_2d(np.cov(rows, rowvar=False)) / len(rows)
    values, vectors = np.linalg.eigh(covariance)
    kept = values > 1e-12 * max(values[-1], np.finfo(float).tiny)
    if len(inverse) < 3 or kept.sum() < 3:
        return Slope(np.nan, 0.0, np.inf, 1)
    whiten = vectors[:, kept].T / np.sqrt(values[kept])[:, None]
    exponents = np.linspace(0.02, MOST_EXPONENT, 300)
    misfit = np.array([_misfit(whiten, inverse**s, mean) for s in exponents])
    inside = exponents[misfit <= misfit.min() + stats.chi2.ppf(0.95, 1)]
    width = exponents[1] - exponents[0]
    low = 0.0 if inside[0] == exponents[0] else float(inside[0] - width)
    high = np.inf if inside[-1] == exponents[-1] else float(inside[-1] + width)
    return Slope(float(exponents[np.argmin(misfit)]), low, high, 1)


def _misfit(whiten: np.ndarray, shape: np.ndarray, mean: np.ndarray) -> float:
    design = whiten @ np.stack([np.ones(len(shape)), shape], axis=1)
    found, *_ = np.linalg.lstsq(design, whiten @ mean, rcond=None)
    return float(np.sum(np.square(whiten @ mean - design @ found)))
