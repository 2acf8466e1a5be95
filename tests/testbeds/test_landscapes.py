"""Gauss and the double well: cumulants by quadrature, the series against exact expectations, known integrals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from gradnoise.testbeds import double_well, gauss
from gradnoise.testbeds.landscapes import (
    GaussTensors,
    double_well_inverse_temperature,
    double_well_moments,
    gauss_sde_test_loss,
    gauss_test_loss,
)

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def test_gauss_tensors_are_the_expectations_of_its_derivatives():
    with jax.enable_x64(True):
        loss, x = gauss().loss, jnp.asarray(NODES)[:, None]
        derivatives = [lambda h, x: loss(h[None], x)]
        for _ in range(3):
            derivatives.append(jax.grad(derivatives[-1]))
        g, h, j = (np.asarray(jax.jit(jax.vmap(d, (None, 0)))(0.0, x)) for d in derivatives[1:])
    exact = GaussTensors()
    assert WEIGHTS @ g == pytest.approx(0.0, abs=1e-12)
    assert WEIGHTS @ h == pytest.approx(exact.hessian)
    assert WEIGHTS @ j == pytest.approx(exact.third_derivative)
    assert WEIGHTS @ g**2 == pytest.approx(exact.covariance)
    assert 2 * (WEIGHTS @ (g * h)) == pytest.approx(exact.covariance_slope)
    assert WEIGHTS @ g**3 == pytest.approx(exact.skewness)
    assert WEIGHTS @ (g * h) == pytest.approx(exact.gradient_hessian)


def exact_gauss_test_loss(rate, num_steps):
    """E l(h_T) over all x by nested quadrature, the population loss being (h + e^{-h})/2."""
    h, weight = np.zeros(1), np.ones(1)
    for _ in range(num_steps):
        h = (h[:, None] - rate * (1 - NODES**2 * np.exp(-h[:, None])) / 2).ravel()
        weight = (weight[:, None] * WEIGHTS).ravel()
    return weight @ (h + np.exp(-h)) / 2


@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_gauss_series_is_right_through_order_three(num_steps):
    """The remainder falls as the fourth power of the rate; without the last term it would as the third."""
    remainders = [exact_gauss_test_loss(r, num_steps) - gauss_test_loss(r, num_steps) for r in (0.01, 0.02)]
    assert np.log2(remainders[1] / remainders[0]) == pytest.approx(4, abs=0.15)


def test_the_sde_on_gauss_has_its_closed_form_from_the_generator():
    """Through order 3: exp(T (eta A + eta^2 D)) l at h = 0, A f = -l' f', D f = C f''/2, C = e^{-2h}/2."""
    h = sympy.Symbol("h")
    loss, noise = (h + sympy.exp(-h)) / 2, sympy.exp(-2 * h) / 2
    assert float(noise.subs(h, 0)) == GaussTensors().covariance

    def drift(f):
        return -sympy.diff(loss, h) * sympy.diff(f, h)

    def spread(f):
        return noise * sympy.diff(f, h, 2) / 2

    for steps, rate in ((1, 0.1), (5, 0.3)):
        terms = [loss, steps * drift(loss), steps * spread(loss) + steps**2 * drift(drift(loss)) / 2]
        mixed = steps**2 * (drift(spread(loss)) + spread(drift(loss))) / 2
        terms.append(mixed + steps**3 * drift(drift(drift(loss))) / 6)
        value = sum(float(term.subs(h, 0)) * rate**k for k, term in enumerate(terms))
        assert value == pytest.approx(gauss_sde_test_loss(rate, steps), rel=1e-13)


def test_sgd_minus_sde_on_gauss_is_finite_steps_less_skewness():
    """4.2 at G = 0: T [(1/2) C:HH - (1/6) S:J] = -T/48."""
    tensors, T, rate = GaussTensors(), 7, 0.1
    short = tensors.covariance * tensors.hessian**2 / 2 - tensors.skewness * tensors.third_derivative / 6
    assert short == pytest.approx(-1 / 48)
    difference = gauss_test_loss(rate, T) - gauss_sde_test_loss(rate, T)
    assert difference == pytest.approx(T * short * rate**3, rel=1e-9)


def test_gauss_draws_are_standard_normal(getkey):
    x = np.asarray(gauss().sample(getkey(), 100_000))
    assert x.shape == (100_000, 1)
    assert abs(x.mean()) < 4 / np.sqrt(1e5)
    assert abs((x**2).mean() - 1) < 4 * np.sqrt(2 / 1e5)


def test_double_well_moments_are_those_of_the_source():
    """dynamics.md C4: Z = 7.6234684447, E x1^2 = 1.0417972965, E x2^2 = 1."""
    moments = double_well_moments(1.0)
    assert moments == pytest.approx((7.6234684447, 1.0417972965, 1.0), rel=1e-10)


@pytest.mark.parametrize("beta", [0.1, 4.0, 50.0])
def test_double_well_moments_agree_with_adaptive_quadrature(beta):
    from scipy.integrate import quad

    def density(x):
        return np.exp(-beta * (x**2 - 1) ** 2 / 4)

    first = 2 * quad(density, 0, 10, points=[1.0], limit=200)[0]
    square = 2 * quad(lambda x: x**2 * density(x), 0, 10, points=[1.0], limit=200)[0]
    moments = double_well_moments(beta)
    assert moments.normalization == pytest.approx(first * np.sqrt(2 * np.pi / beta), rel=1e-9)
    assert moments.first_square == pytest.approx(square / first, rel=1e-9)


def test_double_well_noise_is_isotropic_and_the_same_everywhere():
    problem = double_well(noise=0.5, law="signs")
    with jax.enable_x64(True):
        gradients_at = jax.jit(jax.vmap(jax.grad(problem.loss), (None, 0)))
        for x, y in ((1.0, 0.0), (-0.3, 2.0)):
            gradients = gradients_at(np.array([x, y]), problem.pool)
            assert np.asarray(gradients.mean(0)) == pytest.approx([x**3 - x, y])
            assert np.cov(np.asarray(gradients).T, bias=True) == pytest.approx(0.25 * np.eye(2))


def test_double_well_at_its_inverse_temperature_settles_in_the_density_of_small_steps(getkey):
    """SGD's second moments, whose rates of order eta are known across the well and bounded along it."""
    rate, noise = 0.02, 3.0
    problem, beta = double_well(noise), double_well_inverse_temperature(rate, 1, noise)

    @jax.jit
    def run(theta, keys):
        def step(theta, key):
            gradients = jax.vmap(jax.grad(problem.loss))(theta, problem.sample(key, len(theta)))
            return theta - rate * gradients, None

        return jax.lax.scan(step, theta, keys)[0]

    start = jnp.tile(jnp.array([[1.0, 0.0], [-1.0, 0.0]]), (5000, 1))
    squares = np.asarray(run(start, jax.random.split(getkey(), 1000))) ** 2
    mean, error = squares.mean(0), squares.std(0) / np.sqrt(len(squares))
    expected = double_well_moments(beta)
    assert abs(mean[1] - expected.second_square / (1 - rate / 2)) < 4 * error[1]
    assert abs(mean[0] - expected.first_square) < 4 * error[0] + 2 * rate


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: gauss(theta0=np.nan), "theta0 holds NaN"),
        (lambda: double_well(noise=-1.0), "noise=-1"),
        (lambda: double_well(theta0=(1.0, 2.0, 3.0)), "theta0 has shape"),
        (lambda: double_well_moments(0.0), "inverse_temperature=0"),
    ],
)
def test_wrong_arguments_are_told(make, words):
    with pytest.raises(ValueError, match=words):
        make()
