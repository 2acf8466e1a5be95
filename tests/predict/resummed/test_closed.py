"""Closed forms of overfitting and gap, against enumeration's own formulas, whole predictions, and their limits."""

from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq

import gradnoise as gn
from gradnoise.predict.resummed import predict_resummed
from gradnoise.predict.resummed.closed import gap, geometric, overfitting, overfitting_limit, travelled
from gradnoise.testbeds import quadratic

ESTIMATION = gn.testbeds.mean_estimation(hessian=1.3, noise=0.7, theta0=0.0)
H, C, RATE = np.array([0.5, 1.3, 3.0]), np.array([0.7, 0.2, 1.1]), 0.3


@pytest.mark.parametrize(
    ("spacetime", "oracle"),
    [
        (gn.Spacetime(10, 2), lambda: quadratic.overfit_one_epoch(H, C, RATE, 2, 5)),
        (gn.Spacetime(6, 2, 4), lambda: quadratic.overfit_cyclic(H, C, RATE, 2, 6, 4)),
        (gn.Spacetime(4, 4, 7), lambda: quadratic.overfit_full_batch(H, C, RATE, 4, 7)),
        (gn.Spacetime(6, 2, 4, "reshuffle"), lambda: quadratic.overfit_reshuffled(H, C, RATE, 2, 6, 4)),
        (
            gn.Spacetime(5, 2, sampling="subset", num_steps=6),
            lambda: quadratic.overfit_redrawn(H, C, RATE, 2, 5, 6, False),
        ),
        (
            gn.Spacetime(5, 2, sampling="with_replacement", num_steps=6),
            lambda: quadratic.overfit_redrawn(H, C, RATE, 2, 5, 6, True),
        ),
    ],
    ids=["one epoch", "cyclic", "full batch", "reshuffled", "subset", "with replacement"],
)
def test_one_sum_over_ways_gives_every_printed_overfitting(spacetime, oracle):
    assert overfitting(H, C, RATE, spacetime) == pytest.approx(oracle(), rel=1e-12)
    assert gap(H, C, RATE, 6, 9) == pytest.approx(quadratic.gap(H, C, RATE, 6, 9), rel=1e-12)


@pytest.mark.parametrize("sampling", ["fixed", "reshuffle"])
def test_mean_estimation_is_exact_for_every_training_set_and_order(sampling):
    """N = 3, B = 1, E = 2: all signs, all orders, to all orders in eta; closed form and prediction."""
    orders = list(permutations(range(3))) if sampling == "reshuffle" else [(0, 1, 2)]
    tests, trains = [], []
    for signs in product((-1.0, 1.0), repeat=3):
        for first, second in product(orders, orders) if sampling == "reshuffle" else [(orders[0], orders[0])]:
            theta = 0.0
            for row in (*first, *second):
                theta -= RATE * (1.3 * theta + 0.7 * signs[row])
            tests.append(0.65 * theta**2)
            trains.append(0.65 * theta**2 + 0.7 * np.mean(signs) * theta)
    spacetime = gn.Spacetime(3, 1, 2, sampling)
    assert overfitting(1.3, 0.49, RATE, spacetime) == pytest.approx(np.mean(tests), rel=1e-12)
    assert gap(1.3, 0.49, RATE, 3, 6) == pytest.approx(np.mean(tests) - np.mean(trains), rel=1e-12)
    for target, wanted in {"test": tests, "train": trains}.items():
        curve = predict_resummed(ESTIMATION, np.zeros(1), spacetime, RATE, target)
        assert curve.value[-1] == pytest.approx(np.mean(wanted), rel=1e-12)


def test_a_reshuffled_run_may_stop_inside_an_epoch_and_a_fixed_one_is_refused():
    spacetime = gn.Spacetime(4, 1, 3, "reshuffle").truncate(10)
    curve = predict_resummed(ESTIMATION, np.zeros(1), spacetime, RATE)
    assert overfitting(1.3, 0.49, RATE, spacetime) == pytest.approx(curve.value[-1], rel=1e-12)
    with pytest.raises(ValueError, match="inside an epoch"):
        overfitting(1.3, 0.49, RATE, gn.Spacetime(4, 1, 3).truncate(10))


