"""Polynomial landscapes are the stated rational functions, on exactly the stated population."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cases import CUBIC1, THREE_WEIGHTS, TWO_WEIGHTS
from gradnoise.testbeds import polynomial_landscape


def rational_mean(points, theta):
    """The population loss at rational weights, in fractions."""
    total = Fraction(0)
    for probability, coefficients in points:
        for powers, value in coefficients.items():
            term = Fraction(probability) * Fraction(value)
            for weight, power in zip(theta, powers.split(","), strict=True):
                term *= Fraction(weight) ** int(power)
            total += term
    return total


@pytest.mark.parametrize(
    ("points", "theta0"),
    [(CUBIC1, ["1/2"]), (TWO_WEIGHTS, ["1/3", "-1/2"]), (THREE_WEIGHTS, ["1/4", "1/2", "-1/3"])],
)
def test_mean_loss_over_the_pool_is_the_population_loss(points, theta0):
    problem = polynomial_landscape(points, theta0)
    with jax.enable_x64(True):
        losses = jax.jit(jax.vmap(problem.loss, (None, 0)))(problem.init(None), problem.pool)
        assert float(losses.mean()) == pytest.approx(float(rational_mean(points, theta0)), rel=1e-15)


def test_cubic1_has_the_loss_and_gradient_of_the_exact_table():
    """Test loss 673/720 and first coefficient -961/300 at N = T = 3, so |G|^2 = 961/900."""
    problem = polynomial_landscape(CUBIC1, ["1/2"])
    with jax.enable_x64(True):
        mean = jax.value_and_grad(lambda w: jax.vmap(problem.loss, (None, 0))(w, problem.pool).mean())
        value, gradient = jax.jit(mean)(problem.init(None))
    assert float(value) == pytest.approx(673 / 720, rel=1e-15)
    assert float(np.asarray(gradient) @ np.asarray(gradient)) == pytest.approx(961 / 900, rel=1e-14)


def test_pool_repeats_points_to_the_common_denominator():
    problem = polynomial_landscape([("1/6", {"1": 1}), ("1/2", {"1": 2}), ("1/3", {"1": 3})], [0])
    assert np.sort(problem.pool[:, 0]).tolist() == [1, 2, 2, 2, 3, 3]


def test_start_keeps_all_its_digits_outside_64_bit_mode():
    start = polynomial_landscape(CUBIC1, ["1/3"]).init(jax.random.key(0))
    assert start.dtype == np.float64
    assert start[0] == 1 / 3


def test_numbers_may_be_strings_ints_fractions_and_floats():
    problem = polynomial_landscape([(0.5, {"2": 0.1}), (Fraction(1, 2), {"2": 3})], [0.5])
    assert problem.pool.tolist() == [[0.1], [3.0]]


def test_derivatives_at_zero_are_finite():
    problem = polynomial_landscape([("1", {"2,1": 1, "0,0": 1, "3,0": 2})], [0, 0])
    hessian = jax.jit(jax.hessian(problem.loss))(jnp.zeros(2), problem.pool[0])
    assert np.all(np.asarray(hessian) == 0)


@pytest.mark.parametrize(
    ("points", "theta0", "words"),
    [
        ([("1/2", {"1": 1})], ["0"], "sum to 1"),
        ([("3/2", {"1": 1}), ("-1/2", {"1": 1})], ["0"], "positive ones that sum to 1"),
        ([], ["0"], "the probabilities are none"),
        ([("1", {"1,2": 1})], ["0"], "expected 1 whole numbers"),
        ([("1", {"-1": 1})], ["0"], "powers '-1'"),
        ([("1", {"1": "two"})], ["0"], "coefficient='two' is not a rational number"),
        ([("1", {"1": 1})], ["nan"], "theta0='nan' is not a rational number"),
        ([("1", {"1": 1})], [], "theta0 is empty"),
        ([("1", {})], ["0"], "no coefficient is given"),
        ([("1/1000003", {"1": 1}), ("1000002/1000003", {"1": 1})], ["0"], "common denominator is 1000003"),
        ([7], ["0"], "points: "),
    ],
)
def test_wrong_arguments_are_told(points, theta0, words):
    with pytest.raises(ValueError, match=words):
        polynomial_landscape(points, theta0)
