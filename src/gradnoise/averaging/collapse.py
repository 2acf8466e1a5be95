"""Do runs depend on learning rate and batch size through their ratio alone? Cells within and between temperatures."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import optimize, stats

from gradnoise import _checks
from gradnoise.averaging.seed_table import Table, first_rows, runs_by_temperature

CLOSE = 0.25
"""Spread within a temperature below so much of that between temperatures is a collapse."""
FAR = 1e4
"""A sum of squares above so many times its degrees of freedom has a root that is as good as normal."""


@dataclass(frozen=True)
class Collapse:
    """Spread of cells within a temperature against that between temperatures; see `collapse_in_temperature`."""

    F: float
    """Mean square of cells within temperatures over that of the seeds."""
    p: float
    """Of an F as large where all cells of a temperature have one mean."""
    degrees_of_freedom: tuple[int, int]
    within: float
    """Standard deviation of the cells' means within a temperature, the seeds' share taken out; the runs' unit, >= 0."""
    between: float
    """Standard deviation of the temperatures' means, likewise."""
    ratio_low: float
    ratio_high: float
    """An interval of within/between, at least of `level`."""
    level: float

    @property
    def ratio(self) -> float:
        """within / between; inf where the temperatures are not told apart."""
        return self.within / self.between if self.between > 0 else math.inf

    @property
    def verdict(self) -> str:
        """collapses, fails or undecided: the interval of the ratio lies below a quarter, above it, or on both sides."""
        return "collapses" if self.ratio_high < CLOSE else "fails" if self.ratio_low > CLOSE else "undecided"

    @property
    def sentence(self) -> str:
        """The verdict with its numbers."""
        seen = "differ" if self.p < 1 - self.level else "are not told apart"
        return (
            f"{self.verdict}: within a temperature cells {seen} (F = {self.F:.3g}, p = {self.p:.2g}); their spread is "
            f"{self.ratio:.2g} of that between temperatures, {self.ratio_low:.2g} to {self.ratio_high:.2g}."
        )


def collapse_in_temperature(temperature: ArrayLike, values: ArrayLike, level: float = 0.95) -> Collapse:
    """Nested analysis of variance: temperatures, cells (learning rate, batch size) within them, seeds across all cells.

        y_cs = mean_c + u_s + e_cs        F = [S sum_c (ybar_c - ybar_T(c))^2 / (C - K)] / [sum e_cs^2 / ((C - 1)(S - 1))]

    `temperature` (cell,), `values` (cell, seed) with K distinct temperatures and C > K cells. A seed may shift all cells
    (u_s: shared training sets and batches). For normal e of one variance F has Fisher's law with these degrees of freedom
    if cells of a temperature have equal means. The ratio of spreads: for a given error variance both sums of squares are
    noncentral chi-squared, which gives intervals of their true parts; the interval is the union over a chi-squared
    interval of the variance, each of the three at a third of the error, and so holds its level.

    >>> table = np.array([[1.0, 1.1, 0.9], [1.1, 1.0, 1.2], [4.0, 4.2, 4.1], [4.1, 4.0, 4.3]])
    >>> found = collapse_in_temperature([1.0, 1.0, 2.0, 2.0], table)
    >>> round(found.F, 2), round(found.p, 2), found.verdict
    (0.53, 0.62, 'collapses')

    Raises ValueError for fewer than 2 temperatures or seeds, one cell at every temperature, NaN, a level outside (0, 1).

    Source: Fisher's analysis of variance; docs/theory/temperature_protocol.md, "Collapse".
    """
    rows, table = runs_by_temperature("values", temperature, values, num_rows=3, num_seeds=2)
    level = _checks.number("level", level, above=0.0, below=1.0)
    starts = first_rows(rows)
    cells, seeds, groups = *table.shape, len(starts)
    if groups < 2 or cells == groups:
        raise ValueError(
            f"The {cells} cells have {groups} temperatures, expected at least 2 and several cells at one of them. "
            "Scale learning rate and batch size together for further cells."
        )
    inside, outside, error = _sums_of_squares(table, starts)
    freedom = cells - groups, (cells - 1) * (seeds - 1)
    variance = error / freedom[1]
    if not variance > (np.finfo(float).eps * np.abs(table).max()) ** 2:
        raise ValueError("The seeds of a cell do not differ. Give runs with different seeds.")
    per_cell, per_group = 1 / (seeds * freedom[0]), groups / (seeds * cells * (groups - 1))
    low, high = _ratio_interval((inside, freedom[0]), (outside, groups - 1), (error, freedom[1]), level)
    scale = per_cell / per_group
    F = inside / freedom[0] / variance
    return Collapse(
        F,
        float(stats.f.sf(F, *freedom)),
        freedom,
        math.sqrt(per_cell * max(inside - freedom[0] * variance, 0.0)),
        math.sqrt(per_group * max(outside - (groups - 1) * variance, 0.0)),
        math.sqrt(scale * low),
        math.sqrt(scale * high),
        level,
    )