@pytest.mark.parametrize("sampling", ["fixed", "reshuffle"])
def test_long_runs_tend_to_the_limits(sampling):
    for rate, batch in ((0.3, 2), (1e-3, 6), (0.6, 1)):
        limit = overfitting_limit(H, C, rate, 6, batch, sampling)
        epochs = int(60 / (rate * H.min() * 6 / batch)) + 10
        assert overfitting(H, C, rate, gn.Spacetime(6, batch, epochs, sampling)) == pytest.approx(limit, rel=1e-10)
    assert gap(H, C, 0.3, 6) == pytest.approx(gap(H, C, 0.3, 6, 10**4), rel=1e-12)


def test_the_two_ends_of_the_limit_are_the_noise_floor_and_takeuchi():
    for sampling in ("fixed", "reshuffle"):
        many_columns = overfitting_limit(H, C, 1e-5, 10**9, 1, sampling)
        assert many_columns == pytest.approx(1e-5 * C.sum() / 4, rel=1e-4)
        few_columns = overfitting_limit(H, C, 1e-7, 100, 1, sampling)
        assert few_columns == pytest.approx((C / H).sum() / 200, rel=1e-4)
    coth = np.sum(C / np.tanh(1e-3 * H * 500 / 2)) * 1e-3 / 4
    assert overfitting_limit(H, C, 1e-3, 500, 1) == pytest.approx(coth, rel=2e-3)


def test_flat_and_sharp_minima_overfit_less_in_full_batch_runs_and_the_peak_is_where_it_should_be():
    peak: Any = brentq(lambda x: np.exp(x) - 1 - 2 * x, 1, 2)
    assert peak == pytest.approx(1.256431, abs=5e-7)
    steps, rate = 10**5, 1e-4
    h = np.linspace(0.8, 1.2, 201) * peak / (steps * rate)
    spacetime = gn.Spacetime(10, 10, steps)
    values = [overfitting(one, 1.0, rate, spacetime) for one in h]
    assert h[np.argmax(values)] * steps * rate == pytest.approx(peak, rel=0.003)
    ends = [overfitting(x / (steps * rate), 1.0, rate, spacetime) for x in (1e-3, 1e3)]
    assert max(ends) < 0.01 * max(values)


def test_but_the_gap_only_falls_and_one_epoch_only_rises_with_curvature():
    h = np.geomspace(1e-4, 1e3, 60)
    gaps = [gap(one, 1.0, 1e-3, 100, 100) for one in h]
    one_epoch = [overfitting(one, 1.0, 1e-3, gn.Spacetime(100, 1)) for one in h]
    assert np.all(np.diff(gaps) < 0)
    assert np.all(np.diff(one_epoch) > 0)
    assert overfitting(100.0, 1.0, 1e-3, gn.Spacetime(10**5, 1)) == pytest.approx(1e-3 / (4 * (1 - 0.05)), rel=1e-9)


def test_a_well_specified_gap_is_the_number_of_weights_over_examples():
    assert gap(H, H, 0.1, 50) == pytest.approx(3 / 50, rel=1e-12)
    assert gap(0.0, 1.0, 0.1, 50, 20) == pytest.approx(0.1 * 20 / 50, rel=1e-12)


def test_geometric_sums_are_right_to_rounding_at_any_slope():
    for slope in (0.0, 1e-14, 1e-7, 0.3, 1.0, 1.9, -0.1):
        exact = sum((1 - slope) ** s for s in range(50))
        assert geometric(np.array(slope), 50) == pytest.approx(exact, rel=1e-13)
    np.testing.assert_allclose(travelled([0.0, 1e-13], 0.1, 30), 3.0, rtol=1e-11)


def test_there_is_no_limit_outside_the_stable_range():
    for h in (0.0, -1.0, 20.0):
        with pytest.raises(ValueError, match="expected 0 <"):
            overfitting_limit(h, 1.0, 0.1, 10, 1)
        with pytest.raises(ValueError, match="expected 0 <"):
            gap(h, 1.0, 0.1, 10)
