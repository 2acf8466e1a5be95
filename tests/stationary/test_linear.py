"""Linear force, constant noise: the Lyapunov solution against algebra, simulation-free recursions and closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg

from gradnoise.stationary.linear import circulation, entropy_production, linear_decomposition

WORKED = np.array([[2.0, 0.3], [0.3, 1.0]]), np.array([[1.0, 0.4], [0.4, 0.2]])
ROTATION = np.array([[0.0, 1.0], [-1.0, 0.0]])


def stable_system(seed, size=None, rank=None):
    """A stable force (not symmetric) and a covariance of the given rank; eigenvalues of F are at least 0.3."""
    random = np.random.default_rng(seed)
    d = size or int(random.integers(1, 6))
    raw = random.normal(size=(d, d))
    F = raw + (0.3 - np.linalg.eigvals(raw).real.min()) * np.eye(d)
    factor = random.normal(size=(d, rank or d))
    return F, factor @ factor.T + (0 if rank else 0.1) * np.eye(d)


def close(left, right, scale, factor=1e4):
    """Equal to rounding: `factor` eps is far above the residual of a backward stable solver for d <= 6."""
    np.testing.assert_allclose(left, right, atol=factor * np.finfo(float).eps * np.max(np.abs(scale)), rtol=0)


def test_the_worked_example_has_its_digits():
    U, Q, S = linear_decomposition(*WORKED)
    assert Q[0, 1] == pytest.approx(0.8 / 15, rel=1e-13)  # 0.0533333
    np.testing.assert_allclose(U, [[6.1618257, -9.1804979], [-9.1804979, 20.9128631]], atol=5e-8)
    np.testing.assert_allclose(U @ S, np.eye(2), atol=1e-12)


@given(st.integers(0, 10**6))
def test_every_invariant_of_the_decomposition_holds(seed):
    F, D = stable_system(seed)
    U, Q, S = linear_decomposition(F, D)
    size = np.linalg.cond(S) * np.max(np.abs(F)) * np.max(np.abs(S))
    close(F @ S + S @ F.T, 2 * D, size)
    close(Q, F @ S - D, size)
    close(F, (D + Q) @ U, size * np.max(np.abs(U)))
    close(F @ Q + Q @ F.T, F @ D - D @ F.T, size * np.max(np.abs(F)))
    x = np.random.default_rng(seed).normal(size=len(F))
    assert (Q == -Q.T).all()  # hence j.Ux = 0 and tr(QU) = 0, the divergence of j
    assert (U == U.T).all()
    close((-Q @ U @ x) @ (U @ x), 0.0, size * np.max(np.abs(U)) ** 2 * (x @ x))
    close(np.trace(Q @ U), 0.0, size * np.max(np.abs(U)))
    assert np.linalg.eigvalsh(S)[0] > 0


@given(st.integers(0, 10**6))
def test_the_density_is_stationary_for_the_fokker_planck_equation(seed):
    """For exp(-beta x.Ux/2) the equation asks tr F - tr(DU) = 0 and (UF + F^T U)/2 = UDU, whatever beta."""
    F, D = stable_system(seed)
    U, _, S = linear_decomposition(F, D)
    size = np.linalg.cond(S) * np.max(np.abs(F)) * max(1.0, np.max(np.abs(U))) ** 2
    close(np.trace(F), np.trace(D @ U), size)
    close((U @ F + F.T @ U) / 2, U @ D @ U, size * np.max(np.abs(D)))


@given(st.integers(0, 10**6))
def test_covariance_is_the_integral_of_decaying_noise(seed):
    """S = int_0^inf 2 exp(-Ft) D exp(-F^T t) dt, by doubling: S_2t = S_t + exp(-Ft) S_t exp(-F^T t)."""
    F, D = stable_system(seed)
    short = 2.0**-20 / np.max(np.abs(F))
    # Second order in `short`: the integrand's mean over [0, short] is D - (FD + DF^T) short/2 + O(short^2).
    total, decay = 2 * short * (D - (F @ D + D @ F.T) * short / 2), linalg.expm(-F * short)
    for _ in range(40):
        total, decay = total + decay @ total @ decay.T, decay @ decay
    S = linear_decomposition(F, D).S
    np.testing.assert_allclose(total, S, atol=1e-9 * np.max(np.abs(S)))


def test_in_two_dimensions_the_circulation_has_a_closed_form():
    for seed in range(20):
        F, D = stable_system(seed, 2)
        Q = linear_decomposition(F, D).Q
        assert Q[0, 1] == pytest.approx((F @ D - D @ F.T)[0, 1] / np.trace(F), rel=1e-9)


@given(st.integers(0, 10**6))
def test_symmetric_force_circulates_unless_it_commutes_with_the_noise(seed):
    random = np.random.default_rng(seed)
    basis = linalg.qr(random.normal(size=(3, 3)))[0]
    F = basis @ np.diag([0.5, 1.0, 2.0]) @ basis.T
    commuting = basis @ np.diag(random.uniform(0.1, 3, 3)) @ basis.T
    assert np.max(np.abs(linear_decomposition(F, commuting).Q)) < 1e-12
    other = random.normal(size=(3, 3))
    D = other @ other.T + 0.1 * np.eye(3)
    Q = linear_decomposition(F, D).Q
    close(F @ Q + Q @ F, F @ D - D @ F, D)
    assert np.max(np.abs(Q)) > 1e-3 * np.max(np.abs(F @ D - D @ F)) / np.max(np.abs(F))


def test_commuting_anisotropic_noise_is_in_equilibrium_although_the_potential_is_not_the_loss():
    """Erratum 30: printed, j != 0 whenever D is not isotropic. Here D is not, Phi differs from f = x.Fx/2, and j = 0."""
    F, D = np.diag([1.0, 2.0]), np.diag([1.0, 3.0])
    U, Q, _ = linear_decomposition(F, D)
    assert np.max(np.abs(D - D[0, 0] * np.eye(2))) == 2.0
    np.testing.assert_allclose(U, np.diag([1.0, 2.0 / 3.0]))
    assert np.max(np.abs(Q)) == 0.0
    assert entropy_production(F, D) == 0.0


@pytest.mark.parametrize("strength", [0.25, 3.0])
def test_isotropic_noise_gives_the_loss_divided_by_its_strength(strength):
    """Erratum 29: printed, D = c I gives Phi = f for every c. It gives f/c."""
    F = WORKED[0]
    U, Q, _ = linear_decomposition(F, strength * np.eye(2))
    np.testing.assert_allclose(U, F / strength, rtol=1e-13)
    assert np.max(np.abs(U - F)) > 0.5  # the printed potential
    assert np.max(np.abs(Q)) < 1e-14


def test_the_drift_is_minus_the_force_and_with_the_printed_sign_nothing_is_stationary():
    """Erratum 35: printed, dx = (D + Q) grad Phi dt + noise. The drift is -(D + Q) grad Phi = -F x."""
    F, D = WORKED
    U, Q, _ = linear_decomposition(F, D)
    np.testing.assert_allclose((D + Q) @ U, F, atol=1e-12)
    with pytest.raises(ValueError, match="no stationary density exists"):
        linear_decomposition(-(D + Q) @ U, D)


def test_the_circulating_force_is_free_of_divergence_but_no_gradient():
    """Erratum 37: printed, "conservative". Its matrix -QU has trace zero and is not symmetric, as a gradient's is."""
    U, Q, _ = linear_decomposition(*WORKED)
    J = -Q @ U
    assert abs(np.trace(J)) < 1e-12
    assert abs(J[0, 1] - J[1, 0]) > 0.1


