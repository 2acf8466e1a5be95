"""SGD on softmax regression with 650 weights against the linear theory, by the script of the example, smaller."""

import jax
import numpy as np
import pytest

import gradnoise as gn
from gradnoise.stationary import circulation, find_minimum, linearize, mean_shift
from gradnoise.testbeds import networks
from scripts import load_script

REPLICAS, STEPS = 400, 1600


@pytest.fixture(scope="module")
def script():
    return load_script("linearized_digits")


@pytest.fixture(scope="module")
def small(script):
    """20 points in three classes, 12 weights of which 8 are noisy."""
    draws = np.random.default_rng(0)
    pool = {"x": draws.normal(size=(20, 3)).astype(np.float32), "y": draws.integers(0, 3, 20)}
    model = networks.logistic(3, 3, weight_l2=script.WEIGHT_L2)
    problem = gn.from_arrays(model.loss, model.init, pool, "small", model.measured)
    minimum = find_minimum(problem, problem.init(jax.random.key(0)))
    return script.Setting(problem, minimum, linearize(problem, minimum.params), 0.5, 64)


@pytest.fixture(scope="module")
def digits(script):
    """All 1797 digits, eta = 0.5, B = 64."""
    problem = gn.testbeds.digits_logistic(weight_l2=script.WEIGHT_L2)
    minimum = find_minimum(problem, problem.init(jax.random.key(0)))
    return script.Setting(problem, minimum, linearize(problem, minimum.params), 0.5, 64)


@pytest.fixture(scope="module")
def measured(script, digits):
    """At B = 64 and 16, along the same 24 directions."""
    chosen = np.concatenate(list(script.directions(digits, 8).values()), axis=1)
    hot = digits._replace(batch_size=16)
    found = [script.measure(each, chosen, STEPS, REPLICAS, jax.random.key(each.batch_size)) for each in (digits, hot)]
    return chosen, (digits, hot), found


def extrapolated(found, expected):
    """Measured over predicted as B grows, 1 + a/B -> (4 r(64) - r(16))/3, and its standard error."""
    (cool, hot), (first, second) = found, expected
    value = (4 * cool.value / first - hot.value / second) / 3
    return value, np.hypot(4 * np.asarray(cool.stderr) / first, np.asarray(hot.stderr) / second) / 3


def test_directions_are_orthonormal_noisy_and_ordered_by_their_variance(script, small):
    chosen = script.directions(small, 3)
    span = small.linearization.noisy_directions()
    variances = {}
    for name, columns in chosen.items():
        assert columns.T @ columns == pytest.approx(np.eye(3), abs=1e-10)
        assert span @ (span.T @ columns) == pytest.approx(columns, abs=1e-8)
        variances[name] = np.diag(columns.T @ small.covariance @ columns)
    assert variances["leading"].min() > variances["trailing"].max()
    assert (
        variances["leading"].max() > variances["random"].max() > variances["random"].min() > variances["trailing"].min()
    )


def test_at_lag_one_the_swept_area_is_the_circulation_of_the_decomposition(script, small):
    planes = script.turning_planes(small, 2)
    decomposition, span = small.linearization.decomposition(0.5)
    rate = planes.T @ span @ circulation(decomposition, 2 * 64 / 0.5) @ span.T @ planes
    assert script.lagged_area_rate(small, planes, 1) == pytest.approx(rate, abs=1e-9 * np.abs(rate).max())
    strengths = np.linalg.eigvalsh(1j * decomposition.Q)[::-1][:2] * 0.5 / 64
    assert np.abs(np.diag(rate[::2, 1::2])) == pytest.approx(strengths)


def test_records_further_apart_sweep_the_area_of_the_powers_of_the_step(script, small):
    """By the recursion of the covariance: E x(t + 1) x(t)^T = (1 - eta F) E x(t) x(t)^T, three times."""
    planes, F = script.turning_planes(small, 1), small.linearization.F
    lagged = small.covariance
    for _ in range(3):
        lagged = lagged - 0.5 * F @ lagged
    rate = planes.T @ (lagged.T - lagged) @ planes / 1.5
    assert script.lagged_area_rate(small, planes, 3) == pytest.approx(rate, abs=1e-12)
    assert abs(rate[0, 1]) < abs(script.lagged_area_rate(small, planes, 1)[0, 1])


@pytest.mark.slow
def test_variances_of_sgd_on_all_digits_tend_to_those_predicted_as_it_cools(measured):
    """Leading and random directions; what is left out, of order eta/B, is taken off by a second batch size."""
    columns, settings, found = measured
    expected = [np.einsum("pi,pq,qi->i", columns, each.covariance, columns) for each in settings]
    ratio, error = extrapolated([each.variances for each in found], expected)
    noisy = np.r_[0:8, 16:24]
    assert np.max(np.abs((ratio - 1) / error)[noisy]) < 4.5


@pytest.mark.slow
def test_where_there_is_little_noise_the_linear_variance_is_too_small(measured):
    """The trailing directions: noise at a distance from the minimum counts, twice the noise at the minimum at B = 16."""
    columns, settings, found = measured
    excess, error = [], []
    for each, one in zip(settings, found, strict=True):
        expected = np.einsum("pi,pq,qi->i", columns, each.covariance, columns)[8:16]
        excess.append((one.variances.value[8:16] / expected - 1).mean())
        error.append((one.variances.stderr[8:16] / expected).max())
    assert excess[0] > 4.5 * error[0]
    assert excess[1] > 10 * error[1]


@pytest.mark.slow
def test_energy_and_excess_loss_tend_to_those_of_sgd_and_not_of_the_sde(measured):
    _, settings, found = measured
    expected = [np.trace(each.linearization.F @ each.covariance) / 2 for each in settings]
    continuous = [0.5 * np.trace(each.linearization.D) / (4 * each.batch_size) for each in settings]
    for name in ("energy", "excess_loss"):
        each = [getattr(one, name) for one in found]
        ratio, error = extrapolated(each, expected)
        assert abs(ratio - 1) < 4.5 * error
        ratio, error = extrapolated(each, continuous)
        assert abs(ratio - 1) > 6 * error


@pytest.mark.slow
def test_the_mean_is_off_the_minimum_by_the_first_order_shift(measured):
    columns, (digits, _), (found, _) = measured
    shift = mean_shift(digits.problem, digits.minimum.params, digits.linearization, 0.5, 64) @ columns
    assert np.max(np.abs((found.means.value - shift) / found.means.stderr)) < 4.5
    assert np.max(np.abs(found.means.value / found.means.stderr)) > 5


@pytest.mark.slow
def test_sgd_on_all_digits_turns_where_the_circulating_part_is_largest(script, digits):
    """160 runs of 1400 steps; allowed beside 4.5 errors: twice eta/B, by which the energy is off too."""
    planes = script.turning_planes(digits, 1)
    found = script.measure_turning(digits, planes, 1400, 160, jax.random.key(4))
    expected, value, error = (
        m[0, 1] for m in (script.lagged_area_rate(digits, planes, script.LAG), found.value, found.stderr)
    )
    assert abs(value - expected) < 4.5 * error + 2 * 0.5 / 64 * abs(expected)
    assert abs(value) > 10 * error
