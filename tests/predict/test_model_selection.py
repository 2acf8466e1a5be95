"""Ranking models before training: the outlook is the fitted series, and the agreement's interval covers."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.stats import kendalltau

import gradnoise as gn
from gradnoise.estimate import Estimate, exact
from gradnoise.predict.curve_fit import fit_curve
from gradnoise.predict.model_selection import Outlook, agreement, outlook

POOL = np.array([1.0, -1.0, 0.5, 0.0])
SPACETIME = gn.Spacetime(4, 2, epochs=2)


def bowl(curvature, start=2.0, spread=0.0):
    def init(key):
        return np.float64(start) + spread * jax.random.normal(key)

    return gn.from_arrays(lambda w, x: curvature * (w - x) ** 2 / 2, init, POOL, name=f"bowl {curvature:g}")


def promise(value, stderr=0.0, ratio=0.1):
    return Outlook("one", Estimate(value, stderr, 4), exact(-value, 4), exact(value, 4), stderr, 0.0, ratio)


def test_the_outlook_is_the_fitted_series_at_the_start():
    problem, rate = bowl(0.7), 0.2
    found = outlook(problem, SPACETIME, rate, jax.random.key(0))
    values = gn.diagram_values(problem, 2.0, max_order=3)
    series = gn.series_coefficients(values, SPACETIME)
    gap = gn.series_coefficients(values, SPACETIME, "gap")
    assert found.predicted.value == pytest.approx(float(fit_curve(series)(rate).value))
    assert found.optimization_ease.value == pytest.approx((0.7 * (2 - POOL.mean())) ** 2)
    assert found.architecture.value == pytest.approx(series.value[0] + float(fit_curve(gap)(rate).value))
    assert found.error_between == pytest.approx(0, abs=1e-9)
    assert found.error_within == 0


def test_errors_between_and_within_starts_are_told_apart():
    between = outlook(bowl(0.7, spread=0.5), SPACETIME, 0.2, jax.random.key(1), num_inits=6)
    within = outlook(bowl(0.7), SPACETIME, 0.2, jax.random.key(1), num_inits=6, num_draws=50)
    assert between.error_between > 0.1
    assert between.error_within == 0
    assert within.error_within > 0
    assert within.error_between < 3 * within.error_within


def test_a_run_past_the_series_is_declined():
    assert not outlook(bowl(0.5), SPACETIME, 0.1, jax.random.key(0)).is_declined
    assert outlook(bowl(0.5), SPACETIME, 5.0, jax.random.key(0)).is_declined


@pytest.mark.slow
def test_bowls_are_ranked_as_descent_ranks_them():
    bowls = [bowl(curvature) for curvature in (0.1, 0.3, 0.5, 0.8, 1.0, 1.3)]
    promised = [outlook(each, SPACETIME, 0.1, jax.random.key(0)) for each in bowls]
    came = []
    for each in bowls:
        run = gn.simulate(gn.sgd(each), np.float32(2), SPACETIME, 0.1, 2000, jax.random.key(1), every=4)
        mean = run.mean("test_loss")
        came.append(Estimate(mean.value[-1], mean.stderr[-1], 2000))
    assert agreement(promised, came, jax.random.key(2)).tau == pytest.approx(1)


def test_the_interval_of_tau_holds_the_truth_for_normal_pairs():
    """Pairs of correlation r have tau = (2/pi) arcsin r."""
    rng, correlation, covered, repeats = np.random.default_rng(3), 0.7, 0, 60
    truth = 2 / np.pi * np.arcsin(correlation)
    for _ in range(repeats):
        x = rng.normal(size=12)
        y = correlation * x + np.sqrt(1 - correlation**2) * rng.normal(size=12)
        found = agreement([promise(a) for a in x], [exact(b, 1) for b in y], jax.random.key(0))
        covered += found.low <= truth <= found.high
        assert found.tau == pytest.approx(kendalltau(x, y).statistic)
    assert covered >= 0.95 * repeats - 4.5 * np.sqrt(repeats * 0.95 * 0.05)


def test_errors_of_the_losses_widen_the_interval_and_chance_is_called_so():
    came = [exact(value, 1) for value in (0.0, 1, 2, 3, 4, 5, 6, 7, 8)]
    sharp = agreement([promise(each.value) for each in came], came, jax.random.key(0))
    blurred = agreement([promise(each.value, stderr=4.0) for each in came], came, jax.random.key(0))
    assert blurred.high - blurred.low > sharp.high - sharp.low
    assert "agrees" in sharp.sentence
    shuffled = [promise(value) for value in (3.0, 7, 1, 5, 2, 8, 0, 6, 4)]
    assert "failed" in agreement(shuffled, came, jax.random.key(0)).sentence


def test_declined_candidates_are_left_out_and_counted():
    came = [exact(value, 1) for value in range(8)]
    promised = [promise(7.0 - k, ratio=2.0) if k < 2 else promise(k) for k in range(8)]
    found = agreement(promised, came, jax.random.key(0))
    assert (found.num_candidates, found.num_declined) == (6, 2)
    assert found.tau == pytest.approx(1)
    assert "2 more declined" in found.sentence


def test_a_candidate_without_the_score_asked_for_is_declined():
    came = [exact(value, 1) for value in range(8)]
    promised = [promise(k) for k in range(8)]
    promised[3] = replace(promised[3], architecture=exact(np.nan, 1))
    assert agreement(promised, came, jax.random.key(0)).num_declined == 0
    found = agreement(promised, came, jax.random.key(0), "architecture")
    assert (found.num_candidates, found.num_declined) == (7, 1)
    assert found.tau == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: agreement([promise(1.0)] * 6, [exact(np.nan, 1)] * 6, jax.random.key(0)), "that diverged"),
        (lambda: outlook(bowl(1.0), SPACETIME, 0.1, jax.random.key(0), num_inits=1), "num_inits"),
        (lambda: outlook(bowl(1.0), SPACETIME, -0.1, jax.random.key(0)), "learning_rate"),
        (lambda: agreement([promise(1.0)], [], jax.random.key(0)), "expected as many"),
        (lambda: agreement([promise(1.0)] * 3, [exact(1.0, 1)] * 3, jax.random.key(0)), "at least 5"),
    ],
)
def test_bad_input_gets_a_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()
