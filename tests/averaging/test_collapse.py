"""Collapse in temperature: the analysis of variance by hand, its laws by simulation, what momentum predicts."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from gradnoise.averaging.collapse import collapse_in_temperature, momentum_excess
from gradnoise.averaging.noisy_squares import NoisySquares, noncentrality_interval

T = np.repeat([1.0, 2.0, 4.0, 8.0], [3, 3, 2, 1])
MEANS = np.array([0.2, 0.0, -0.2, 1.2, 1.0, 0.8, 2.1, 1.9, 3.0])


EVEN = np.repeat([1.0, 2.0, 4.0], 3)


def true_spreads(means, temperature):
    groups = np.split(means, np.flatnonzero(np.diff(temperature)) + 1)
    within = sum(np.square(one - one.mean()).sum() for one in groups) / (len(means) - len(groups))
    between = sum(len(one) * (one.mean() - means.mean()) ** 2 for one in groups) / (len(groups) - 1)
    return math.sqrt(within), math.sqrt(between * len(groups) / len(means))


def runs(rng, means, seeds, noise, by_temperature, temperature=T):
    """y = mean + u + w + e with u of spread 1."""
    _, place = np.unique(temperature, return_inverse=True)
    shared = rng.normal(size=seeds) + by_temperature * rng.normal(size=(place.max() + 1, seeds))[place]
    return means[:, None] + shared + noise * rng.normal(size=(len(means), seeds))


def one_error_for_all(temperature, table):
    """p of the form that takes what cells and seeds leave everywhere for the error."""
    cells, seeds = table.shape
    _, place = np.unique(temperature, return_inverse=True)
    means = table.mean(axis=1)
    levels = (np.bincount(place, means) / np.bincount(place))[place]
    residual = table - means[:, None] - table.mean(axis=0) + table.mean()
    freedom = cells - place.max() - 1, (cells - 1) * (seeds - 1)
    F = seeds * np.square(means - levels).sum() / freedom[0] / (np.square(residual).sum() / freedom[1])
    return stats.f.sf(F, *freedom)


def test_F_is_that_of_a_linear_model_with_seeds_at_each_temperature_as_blocks(rng):
    """Residual sums of squares of two nested designs, by least squares."""
    table = runs(rng, MEANS, 4, 1.0, 2.0)
    cell = np.kron(np.eye(9), np.ones((4, 1)))
    block = np.kron((T[:, None] == np.unique(T)).astype(float), np.eye(4))

    def rest(design):
        return np.square(table.ravel() - design @ np.linalg.lstsq(design, table.ravel(), rcond=None)[0]).sum()

    blocks_alone, cells_too = rest(block), rest(np.hstack([block, cell]))
    found = collapse_in_temperature(T, table)
    assert found.degrees_of_freedom == (5, 15)
    assert pytest.approx((blocks_alone - cells_too) / 5 / (cells_too / 15), rel=1e-9) == found.F
    assert found.p == pytest.approx(stats.f.sf(found.F, 5, 15), rel=1e-9)


def test_what_a_seed_does_to_all_cells_of_a_temperature_does_not_enter_F_or_the_spread_within(rng):
    table = runs(rng, MEANS, 4, 0.1, 0.0)
    _, place = np.unique(T, return_inverse=True)
    plain, moved = (collapse_in_temperature(T, table + shift) for shift in (0, 30 * rng.normal(size=(4, 4))[place]))
    assert (moved.F, moved.within) == pytest.approx((plain.F, plain.within), rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("by_temperature", [0.0, 3.0])
def test_p_is_uniform_where_cells_of_a_temperature_are_alike(by_temperature, rng):
    """Exact null: Kolmogorov's distance of 200 p-values, whatever a seed does to all cells or to those of a temperature."""
    p = [collapse_in_temperature(T, runs(rng, T**0.5, 3, 1.0, by_temperature)).p for _ in range(200)]
    assert stats.kstest(p, "uniform").pvalue > 7e-6  # 4.5 sigma


def test_one_error_for_all_is_no_test_where_a_seeds_effect_differs_between_temperatures(rng):
    """The erratum: p-values crowd at one, and a failure that stands out within temperatures is missed."""
    alike = [one_error_for_all(T, runs(rng, T**0.5, 3, 1.0, 3.0)) for _ in range(200)]
    assert stats.kstest(alike, "uniform").pvalue < 1e-20
    assert min(alike) > 0.05
    table = runs(rng, MEANS, 3, 0.05, 1.0)
    assert one_error_for_all(T, table) > 0.5
    assert collapse_in_temperature(T, table).p < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [T, EVEN], ids=["uneven", "even"])
@pytest.mark.parametrize(("noise", "by_temperature"), [(0.05, 0.0), (2.0, 0.0), (0.05, 0.3), (0.05, 1.0), (0.5, 0.5)])
def test_the_interval_of_the_ratio_covers_and_the_spread_between_is_unbiased(noise, by_temperature, temperature, rng):
    within, between = true_spreads(MEANS, temperature)
    hits, squares = 0, []
    for _ in range(100):
        found = collapse_in_temperature(temperature, runs(rng, MEANS, 4, noise, by_temperature, temperature))
        hits += found.ratio_low <= within / between <= found.ratio_high
        squares.append(found.between**2)
    assert hits / 100 > 0.95 - 4.5 * math.sqrt(0.95 * 0.05 / 100)
    if noise + by_temperature < 0.5:  # no square is cut at zero
        assert abs(np.mean(squares) - between**2) < 4.5 * np.std(squares) / 10


@pytest.mark.slow
def test_each_interval_of_true_squares_covers_and_its_directions_lie_between_its_bounds(rng):
    """Noise of temperatures' means, P (w^2 diag(n) + e^2) P: its variances differ by no more than the largest n over the
    smallest; where all n are equal they are one."""
    for counts, share in itertools.product(([3, 3, 2, 1], [2, 2, 2], [5, 1]), (0.0, 0.5, 1.0)):
        root = np.sqrt(np.array(counts, dtype=float))
        basis = np.linalg.svd(root[None] / np.linalg.norm(root))[2][1:]
        noise = np.linalg.eigvalsh(basis @ np.diag(share * np.array(counts) + 1 - share) @ basis.T)
        assert noise.max() / noise.min() <= max(counts) / min(counts) * (1 + 1e-12)
    delta, hits = np.array([2.0, 1.0, 0.0]), 0
    for _ in range(100):
        squares = np.square(delta + rng.normal(size=3)).sum()
        low, high = NoisySquares(squares, 3, rng.chisquare(9), 9, 1.0).interval(0.95)
        hits += low <= 5.0 <= high
    assert hits / 100 > 0.95 - 4.5 * math.sqrt(0.95 * 0.05 / 100)


def test_without_noise_the_spreads_are_those_of_the_means(rng):
    within, between = true_spreads(MEANS, T)
    found = collapse_in_temperature(T, MEANS[:, None] + 1e-5 * rng.normal(size=(9, 4)))
    assert found.ratio == pytest.approx(within / between, rel=1e-3)
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
        (lambda: collapse_in_temperature([1, 1, 2], [[1, 2], [3, 4], [2, 7]]), "or by the same in all cells"),
        (lambda: collapse_in_temperature([1, 1, 2], np.ones(3)), "values has 3 rows and 1 seeds"),
        (lambda: collapse_in_temperature([1, 1, 2], np.eye(3), level=1.0), "level=1 is not below 1"),
        (lambda: momentum_excess(3.0, 1.3, 0.9), "learning_rate=3.0 does not do at curvature=1.3"),
    ],
)
def test_wrong_calls_are_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()