# Time order ---------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.floats(0.2, 5))
def test_circulation_is_the_slope_of_the_antisymmetric_lagged_covariance(seed, beta):
    """C(t) = E x_t x_0^T = exp(-Ft) S/beta, so d/dt [C - C^T] at 0 is -2Q/beta: four-point differences, O(t^4)."""
    F, D = stable_system(seed)
    decomposition = linear_decomposition(F, D)

    def skew(t):
        lagged = linalg.expm(-F * t) @ decomposition.S / beta
        return lagged - lagged.T

    t = 1e-3 / np.max(np.abs(F))
    slope = (8 * (skew(t) - skew(-t)) - (skew(2 * t) - skew(-2 * t))) / (12 * t)
    scale = np.max(np.abs(F)) * np.max(np.abs(decomposition.S)) / beta
    np.testing.assert_allclose(slope, -circulation(decomposition, beta), atol=1e-8 * scale)


def test_area_rate_turns_from_axis_0_to_axis_1_where_the_drift_does():
    """dx = -(1 - w R) x dt with R = [[0, -1], [1, 0]] turns counterclockwise at rate w; E|x|^2 w = 2 w/beta."""
    decomposition = linear_decomposition(np.eye(2) + 0.7 * ROTATION, np.eye(2))
    assert circulation(decomposition, 4.0)[0, 1] == pytest.approx(0.7 * 2 / 4.0)


