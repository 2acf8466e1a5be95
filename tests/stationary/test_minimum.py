"""Minima found to rounding, and the linear process around them."""

import jax
import numpy as np
import pytest

from brute_force import covariance, gradient_rows
from cases import CASES
from gradnoise.problem import from_arrays, penalized
from gradnoise.stationary.linear import linear_decomposition
from gradnoise.stationary.linearize import Linearization, linearize
from gradnoise.stationary.minimum import find_minimum


def quadratic(curvatures, slope=0.0):
    """Mean loss sum_i c_i w_i^2/2 + slope w_0, with noise of unit covariance in every weight."""
    size = len(curvatures)
    pool = np.concatenate([np.eye(size), -np.eye(size)]) * np.sqrt(size)
    weights = np.asarray(curvatures, dtype=float)
    loss = lambda w, x: (weights * w**2).sum() / 2 + slope * w[0] + x @ w  # noqa: E731
    return from_arrays(loss, lambda key: np.ones(size), pool)


def test_the_minimum_of_a_quadratic_is_found_with_its_curvatures():
    found = find_minimum(quadratic([3.0, 0.01], slope=1.5), np.array([5.0, -7.0]))
    np.testing.assert_allclose(found.params, [-0.5, 0.0], atol=1e-9)
    assert found.gradient_norm < 1e-10
    assert (found.smallest_eigenvalue, found.largest_eigenvalue) == pytest.approx((0.01, 3.0))
    assert found.loss == pytest.approx(1.5 * -0.5 + 3 * 0.25 / 2)


def test_a_penalty_belongs_to_the_loss_that_is_minimized():
    problem, start = CASES["logistic"]()
    found = find_minimum(penalized(problem, 0.1), start)
    point = np.asarray(jax.flatten_util.ravel_pytree(found.params)[0])
    gradient = gradient_rows(problem, found.params).mean(axis=0)
    np.testing.assert_allclose(gradient, -0.1 * point, atol=1e-9)
    assert found.gradient_norm < 1e-10
    assert found.smallest_eigenvalue == pytest.approx(0.1)  # adding a number to all logits curves by the penalty alone


def test_separable_data_without_a_penalty_have_no_minimum():
    problem, start = CASES["logistic"]()
    with pytest.raises(ValueError, match=r"no minimum was found|the point found is"):
        find_minimum(problem, start)


@pytest.mark.parametrize(
    ("loss", "start", "told"),
    [
        (lambda w, x: w[0] ** 2 - w[1] ** 2 + x @ w, [0.0, 0.0], "a saddle: the hessian's smallest eigenvalue is -2"),
        (lambda w, x: w[0] ** 2 + x @ w, [1.0, 1.0], "flat in some direction"),
        (lambda w, x: w[0] + x @ w, [1.0, 1.0], "no minimum was found: the gradient's norm is 1"),
    ],
)
def test_what_is_no_minimum_is_refused(loss, start, told):
    problem = from_arrays(loss, lambda key: np.zeros(2), np.array([[1.0, 0.0], [-1.0, 0.0]]))
    with pytest.raises(ValueError, match=told):
        find_minimum(problem, np.array(start), max_iterations=20)


def test_too_many_weights_are_refused():
    problem = from_arrays(lambda w, x: (w**2).sum() * x, lambda key: np.zeros(2001), np.ones(1))
    for function in (find_minimum, linearize):
        with pytest.raises(ValueError, match="2001 weights, expected at most 2000"):
            function(problem, np.zeros(2001))


