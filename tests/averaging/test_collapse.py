"""Collapse in temperature: the analysis of variance by hand, its laws by simulation, what momentum predicts."""

import math

import numpy as np
import pytest
from scipy import stats

from gradnoise.averaging.collapse import collapse_in_temperature, momentum_excess, noncentrality_interval

T = np.repeat([1.0, 2.0, 4.0, 8.0], [3, 3, 2, 1])
MEANS = np.array([0.2, 0.0, -0.2, 1.2, 1.0, 0.8, 2.1, 1.9, 3.0])


def true_ratio(means):
    groups = np.split(means, np.flatnonzero(np.diff(T)) + 1)
    within = sum(np.square(one - one.mean()).sum() for one in groups) / (len(T) - len(groups))
    between = sum(len(one) * (one.mean() - means.mean()) ** 2 for one in groups) / (len(groups) - 1)
    return math.sqrt(within / (between * len(groups) / len(T)))


def test_F_is_that_of_a_linear_model_with_seeds_as_blocks(rng):
    """Residual sums of squares of two nested designs, by least squares."""
    table = MEANS[:, None] + rng.normal(size=(9, 4)) + rng.normal(size=4)
    cell, seed = (np.kron(*pair) for pair in ((np.eye(9), np.ones((4, 1))), (np.ones((9, 1)), np.eye(4))))
    groups = np.kron((T[:, None] == np.unique(T)).astype(float), np.ones((4, 1)))

    def rest(design):
        return np.square(table.ravel() - design @ np.linalg.lstsq(design, table.ravel(), rcond=None)[0]).sum()

    groups_alone, cells_too = (rest(np.hstack([design, seed])) for design in (groups, cell))
    found = collapse_in_temperature(T, table)
    assert found.degrees_of_freedom == (5, 24)
    assert pytest.approx((groups_alone - cells_too) / 5 / (cells_too / 24), rel=1e-9) == found.F
    assert found.p == pytest.approx(stats.f.sf(found.F, 5, 24), rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("common", [0.0, 3.0])
def test_p_is_uniform_where_cells_of_a_temperature_are_alike(common, rng):
    """Exact null: Kolmogorov's distance of 200 p-values, whatever a seed does to all cells."""
    levels = T**0.5
    p = [
        collapse_in_temperature(T, levels[:, None] + rng.normal(size=(9, 3)) + common * rng.normal(size=3)).p
        for _ in range(200)
    ]
    assert stats.kstest(p, "uniform").pvalue > 7e-6  # 4.5 sigma


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.05, 0.3, 2.0])
def test_the_interval_of_the_ratio_covers(noise, rng):
    true, hits = true_ratio(MEANS), 0
    for _ in range(100):
        found = collapse_in_temperature(T, MEANS[:, None] + noise * rng.normal(size=(9, 4)) + rng.normal(size=4))
        hits += found.ratio_low <= true <= found.ratio_high
    assert hits / 100 > 0.95 - 4.5 * math.sqrt(0.95 * 0.05 / 100)


def test_without_noise_the_spreads_are_those_of_the_means(rng):
    found = collapse_in_temperature(T, MEANS[:, None] + 1e-5 * rng.normal(size=(9, 4)))
    assert found.ratio == pytest.approx(true_ratio(MEANS), rel=1e-3)
    assert (found.ratio_low, found.ratio_high) == pytest.approx((found.ratio,) * 2, rel=1e-3)
    assert found.within == pytest.approx(math.sqrt((0.08 + 0.08 + 0.02) / 5), rel=1e-3)
    assert found.verdict == "collapses"


def test_the_verdicts_are_those_of_the_interval(rng):
    noise = 0.02 * rng.normal(size=(9, 4))
    assert collapse_in_temperature(T, T[:, None] + noise).verdict == "collapses"
    failing = collapse_in_temperature(T, np.array([0.0, 1, 2, 0, 1, 2, 0, 2, 1])[:, None] + noise)
    assert failing.verdict == "fails"
    assert failing.sentence.startswith("fails: within a temperature cells differ (F = ")
    blurred = collapse_in_temperature(T, 100 * noise)
    assert blurred.verdict == "undecided"
    assert blurred.ratio_low == 0


