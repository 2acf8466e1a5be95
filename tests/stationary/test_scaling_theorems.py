"""Closeness of runs and the theorems that forbid it: never against an allowed world, tight on the toy."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gradnoise.estimate import Estimate
from gradnoise.stationary.averages import StationaryAverages
from gradnoise.stationary.closeness import c_closeness, linear_scaling_invariance
from gradnoise.stationary.linear_scaling import critical_batch
from gradnoise.stationary.scaling_theorems import scaled_run_must_differ, scaling_up_must_fail, sde_must_differ
from gradnoise.testbeds.scale_invariant_toys import angle_toy_squared_norm


def averages(R, G, N, error=0.0, samples=1):
    return StationaryAverages(*(Estimate(x, error * x, samples) for x in (R, G, N)))


@given(st.floats(0.01, 10), st.floats(0.01, 10), st.floats(0.3, 3), st.floats(0.3, 3), st.floats(1.5, 50))
def test_no_theorem_forbids_a_world_that_obeys_the_balance(G, N, change_of_G, change_of_N, kappa):
    """R = G + N in units of eta/(2 wd), for both runs: whatever G' and N', invariance at its own C must stay allowed."""
    scaled_G, scaled_N = G * change_of_G, N * change_of_N / kappa
    found = linear_scaling_invariance(
        averages(G + N, G, N), averages(kappa * (scaled_G + scaled_N), scaled_G, scaled_N), kappa
    )
    C = found.smallest.value * (1 + 1e-9)
    assert found.holds(C)
    assert not scaled_run_must_differ(scaled_G, scaled_N, kappa, C).must_fail
    for form in ("printed", "sharp"):
        assert not scaling_up_must_fail(G, N, kappa, C, form).must_fail


@given(st.floats(0.01, 10), st.floats(0.01, 10), st.floats(0.3, 3), st.floats(0.3, 3))
def test_theorem_5_2_forbids_no_sgd_and_sde_that_obey_their_balances(G, N, change_of_G, change_of_N):
    sde_G, sde_N = G * change_of_G, N * change_of_N
    C = c_closeness(averages(G + N, G, N), averages(sde_N, sde_G, sde_N)).smallest.value * (1 + 1e-9)
    assert not sde_must_differ(G, N, C).must_fail
    assert not sde_must_differ(sde_G, sde_N, C).must_fail


@pytest.mark.parametrize(
    ("kappa", "closeness", "sharp", "printed"),
    [(2, 1.12459, 2.0, 4.778), (4, 1.33945, 4.0, 6.778), (8, 1.68907, 8.0, 10.778), (32, 3.03414, 32.0005, 34.778)],
)
def test_the_toys_smallest_c_and_thresholds(kappa, closeness, sharp, printed):
    """eta wd = 1e-6, N/G = 25/9; erratum 6: the sharp bound is attained, the printed one misses by N/G."""
    R = angle_toy_squared_norm(1e-2, 1e-4)
    scaled = angle_toy_squared_norm(kappa * 1e-2, 1e-4, batch_size=kappa)
    found = linear_scaling_invariance(
        averages(R, 0.36 / R, 1 / R), averages(scaled, 0.36 / scaled, 1 / kappa / scaled), kappa
    )
    C = found.smallest.value
    assert pytest.approx(closeness, abs=6e-6) == C
    assert found.ratios["G/G'"].value == pytest.approx(found.ratios["N/(kappa N')"].value) == pytest.approx(C)
    bounds = critical_batch(0.36 / R, 1 / R, 1, C)
    assert bounds.sharp.value == pytest.approx(sharp, abs=6e-5)
    assert bounds.printed.value == pytest.approx(printed, abs=6e-4)
    below = C * (1 - 1e-4)
    assert scaling_up_must_fail(0.36 / R, 1 / R, kappa, below).must_fail
    assert not scaling_up_must_fail(0.36 / R, 1 / R, kappa, below, form="printed").must_fail


@given(st.floats(1.1, 100), st.floats(1.05, 5))
def test_theorem_5_5s_threshold_has_its_two_forms(kappa, C):
    found = scaled_run_must_differ(1.0, 1.0, kappa, C).threshold
    assert found == pytest.approx((1 - 1 / kappa) / (C**2 - 1) - 1 / kappa, abs=1e-9)


@given(st.floats(0.1, 10), st.floats(0.1, 10), st.floats(1.1, 100), st.floats(1.05, 5))
def test_theorem_5_6_is_the_critical_batch(G, N, kappa, C):
    bounds = critical_batch(G, N, 1, C)
    for form in ("printed", "sharp"):
        bound = float(getattr(bounds, form).value)
        assume(abs(kappa / bound - 1) > 1e-6)
        assert scaling_up_must_fail(G, N, kappa, C, form).must_fail == (kappa > bound)


@given(st.floats(0.1, 10), st.floats(0.1, 10), st.floats(1.05, 5))
def test_the_figures_line_is_the_approximate_form_and_the_theorems_end_lower(G, N, C):
    """Erratum 7: N/B falls with the batch; G/N = C^2 is reached at C^2 B N/G. Theorem 5.5 ends at G/N = C^2 - 1."""
    batch_size = float(critical_batch(G, N, 1, C).approximate.value)
    assert G / (N / batch_size) == pytest.approx(C**2)
    assert 1 / scaled_run_must_differ(G, N, 1e12, C).threshold == pytest.approx(C**2 - 1, rel=1e-6)


def test_noise_in_the_averages_must_leave_no_doubt():
    """N/G = 0.8 +- 0.08 or +- 0.4 against the threshold of 1: only the first must fail; a G not told from zero never."""
    assert sde_must_differ(Estimate(1.0, 0.0, 100), Estimate(0.8, 0.08, 100)).must_fail
    doubtful = sde_must_differ(Estimate(1.0, 0.0, 100), Estimate(0.8, 0.4, 100))
    assert not doubtful.must_fail
    assert doubtful.low < 0.8 < 1 < doubtful.high
    assert not sde_must_differ(Estimate(-0.1, 0.3, 100), Estimate(0.8, 0.08, 100)).must_fail
    assert "scale-invariant" in doubtful.assumes
    assert "SDE" in doubtful.about


def test_the_interval_of_the_smallest_c_covers_all_three_ratios():
    found = linear_scaling_invariance(averages(1.0, 1.0, 4.0, 0.01, 1000), averages(1.5, 1.0, 1.0, 0.01, 1000), 4)
    assert found.smallest.low < 1.5 < found.smallest.high
    assert found.smallest.low > 1.5 * (1 - 3 * math.sqrt(2) * 0.01)
    assert [found.holds(C) for C in (1.4, 1.5, 1.6)] == [False, None, True]
    alike = linear_scaling_invariance(averages(1, 1, 4, 0.01, 1000), averages(1, 1, 1, 0.01, 1000), 4)
    assert alike.smallest.low == alike.smallest.value == 1.0


def test_simulated_averages_are_inside_the_interval_as_often_as_it_says(rng):
    """500 pairs: at least 95 %, conservative, less 4.5 binomial errors."""
    truth = linear_scaling_invariance(averages(1.0, 1.0, 4.0), averages(1.2, 0.9, 1.0), 4).smallest.value
    inside = 0
    for noise in 1 + 0.02 * rng.normal(size=(500, 2, 3)):
        first, second = noise * np.array([[1.0, 1.0, 4.0], [1.2, 0.9, 1.0]])
        found = linear_scaling_invariance(averages(*first, 0.02, 200), averages(*second, 0.02, 200), 4).smallest
        inside += found.low <= truth <= found.high
    assert inside / 500 > 0.95 - 4.5 * math.sqrt(0.95 * 0.05 / 500)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sde_must_differ(1.0, 1.0, closeness=1.0), "closeness=1 does not do"),
        (lambda: scaled_run_must_differ(1.0, 1.0, kappa=1.0), "kappa=1 does not do"),
        (lambda: scaling_up_must_fail(1.0, 1.0, 2, form="approximate"), "form='approximate' is unknown"),
        (lambda: scaling_up_must_fail(0.0, 1.0, 2), "G=0 does not do"),
        (lambda: linear_scaling_invariance(averages(1, 1, 1), averages(1, 1, 1), 0.5), "kappa=0.5 does not do"),
        (lambda: c_closeness(averages(1, -1, 1), averages(1, 1, 1)), "G/Gbar is -1 over 1, expected two positive"),
        (lambda: c_closeness(averages(1, 1, 1), averages(1, 1, 1)).holds(1.0), "closeness=1 does not do"),
    ],
)
def test_wrong_calls_are_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()
