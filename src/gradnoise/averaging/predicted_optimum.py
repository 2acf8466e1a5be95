"""The temperature of least test loss: as an approximation predicts it, and whether it is there."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import root_scalar

from gradnoise import _checks
from gradnoise.averaging.effective_potential import EffectivePotential
from gradnoise.averaging.moments import EDGE_TOLERANCE, NotNormalizableError
from gradnoise.averaging.potential_moments import (
    PotentialMoments,
    approximate_loss_slope,
    potential_moments,
    temperature_slope,
)

NUM_TEMPERATURES = 48
"""How many temperatures, evenly spaced in the logarithm, a bracket is searched at for a change of sign."""


class PredictedOptimum(NamedTuple):
    """A predicted temperature of least test loss, beside the exact one; see `predicted_optimum`."""

    predicted: float
    """The solution of (26); NaN where it has none in the bracket."""
    exact: float
    """The lowest temperature at which the exact test loss turns from falling to rising; NaN where it does nowhere."""
    is_real: bool
    """Whether the exact test loss falls at half the predicted temperature and rises at twice it."""


def predicted_optimum(
    potential: EffectivePotential,
    mean_losses: ArrayLike,
    bracket: tuple[float, float],
    edge_tolerance: float = EDGE_TOLERANCE,
) -> PredictedOptimum:
    """The temperature at which the approximate test loss is least, with the check whether the exact one has a minimum there.

        T = 2 Cov(Ubar, sigma_v^2) / Cov(Ubar, vbar - sigma_va)        (26)

    with covariances under the approximate rhobar (25) at T itself: an equation, solved in `bracket` (low, high) as the
    place where `approximate_loss_slope` turns from negative to positive. Temperatures at which (25) is not normalizable
    on the grid are passed over. The approximation has a minimum where it starts to fail, whether the test loss has one or
    not: `is_real` is False for mean estimation, and a prediction without it must not be used. `mean_losses` Ubar (*grid).
    For the optimum of runs that were made see `fit_optimum`.

    >>> from gradnoise.averaging.models import gaussian_mean
    >>> model = gaussian_mean(mean_variance=0.5)
    >>> predicted_optimum(model.potential, model.mean_loss, (0.5, 8.0))         # 4 s/M; the test loss is T/4 + s
    PredictedOptimum(predicted=2.0, exact=nan, is_real=False)

    Raises ValueError for a bracket that is not 0 < low < high, and where (25) is normalizable nowhere in it.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eq (26); the check: docs/theory/averaging.md.
    """
    low = _checks.number("bracket[0]", bracket[0], above=0.0)
    temperatures = np.geomspace(low, _checks.number("bracket[1]", bracket[1], above=low), NUM_TEMPERATURES)
    moments = potential_moments(potential)
    exact_slope = lambda T: temperature_slope(potential, mean_losses, T)  # noqa: E731
    predicted_slope = lambda T: _slope_or_nan(moments, mean_losses, T, edge_tolerance)  # noqa: E731
    slopes = np.array([predicted_slope(T) for T in temperatures])
    if np.isnan(slopes).all():
        raise NotNormalizableError(
            f"the approximate density (25) is not normalizable on the grid between T={low:g} and T={bracket[1]:g}. Give "
            "higher temperatures or a wider grid, or follow the exact test loss with temperature_slope."
        )
    predicted = _first_minimum(predicted_slope, temperatures, slopes)
    exact = _first_minimum(exact_slope, temperatures, np.array([exact_slope(T) for T in temperatures]))
    is_real = bool(np.isfinite(predicted)) and exact_slope(predicted / 2) < 0 < exact_slope(2 * predicted)
    return PredictedOptimum(predicted, exact, is_real)


def _slope_or_nan(
    moments: PotentialMoments, mean_losses: ArrayLike, temperature: float, edge_tolerance: float
) -> float:
    try:
        return approximate_loss_slope(moments, mean_losses, temperature, edge_tolerance=edge_tolerance)
    except NotNormalizableError:
        return np.nan


def _first_minimum(slope: Callable[[float], float], temperatures: np.ndarray, slopes: np.ndarray) -> float:
    """Where the slope first turns from negative to positive; NaN if nowhere."""
    turns = np.flatnonzero((slopes[:-1] < 0) & (slopes[1:] > 0))
    if not len(turns):
        return np.nan
    ends = tuple(temperatures[turns[0] : turns[0] + 2].tolist())
    return float(root_scalar(slope, bracket=ends, xtol=1e-14, rtol=1e-10).root)