@pytest.mark.parametrize("freedom", [1, 5])
@pytest.mark.parametrize("noncentrality", [0.0, 6.0, 40.0])
def test_noncentrality_intervals_hold_their_level(freedom, noncentrality, rng):
    draws = rng.noncentral_chisquare(freedom, noncentrality, 100) if noncentrality else rng.chisquare(freedom, 100)
    hits = [low <= noncentrality <= high for low, high in (noncentrality_interval(x, freedom, 0.9) for x in draws)]
    assert abs(np.mean(hits) - (0.9 if noncentrality else 0.95)) < 4.5 * math.sqrt(0.09 / 100)


def test_far_from_zero_the_interval_goes_over_into_the_normal_one():
    for freedom in (1, 5, 20):
        near, far = (noncentrality_interval(1e4 * freedom * (1 + x), freedom, 0.95) for x in (-1e-9, 1e-9))
        assert near == pytest.approx(far, rel=1e-6)


def test_the_excess_of_momentum_is_the_ratio_of_the_notes_and_of_first_order_in_the_rate():
    """V: .06969 / .06731; B cancels; the covariance of the recursion by powers of its matrix."""
    assert float(momentum_excess(0.1, 1.3, 0.9)) == pytest.approx(0.06969 / 0.06731, abs=2e-4)
    for rate, mu in ((0.1, 0.9), (1.0, 0.5), (0.3, 0.0)):
        matrix = np.array([[1 - rate * 1.3, -rate * mu], [1.3, mu]])  # (theta, v) of v' = mu v + h theta + xi
        kick = np.array([[rate**2, -rate], [-rate, 1.0]])
        total, power = np.zeros((2, 2)), np.eye(2)
        for _ in range(3000):
            total, power = total + power @ kick @ power.T, matrix @ power
        assert float(momentum_excess(rate, 1.3, mu)) == pytest.approx(
            total[0, 0] / (rate / (2 * 1.3 * (1 - mu))), rel=1e-8
        )
    slope = (momentum_excess(1e-5, 1.3, 0.9) - 1) / 1e-5
    assert slope == pytest.approx(1.3 / (2 * 1.9), rel=1e-4)
    assert momentum_excess([0.1, 0.2], 1.3, 0.9).shape == (2,)


def test_momentum_fails_to_collapse_by_the_excess_alone(rng):
    """Exact variances at one temperature: cells differ by the ratio of excesses, at most 9 % here, plain SGD by more."""
    rates = np.array([0.05, 0.1, 0.3])
    momentum, plain = momentum_excess(rates, 1.3, 0.9), momentum_excess(rates, 1.3, 0.0)
    assert momentum[-1] / momentum[0] == pytest.approx(1.0950, abs=1e-3)
    assert plain[-1] / plain[0] > momentum[-1] / momentum[0]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: collapse_in_temperature([1, 2, 3], np.ones((3, 2))), "The 3 cells have 3 temperatures"),
        (lambda: collapse_in_temperature([1, 1, 1], np.ones((3, 2))), "The 3 cells have 1 temperatures"),
        (lambda: collapse_in_temperature([1, 1, 2], np.ones((3, 2))), "The seeds of a cell do not differ"),
        (lambda: collapse_in_temperature([1, 1, 2], np.ones(3)), "values has 3 rows and 1 seeds"),
        (lambda: collapse_in_temperature([1, 1, 2], np.eye(3), level=1.0), "level=1 is not below 1"),
        (lambda: momentum_excess(3.0, 1.3, 0.9), "learning_rate=3.0 does not do at curvature=1.3"),
    ],
)
def test_wrong_calls_are_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()