@pytest.mark.parametrize("name", ["two_weights", "logistic"])
def test_the_linearization_is_hessian_and_covariance_of_the_pool(name):
    problem, params = CASES[name]()
    found = linearize(problem, params)
    rows = gradient_rows(problem, params)
    np.testing.assert_allclose(found.D, covariance(rows), atol=1e-13)
    np.testing.assert_allclose(found.gradient, rows.mean(axis=0), atol=1e-13)
    with jax.enable_x64(True):
        flat, unravel = jax.flatten_util.ravel_pytree(jax.tree.map(np.asarray, params))
        mean_loss = lambda point: jax.vmap(problem.loss, (None, 0))(unravel(point), problem.pool).mean()  # noqa: E731
        np.testing.assert_allclose(found.F, jax.jit(jax.hessian(mean_loss))(flat), atol=1e-12)


def test_the_penalty_enters_the_hessian_and_leaves_the_noise():
    problem, params = CASES["two_weights"]()
    plain, decayed = linearize(problem, params), linearize(penalized(problem, 0.3), params)
    np.testing.assert_allclose(decayed.F - plain.F, 0.3 * np.eye(2), atol=1e-13)
    np.testing.assert_allclose(decayed.D, plain.D, atol=1e-14)


def random_linearization(rng, size=5, rank=None):
    basis = np.linalg.qr(rng.normal(size=(size, size)))[0]
    factor = rng.normal(size=(size, rank or size))
    return Linearization(basis @ np.diag(rng.uniform(0.2, 2, size)) @ basis.T, factor @ factor.T, np.zeros(size))


def test_the_covariance_is_the_fixed_point_of_sgds_recursion(rng):
    found, rate, batch = random_linearization(rng), 0.3, 4
    C = found.covariance(rate, batch)
    step = np.eye(5) - rate * found.F
    np.testing.assert_allclose(step @ C @ step.T + rate**2 * found.D / batch, C, rtol=1e-10, atol=1e-13)


def test_it_is_the_covariance_of_the_decomposition_at_that_learning_rate(rng):
    found, rate, batch = random_linearization(rng), 0.3, 4
    S = linear_decomposition(found.F, found.D, learning_rate=rate).S
    np.testing.assert_allclose(found.covariance(rate, batch), S * rate / (2 * batch), rtol=1e-9)
    continuous = linear_decomposition(found.F, found.D).S * rate / (2 * batch)
    assert np.max(np.abs(found.covariance(rate, batch) / continuous - 1)) > 0.01  # the SDE's misses by the rate


def test_directions_without_noise_are_left_out_of_the_decomposition(rng):
    """Noise of rank 1 spread by F over 3 of 5 weights."""
    F = np.diag([1.0, 2.0, 0.5, 0.7, 1.1])
    direction = np.array([1.0, 1.0, -0.5, 0, 0])
    found = Linearization(F, np.outer(direction, direction), np.zeros(5))
    decomposition, columns = found.decomposition(0.1)
    assert columns.shape == (5, 3)
    np.testing.assert_allclose(np.abs(columns[3:]), 0, atol=1e-12)
    np.testing.assert_allclose(columns @ decomposition.S @ columns.T * 0.1 / 8, found.covariance(0.1, 4), atol=1e-9)


def test_softmax_regression_has_no_noise_along_common_logits():
    problem, start = CASES["logistic"]()
    problem = penalized(problem, 0.1)
    minimum = find_minimum(problem, start)
    columns = linearize(problem, minimum.params).noisy_directions()
    assert columns.shape[1] <= 6  # 9 weights, 3 of them common to the classes
    common = jax.tree.map(lambda leaf: np.ones_like(leaf), start)
    np.testing.assert_allclose(jax.flatten_util.ravel_pytree(common)[0] @ columns, 0, atol=1e-6)


def test_unstable_points_and_rates_are_refused(rng):
    saddle = Linearization(np.diag([1.0, -0.5]), np.eye(2), np.zeros(2))
    with pytest.raises(ValueError, match=r"F has the eigenvalue -0\.5"):
        saddle.covariance(0.1, 1)
    with pytest.raises(ValueError, match="learning_rate=3 diverges"):
        Linearization(np.eye(2), np.eye(2), np.zeros(2)).covariance(3.0, 1)
