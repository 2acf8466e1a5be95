"""The generalization gap against temperature: a fit of three numbers that are not negative, with errors over seeds."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import stats

from gradnoise import _checks
from gradnoise.averaging.seed_table import first_rows, resampled_means, run_spread, runs_by_temperature
from gradnoise.estimate import Estimate

FAR = 10.0
"""A decay c beyond so many times the largest temperature is not seen: it takes less than a tenth off the curve."""

NAMES = ("a", "b", "c")


@dataclass(frozen=True, eq=False)
class GapFit:
    """gap(T) = (a/T + b) exp(-T/c); see `fit_gap`. a in loss * temperature, b in loss, c in temperature."""

    a: Estimate
    b: Estimate
    c: Estimate
    c_identified: bool
    """Whether the 95 % interval of c ends below 10 times the largest temperature."""
    degrees_of_freedom: int
    largest_temperature: float
    resamples: Float[np.ndarray, "resample 3"]
    """a, b and 1/c of the refitted resamples."""

    def predict(self, temperature: ArrayLike) -> Estimate:
        """The fitted gap at these temperatures, any shape; `stderr` is the spread over resamples.

        Raises ValueError for temperatures that are not positive.
        """
        wanted = np.asarray(temperature, dtype=float)
        if not np.all(wanted > 0):
            raise ValueError("temperature holds numbers that are not positive. Give learning rate / batch size.")
        value = gap_curve(wanted, float(self.a.value), float(self.b.value), 1 / float(self.c.value))
        drawn = self.resamples.T.reshape(3, -1, *[1] * wanted.ndim)
        return Estimate(value, gap_curve(wanted, *drawn).std(axis=0), self.a.num_samples)

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """A confidence interval of a, b or c: value +- t * stderr, for c of 1/c; (low, inf) where c has no end.

        Where a and b are both zero, no curve is left that could tell c: (0, inf).

        Raises ValueError for an unknown name or a level outside (0, 1).
        """
        column = NAMES.index(_checks.one_of("name", name, NAMES))
        level = _checks.number("level", level, above=0.0, below=1.0)
        if name == "c" and float(self.a.value) == float(self.b.value) == 0:
            return 0.0, math.inf
        value = [float(self.a.value), float(self.b.value), 1 / float(self.c.value)][column]
        reach = float(stats.t.ppf((1 + level) / 2, self.degrees_of_freedom) * self.resamples[:, column].std())
        low, high = max(value - reach, 0.0), value + reach
        return (low, high) if name != "c" else (1 / high if high > 0 else math.inf, 1 / low if low > 0 else math.inf)

    @property
    def warning(self) -> str:
        """Empty, or one sentence on what the temperatures do not tell."""
        zero = [name for name, value in (("a", self.a.value), ("b", self.b.value)) if value == 0]
        told = [f"{name} is zero: its term is not in the data" for name in zero]
        if not self.c_identified:
            told.append(f"c is not identified: it may exceed {FAR:g} times the largest temperature; add higher ones")
        return "; ".join(told) + "." if told else ""


def gap_curve(temperature: np.ndarray, a: ArrayLike, b: ArrayLike, inverse_c: ArrayLike) -> np.ndarray:
    """(a/T + b) exp(-T/c), with 1/c given: zero is no decay."""
    return (np.asarray(a) / temperature + np.asarray(b)) * np.exp(-temperature * np.asarray(inverse_c))


def fit_gap(temperature: ArrayLike, gap: ArrayLike, num_resamples: int = 500, seed: int = 0) -> GapFit:
    """Least-squares fit of gap(T) = (a/T + b) exp(-T/c), a, b >= 0, c > 0; for gaps of loss or accuracy, or test loss.

    `temperature` is (row,), learning rate / batch size; `gap` is (row, seed), weighted by the spread of a run, or (row,).
    For a given c the best a, b >= 0 are known in closed form, so the search over c alone finds the global minimum; it
    runs in units of the temperatures' geometric mean. Errors: refits to `num_resamples` resampled means over seeds,
    columns, within which runs may depend on each other; with one value a temperature, over residuals. c may be inf.

    Coverage of the 95 % intervals: docs/theory/temperature_protocol.md.

    >>> T = np.array([1.0, 2.0, 4.0, 8.0, 16.0]) * 1e-4
    >>> fit = fit_gap(T, (2e-5 / T + 0.1) * np.exp(-T / 3e-3))
    >>> [float(f"{x.value:.6g}") for x in (fit.a, fit.b, fit.c)], fit.c_identified
    ([2e-05, 0.1, 0.003], True)

    Raises ValueError for fewer than 3 temperatures (4 with one value each), temperatures not positive, NaN.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eq (1).
    """
    rows, table = runs_by_temperature("gap", temperature, gap, num_rows=3)
    num_resamples = _checks.integer("num_resamples", num_resamples, 100)
    num_rows, seeds = table.shape
    distinct = len(first_rows(rows))
    if distinct < 3 or (seeds == 1 and num_rows < 4):
        raise ValueError(
            f"gap has {distinct} temperatures and {seeds} seeds, expected 3 with two seeds or 4 with one. Add runs."
        )
    scale = float(np.exp(np.log(rows).mean()))
    weights = 1 / np.square(run_spread(rows, table)) if seeds > 1 and np.ptp(table, axis=1).any() else np.ones(num_rows)
    weights = weights / weights.max()
    means = table.mean(axis=1)
    best = least_squares(rows / scale, means[None], weights)[0]
    if seeds > 1:
        drawn, freedom = resampled_means(table, num_resamples, seed), seeds - 1
    else:
        drawn, freedom = _resampled_residuals(means, gap_curve(rows / scale, *best), num_resamples, seed), num_rows - 3
    units = np.array([scale, 1.0, 1 / scale])
    resamples = least_squares(rows / scale, drawn, weights) * units
    return _record(best * units, resamples, freedom, float(rows.max()), seeds if seeds > 1 else num_rows)


def _record(best: np.ndarray, resamples: np.ndarray, freedom: int, largest: float, num_samples: int) -> GapFit:
    a, b, inverse_c = map(float, best)
    errors = resamples.std(axis=0)
    c, c_error = (1 / inverse_c, errors[2] / inverse_c**2) if inverse_c > 0 else (math.inf, math.nan)
    least = inverse_c - float(stats.t.ppf(0.975, freedom)) * errors[2]
    estimates = [Estimate(v, e, num_samples) for v, e in ((a, errors[0]), (b, errors[1]), (c, c_error))]
    return GapFit(
        estimates[0], estimates[1], estimates[2], bool(least > 1 / (FAR * largest)), freedom, largest, resamples
    )


def _resampled_residuals(means: np.ndarray, fitted: np.ndarray, num_resamples: int, seed: int) -> np.ndarray:
    """fitted + z * residual sd, z ~ N(0, 1): three parameters were fitted."""
    spread = math.sqrt(np.square(means - fitted).sum() / (len(means) - 3))
    return fitted + spread * np.random.default_rng(seed).normal(size=(num_resamples, len(means)))


def least_squares(
    temperature: np.ndarray, gaps: Float[np.ndarray, "curve row"], weights: np.ndarray
) -> Float[np.ndarray, "curve 3"]:
    """a, b and 1/c of each curve: a search over 1/c >= 0, first on a grid, then by golden sections."""
    grid = np.concatenate([[0.0], np.geomspace(1e-3 / temperature.max(), 10 / temperature.min(), 100)])
    losses = np.stack([_profile(temperature, gaps, weights, np.full(len(gaps), rate))[2] for rate in grid])
    nearest = losses.argmin(axis=0)
    low, high = grid[np.maximum(nearest - 1, 0)], grid[np.minimum(nearest + 1, len(grid) - 1)]
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(32):
        left, right = high - golden * (high - low), low + golden * (high - low)
        go_left = _profile(temperature, gaps, weights, left)[2] <= _profile(temperature, gaps, weights, right)[2]
        low, high = np.where(go_left, low, left), np.where(go_left, right, high)
    rate = (low + high) / 2
    rate = np.where(losses[0] <= _profile(temperature, gaps, weights, rate)[2], 0.0, rate)
    a, b, _ = _profile(temperature, gaps, weights, rate)
    unseen = 1e-7 * np.abs(gaps).max(axis=1)  # a minimum on the boundary is approached from inside
    a, b = np.where(a > unseen * temperature.min(), a, 0.0), np.where(b > unseen, b, 0.0)
    return np.stack([a, b, rate], axis=1)


def _profile(
    temperature: np.ndarray, gaps: np.ndarray, weights: np.ndarray, rate: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each curve and its 1/c: the best a, b >= 0 and their weighted sum of squares."""
    constant = np.exp(-rate[:, None] * temperature)
    inverse = constant / temperature
    aa, ab, bb = ((weights * x * y).sum(axis=1) for x, y in ((inverse, inverse), (inverse, constant), (constant,) * 2))
    ay, by = (weights * inverse * gaps).sum(axis=1), (weights * constant * gaps).sum(axis=1)
    only_a, only_b = np.maximum(ay, 0) / aa, np.maximum(by, 0) / bb
    determinant = aa * bb - ab**2
    told = determinant > 1e-12 * aa * bb
    divisor = np.where(told, determinant, 1.0)
    a, b = (bb * ay - ab * by) / divisor, (aa * by - ab * ay) / divisor
    inside = told & (a >= 0) & (b >= 0)
    first = only_a * np.maximum(ay, 0) >= only_b * np.maximum(by, 0)  # which of the two explains more
    a = np.where(inside, a, np.where(first, only_a, 0.0))
    b = np.where(inside, b, np.where(first, 0.0, only_b))
    return a, b, (weights * np.square(gaps - a[:, None] * inverse - b[:, None] * constant)).sum(axis=1)
