"""Do runs depend on learning rate and batch size through their ratio alone? Cells within and between temperatures."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import stats

from gradnoise import _checks
from gradnoise.averaging.noisy_squares import NoisySquares
from gradnoise.averaging.seed_table import Table, first_rows, runs_by_temperature

CLOSE = 0.25
"""Spread within a temperature below so much of that between temperatures is a collapse."""


@dataclass(frozen=True)
class Collapse:
    """Spread of cells within a temperature against that between temperatures; see `collapse_in_temperature`."""

    F: float
    """Mean square of cells within temperatures over that of cells and seeds there."""
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

        y_cs = mean_c + u_s + w_Ts + e_cs
        F = [S sum_c (ybar_c - ybar_T(c))^2 / (C - K)] / [sum (y_cs - ybar_c - ybar_Ts + ybar_T)^2 / ((C - K)(S - 1))]

    `temperature` (cell,), `values` (cell, seed) with K distinct temperatures and C > K cells. A seed may shift all cells
    (u_s: shared training sets and batches), and those of one temperature alike (w_Ts). For normal e of one variance F has
    Fisher's law with these degrees of freedom if cells of a temperature have equal means, whatever u and w. Temperatures
    are compared with the mean square of seed x temperature, (K - 1)(S - 1) degrees of freedom, which holds w and e.
    The ratio of spreads: for a given variance of its noise each sum of squares is noncentral chi-squared, which gives an
    interval of its true part, united over an interval of the variance, each of the four at a quarter of the error. With
    temperatures of unequally many cells the noise of their means has no one variance: its interval is widened by the
    largest number of cells over the smallest on both sides, which holds those of all directions.

    >>> table = np.array([[1.0, 1.1, 0.9], [1.1, 1.0, 1.2], [4.0, 4.2, 4.1], [4.1, 4.0, 4.3], [8.1, 8.0, 8.2], [8, 8, 8.1]])
    >>> found = collapse_in_temperature([1.0, 1.0, 2.0, 2.0, 4.0, 4.0], table)
    >>> round(found.F, 2), round(found.p, 2), found.verdict
    (0.54, 0.67, 'collapses')

    Raises ValueError for fewer than 2 temperatures or seeds, one cell at every temperature, seeds that differ by the same
    in all cells of a temperature, NaN, a level outside (0, 1).

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
    inside, outside = _parts(table, starts)
    per_cell, per_group = 1 / (seeds * (cells - groups)), groups / (seeds * cells * (groups - 1))
    (inside_low, inside_high), (outside_low, outside_high) = (x.interval((1 + level) / 2) for x in (inside, outside))
    scale = per_cell / per_group
    F = inside.squares / inside.freedom / inside.variance
    return Collapse(
        F,
        float(stats.f.sf(F, inside.freedom, inside.error_freedom)),
        (inside.freedom, inside.error_freedom),
        math.sqrt(per_cell * inside.true_squares),
        math.sqrt(per_group * outside.true_squares),
        math.sqrt(scale * inside_low / outside_high),
        math.sqrt(scale * inside_high / outside_low) if outside_low > 0 else math.inf,
        level,
    )


def _parts(table: Table, starts: np.ndarray) -> tuple[NoisySquares, NoisySquares]:
    """Cells within temperatures, and temperatures; a square counts once a run."""
    (cells, seeds), groups = table.shape, len(starts)
    counts = np.diff(starts, append=cells)
    levels = np.add.reduceat(table, starts) / counts[:, None]
    cell_effects, level_effects = table - np.repeat(levels, counts, axis=0), levels - table.mean(axis=0)
    rounding = (np.finfo(float).eps * np.abs(table).max()) ** 2

    def part(effects: Table, weights: np.ndarray, freedom: int, uneven: float) -> NoisySquares:
        means = effects.mean(axis=1)
        squares = seeds * weights @ np.square(means)
        error = weights @ np.square(effects - means[:, None]).sum(axis=1)
        return NoisySquares(float(squares), freedom, max(float(error), cells * rounding), freedom * (seeds - 1), uneven)

    inside = part(cell_effects, np.ones(cells), cells - groups, 1.0)
    if not inside.error > inside.error_freedom * cells * rounding:
        raise ValueError(
            "The seeds of a cell do not differ, or by the same in all cells of a temperature. Give runs with batches of "
            "their own."
        )
    return inside, part(level_effects, counts, groups - 1, counts.max() / counts.min())


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
