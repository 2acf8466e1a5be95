"""SGD on softmax regression with 650 weights against the linear theory, by the script of the example, smaller."""

import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

import gradnoise as gn
from gradnoise.stationary import circulation, find_minimum, linearize
from gradnoise.testbeds import networks

SCRIPT = Path(__file__).parents[1] / "examples" / "linearized_digits.py"
REPLICAS, STEPS = 400, 1600


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("linearized_digits", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    chosen = np.concatenate(list(script.directions(digits, 8).values()), axis=1)
    return chosen, script.measure(digits, chosen, STEPS, REPLICAS, jax.random.key(3))


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
def test_variances_of_sgd_on_all_digits_are_those_predicted(digits, measured):
    """Leading, trailing and random directions; allowed beside 4.5 errors: eta/B = 0.8 %, which is left out."""
    columns, found = measured
    expected = np.einsum("pi,pq,qi->i", columns, digits.covariance, columns)
    off = np.abs(found.variances.value / expected - 1) - digits.learning_rate / digits.batch_size
    assert np.max(off / (found.variances.stderr / expected)) < 4.5


@pytest.mark.slow
def test_energy_and_excess_loss_are_those_of_sgd_and_not_of_the_sde(digits, measured):
    _, found = measured
    expected = np.trace(digits.linearization.F @ digits.covariance) / 2
    continuous = 0.5 * np.trace(digits.linearization.D) / (4 * 64)
    for each in (found.energy, found.excess_loss):
        assert abs(each.value - expected) < 4.5 * each.stderr + 0.5 / 64 * expected
        assert abs(each.value - continuous) > 10 * each.stderr + 0.5 / 64 * expected


@pytest.mark.slow
def test_sgd_on_all_digits_turns_where_the_circulating_part_is_largest(script, digits):
    planes = script.turning_planes(digits, 2)
    found = script.measure_turning(digits, planes, 1500, 250, jax.random.key(4))
    expected = script.lagged_area_rate(digits, planes, script.LAG)
    off = np.abs(found.value - expected)[::2, 1::2].diagonal() - 0.5 / 64 * np.abs(expected[::2, 1::2].diagonal())
    error = np.asarray(found.stderr)[::2, 1::2].diagonal()
    assert np.all(off < 4.5 * error)
    assert np.all(np.abs(found.value[::2, 1::2].diagonal()) > 5 * error)
