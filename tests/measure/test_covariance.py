"""The covariance of a batch mean."""

from itertools import combinations, product

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import eigsh

from brute_force import covariance, gradient_rows, linear_problem
from cases import CASES
from gradnoise import Problem, from_arrays
from gradnoise.measure import eigen
from gradnoise.measure.covariance import noise_covariance

POOL = np.array([[1.0, 0.0, 2.0], [0.5, -1.0, 0.0], [3.0, 1.0, 1.0], [-2.0, 0.25, 0.0], [0.0, 0.0, -1.5]])


@pytest.mark.parametrize("name", ["one_weight", "two_weights", "logistic", "mlp"])
def test_covariance_is_that_of_all_gradients_formed(name):
    problem, params = CASES[name]()
    rows = gradient_rows(problem, params)
    count = len(rows)
    with_replacement = noise_covariance(problem, params, 3)
    without = noise_covariance(problem, params, 3, replacement=False)
    assert (with_replacement.which, without.which) == ("D/B", "(S2/B)(1-B/N)")
    np.testing.assert_allclose(with_replacement.todense(), covariance(rows) / 3, atol=1e-13)
    np.testing.assert_allclose(without.todense(), covariance(rows, 1) / 3 * (1 - 3 / count), atol=1e-13)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5])
def test_without_replacement_it_is_the_covariance_over_all_batches(batch_size):
    means = np.array([POOL[list(batch)].mean(axis=0) for batch in combinations(range(5), batch_size)])
    found = noise_covariance(linear_problem(POOL), np.zeros(3), batch_size, replacement=False)
    np.testing.assert_allclose(found.todense(), covariance(means), atol=1e-14)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_with_replacement_it_is_the_covariance_over_all_batches(batch_size):
    means = np.array([POOL[list(batch)].mean(axis=0) for batch in product(range(5), repeat=batch_size)])
    found = noise_covariance(linear_problem(POOL), np.zeros(3), batch_size)
    np.testing.assert_allclose(found.todense(), covariance(means), atol=1e-14)


def test_the_shortcut_that_mixes_d_with_the_finite_population_factor_fails():
    means = np.array([POOL[list(batch)].mean(axis=0) for batch in combinations(range(5), 2)])
    mixed = covariance(POOL) / 2 * (1 - 2 / 5)
    np.testing.assert_allclose(mixed, covariance(means) * 4 / 5, atol=1e-14)  # off by (N - 1) / N


@settings(max_examples=4, deadline=None)
@given(st.integers(2, 9), st.integers(1, 6), st.floats(0.1, 10), st.integers(1, 50))
def test_a_factor_of_the_loss_enters_squared_and_the_batch_size_inversely(count, size, factor, batch_size):
    rows = np.random.default_rng(count + 10 * size).normal(size=(count, size))
    plain = noise_covariance(linear_problem(rows), np.zeros(size)).todense()
    scaled = noise_covariance(linear_problem(factor * rows + 3.0), np.zeros(size), batch_size)
    np.testing.assert_allclose(scaled.todense(), factor**2 / batch_size * plain, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(scaled.trace(), scaled.eigsh(size)[0].sum(), rtol=1e-9, atol=1e-12)


def test_draws_from_a_population_estimate_s2_without_bias(getkey):
    scales = np.array([0.5, 2.0])
    problem = Problem(
        lambda w, x: w @ x, lambda key, n: scales * jax.random.normal(key, (n, 2)), lambda key: np.zeros(2)
    )
    found = [noise_covariance(problem, np.zeros(2), 4, num_draws=5, key=getkey()) for _ in range(60)]
    assert found[0].which == "S2/B"
    traces = np.array([each.trace() for each in found])
    z = (traces.mean() - np.square(scales).sum() / 4) / (traces.std(ddof=1) / np.sqrt(len(traces)))
    assert abs(z) < 4


@pytest.fixture(params=["few examples", "few parameters", "lanczos"])
def decaying(request, monkeypatch):
    """A covariance with a decaying spectrum, decomposed each way."""
    count, size = (20, 35) if request.param == "few examples" else (60, 25)
    random = np.random.default_rng(0)
    rows = random.normal(size=(count, size)) * 0.7 ** np.arange(size) + random.normal(size=size)
    if request.param == "lanczos":
        monkeypatch.setattr(eigen, "EXACT_SIDE", 0)
    return noise_covariance(linear_problem(rows), np.zeros(size), 2), covariance(rows) / 2


def test_eigenpairs_are_the_largest_and_orthonormal(decaying):
    operator, dense = decaying
    values, vectors = operator.eigsh(6)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(dense)[::-1][:6], rtol=1e-9)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(6), atol=1e-8)
    assert np.linalg.norm(dense @ vectors - vectors * values, axis=0).max() < 1e-8 * values[0]


def test_all_eigenpairs_include_the_null_space():
    rows = np.random.default_rng(0).normal(size=(4, 7))
    operator = noise_covariance(linear_problem(rows), np.zeros(7))
    values, vectors = operator.eigsh(7)
    np.testing.assert_allclose(vectors @ np.diag(values) @ vectors.T, covariance(rows), atol=1e-13)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(7), atol=1e-12)
    assert np.count_nonzero(values > 1e-12) == 3


def test_lanczos_of_no_noise_is_zero(monkeypatch):
    monkeypatch.setattr(eigen, "EXACT_SIDE", 0)
    operator = noise_covariance(linear_problem(np.ones((8, 5))), np.zeros(5))
    values, vectors = operator.eigsh(2)
    np.testing.assert_allclose(values, 0)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(2))


