"""The temperature at which the test loss is lowest, with an interval over seeds."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import stats

from gradnoise import _checks
from gradnoise.averaging.seed_table import one_row_a_temperature, resampled_means, run_spread, runs_by_temperature
from gradnoise.estimate import Estimate

REACH = 2
"""Temperatures to either side of the lowest mean that the parabola is fitted to."""


@dataclass(frozen=True, eq=False)
class FittedOptimum:
    """Where the test loss is lowest; see `fit_optimum`."""

    temperature: Estimate
    loss: Estimate
    """The lowest loss, on the parabola."""
    low: float
    high: float
    """The interval of `level`; zero or inf where it reaches the lowest or highest temperature that was run."""
    level: float
    num_seeds: int

    @property
    def at_edge(self) -> bool:
        """Whether the interval reaches an edge: the optimum may lie beyond the temperatures that were run."""
        return self.low == 0 or self.high == math.inf

    @property
    def sentence(self) -> str:
        """The optimum in words."""
        value = f"{self.temperature.value:.3g}"
        if not self.at_edge:
            return f"The test loss is lowest at T = {value}, between {self.low:.3g} and {self.high:.3g}."
        told = [f"below {self.high:.3g}"] * (self.high < math.inf) + [f"above {self.low:.3g}"] * (self.low > 0)
        reached = " and ".join(["lowest"] * (self.low == 0) + ["highest"] * (self.high == math.inf))
        return (
            f"The test loss is lowest at the edge: T = {value}, {told[0] if told else 'anywhere'}; its interval reaches "
            f"the {reached} temperature. Add temperatures there."
        )


def fit_optimum(
    temperature: ArrayLike, test_loss: ArrayLike, level: float = 0.95, num_resamples: int = 1000, seed: int = 0
) -> FittedOptimum:
    """The minimum over log T of a polynomial through the means around the lowest one, with its interval over seeds.

    `temperature` (row,), `test_loss` (row, seed) or any loss or error; rows of equal temperature are averaged. A parabola
    and, given five rows, a cubic are fitted by weighted least squares to the lowest mean and up to two temperatures on
    either side; the minimum is kept within them, and is the lowest point where they do not bend upwards. Errors: the same
    for resampled means over seeds. Each polynomial's interval is given by quantiles of log T* - log T, T* that of a
    resample, stretched by Student's t over the normal quantile for few seeds; the interval given spans both, as a curve
    that is neither moves the two minima apart. `temperature` is the parabola's, its `stderr` (T times that of log T)
    covers the seeds alone.

    Coverage of the 95 % interval: docs/theory/temperature_protocol.md.

    >>> T, seeds = np.geomspace(1, 64, 7), 0.05 * np.random.default_rng(0).normal(size=(7, 5))
    >>> print(fit_optimum(T, np.square(np.log(T / 8.0))[:, None] + seeds).sentence)
    The test loss is lowest at T = 7..., between 7... and 8....

    Raises ValueError for fewer than 3 temperatures or 2 seeds, NaN, a level outside (0, 1).

    Source: docs/theory/temperature_protocol.md, "The optimum".
    """
    level = _checks.number("level", level, above=0.0, below=1.0)
    num_resamples = _checks.integer("num_resamples", num_resamples, 100)
    rows, table = one_row_a_temperature(*runs_by_temperature("test_loss", temperature, test_loss, 3, num_seeds=2))
    if len(rows) < 3:
        raise ValueError(f"test_loss has {len(rows)} different temperatures, expected at least 3. Add runs.")
    logs, weights = np.log(rows), 1 / np.maximum(np.square(run_spread(rows, table)), np.finfo(float).tiny)
    means, seeds = table.mean(axis=1)[None], table.shape[1]
    stretch = float(stats.t.ppf((1 + level) / 2, seeds - 1) / stats.norm.ppf((1 + level) / 2))
    resampled, ends = resampled_means(table, num_resamples, seed), []
    for degree in (3, 2):  # the parabola last: place and height are its own
        best, lowest = lowest_points(logs, means, weights, degree)
        drawn, depths = lowest_points(logs, resampled, weights, degree)
        ends.extend(best[0] + stretch * np.quantile(drawn - best[0], [(1 - level) / 2, (1 + level) / 2]))
    value = float(np.exp(best[0]))
    return FittedOptimum(
        Estimate(value, value * float(drawn.std()), seeds),
        Estimate(lowest[0], depths.std(), seeds),
        float(np.exp(min(ends))) if min(ends) > logs[0] else 0.0,
        float(np.exp(max(ends))) if max(ends) < logs[-1] else math.inf,
        level,
        seeds,
    )


def lowest_points(
    logs: Float[np.ndarray, "row"],
    means: Float[np.ndarray, "curve row"],
    weights: Float[np.ndarray, "row"],
    degree: int,
) -> tuple[Float[np.ndarray, "curve"], Float[np.ndarray, "curve"]]:
    """Place and height of each curve's minimum: the polynomial's, kept within the rows it is fitted to.

    u + s x + b x^2 + c x^3 has its minimum at x = -s / (b + sqrt(b^2 - 3 s c)). A cubic needs five rows.
    """
    lowest = means.argmin(axis=1)
    places, heights = logs[lowest], means.min(axis=1)
    for row in np.unique(lowest):
        near = slice(max(row - REACH, 0), row + REACH + 1)
        shifted, curves = logs[near] - logs[row], lowest == row
        root = np.sqrt(weights[near] / weights.max())
        order = degree if len(shifted) == 2 * REACH + 1 else 2
        design = np.vander(shifted, order + 1, increasing=True) * root[:, None]
        solved = np.linalg.lstsq(design, (means[curves, near] * root).T, rcond=None)[0]
        level, slope, bend, twist = np.pad(solved, ((0, 3 - order), (0, 0)))
        divisor = bend + np.sqrt(np.maximum(square := bend**2 - 3 * slope * twist, 0.0))
        up = (square > 0) & (divisor > 0)
        place = np.clip(np.divide(-slope, divisor, out=np.zeros_like(bend), where=up), shifted[0], shifted[-1])
        places[curves] = logs[row] + place
        heights[curves] = np.where(up, level + place * (slope + place * (bend + place * twist)), heights[curves])
    return places, heights
