"""The three predictions: exact laws by enumeration, verdicts on made curves, rates of false verdicts."""

import math
from itertools import permutations, product

import numpy as np
import pytest
from scipy import optimize, stats

from gradnoise.averaging.concordance import concordance, inversion_law, rising_fit
from gradnoise.averaging.trends import gap_trend, optimum_trend, train_loss_trend

T = np.geomspace(1, 30, 8)


def runs(curve, rng, spread=0.02, seeds=5, common=0.0):
    return curve[:, None] + spread * rng.normal(size=(len(curve), seeds)) + common * rng.normal(size=seeds)


def score(orders):
    return sum(np.sign(o[j] - o[i]) for o in orders for j in range(len(o)) for i in range(j))


@pytest.mark.parametrize(("rows", "seeds"), [(3, 1), (4, 2), (3, 3)])
def test_the_law_of_the_score_is_that_of_all_permutations(rows, seeds):
    scores = [score(orders) for orders in product(permutations(range(rows)), repeat=seeds)]
    pairs = seeds * rows * (rows - 1) // 2
    counts = [scores.count(2 * n - pairs) for n in range(pairs + 1)]
    np.testing.assert_allclose(inversion_law(rows, seeds), np.array(counts) / len(scores), rtol=1e-12)


def test_p_is_the_share_of_permutations_with_as_high_a_score(rng):
    table = rng.normal(size=(4, 2))
    observed = score(table.T)
    scores = np.array([score(orders) for orders in product(permutations(range(4)), repeat=2)])
    found = concordance(table)
    assert found.p_rising == pytest.approx((scores >= observed).mean(), rel=1e-12)
    assert found.p_falling == pytest.approx((scores <= observed).mean(), rel=1e-12)


def test_with_one_seed_it_is_kendalls_test(rng):
    values = rng.normal(size=7)
    exact = stats.kendalltau(np.arange(7), values, alternative="greater", method="exact")
    found = concordance(values[:, None])
    assert (found.tau, found.p_rising) == pytest.approx((exact.statistic, exact.pvalue), rel=1e-12)


def test_equal_values_speak_for_neither():
    found = concordance(np.ones((4, 3)))
    assert (found.tau, found.p_rising, found.p_falling) == pytest.approx((0.0, 1.0, 1.0))


def test_the_rising_curve_is_the_closest_one(rng):
    table = runs(np.array([0.0, 0.5, 0.2, 0.3, 1.0]), rng)
    found = rising_fit(T[:5], table)
    assert np.all(np.diff(found.value) >= 0)
    steps = optimize.nnls(np.tril(np.ones((5, 5))), table.mean(axis=1) + 10)[0]  # the same with equal weights
    equal = rising_fit(np.full(5, 1.0), table)
    np.testing.assert_allclose(equal.value + 10, np.cumsum(steps), rtol=1e-8)
    assert found.p < 0.01


def test_each_prediction_passes_on_a_curve_that_follows_it(rng):
    gap = (0.5 / T + 0.1) * np.exp(-T / 20)
    train = 0.05 * np.sqrt(T)
    verdicts = [
        gap_trend(T, runs(gap, rng, seeds=8)),
        optimum_trend(T, runs(gap + train, rng, 0.01, seeds=8)),
        train_loss_trend(T, runs(train, rng, seeds=8)),
    ]
    assert [trend.verdict for trend in verdicts] == ["pass"] * 3
    assert all("is seen" in trend.sentence for trend in verdicts)


def test_each_prediction_fails_on_a_curve_that_contradicts_it(rng):
    gap = 0.5 / T + 0.1
    waves = gap + 0.2 * np.sin(3 * np.log(T))
    assert gap_trend(T, runs(gap[::-1], rng)).verdict == "fail"
    assert gap_trend(T, runs(waves, rng)).verdict == "fail"
    assert optimum_trend(T, runs(gap, rng, 0.002)).verdict == "fail"
    assert optimum_trend(T, runs(gap[::-1], rng, 0.002)).verdict == "fail"
    assert train_loss_trend(T, runs(gap, rng)).verdict == "fail"
    assert train_loss_trend(T, runs(T / 30 + 0.3 * np.sin(T), rng)).verdict == "fail"


def test_a_flat_curve_is_undecided_for_b_and_tells_no_trend(rng):
    found = [optimum_trend(T, runs(0 * T, rng)) for _ in range(50)]
    assert sum(trend.verdict != "undecided" for trend in found) <= 50 * 0.05 + 4.5 * math.sqrt(50 * 0.05)
    assert "is undecided" in found[0].sentence


@pytest.mark.parametrize("common", [0.0, 0.2])
def test_what_a_seed_shifts_everywhere_does_not_hide_an_optimum(common, rng):
    found = optimum_trend(T, runs(0.1 * np.square(np.log(T / 6)), rng, common=common))
    assert found.verdict == "pass"


def test_cells_of_one_temperature_are_averaged_first(rng):
    table = runs(0.05 * np.sqrt(T), rng)
    doubled = train_loss_trend(np.r_[T, T], np.r_[table - 0.01, table + 0.01])
    assert doubled.p_for == train_loss_trend(T, table).p_for


@pytest.mark.filterwarnings("error")
def test_losses_that_are_all_equal_are_undecided_without_a_warning():
    assert optimum_trend(T, np.ones((len(T), 3))).verdict == "undecided"


@pytest.mark.filterwarnings("error")
def test_losses_that_are_all_zero_pass_nothing_and_give_no_warning():
    for trend in (gap_trend, optimum_trend, train_loss_trend):
        assert trend(T, np.zeros((len(T), 3))).verdict != "pass"


@pytest.mark.slow
@pytest.mark.parametrize("common", [0.0, 0.03])
@pytest.mark.parametrize("seeds", [3, 8])
def test_false_verdicts_are_rarer_than_the_level(seeds, common, rng):
    """At 5 %: A's fit on a true curve, B and C on a flat one, in either direction."""
    gap, repetitions = (0.5 / T + 0.1) * np.exp(-T / 20), 40
    found = {"gap against": 0, "optimum for": 0, "optimum against": 0, "train for": 0, "train against": 0}
    for _ in range(repetitions):
        one = gap_trend(T, runs(gap, rng, seeds=seeds, common=common))
        two, three = (f(T, runs(0 * T, rng, seeds=seeds, common=common)) for f in (optimum_trend, train_loss_trend))
        found["gap against"] += one.p_against < 0.05
        for name, trend in (("optimum", two), ("train", three)):
            found[f"{name} for"] += trend.p_for < 0.05
            found[f"{name} against"] += trend.p_against < 0.05
    assert all(stats.binom.sf(count - 1, repetitions, 0.05) > 3.4e-6 for count in found.values())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: gap_trend([1, 2, 3], np.ones((3, 2))), "gap has 3 rows and 2 seeds, expected at least 4 and 2"),
        (lambda: gap_trend([1, 1, 2, 3], np.eye(4)), "gap has 3 different temperatures"),
        (lambda: optimum_trend([1, 2, 3], np.ones(3)), "test_loss has 3 rows and 1 seeds"),
        (lambda: train_loss_trend([1, 2, 3], np.eye(3), level=0.0), "level=0 does not do"),
    ],
)
def test_wrong_calls_are_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()
