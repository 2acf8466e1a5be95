"""The drift along valleys, and where the mean settles across them."""

import numpy as np
import pytest

import gradnoise as gn
from gradnoise.predict.resummed import predict_drift, predict_resummed
from gradnoise.predict.resummed.drift import stationary_covariance
from gradnoise.stationary.minimum import find_minimum
from gradnoise.testbeds.valleys import helix_ring_rate, helix_velocity, ring_engine_rate
from predict.resummed.landscapes import bent

HELIX = gn.testbeds.helix(law="signs")


@pytest.mark.parametrize("place", [0.0, 1.1])
def test_sgd_climbs_the_helix_at_the_discrete_rate(place):
    """eta^2/((6 - 4 eta) B), along z alone, wherever on the valley."""
    for rate, batch in ((0.05, 1), (0.1, 4)):
        drift = predict_drift(HELIX, np.array([0.0, 0.0, place]), rate, batch)
        np.testing.assert_allclose(drift.along_valley, [0, 0, helix_velocity(rate, batch)], rtol=1e-10, atol=1e-15)
    assert drift.curved.shape == (3, 2)
    assert "1 flat direction" in repr(drift)


def test_the_printed_limit_is_reached_only_at_small_rates():
    drift = predict_drift(HELIX, np.zeros(3), 0.1, 1)
    assert drift.value[2] / 0.1**2 == pytest.approx(0.178571, abs=5e-7)
    assert predict_drift(HELIX, np.zeros(3), 1e-6, 1).value[2] == pytest.approx(1e-12 / 6, rel=1e-5)


@pytest.mark.slow
def test_it_goes_round_the_helix_on_a_ring():
    problem, rate = gn.testbeds.helix_ring(law="signs"), 0.05
    drift = predict_drift(problem, problem.init(None), rate, 1)
    assert drift.along_valley[1] / 4.0 == pytest.approx(helix_ring_rate(rate), rel=1e-9)


@pytest.mark.parametrize("twist", [-1.0, pytest.param(1.0, marks=pytest.mark.slow)])
def test_it_goes_round_the_ring_engine_by_noise_that_joins_across_and_along(twist):
    """Sigma_rt = eta C_rt: a pair of a curved and a flat direction; without these pairs there would be no drift."""
    turned = predict_drift(gn.testbeds.ring_engine(twist=twist), np.array([1.0, 0.0]), 0.1, 1).along_valley
    assert turned[1] == pytest.approx(ring_engine_rate(0.1, twist), rel=1e-9)


def test_across_the_valley_the_mean_settles_where_the_resummed_displacement_does():
    """v/(eta h): Y01 after a long run of fresh examples, the root cut off."""
    problem = bent()
    point = find_minimum(problem, np.zeros(2)).params
    drift = predict_drift(problem, point, 0.1, 2)
    run = predict_resummed(problem, point, gn.Spacetime(800, 2), 0.1, "displacement")
    np.testing.assert_allclose(drift.displacement, run.value[-1], rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(drift.along_valley, 0, atol=1e-12)


def test_the_stationary_covariance_solves_its_discrete_equation_and_not_lyapunovs():
    rows, h, rate = np.random.default_rng(4).standard_normal((7, 3)), np.array([0.4, 2.0, 8.0]), 0.1
    noise, k = np.cov(rows.T, ddof=0), 1 - rate * h
    found = stationary_covariance(noise, h, rate, 2)
    np.testing.assert_allclose(found, k[:, None] * found * k + rate**2 / 2 * noise, rtol=1e-12)
    lyapunov = rate / 2 * noise / (h[:, None] + h)
    assert abs(lyapunov[2, 2] / found[2, 2] - 1) == pytest.approx(0.4, rel=1e-9)  # eta h/2
    energy = np.trace(h[:, None] * found)
    batch_square = np.trace(h[:, None] * found * h + noise / 2)
    assert energy == pytest.approx(rate / 2 * batch_square, rel=1e-12)  # Yaida, exact in eta


def test_the_most_curved_directions_are_enough_where_the_rest_is_flat():
    whole, part = (predict_drift(HELIX, np.zeros(3), 0.1, 1, rank=rank) for rank in (None, 2))
    np.testing.assert_allclose(part.value, whole.value, rtol=1e-12, atol=1e-15)


def test_a_saddle_is_said_and_a_steep_floor_refused():
    saddle = gn.from_arrays(
        lambda w, x: w[0] ** 2 - w[1] ** 2 + x * w[0], lambda key: np.zeros(2), np.array([-1.0, 1.0])
    )
    assert predict_drift(saddle, np.zeros(2), 0.1, 1).negative_eigenvalues == pytest.approx([-2.0])
    with pytest.raises(ValueError, match="run from 2 to 2 "):
        predict_drift(saddle, np.zeros(2), 1.5, 1)
    with pytest.raises(ValueError, match="pool"):
        predict_drift(gn.testbeds.helix(), np.zeros(3), 0.1, 1)