def test_products_take_vectors_columns_trees_and_both_sides():
    problem, params = CASES["mlp"]()
    operator = noise_covariance(problem, params, 2)
    dense = operator.todense()
    flat, unravel = jax.flatten_util.ravel_pytree(jax.tree.map(lambda leaf: np.cos(np.asarray(leaf)), params))
    flat = np.asarray(flat, float)
    np.testing.assert_allclose(operator @ flat, dense @ flat, atol=1e-13)
    np.testing.assert_allclose(flat @ operator, dense @ flat, atol=1e-13)
    columns = np.stack([flat, flat**2], axis=1)
    np.testing.assert_allclose(operator @ columns, dense @ columns, atol=1e-13)
    tree = operator @ unravel(jax.numpy.asarray(flat))
    assert jax.tree.structure(tree) == jax.tree.structure(params)
    np.testing.assert_allclose(jax.flatten_util.ravel_pytree(tree)[0], dense @ flat, atol=1e-6)
    np.testing.assert_allclose(np.asarray(operator), dense)


@pytest.mark.parametrize("shape", [(6,), (2, 3), (6, 1), (1, 6)])
def test_products_do_not_care_how_one_array_of_weights_is_shaped(shape):
    rows = np.random.default_rng(0).normal(size=(7, 6))
    params = np.zeros(shape)
    problem = from_arrays(lambda w, x: w.reshape(-1) @ x, lambda key: params, rows)
    operator, dense = noise_covariance(problem, params), covariance(rows)
    vector, columns = np.arange(6.0), np.random.default_rng(1).normal(size=(6, 4))
    like_params = vector.reshape(shape)
    for found in (operator @ like_params, like_params @ operator):
        np.testing.assert_allclose(found, (dense @ vector).reshape(shape), atol=1e-13)
    np.testing.assert_allclose(operator @ vector, dense @ vector, atol=1e-13)
    np.testing.assert_allclose(vector @ operator, dense @ vector, atol=1e-13)
    np.testing.assert_allclose(operator @ columns, dense @ columns, atol=1e-13)
    np.testing.assert_allclose(columns.T @ operator, columns.T @ dense, atol=1e-13)


def test_two_weights_in_a_flat_vector_multiply():
    operator = noise_covariance(linear_problem(POOL[:, :2]), np.zeros(2))
    np.testing.assert_allclose(operator @ np.ones(2), covariance(POOL[:, :2]).sum(axis=1))


@pytest.mark.parametrize("array", [np.ones(3), np.ones((2, 3)), jax.numpy.ones((2, 3))])
def test_an_array_from_the_left_does_not_form_the_matrix(array, monkeypatch):
    operator = noise_covariance(linear_problem(POOL), np.zeros(3))
    expected = np.asarray(array) @ operator.todense()
    monkeypatch.setattr(type(operator), "todense", lambda self: pytest.fail("the matrix was formed"))
    np.testing.assert_allclose(array @ operator, expected, atol=1e-13)


def test_scipy_takes_it():
    operator = noise_covariance(linear_problem(POOL), np.zeros(3), 2)
    assert operator.shape == operator.to_scipy().shape == (3, 3)
    largest = eigsh(operator.to_scipy(), 1)[0]
    np.testing.assert_allclose(largest, np.linalg.eigvalsh(covariance(POOL) / 2)[-1:])
    np.testing.assert_allclose(operator.to_scipy() @ np.eye(3), covariance(POOL) / 2, atol=1e-14)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"batch_size": 0}, ValueError, "batch_size=0 is below 1"),
        ({"batch_size": 2.0}, TypeError, "batch_size=2.0 is not an integer"),
        ({"replacement": "no"}, TypeError, "replacement='no' is not True or False"),
        ({"batch_size": 6, "replacement": False}, ValueError, "batch_size=6 exceeds the pool's 5 examples.*at most 5"),
        (
            {"replacement": False, "num_draws": 4, "key": jax.random.key(0)},
            ValueError,
            "replacement=False needs the pool",
        ),
        ({"params": np.zeros((3, 0))}, TypeError, "."),
        ({"key": jax.random.key(0)}, ValueError, "key has no meaning without num_draws: noise_covariance then uses"),
    ],
)
def test_wrong_calls_are_one_sentence(wrong, error, words):
    arguments = {"problem": linear_problem(POOL), "params": np.zeros(3)} | wrong
    with pytest.raises(error, match=words):
        noise_covariance(**arguments)


def test_without_a_pool_draws_are_asked_for():
    problem = Problem(lambda w, x: w @ x, lambda key, n: np.ones((n, 3)), lambda key: np.zeros(3))
    with pytest.raises(ValueError, match="num_draws is missing: noise_covariance averages over a pool"):
        noise_covariance(problem, np.zeros(3))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda c: c.eigsh(0), ValueError, "k=0 is below 1"),
        (lambda c: c.eigsh(4), ValueError, "k=4 exceeds the 3 parameters"),
        (lambda c: c.eigsh("all"), TypeError, "k='all' is not an integer"),
        (lambda c: c @ np.ones(4), ValueError, r"shape \(4,\), expected \(3,\)"),
        (lambda c: c @ "x", ValueError, "a str, expected"),
        (lambda c: c @ np.ones((3, 1, 1)), ValueError, r"shape \(3, 1, 1\)"),
    ],
)
def test_wrong_uses_of_the_operator_are_one_sentence(call, error, words):
    operator = noise_covariance(linear_problem(POOL), np.zeros(3))
    with pytest.raises(error, match=words):
        call(operator)


def test_a_matrix_that_does_not_fit_is_not_formed():
    operator = noise_covariance(linear_problem(POOL), np.zeros(3))
    object.__setattr__(operator.gradients, "room", 100)
    with pytest.raises(MemoryError, match=r"todense\(\) of 3 parameters needs 144 B, expected at most 100 B"):
        operator.todense()
