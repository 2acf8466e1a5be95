"""Boltzmann's form of the stationary density: when it holds, when it does not, and the solver as the judge."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradnoise.stationary.curl import boltzmann_exponents, measure_curl
from gradnoise.stationary.fokker_planck import solve_fokker_planck
from gradnoise.stationary.linear import linear_decomposition

POINTS = np.random.default_rng(0).normal(size=(12, 2))


def strength(x, xp=jnp):
    """A scalar noise; M = strength I has M^-1 div M = grad log strength."""
    return 1 + 0.5 * xp.tanh(x[0] - x[1] / 2)


def integrable(x, xp=jnp):
    """strength grad v of v = (x_1^2 - 1)^2/4 + x_2^2/2 + x_1 x_2/4."""
    return strength(x, xp) * xp.stack([x[0] ** 3 - x[0] + x[1] / 4, x[1] + x[0] / 4])


def scalar_noise(x):
    return strength(x) * jnp.eye(2)


def test_in_one_dimension_a_is_the_logarithm_of_the_noise_and_v_the_integral_of_force_over_noise():
    """a = ln(D + beta^2) exactly, D = sin^2, beta = .7; v against adaptive quadrature of (U' + alpha theta)/M."""
    from scipy import integrate

    points = np.linspace(-2, 2.5, 7)[:, None]
    found = boltzmann_exponents(
        lambda x: jnp.tanh(x) + 0.3 * x, lambda x: (jnp.sin(x) ** 2 + 0.49)[:, None], points, [0.4], num_nodes=60
    )
    exact = np.log(np.sin(points[:, 0]) ** 2 + 0.49) - np.log(np.sin(0.4) ** 2 + 0.49)
    np.testing.assert_allclose(found.a, exact, atol=1e-10)
    force = [
        integrate.quad(lambda t: (np.tanh(t) + 0.3 * t) / (np.sin(t) ** 2 + 0.49), 0.4, x)[0] for x in points[:, 0]
    ]
    np.testing.assert_allclose(found.v, force, atol=1e-9)


def test_a_linear_force_is_integrable_exactly_where_it_commutes_with_the_noise_and_nothing_circulates():
    """Curl of M^-1 A x is M^-1 A - A M^-1, zero iff M A = A M iff Q = 0 (C3), for symmetric A."""
    random = np.random.default_rng(1)
    for seed in range(2):
        one, other = random.normal(size=(2, 2, 2))
        A = one @ one.T + 0.2 * np.eye(2)
        commuting = A @ A + 0.3 * A if seed % 2 else other @ other.T + 0.2 * np.eye(2)
        curls = measure_curl(lambda x, A=A: A @ x, lambda x, M=commuting: jnp.asarray(M), POINTS[:2])
        expected = np.linalg.solve(commuting, A)
        np.testing.assert_allclose(curls.gradient_curl[0], expected - expected.T, atol=1e-12)
        Q = linear_decomposition(A, commuting).Q
        assert curls.holds == (np.max(np.abs(Q)) < 1e-9) == bool(seed % 2)
        assert not curls.noise_curl.any()


def test_where_the_curls_vanish_the_boltzmann_density_is_the_solvers_and_no_current_flows():
    """M = m(x) I with grad U = m grad v: a = log m, and the density of dtheta = -grad U dt + sqrt(T M) dW is known."""
    temperature = 0.8
    solution = solve_fokker_planck(
        lambda x: -integrable(x, np),
        lambda x: temperature / 2 * np.multiply.outer(np.eye(2), strength(x, np)),
        ((-3, 3), (-4, 4)),
        (60, 80),
    )
    inner = slice(10, -10, 8), slice(15, -15, 8)
    x = np.stack(np.meshgrid(*solution.centers, indexing="ij"), axis=-1)[inner].reshape(-1, 2)
    found = boltzmann_exponents(integrable, scalar_noise, x, [0.0, 0.0], num_nodes=40)
    np.testing.assert_allclose(found.a, np.log(strength(x.T, np)), atol=1e-9)
    np.testing.assert_allclose(found.v, (x[:, 0] ** 2 - 1) ** 2 / 4 - 0.25 + x[:, 1] ** 2 / 2 + x[:, 0] * x[:, 1] / 4)
    difference = np.log(solution.density)[inner].ravel() - found.log_density(temperature)
    np.testing.assert_allclose(difference, difference.mean(), atol=1e-5)
    assert np.max(np.abs(solution.current)) < 1e-10
    assert found.path_difference < 1e-9
    coarse = boltzmann_exponents(integrable, scalar_noise, x, [0.0, 0.0], num_nodes=6)
    assert coarse.path_difference > 1e-6  # which is the error of so few nodes
    assert np.max(np.abs(coarse.a - found.a)) < 2 * coarse.path_difference


def test_where_a_curl_does_not_vanish_it_refuses_with_its_size_and_a_current_flows():
    """(18)-(20) for a loss x_1^2 + x_2^2/2 + .3 x_1 x_2 and correlated noise: M^-1 grad U is no gradient."""
    A, M = np.array([[2.0, 0.3], [0.3, 1.0]]), np.array([[1.0, 0.4], [0.4, 0.5]])
    with pytest.raises(ValueError, match=r"curl of .* of its largest derivative .* Use solve_fokker_planck"):
        boltzmann_exponents(lambda x: A @ x, lambda x: jnp.asarray(M), POINTS, [0.0, 0.0])
    solution = solve_fokker_planck(lambda x: -np.tensordot(A, x, 1), lambda x: M, ((-6, 6), (-6, 6)), (60, 80))
    assert np.max(np.abs(solution.current)) > 0.005


def test_the_noise_alone_can_have_a_curl():
    """M = diag(2 + tanh(x_1 x_2), 1): M^-1 div M = (d_1 log M_11, 0), whose curl is -d_2 d_1 log M_11."""
    curls = measure_curl(
        lambda x: jnp.zeros(2), lambda x: jnp.diag(jnp.stack([2 + jnp.tanh(x[0] * x[1]), jnp.ones(())])), POINTS
    )
    assert not curls.gradient_curl.any()
    assert curls.relative[1] > 0.1
    assert not curls.holds
    worst = int(np.argmax(np.abs(curls.noise_curl).max((1, 2))))
    assert curls.worst.tolist() == POINTS[worst].tolist()


def test_rounding_in_a_noise_that_is_constant_is_no_curl():
    """M = R R^T with R a rotation by x_1: one but for rounding, and so are its derivatives."""

    def noise(x):
        turn = jnp.stack([jnp.stack([jnp.cos(x[0]), -jnp.sin(x[0])]), jnp.stack([jnp.sin(x[0]), jnp.cos(x[0])])])
        return turn @ turn.T

    assert measure_curl(lambda x: x, noise, 3 * POINTS).holds


def test_two_curls_can_cancel_at_one_temperature_and_no_other():
    """drift = -M grad Phi + (T/2) div M at T = 0.8: no current there, although neither v nor a exists."""
    phi, temperature = (lambda x: x @ x / 2 + jnp.sin(x[0]) * x[1] / 3), 0.8

    def noise(x):
        return jnp.array([[1.5 + jnp.tanh(x[1]) / 2, 0.2], [0.2, 1.2 + jnp.sin(x[0] + x[1]) / 3]])

    def gradient(x):
        divergence = jnp.einsum("ikk->i", jax.jacfwd(noise)(x))
        return noise(x) @ jax.grad(phi)(x) - temperature / 2 * divergence

    curls = measure_curl(gradient, noise, POINTS)
    assert not curls.holds
    assert curls.relative.min() > 0.01
    assert curls.at_temperature(temperature) < 1e-12
    assert curls.at_temperature(0.5) > 0.01


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"points": np.zeros(3)}, r"points of shape \(3,\)"),
        ({"points": [[np.nan, 0.0]]}, "Give finite numbers"),
        ({"origin": [0.0]}, "origin has 1 coordinates and points 2"),
        ({"gradient": lambda x: x[0]}, r"gradient\(x\) has shape \(\), expected \(2,\)"),
        ({"noise": lambda x: x}, r"noise\(x\) has shape \(2,\), expected \(2, 2\)"),
        ({"noise": lambda x: jnp.zeros((2, 2))}, "Give M positive definite"),
        ({"num_nodes": 1}, "num_nodes=1"),
    ],
)
def test_wrong_arguments_are_told(change, words):
    arguments = {"gradient": lambda x: x, "noise": lambda x: jnp.eye(2), "points": POINTS[:2], "origin": [0.0, 0.0]}
    with pytest.raises(ValueError, match=words):
        boltzmann_exponents(**(arguments | change))
