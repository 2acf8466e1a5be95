"""Local entropy: quadrature, closed form and sampling agree; its limits; which density it settles to."""

import numpy as np
import pytest
from scipy import integrate, optimize

from gradnoise.stationary.fokker_planck import solve_fokker_planck
from gradnoise.stationary.local_entropy import local_entropy, quadratic_local_entropy
from gradnoise.stationary.local_entropy_gradient import local_entropy_gradient

SCOPES = [0.01, 0.1, 0.5, 1.0, 2.0]


def wells(x):
    return (x**2 - 1) ** 2 / 4


def test_the_barrier_of_the_double_well_becomes_the_minimum():
    """f_gamma(0) - f_gamma(1) = .235, .114, -.133, -.176, -.148 (V)."""
    found = [local_entropy(wells, [0.0, 1.0], scope).value for scope in SCOPES]
    np.testing.assert_allclose([a - b for a, b in found], [0.235, 0.114, -0.133, -0.176, -0.148], atol=5.1e-4)


@pytest.mark.parametrize("b", [1.0, 3.0])
def test_value_and_gradient_are_those_of_adaptive_quadrature(b):
    for scope, x in ((0.1, 0.4), (2.0, -1.3)):
        total, moment = (
            integrate.quad(
                lambda y, s=scope, x=x, power=power: y**power * np.exp(-b * (wells(y) + (x - y) ** 2 / (2 * s))),
                *(-9, 9),
                epsabs=1e-13,
                points=[x],
            )[0]
            for power in (0, 1)
        )
        found = local_entropy(wells, x, scope, b)
        assert found.value == pytest.approx(-np.log(total * np.sqrt(b / (2 * np.pi * scope))) / b, abs=1e-9)
        assert found.gradient == pytest.approx((x - moment / total) / scope, abs=1e-9)
        step = 1e-4
        ends = local_entropy(wells, [x - step, x + step], scope, b).value
        assert (ends[1] - ends[0]) / (2 * step) == pytest.approx(found.gradient, abs=1e-6)


@pytest.mark.parametrize("h", [3.0, -0.4])
def test_of_a_parabola_quadrature_and_closed_form_agree(h):
    for b in (1.0, 4.0):
        exact = quadratic_local_entropy([[h]], [0.7], 0.8, b)
        found = local_entropy(lambda y: h * y**2 / 2, 0.7, 0.8, b)
        assert found.value == pytest.approx(exact.value, abs=1e-10)
        assert found.gradient == pytest.approx(exact.gradient[0], abs=1e-10)


def test_the_closed_form_is_the_papers_in_its_own_words():
    """x.(A^-1 + gamma)^-1 x/2 + log det(1 + gamma A)/2."""
    random = np.random.default_rng(0)
    factor, x = random.normal(size=(3, 3)), random.normal(size=3)
    A = factor @ factor.T + 0.1 * np.eye(3)
    inner = np.linalg.inv(np.linalg.inv(A) + 0.7 * np.eye(3))
    found = quadratic_local_entropy(A, x, 0.7)
    assert found.value == pytest.approx(x @ inner @ x / 2 + np.linalg.slogdet(np.eye(3) + 0.7 * A)[1] / 2, rel=1e-12)
    np.testing.assert_allclose(found.gradient, inner @ x, rtol=1e-12)


def test_a_narrow_scope_leaves_the_loss_and_cold_chains_give_the_moreau_envelope():
    x = np.array([-1.7, 0.0, 0.4])
    np.testing.assert_allclose(local_entropy(wells, x, 1e-5).value, wells(x), atol=1e-4)
    lowest = [optimize.minimize_scalar(lambda y, at=at: wells(y) + (at - y) ** 2 / 0.6).fun for at in x]
    cold = [local_entropy(wells, x, 0.3, b).value - lowest for b in (200.0, 400.0)]
    assert (np.abs(cold[1]) < 4e-3).all()
    np.testing.assert_allclose(cold[0] / cold[1], 2, atol=0.05)  # first order in 1/b


