"""Circulation from paths: exact moments for the bias, simulated linear processes for the errors."""

import numpy as np
import pytest
from scipy import linalg

from gradnoise.stationary.circulation_from_data import (
    area_rate,
    circulating_part,
    lag_covariance_slope,
    slope_weights,
)
from gradnoise.stationary.linear import circulation, linear_decomposition

F, D = np.array([[2.0, 0.3], [0.3, 1.0]]), np.array([[1.0, 0.4], [0.4, 0.2]])
ROTATING = np.array([[1.0, 0.5], [-0.5, 1.0]])


def sgd_paths(rng, force, noise, rate, replicas, records):
    """x <- x - rate (F x + noise of covariance D), stationary from the start: (replica, record, d)."""
    S = linear_decomposition(force, noise, learning_rate=rate).S * rate / 2
    x = rng.multivariate_normal(np.zeros(2), S, replicas)
    steps = rng.multivariate_normal(np.zeros(2), noise, (records, replicas))
    found = np.empty((records, replicas, 2))
    for k in range(records):
        found[k] = x
        x = x - rate * (x @ force.T + steps[k])
    return found.transpose(1, 0, 2)


@pytest.mark.parametrize("lags", [1, 2, 3, 4])
def test_weights_give_the_slope_at_zero_of_polynomials_that_vanish_there(lags):
    weights, at = slope_weights(lags), np.arange(1, lags + 1)
    for power in range(1, lags + 1):
        assert weights @ at**power == pytest.approx(float(power == 1), abs=1e-10)


@pytest.mark.parametrize("lags", [1, 2, 3])
def test_the_bias_for_a_diffusion_falls_with_the_power_of_the_lags(lags):
    """From the exact C(t) = exp(-Ft) C: halving h divides the bias by 2^m."""
    _, Q, S = linear_decomposition(F, D)

    def bias(h):
        moments = [linalg.expm(-F * h * k) @ S for k in range(1, lags + 1)]
        slope = sum(w * (M.T - M)[0, 1] / h for w, M in zip(slope_weights(lags), moments, strict=True))
        return slope - 2 * Q[0, 1]

    assert bias(0.01) / bias(0.005) == pytest.approx(2**lags, rel=0.05)


@pytest.mark.parametrize(("force", "noise"), [(F, D), (ROTATING, np.eye(2))])
def test_the_area_rate_of_sgd_is_the_circulation_at_that_learning_rate(rng, force, noise):
    rate = 0.2
    found = area_rate(sgd_paths(rng, force, noise, rate, 64, 2000), rate)
    exact = circulation(linear_decomposition(force, noise, learning_rate=rate), 2 / rate)
    assert abs(found.value[0, 1] - exact[0, 1]) < 4.5 * found.stderr[0, 1]
    assert found.stderr[0, 1] < 0.1 * abs(exact[0, 1])
    assert found.value[0, 1] == -found.value[1, 0]
    Q = circulating_part(found, 2 / rate)
    assert Q.value[0, 1] == pytest.approx(found.value[0, 1] / rate)
    assert Q.stderr[0, 1] == pytest.approx(found.stderr[0, 1] / rate)


def test_it_tells_the_step_size_from_the_continuous_circulation(rng):
    """At eta = 0.6 the two differ by more than the error: the discrete Q is right."""
    rate = 0.6
    found = area_rate(sgd_paths(rng, ROTATING, np.eye(2), rate, 64, 4000), rate)
    step, flow = (
        circulation(linear_decomposition(ROTATING, np.eye(2), learning_rate=r), 2 / rate)[0, 1] for r in (rate, 0.0)
    )
    assert abs(found.value[0, 1] - step) < 4.5 * found.stderr[0, 1]
    assert abs(found.value[0, 1] - flow) > 4.5 * found.stderr[0, 1]


def test_a_process_in_equilibrium_does_not_turn(rng):
    found = area_rate(sgd_paths(rng, np.diag([1.0, 2.0]), np.diag([1.0, 3.0]), 0.1, 64, 2000), 0.1)
    assert abs(found.value[0, 1]) < 4.5 * found.stderr[0, 1]


def test_more_lags_remove_the_bias_of_sparse_records(rng):
    """A diffusion recorded every h = 0.25: the area rate is biased, three lags are not beyond their error."""
    h = 0.25
    S, flow = linear_decomposition(ROTATING, np.eye(2)).S, linalg.expm(-ROTATING * h)
    step = S - flow @ S @ flow.T
    x, paths = rng.multivariate_normal(np.zeros(2), S, 400), []
    for _ in range(1000):
        paths.append(x)
        x = x @ flow.T + rng.multivariate_normal(np.zeros(2), step, 400)
    paths, exact = np.array(paths).transpose(1, 0, 2), 2 * linear_decomposition(ROTATING, np.eye(2)).Q[0, 1]
    plain, better = area_rate(paths, h), lag_covariance_slope(paths, h)
    assert abs(plain.value[0, 1] - exact) > 4.5 * plain.stderr[0, 1]
    remaining = 0.02 * abs(exact)  # third order: (|lambda| h)^3/4, |lambda|^2 = 1.25
    assert abs(better.value[0, 1] - exact) < 4.5 * better.stderr[0, 1] + remaining
    assert lag_covariance_slope(paths, h, 1).value[0, 1] == plain.value[0, 1]


def test_errors_of_one_long_run_are_those_of_many(rng):
    """Coverage by blocks: z-scores of 200 single runs have unit variance (16 blocks: that of Student's t)."""
    rate = 0.3
    exact = circulation(linear_decomposition(ROTATING, np.eye(2), learning_rate=rate), 2 / rate)[0, 1]
    paths = sgd_paths(rng, ROTATING, np.eye(2), rate, 200, 2000)
    found = [area_rate(path, rate) for path in paths]
    z = np.array([(each.value[0, 1] - exact) / each.stderr[0, 1] for each in found])
    expected, spread = 15 / 13, np.sqrt((6 / 11 + 2) / 200) * 15 / 13  # Student's t of 15 degrees
    assert abs(np.mean(z**2) - expected) < 4.5 * spread
    assert found[0].num_samples == 16


def test_the_mean_of_the_records_does_not_matter(rng):
    paths = sgd_paths(rng, ROTATING, np.eye(2), 0.3, 16, 200)
    np.testing.assert_allclose(area_rate(paths + np.array([100.0, -50.0])).value, area_rate(paths).value, atol=1e-9)


@pytest.mark.parametrize(
    ("paths", "told"),
    [
        (np.zeros((3, 4, 1)), "expected \\(replica, record, d\\)"),
        (np.full((20, 10, 2), np.nan), "NaN or infinity"),
        (np.cumsum(np.random.default_rng(0).normal(size=(100, 2)), axis=0), "too few for an error"),
    ],
)
def test_wrong_paths_are_refused(paths, told):
    with pytest.raises(ValueError, match=told):
        area_rate(paths)


def test_more_lags_than_records_are_refused(rng):
    with pytest.raises(ValueError, match="num_lags=9 needs blocks of more than 9 records"):
        lag_covariance_slope(rng.normal(size=(16, 8, 2)), num_lags=9)
