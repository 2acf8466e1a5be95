"""SGD on softmax regression around its minimum: covariance, mean and circulation against the linear prediction."""

from functools import partial

import jax
import numpy as np
import pytest

import gradnoise as gn
from gradnoise import _tree
from gradnoise.stationary.circulation_from_data import area_rate
from gradnoise.stationary.linear import circulation
from gradnoise.stationary.linearize import linearize
from gradnoise.stationary.mean_shift import mean_shift
from gradnoise.stationary.minimum import find_minimum
from gradnoise.testbeds import datasets, networks

NUM_DIRECTIONS = 8
RATE, REPLICAS, STEPS = 0.5, 4000, 1200
"""The slowest noisy direction has curvature 0.015: exp(-2 * 0.5 * 0.015 * 1200) = 1e-8 of the start is left."""


def reduced_digits():
    """Digits 0-3 (720) in 8 principal components, the first of unit variance; 36 weights, penalty 0.01."""
    data = datasets.digits()
    x, y = (data.pool[name][data.pool["y"] < 4] for name in ("x", "y"))
    centred = (x - x.mean(axis=0)).astype(float)
    components = centred @ np.linalg.svd(centred, full_matrices=False)[2][:8].T
    model = networks.logistic(8, 4, weight_l2=1e-2)
    pool = {"x": components / components[:, 0].std(), "y": y}
    return gn.from_arrays(model.loss, model.init, pool, "reduced digits", model.measured)


@pytest.fixture(scope="module")
def near_minimum():
    problem = reduced_digits()
    found = find_minimum(problem, problem.init(jax.random.key(0)))
    return problem, found, linearize(problem, found.params)


def simulated(near_minimum, columns, batch_size, key, num_steps=STEPS, every=None, replicas=REPLICAS):
    """Weights along `columns` from the minimum, (replica, record, k)."""
    problem, found, _ = near_minimum
    centre = np.asarray(jax.flatten_util.ravel_pytree(found.params)[0])

    def along(column, params, examples):
        return (_tree.flatten(params)[0] - centre) @ column

    observe = {f"along_{i}": partial(along, column) for i, column in enumerate(columns.T)}
    grid = gn.Spacetime(720, batch_size, sampling="with_replacement", num_steps=num_steps)
    runs = gn.simulate(
        gn.sgd(problem), found.params, grid, RATE, replicas, key, observe, every=every or num_steps, training_set="given",
        dtype="float64",
    )  # fmt: skip
    return np.stack([runs.observables[name][:, 1:] for name in observe], axis=-1)


def leading(linearization, batch_size):
    """Standard deviations and directions of the predicted covariance, the largest first."""
    values, vectors = np.linalg.eigh(linearization.covariance(RATE, batch_size))
    return values[::-1][:NUM_DIRECTIONS], vectors[:, ::-1][:, :NUM_DIRECTIONS]


@pytest.mark.slow
def test_the_minimum_of_the_full_digits_is_found_to_rounding():
    """650 weights: gradient below 1e-10; the smallest curvature is the penalty's, along common logits."""
    problem = gn.testbeds.digits_logistic(weight_l2=1e-2)
    found = find_minimum(problem, problem.init(jax.random.key(0)))
    assert found.gradient_norm < 1e-10
    assert found.smallest_eigenvalue == pytest.approx(0.01, rel=1e-9)
    assert found.loss == pytest.approx(0.7410569, abs=1e-7)


@pytest.mark.slow
def test_covariance_and_mean_of_sgd_are_those_predicted_at_a_low_temperature(near_minimum, getkey):
    """eta = 0.5, B = 64: every entry of the covariance in its 8 leading directions, and the mean with its first-order shift.

    What is left out is of relative order eta/B: 6 % at B = 8 (the next test), under 1 % here, below the errors of 2 %.
    """
    problem, found, linearization = near_minimum
    variances, columns = leading(linearization, 64)
    x = simulated(near_minimum, columns, 64, getkey())[:, 0]
    centred = (x - x.mean(axis=0)) / np.sqrt(variances)
    products = np.einsum("ri,rj->rij", centred, centred)
    error = products.std(axis=0) / np.sqrt(REPLICAS)
    left_out = 0.01 * np.eye(NUM_DIRECTIONS)
    excess = np.abs(products.mean(axis=0) * REPLICAS / (REPLICAS - 1) - np.eye(NUM_DIRECTIONS)) - left_out
    assert np.max(excess / error) < 4.5
    shift = mean_shift(problem, found.params, linearization, RATE, 64) @ columns
    z = (x.mean(axis=0) - shift) / (x.std(axis=0) / np.sqrt(REPLICAS))
    assert np.max(np.abs(z)) < 4.5


@pytest.mark.slow
def test_without_the_first_order_shift_the_mean_is_wrong_at_a_higher_temperature(near_minimum, getkey):
    """B = 8, in the 4 directions where the shift is largest beside the spread: the formula takes off most of it."""
    problem, found, linearization = near_minimum
    shift = mean_shift(problem, found.params, linearization, RATE, 8)
    values, vectors = np.linalg.eigh(linearization.covariance(RATE, 8))
    ratio = np.abs(shift @ vectors) / np.sqrt(np.maximum(values, 1e-6 * values[-1]))
    columns = vectors[:, np.argsort(ratio)[-4:]]
    x = simulated(near_minimum, columns, 8, getkey())[:, 0]
    error = x.std(axis=0) / np.sqrt(REPLICAS)
    without, with_shift = x.mean(axis=0) / error, (x.mean(axis=0) - shift @ columns) / error
    assert np.min(np.abs(without)) > 10
    assert np.max(np.abs(with_shift)) < 0.25 * np.max(np.abs(without))


@pytest.mark.slow
def test_sgd_turns_around_the_minimum_as_the_decomposition_says(near_minimum, getkey):
    """The plane in which Q is largest beside the noise; 100 runs of 500 steps recorded at each, after 1200."""
    _, _, linearization = near_minimum
    decomposition, basis = linearization.decomposition(RATE)
    scale = linearization.covariance(RATE, 64)
    half = np.linalg.inv(np.linalg.cholesky(basis.T @ scale @ basis))
    turning = half @ decomposition.Q @ half.T
    _, planes = np.linalg.eigh(1j * turning)
    plane = np.stack([planes[:, -1].real, planes[:, -1].imag], axis=1)
    columns = basis @ half.T @ plane
    x = simulated(near_minimum, columns, 64, getkey(), num_steps=1700, every=1, replicas=100)[:, 1200:]
    found = area_rate(x, RATE)
    exact = (columns.T @ basis @ circulation(decomposition, 2 * 64 / RATE) @ basis.T @ columns)[0, 1]
    assert abs(found.value[0, 1] - exact) < 4.5 * found.stderr[0, 1] + 0.02 * abs(exact)  # left out: order eta/B
    assert abs(found.value[0, 1]) > 10 * found.stderr[0, 1]