@given(st.integers(0, 10**6))
def test_entropy_production_is_its_second_form(seed):
    F, D = stable_system(seed)
    S = linear_decomposition(F, D).S
    second = np.trace(F.T @ linalg.solve(D, F) @ S) - np.trace(F)
    scale = abs(np.trace(F.T @ linalg.solve(D, F) @ S))
    assert entropy_production(F, D) == pytest.approx(second, abs=1e-9 * scale * np.linalg.cond(D))
    assert entropy_production(F, D) >= 0


def test_entropy_production_is_infinite_where_noiseless_directions_are_driven():
    """A kicked oscillator: the position has no noise of its own, and j moves it. Without rotation it is zero or none."""
    assert entropy_production([[0.0, -1.0], [1.0, 0.5]], np.diag([0.0, 0.5])) == math.inf
    assert entropy_production([[1.0]], [[2.0]]) == 0.0


def test_a_damped_oscillator_has_equal_parts_of_energy_although_its_noise_is_singular():
    """dq = p dt, dp = -(k q + g p) dt + sqrt(2 g/beta) dW has the Gibbs density: U = diag(k, 1), Q = [[0, -1], [1, 0]]."""
    k, g = 3.0, 0.5
    U, Q, _ = linear_decomposition([[0.0, -1.0], [k, g]], np.diag([0.0, g]))
    np.testing.assert_allclose(U, np.diag([k, 1.0]), atol=1e-12)
    np.testing.assert_allclose(Q, -ROTATION, atol=1e-12)


# SGD itself ---------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.floats(0.01, 0.9))
def test_at_a_finite_rate_it_is_the_fixed_point_of_the_covariance_recursion(seed, share):
    F, D = stable_system(seed)
    eigenvalues = np.linalg.eigvals(F)
    rate, batch_size = share * np.min(2 * eigenvalues.real / np.abs(eigenvalues) ** 2), 4
    decomposition = linear_decomposition(F, D, learning_rate=rate)
    U, _, S = decomposition
    C, step = S * rate / (2 * batch_size), np.eye(len(F)) - rate * F
    size = np.max(np.abs(C)) * np.linalg.cond(S) * (1 + np.max(np.abs(rate * F))) ** 2
    close(step @ C @ step.T + rate**2 * D / batch_size, C, size)
    close(F @ C + C @ F.T - rate * F @ C @ F.T, rate * D / batch_size, size / rate)
    close(U @ S, np.eye(len(F)), np.linalg.cond(S))
    area = C @ step.T - step @ C  # E[x x'^T - x' x^T] of two steps x, x' in a row
    close(area / rate, circulation(decomposition, 2 * batch_size / rate), size / rate)


def test_in_one_dimension_at_a_finite_rate_it_is_the_known_variance():
    h, D, rate, batch_size = 1.3, 0.7, 0.1, 4
    S = linear_decomposition([[h]], [[D]], learning_rate=rate).S
    assert S[0, 0] * rate / (2 * batch_size) == pytest.approx(rate * D / batch_size / (h * (2 - rate * h)))


def test_the_continuous_form_is_the_limit_and_misses_by_the_rate():
    F, D = WORKED
    limit = linear_decomposition(F, D)
    misses = [np.max(np.abs(linear_decomposition(F, D, learning_rate=r).S - limit.S)) for r in (1e-3, 2e-3)]
    assert misses[1] / misses[0] == pytest.approx(2, abs=0.01)  # first order in the rate
    relative = np.abs(linear_decomposition(F, D, learning_rate=0.05).S / limit.S - 1)
    assert relative.min() > 0.02  # at eta = 0.05 the diffusion is off by 2-6 % here
    assert relative.max() < 0.15
    tiny = linear_decomposition(F, D, learning_rate=1e-12).S
    np.testing.assert_allclose(tiny, limit.S, rtol=1e-11)