def test_a_process_that_descends_it_settles_to_its_own_gibbs_density_at_the_outer_temperature():
    """exp(-beta f_gamma) with the inner temperature 1: at beta = 4 not the smoothed exp(-beta f), which b = beta gives."""
    beta, scope = 4.0, 0.3

    def settled(b):
        solution = solve_fokker_planck(
            lambda x: -local_entropy(wells, x, scope, b).gradient, lambda x: np.eye(1) / beta, ((-3, 3),), (60,)
        )
        x = solution.centers[0]
        gibbs = np.exp(-beta * local_entropy(wells, x, scope, b).value)
        np.testing.assert_allclose(solution.density, gibbs / (gibbs.sum() * 0.1), atol=1e-6)
        return x, solution.density

    (x, paper), (_, same) = settled(1.0), settled(beta)
    kernel = np.exp(-beta * ((x[:, None] - x) ** 2) / (2 * scope)) @ np.exp(-beta * wells(x))
    smoothed = kernel / (kernel.sum() * 0.1)
    np.testing.assert_allclose(same, smoothed, atol=2e-3)
    assert np.max(np.abs(paper - smoothed)) > 0.05


@pytest.mark.parametrize(("b", "step"), [pytest.param(1.0, 0.6, marks=pytest.mark.slow), (3.0, 0.1)])
def test_langevin_chains_have_the_gradient_of_quadrature_whatever_their_step(getkey, b, step):
    exact = local_entropy(wells, 0.6, 0.5, b).gradient
    found = local_entropy_gradient(
        lambda y: wells(y[0]), [0.6], 0.5, getkey(), step_size=step, inner_inverse_temperature=b, num_chains=200
    )
    assert abs(found.gradient.value[0] - exact) < 4.5 * found.gradient.stderr[0]
    assert found.gradient.stderr[0] < 0.05
    assert 0.2 < found.acceptance < 0.99


@pytest.mark.slow
def test_langevin_chains_have_the_closed_form_in_several_dimensions(getkey):
    A, x = np.array([[3.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 0.2]]), np.array([1.0, -2.0, 0.5])
    exact = quadratic_local_entropy(A, x, 1.5).gradient
    found = local_entropy_gradient(lambda y: y @ A @ y / 2, x, 1.5, getkey(), step_size=0.15, num_chains=100)
    assert np.max(np.abs(found.gradient.value - exact) / found.gradient.stderr) < 4.5


def test_wrong_arguments_are_told(getkey):
    for change, words in [({"scope": 0.0}, "scope=0"), ({"inner_inverse_temperature": -1.0}, "temperature=-1")]:
        with pytest.raises(ValueError, match=words):
            local_entropy(**({"loss": wells, "x": 0.0, "scope": 1.0} | change))
    with pytest.raises(ValueError, match="does not converge for scope=1"):
        local_entropy(lambda y: -(y**2), 0.0, 1.0)
    with pytest.raises(ValueError, match="A has the eigenvalue -2, expected above -1"):
        quadratic_local_entropy(np.diag([1.0, -2.0]), [0.0, 0.0], 1.0)
    with pytest.raises(ValueError, match="Give a symmetric"):
        quadratic_local_entropy([[1.0, 1.0], [0.0, 1.0]], [0.0, 0.0], 1.0)
    with pytest.raises(ValueError, match=r"x has shape \(\), expected \(d,\)"):
        local_entropy_gradient(wells, 0.0, 1.0, getkey(), step_size=0.1)
    with pytest.raises(ValueError, match="num_chains=1"):
        local_entropy_gradient(wells, [0.0], 1.0, getkey(), step_size=0.1, num_chains=1)
    with pytest.raises(TypeError, match="is not one random key"):
        local_entropy_gradient(wells, [0.0], 1.0, 3, step_size=0.1)
