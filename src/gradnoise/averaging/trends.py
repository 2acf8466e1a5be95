"""The three predictions of data averaging for runs at many temperatures: passed, failed or undecided, in a sentence."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from gradnoise import _checks
from gradnoise.averaging.concordance import concordance, rising_fit
from gradnoise.averaging.gap_fit import gap_curve, least_squares
from gradnoise.averaging.seed_table import (
    Row,
    Table,
    one_row_a_temperature,
    resampled_means,
    run_spread,
    runs_by_temperature,
)

NUM_RESAMPLES = 400
WORDS = {"pass": "is seen", "fail": "is contradicted", "undecided": "is undecided"}


@dataclass(frozen=True)
class Trend:
    """One prediction's verdict."""

    verdict: str
    """pass, fail or undecided: the prediction is seen, contradicted, or neither, each at `level`."""
    p_for: float
    """Of data that speak as much for the prediction's trend where there is none."""
    p_against: float
    """Of data that speak as much against the prediction where it is true."""
    sentence: str


def gap_trend(temperature: ArrayLike, gap: ArrayLike, level: float = 0.05) -> Trend:
    """Prediction A: the gap falls with temperature and follows (a/T + b) exp(-T/c).

    For: Kendall's exact test of falling. Against: of rising, and of the distance sum S (mean - fit)^2/sd^2 from the fit,
    compared with refits to the fit plus resampled differences between seeds; the smaller p counts twice. The distance
    needs 4 temperatures. `gap` is (row, seed) for temperatures (row,); rows of equal temperature are averaged.

    >>> T, seeds = np.arange(1.0, 7.0), 0.01 * np.random.default_rng(1).normal(size=(6, 4))
    >>> gap_trend(T, (0.5 / T + 0.1)[:, None] + seeds).verdict
    'pass'

    Raises ValueError for fewer than 4 temperatures or 2 seeds, NaN, a level outside (0, 1).

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eq (1).
    """
    rows, table = _table("gap", temperature, gap, 4)
    order = concordance(table)
    p_fit = _fit_p(rows, table)
    p_against = min(1.0, 2 * min(order.p_rising, p_fit))
    verdict = _verdict(order.p_falling, p_against, level)
    sentence = (
        f"That the gap falls with temperature and follows (a/T + b) exp(-T/c) {WORDS[verdict]} "
        f"(tau = {order.tau:.2f}, p = {order.p_falling:.2g}; distance from the fit p = {p_fit:.2g})."
    )
    return Trend(verdict, order.p_falling, p_against, sentence)


def optimum_trend(temperature: ArrayLike, test_loss: ArrayLike, level: float = 0.05) -> Trend:
    """Prediction B: the test loss is lowest at an interior temperature.

    For: some interior temperature lies below both ends, by the larger of two paired t-tests over seeds; the smallest such
    p counts once for each interior temperature. Against: one end lies below all other temperatures; its largest p counts
    twice, for two ends. `test_loss` is (row, seed) for temperatures (row,); rows of equal temperature are averaged.

    >>> T, seeds = np.arange(1.0, 8.0), 0.05 * np.random.default_rng(0).normal(size=(7, 5))
    >>> optimum_trend(T, np.square(np.log(T / 3.0))[:, None] + seeds).verdict
    'pass'

    Raises ValueError for fewer than 3 temperatures or 2 seeds, NaN, a level outside (0, 1).

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eq (26); Berger 1982,
    "Multiparameter hypothesis testing and acceptance sampling" (the largest p of several).
    """
    rows, table = _table("test_loss", temperature, test_loss, 3)
    inner = table[1:-1]
    below = np.maximum(_p_above(table[0] - inner), _p_above(table[-1] - inner))
    best = int(below.argmin())
    p_for = min(1.0, float(below[best]) * len(inner))
    ends = [float(_p_above(np.delete(table, end, axis=0) - table[end]).max()) for end in (0, -1)]
    p_against = min(1.0, 2 * min(ends))
    verdict = _verdict(p_for, p_against, level)
    sentence = (
        f"That the test loss is lowest at an interior temperature {WORDS[verdict]} "
        f"(both ends above T = {rows[1 + best]:.3g}: p = {p_for:.2g}; an end below all others: p = {p_against:.2g})."
    )
    return Trend(verdict, p_for, p_against, sentence)