# Saddles and refusals -----------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6))
def test_the_formal_solution_has_a_negative_direction_for_each_unstable_one(seed):
    """The inertia theorem of Ostrowski and Schneider: for D > 0 the signs in S are those of Re eig F."""
    random = np.random.default_rng(seed)
    d = int(random.integers(1, 6))
    F, factor = random.normal(size=(d, d)), random.normal(size=(d, d))
    D = factor @ factor.T + 0.1 * np.eye(d)
    eigenvalues = np.linalg.eigvals(F)
    if np.abs(eigenvalues[:, None] + eigenvalues).min() < 1e-3:
        return
    formal = linear_decomposition(F, D, formal=True)
    U, Q, S = formal
    assert (np.linalg.eigvalsh(U) < 0).sum() == (eigenvalues.real < 0).sum()
    assert formal.is_formal == (eigenvalues.real.min() < 0)
    size = np.linalg.cond(S) * np.max(np.abs(F)) * np.max(np.abs(S)) * max(1, np.max(np.abs(U)))
    close((D + Q) @ U, F, size, 1e6)


def test_a_stable_force_gives_the_same_formally():
    for given_one, formal in zip(
        linear_decomposition(*WORKED), linear_decomposition(*WORKED, formal=True), strict=True
    ):
        np.testing.assert_allclose(formal, given_one, rtol=1e-12)


def test_covariances_measured_in_single_precision_are_accepted():
    random = np.random.default_rng(0)
    gradients = random.normal(size=(3, 40)).astype(np.float32)
    D = np.cov(np.vstack([gradients, gradients[:2]])).astype(np.float32)  # rank 3 of 5, negative eigenvalues of 1e-8
    F = np.diag([1.0, 2.0, 3.0, 4.0, 5.0]) + np.eye(5, k=1)
    assert linear_decomposition(F, D).S.dtype == np.float64


def test_units_of_the_weights_do_not_make_a_covariance_singular():
    F, D = stable_system(3, 3)
    units = np.diag([1.0, 1e-5, 1e5])
    S = linear_decomposition(units @ F @ linalg.inv(units), units @ D @ units).S
    np.testing.assert_allclose(S, units @ linear_decomposition(F, D).S @ units, rtol=1e-4)


@pytest.mark.parametrize(
    ("F", "D", "options", "words"),
    [
        (np.eye(2)[:1], np.eye(2), {}, "F has shape"),
        (np.eye(2), np.eye(3), {}, "Give two matrices of one size"),
        (np.array([[np.nan]]), np.eye(1), {}, "F holds NaN"),
        (np.eye(2), np.array([[1.0, 0.1], [0.0, 1.0]]), {}, "D differs from its transpose by 0.1"),
        (np.eye(2), np.diag([1.0, -0.1]), {}, "negative eigenvalue -0.1"),
        (np.diag([1.0, -0.5]), np.eye(2), {}, r"F has the eigenvalue -0\.5"),
        (np.diag([1.0, 0.0]), np.eye(2), {}, "formal=True"),
        (ROTATION, np.eye(2), {}, "no stationary density"),
        (np.diag([1.0, -1.0]), np.eye(2), {"formal": True}, "1 and -1, which cancel|-1 and 1, which cancel"),
        (np.diag([1.0, 0.0]), np.eye(2), {"formal": True}, "not unique"),
        (np.diag([1.0, 2.0]), np.diag([1.0, 0.0]), {}, "only 1 of 2 directions"),
        (np.eye(2), np.ones((2, 2)), {}, "only 1 of 2 directions"),
        (np.eye(2), np.zeros((2, 2)), {}, "only 0 of 2 directions"),
        (np.diag([1.0, 4.0]), np.eye(2), {"learning_rate": 0.5}, "Give one below 0.5"),
        (np.diag([1.0, 4.0]), np.eye(2), {"learning_rate": -0.1}, "learning_rate=-0.1"),
    ],
)
def test_wrong_matrices_are_told(F, D, options, words):
    with pytest.raises(ValueError, match=words):
        linear_decomposition(F, D, **options)


def test_wrong_kinds_are_told():
    with pytest.raises(TypeError, match="F has dtype complex"):
        linear_decomposition(np.eye(2) * 1j, np.eye(2))
    with pytest.raises(ValueError, match="inverse_temperature=0"):
        circulation(linear_decomposition(*WORKED), 0.0)