def _sums_of_squares(table: Table, starts: np.ndarray) -> tuple[float, float, float]:
    """Of cells within temperatures, of temperatures, of what cells and seeds leave; a square counts once a run."""
    cells, seeds = table.shape
    counts = np.diff(starts, append=cells)
    means = table.mean(axis=1)
    levels = np.add.reduceat(means, starts) / counts
    residual = table - means[:, None] - table.mean(axis=0) + table.mean()
    inside = seeds * np.square(means - np.repeat(levels, counts)).sum()
    outside = seeds * (counts * np.square(levels - means.mean())).sum()
    return float(inside), float(outside), float(np.square(residual).sum())


def _ratio_interval(
    inside: tuple[float, int], outside: tuple[float, int], error: tuple[float, int], level: float
) -> tuple[float, float]:
    """Of the ratio of two sums of squares without their noise; each pair is a sum of squares and degrees of freedom."""
    tail = (1 - level) / 6
    quantiles = stats.chi2.ppf([1 - tail, tail], error[1])
    low, high = math.inf, 0.0
    for variance in np.geomspace(error[0] / quantiles[0], error[0] / quantiles[1], 5):
        ends, others = (noncentrality_interval(x / variance, k, 1 - 2 * tail) for x, k in (inside, outside))
        low = min(low, ends[0] / others[1] if others[1] > 0 else 0.0)
        high = max(high, ends[1] / others[0] if others[0] > 0 else math.inf)
    return low, high


def noncentrality_interval(sum_of_squares: float, freedom: int, level: float) -> tuple[float, float]:
    """All noncentralities whose chi-squared law does not put `sum_of_squares` in a tail of (1 - level)/2.

    Far from zero, above 1e4 k, the root of the sum of squares is as good as normal: (sqrt(x) -+ z)^2 - (k - 1).

    >>> noncentrality_interval(30.0, 1, 0.95)                             # (sqrt(30) -+ 1.96)^2
    (12.4, 55.3)
    """
    tail = (1 - level) / 2
    if sum_of_squares > FAR * freedom:
        root, z = math.sqrt(sum_of_squares), float(stats.norm.isf(tail))
        return (root - z) ** 2 - (freedom - 1), (root + z) ** 2 - (freedom - 1)

    def above(noncentrality: float) -> float:
        if noncentrality == 0:
            return float(stats.chi2.sf(sum_of_squares, freedom))
        return float(stats.ncx2.sf(sum_of_squares, freedom, noncentrality))

    def reach(share: float) -> float:
        if above(0.0) >= share:
            return 0.0
        far = 4 * (sum_of_squares + freedom) + 30
        found = optimize.root_scalar(lambda noncentrality: above(noncentrality) - share, bracket=(0.0, far))
        return found.root

    return reach(tail), reach(1 - tail)


def momentum_excess(learning_rate: ArrayLike, curvature: float, momentum: float) -> Float[np.ndarray, "..."]:
    """Stationary variance of SGD with momentum in a quadratic over T D/(2 h (1 - mu)): what a collapse in T misses.

        2 (1 + mu) / (2 (1 + mu) - eta h)

    eta `learning_rate`, any shape, h `curvature`, mu `momentum`; T = eta/B. It is 1 + O(eta h) whatever the batch size:
    cells of one temperature differ by the ratio of their excesses, and momentum makes that smaller, not larger, once
    temperatures are counted as T/(1 - mu). Without momentum it is 2/(2 - eta h).

    >>> float(momentum_excess(0.1, curvature=1.3, momentum=0.9))         # .06969 / .06731
    1.0354

    Raises ValueError for a learning rate at which the recursion diverges, eta h >= 2 (1 + mu).

    Source: docs/theory/temperature_protocol.md, "Collapse"; the stationary variance of heavy ball in one dimension.
    """
    h, mu = _checks.number("curvature", curvature, above=0.0), _checks.number("momentum", momentum, 0.0, below=1.0)
    rate = np.asarray(learning_rate, dtype=float)
    if not np.all((rate > 0) & (rate * h < 2 * (1 + mu))):
        raise ValueError(
            f"learning_rate={learning_rate!r} does not do at curvature={h:g} and momentum={mu:g}. "
            f"Give rates above zero and below {2 * (1 + mu) / h:g}."
        )
    return (2 * (1 + mu) / (2 * (1 + mu) - rate * h))[()]
