"""Momentum as a diffusion: its noise by enumeration, its variance and the recursion's."""

import numpy as np
import pytest
from scipy import linalg

from gradnoise.stationary.heavy_ball import heavy_ball_variance, momentum_increment_covariance
from stationary.exact_sgd import Pool, pools

SETTINGS = {"curvature": 1.3, "noise": 0.7, "learning_rate": 0.1, "batch_size": 4, "momentum": 0.9}


def increments(pool, Z):
    """Mean over z of Cov(d theta, d v given z), over all batches, for PyTorch's form."""
    steps = np.array(list(pool.steps()))[:, 1:]
    centred = steps - steps.mean(axis=0)
    return np.einsum("nik,kl,njl->ij", centred, Z, centred) / len(steps)


def test_increments_have_opposite_noise_by_enumeration_and_the_printed_sign_fails(rng):
    """Erratum 10."""
    for pool in pools(rng):
        pool = pool._replace(momentum=0.6, injected_noise=0.0)
        Z = pool.moments()
        exact = increments(pool, Z)
        found = momentum_increment_covariance(pool.noise(Z), pool.learning_rate, pool.batch_size)
        np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-12)
        printed = np.abs(found) * np.sign(np.kron(np.ones((2, 2)), pool.noise(Z)))
        off = 2 * pool.learning_rate / pool.batch_size * np.max(np.abs(pool.noise(Z)))
        assert np.max(np.abs(printed - exact)) == pytest.approx(off, rel=1e-9)


def test_sutskevers_form_has_four_equal_blocks(rng):
    """u = -eta v, du = -eta dv: a change of variables."""
    D = np.cov(rng.normal(size=(3, 9)))
    one, other = (momentum_increment_covariance(D, 0.1, 4, form) for form in ("pytorch", "sutskever"))
    change = np.kron(np.diag([1.0, -0.1]), np.eye(3))
    np.testing.assert_allclose(change @ one @ change.T, other, rtol=1e-12)


def test_variances_are_those_of_the_notes():
    """V: 0.06969, 0.03307, 0.06731."""
    found = heavy_ball_variance(**SETTINGS)
    assert found == pytest.approx((0.06969, 0.03307, 0.06731), abs=5e-6)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("rate", [0.01, 0.1, 1.0])
def test_the_discrete_variance_is_that_of_the_recursion(rate, momentum):
    """By linear algebra over a pool of two, of one example a step."""
    h, scale = 1.3, 0.7**0.5
    pool = Pool(np.full((2, 1, 1), h), scale * np.array([[1.0], [-1.0]]), rate, momentum=momentum)
    found = heavy_ball_variance(h, 0.7, rate, 1, momentum)
    assert pool.moments()[1, 1] == pytest.approx(found.discrete, rel=1e-8)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_the_diffusions_variance_solves_its_lyapunov_equation_and_the_printed_sign_gives_another(momentum):
    """(40), (41): d theta = -eta (mu v + h theta), dv = -(1 - mu) v + h theta a step, with the increments' noise."""
    eta, h, D, B = 0.1, 1.3, 0.7, 4
    drift = np.array([[eta * h, eta * momentum], [-h, 1 - momentum]])
    noise = momentum_increment_covariance([[D]], eta, B)
    expected = heavy_ball_variance(h, D, eta, B, momentum).diffusion
    assert linalg.solve_continuous_lyapunov(drift, noise)[0, 0] == pytest.approx(expected, rel=1e-12)
    printed = linalg.solve_continuous_lyapunov(drift, np.abs(noise))[0, 0]
    assert abs(printed / expected - 1) > 0.3 or momentum == 0  # without momentum the weight does not see v


def test_all_three_meet_where_the_rate_times_curvature_is_far_below_one_minus_momentum():
    found = heavy_ball_variance(**(SETTINGS | {"learning_rate": 1e-6}))
    assert found.discrete == pytest.approx(found.leading_order, rel=2e-6)
    assert found.diffusion == pytest.approx(found.leading_order, rel=2e-5)
    usual = heavy_ball_variance(**SETTINGS)
    assert usual.diffusion < 0.48 * usual.discrete
    assert usual.leading_order == pytest.approx(usual.discrete, rel=0.04)


def test_without_momentum_the_recursion_is_plain_sgds():
    found = heavy_ball_variance(**(SETTINGS | {"momentum": 0.0}))
    assert found.discrete == pytest.approx(0.1 * 0.7 / 4 / (1.3 * (2 - 0.13)), rel=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: heavy_ball_variance(**(SETTINGS | {"curvature": 0.0})), "curvature=0 does not do"),
        (
            lambda: heavy_ball_variance(**(SETTINGS | {"learning_rate": 3.0})),
            "learning_rate=3 diverges at curvature=1.3",
        ),
        (lambda: heavy_ball_variance(**(SETTINGS | {"momentum": 1.0})), "momentum=1 is not below 1"),
        (lambda: momentum_increment_covariance([1.0], 0.1, 4), r"noise has shape \(1,\), expected \(d, d\)"),
        (lambda: momentum_increment_covariance([[1.0]], 0.1, 4, "adam"), "form='adam' is unknown"),
    ],
)
def test_wrong_calls_are_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()
