"""Extreme eigenvalues of the hessian."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cases import CASES
from gradnoise import Problem, from_arrays, testbeds
from gradnoise.measure import curvature
from gradnoise.measure.curvature import hessian_extremes


def _quadratic(params, example):
    return (example["row"] @ params) ** 2 / 2 - example["dip"] @ params**2 / 2


def _quadratic_problem(count=30, size=90):
    random = np.random.default_rng(0)
    pool = {"row": random.normal(size=(count, size)), "dip": random.uniform(0, 2, (count, size))}
    hessian = pool["row"].T @ pool["row"] / count - np.diag(pool["dip"].mean(axis=0))
    return from_arrays(_quadratic, lambda key: np.ones(size), pool), np.linalg.eigvalsh(hessian)


@pytest.mark.parametrize("name", ["three_weights", "mlp"])
def test_extremes_are_those_of_the_hessian_formed(name):
    problem, params = CASES[name]()
    with jax.enable_x64(True):
        flat, unravel = jax.flatten_util.ravel_pytree(jax.tree.map(jnp.asarray, params))
        mean_loss = lambda at: jax.vmap(problem.loss, (None, 0))(unravel(at), problem.pool).mean()  # noqa: E731
        values = np.linalg.eigvalsh(np.asarray(jax.jit(jax.hessian(mean_loss))(flat)))
    found = hessian_extremes(problem, params)
    np.testing.assert_allclose(found.largest.value, values[-1], rtol=1e-10)
    np.testing.assert_allclose(found.smallest.value, values[0], atol=1e-10 * values[-1])
    np.testing.assert_allclose(found.curvature_limit.value, 2 / values[-1], rtol=1e-10)


def test_lanczos_finds_both_ends_within_its_bound():
    problem, values = _quadratic_problem()
    found = hessian_extremes(problem, np.ones(90))
    for estimate, truth in ((found.largest, values[-1]), (found.smallest, values[0])):
        assert abs(estimate.value - truth) <= estimate.stderr + 1e-12
        assert estimate.stderr < 1e-6 * values[-1]
    np.testing.assert_allclose(np.linalg.norm(found.largest_vector), 1)


def test_gradient_descent_is_stable_just_below_the_limit_and_not_above():
    problem = from_arrays(lambda w, x: (x @ w) ** 2 / 2, lambda key: np.ones(2), np.array([[2.0, 1.0], [0.0, 1.0]]))
    limit = hessian_extremes(problem, np.ones(2)).curvature_limit.value
    hessian = np.array([[2.0, 1.0], [1.0, 1.0]])
    radius = lambda rate: np.abs(np.linalg.eigvalsh(np.eye(2) - rate * hessian)).max()  # noqa: E731
    assert radius(0.999 * limit) < 1 < radius(1.001 * limit)


def test_a_loss_that_only_curves_down_has_no_limit():
    problem = from_arrays(lambda w, x: -x * w @ w / 2, lambda key: np.ones(2), np.array([1.0, 3.0]))
    found = hessian_extremes(problem, np.ones(2))
    assert found.curvature_limit.value == math.inf
    assert found.smallest.value == pytest.approx(-2)


@pytest.mark.parametrize("dense_side", [64, 0])
def test_a_linear_loss_has_no_curvature(monkeypatch, dense_side):
    monkeypatch.setattr(curvature, "DENSE_SIDE", dense_side)
    found = hessian_extremes(from_arrays(lambda w, x: w @ x, lambda key: np.ones(3), np.eye(3)), np.ones(3))
    assert found.largest.value == found.smallest.value == 0
    assert found.curvature_limit.value == math.inf


def test_draws_carry_their_sampling_error():
    """H_i = x_i^2: mean 1, standard deviation sqrt(2)."""
    problem = Problem(lambda w, x: (x * w) ** 2 / 2, lambda key, n: jax.random.normal(key, (n,)), lambda key: 1.0)
    keys = jax.random.split(jax.random.key(0), 40)
    found = [hessian_extremes(problem, 1.0, num_draws=500, key=key).largest for key in keys]
    z = np.array([(each.value - 1) / each.stderr for each in found])
    assert found[0].stderr == pytest.approx(math.sqrt(2 / 500), rel=0.2)
    assert abs(z.mean()) < 4 / math.sqrt(40)
    assert 0.6 < z.std() < 1.5


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"problem": None}, TypeError, "problem is a NoneType, expected a Problem"),
        ({"num_draws": 0, "key": jax.random.key(0)}, ValueError, "num_draws=0 is below 2"),
        ({"num_draws": 10, "key": 3}, TypeError, "key=3 is not one random key"),
        ({"key": jax.random.key(0)}, ValueError, "key has no meaning without num_draws: hessian_extremes then uses"),
        ({"memory": -5}, ValueError, "memory=-5 is not positive"),
    ],
)
def test_wrong_calls_are_one_sentence(wrong, error, words):
    problem = from_arrays(lambda w, x: w @ x, lambda key: np.ones(3), np.eye(3))
    with pytest.raises(error, match=words):
        hessian_extremes(**({"problem": problem, "params": np.ones(3)} | wrong))


def test_lanczos_that_does_not_converge_says_so(monkeypatch):
    monkeypatch.setattr(curvature, "DENSE_SIDE", 0)
    from scipy.sparse.linalg import ArpackNoConvergence

    def fail(*args, **options):
        raise ArpackNoConvergence("no", np.zeros(0), np.zeros((0, 0)))

    monkeypatch.setattr("gradnoise.measure.eigen.eigsh", fail)
    with pytest.raises(RuntimeError, match="Lanczos found 0 of k=1 eigenvalues"):
        hessian_extremes(*CASES["two_weights"]())


def test_a_smallest_eigenvalue_of_zero_is_found():
    """Softmax regression: shifting all logits changes nothing, so H has exact zeros, where a relative tolerance fails."""
    problem = testbeds.problem("digits-logistic", num_pool=100)
    extremes = hessian_extremes(problem, problem.init(jax.random.key(0)))
    assert abs(extremes.smallest.value) < 1e-6 * extremes.largest.value