def train_loss_trend(temperature: ArrayLike, train_loss: ArrayLike, level: float = 0.05) -> Trend:
    """Prediction C: the train loss rises with temperature.

    For: Kendall's exact test of rising. Against: of falling, and of the distance from the best rising curve (isotonic
    regression); the smaller p counts twice. `train_loss` is (row, seed) for temperatures (row,); rows of equal temperature
    are averaged.

    >>> T, seeds = np.arange(1.0, 7.0), 0.2 * np.random.default_rng(0).normal(size=(6, 4))
    >>> train_loss_trend(T, T[:, None] + seeds).verdict
    'pass'

    Raises ValueError for fewer than 3 temperatures or 2 seeds, NaN, a level outside (0, 1).

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eq (27).
    """
    rows, table = _table("train_loss", temperature, train_loss, 3)
    order = concordance(table)
    p_curve = rising_fit(rows, table).p
    p_against = min(1.0, 2 * min(order.p_falling, p_curve))
    verdict = _verdict(order.p_rising, p_against, level)
    sentence = (
        f"That the train loss rises with temperature {WORDS[verdict]} "
        f"(tau = {order.tau:.2f}, p = {order.p_rising:.2g}; distance from a rising curve p = {p_curve:.2g})."
    )
    return Trend(verdict, order.p_rising, p_against, sentence)


def _table(name: str, temperature: ArrayLike, values: ArrayLike, num_rows: int) -> tuple[Row, Table]:
    rows, table = one_row_a_temperature(*runs_by_temperature(name, temperature, values, num_rows, num_seeds=2))
    if len(rows) < num_rows:
        raise ValueError(f"{name} has {len(rows)} different temperatures, expected at least {num_rows}. Add runs.")
    return rows, table


def _fit_p(rows: Row, table: Table) -> float:
    """Of a distance from the fit at least as large, if the fit is the truth: refits to fit + resampled - mean."""
    seeds = table.shape[1]
    weights = seeds / np.square(run_spread(rows, table))
    means = table.mean(axis=1)
    fitted = gap_curve(rows, *least_squares(rows, means[None], weights)[0])
    noise = resampled_means(table, NUM_RESAMPLES, seed=1) - means
    random = np.random.default_rng(2)
    curves = fitted + noise
    refits = least_squares(rows, curves, weights)
    drawn = (weights * np.square(curves - gap_curve(rows, *refits.T[:, :, None]))).sum(axis=1)
    freedom = (seeds - 1) * (len(rows) - 1)
    drawn /= random.chisquare(freedom, NUM_RESAMPLES) / freedom
    distance = float((weights * np.square(means - fitted)).sum())
    return float((1 + np.sum(drawn >= distance)) / (1 + NUM_RESAMPLES))


def _p_above(differences: np.ndarray) -> np.ndarray:
    """One-sided paired t-tests over the last axis: of a mean as large where the truth is zero or below."""
    seeds = differences.shape[-1]
    error = differences.std(axis=-1, ddof=1) / np.sqrt(seeds)
    mean = differences.mean(axis=-1)
    certain = np.where(mean == 0, 0.0, np.copysign(np.inf, mean))
    return stats.t.sf(np.divide(mean, error, out=certain, where=error > 0), seeds - 1)


def _verdict(p_for: float, p_against: float, level: float) -> str:
    level = _checks.number("level", level, above=0.0, below=1.0)
    return "fail" if p_against < level else "pass" if p_for < level else "undecided"
