"""The stationary solver against closed forms, made-up solutions with known currents, linear theory."""

import math

import numpy as np
import pytest
import sympy as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import integrate

from gradnoise.stationary.fokker_planck import solve_fokker_planck
from gradnoise.stationary.linear import linear_decomposition

UNIT = [np.eye(1), np.eye(2)]
WORKED = np.array([[2.0, 0.3], [0.3, 1.0]]), np.array([[1.0, 0.4], [0.4, 0.2]])
NARROW = np.sqrt(np.diag(linear_decomposition(*WORKED).S))


def points_of(solution):
    return np.stack(np.meshgrid(*solution.centers, indexing="ij"))


def volume_of(solution):
    return np.prod([centers[1] - centers[0] for centers in solution.centers])


def mean_of(solution, values):
    return float(np.sum(values * solution.density) * volume_of(solution))


def orders(errors):
    """Observed orders between grids that are each twice as fine as the one before."""
    return np.log2(np.array(errors[:-1]) / np.array(errors[1:]))


# One dimension ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cells", [40, 200])
def test_a_linear_force_in_one_dimension_gives_its_gaussian_to_rounding(cells):
    """Three-point Gauss is exact for the linear integrand, and the sum over cells for a Gaussian (Poisson summation)."""
    solution = solve_fokker_planck(lambda x: -2 * x, lambda x: 0.5 * UNIT[0], ((-4, 4),), (cells,))
    exact = np.exp(-2 * solution.centers[0] ** 2) * math.sqrt(2 / math.pi)
    np.testing.assert_allclose(solution.density, exact, rtol=1e-12)
    assert solution.mass_error < 1e-14
    assert not solution.current.any()


def test_state_dependent_noise_in_one_dimension_agrees_with_adaptive_quadrature_at_sixth_order():
    def noise(x):
        return 1 + np.sin(x) / 2

    solutions = [
        solve_fokker_planck(lambda x: -x, lambda x: noise(x)[:, None], ((-6, 6),), (n,)) for n in (32, 64, 128)
    ]
    worst = []
    for solution in solutions:
        x = solution.centers[0]
        work = np.array([integrate.quad(lambda t: -t / noise(t), 0, end, epsabs=1e-13)[0] for end in x])
        exact = np.exp(work) / noise(x)
        worst.append(np.max(np.abs(solution.density - exact / exact.sum() / volume_of(solution))))
    assert (orders(worst) > 5.5).all(), worst
    assert worst[-1] < 1e-9


def test_a_well_between_high_barriers_is_no_problem_in_one_dimension():
    """Barriers of 200 temperatures: the quadrature never mixes the wells, and symmetry says each has half."""
    solution = solve_fokker_planck(lambda x: -800 * (x**3 - x), lambda x: UNIT[0], ((-1.5, 1.5),), (600,))
    assert solution.density[:300].sum() * 0.005 == pytest.approx(0.5, rel=1e-9)


def phi(solution, beta):
    return -np.log(solution.density) / beta


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_the_potential_is_minus_the_log_density_over_beta(beta):
    """Erratum 25: printed (as read), Phi = -beta log rho, which contradicts rho ~ exp(-beta Phi). Here Phi = x^2/2."""
    bounds = ((-7 / math.sqrt(beta), 7 / math.sqrt(beta)),)
    solution = solve_fokker_planck(lambda x: -x, lambda x: UNIT[0] / beta, bounds, (100,))
    x = solution.centers[0]
    potential, printed = phi(solution, beta), -beta * np.log(solution.density)
    np.testing.assert_allclose(potential - potential.min(), x**2 / 2 - (x**2 / 2).min(), atol=1e-10)
    assert np.max(np.abs(printed - printed.min() - x**2 / 2)) > 1


def test_the_potential_depends_on_the_temperature_where_the_noise_depends_on_the_state():
    """Erratum 31: printed, Phi does not depend on beta. In one dimension Phi = int f'/D + log(D)/beta + const."""

    def noise(x):
        return 1 + 0.5 * np.cos(x)

    potentials = {}
    for beta in (1.0, 2.0):
        solution = solve_fokker_planck(
            lambda x, beta=beta: -x, lambda x, beta=beta: noise(x)[:, None] / beta, ((-7, 7),), (400,)
        )
        potentials[beta] = phi(solution, beta) - phi(solution, beta)[200]
    x = solution.centers[0]
    expected = -0.5 * np.log(noise(x) / noise(x[200]))  # of the difference, 1/beta falling from 1 to 1/2
    np.testing.assert_allclose(potentials[2.0] - potentials[1.0], expected, atol=1e-9)
    assert np.max(np.abs(expected)) > 0.1  # the printed statement says zero


# Two dimensions, no current -----------------------------------------------------------------------------------------


def test_without_current_the_density_is_exact_whatever_the_cells():
    """Drift -grad f, unit noise, f of degree 4: the integrals along the edges are exact, so rho = exp(-f)/sum."""

    def f(x):
        return x[0] ** 4 / 4 - x[0] ** 2 / 2 + x[1] ** 2 / 2 + x[0] * x[1] ** 2 / 3 + x[1] ** 4 / 8

    def drift(x):
        return -np.array([x[0] ** 3 - x[0] + x[1] ** 2 / 3, x[1] + 2 * x[0] * x[1] / 3 + x[1] ** 3 / 2])

    for shape in ((14, 17), (60, 41)):
        solution = solve_fokker_planck(drift, lambda x: UNIT[1], ((-3.2, 3.2), (-3.6, 3.6)), shape)
        exact = np.exp(-f(points_of(solution)))
        np.testing.assert_allclose(solution.density, exact / exact.sum() / volume_of(solution), rtol=1e-10)
        assert np.max(np.abs(solution.current)) < 1e-13


def airy_noise():
    """D = I + Airy(phi)/rho, rho = exp(-r^2/2)/(2 pi), phi = exp(-r^2) / 10: div(D rho) = grad rho."""
    x, y = sp.symbols("x y")
    rho, stress = sp.exp(-(x**2 + y**2) / 2), sp.exp(-(x**2 + y**2)) / 10
    entries = sp.Matrix(
        [
            [1 + sp.diff(stress, y, 2) / rho, -sp.diff(stress, x, y) / rho],
            [-sp.diff(stress, x, y) / rho, 1 + sp.diff(stress, x, 2) / rho],
        ]
    )
    divergence = [sp.simplify(sum(sp.diff(entries[i, j] * rho, v) for j, v in enumerate((x, y)))) for i in (0, 1)]
    assert divergence == [sp.simplify(sp.diff(rho, v)) for v in (x, y)]
    return sp.lambdify((x, y), entries.tolist())


def test_anisotropic_noise_that_varies_can_leave_the_loss_as_potential_and_no_current():
    """Erratum 29: printed, Phi = f and j = 0 only for isotropic D. A counterexample with cross terms of both signs."""
    noise = airy_noise()
    for n in (15, 30):
        solution = solve_fokker_planck(lambda x: -x, lambda x: np.array(noise(*x)), ((-6, 6), (-6, 6)), (n, n))
        exact = np.exp(-(points_of(solution) ** 2).sum(0) / 2)
        np.testing.assert_allclose(solution.density, exact / exact.sum() / volume_of(solution), atol=1e-10)
        assert np.max(np.abs(solution.current)) < 1e-10
    matrix = np.array(noise(0.7, 0.7))
    assert matrix[0, 1] < -0.05  # not isotropic
    assert np.array(noise(0.7, -0.7))[0, 1] > 0.05


# Two dimensions, with current ---------------------------------------------------------------------------------------


def made_up_solution():
    """Phi, D(x), Q(x) at beta = 3/2 give a drift -(D + Q) grad Phi + div(D + Q)/beta with rho = exp(-beta Phi)/Z.

    The current is J = div(Q exp(-beta Phi))/(beta Z), not zero; D_12 changes sign.
    """
    names = x, y = sp.symbols("x y")
    beta, Phi = sp.Rational(3, 2), (x**2 + y**2) / 2 + x**4 / 8 + x * y / 4
    cross, turn = sp.cos(x - 2 * y) / 3, sp.sin(x) / 2 + sp.cos(y)
    D = sp.Matrix([[1 + sp.sin(x + y) / 4, cross], [cross, sp.Rational(9, 10) + sp.exp(-(y**2)) / 5]])
    Q = sp.Matrix([[0, turn], [-turn, 0]])
    slope = sp.Matrix([sp.diff(Phi, v) for v in names])

    def divergence(matrix):
        return sp.Matrix([sum(sp.diff(matrix[i, j], v) for j, v in enumerate(names)) for i in (0, 1)])

    drift = -(D + Q) * slope + divergence(D + Q) / beta
    current = divergence(Q * sp.exp(-beta * Phi)) / beta
    assert sp.simplify(sum(sp.diff(current[i], v) for i, v in enumerate(names))) == 0
    calls = list(drift), (D / beta).tolist(), sp.exp(-beta * Phi), list(current)
    return [sp.lambdify(names, call) for call in calls]


def test_density_and_current_are_of_second_order_with_varying_cross_terms():
    drift, noise, weight, flow = made_up_solution()
    density_errors, current_errors = [], []
    for n in (25, 50, 100):
        solution = solve_fokker_planck(
            lambda x: np.array(drift(*x)), lambda x: np.array(noise(*x)), ((-4.5, 4.5), (-4.9, 4.9)), (n, n)
        )
        x = points_of(solution)
        total = weight(*x).sum() * volume_of(solution)
        density = weight(*x) / total
        density_errors.append(np.max(np.abs(solution.density - density)) / density.max())
        current = np.moveaxis(np.array(flow(*x)), 0, -1) / total
        current_errors.append(np.max(np.abs(solution.current - current)) / np.max(np.abs(current)))
        assert solution.density.min() > 0
        assert solution.mass_error < 1e-13
    assert (orders(density_errors) > 1.75).all(), density_errors
    assert (orders(current_errors) > 1.6).all(), current_errors
    assert density_errors[-1] < 2e-3


def test_a_linear_force_has_the_covariance_and_the_circulation_of_the_decomposition():
    """The worked example with cross terms, in cells of the ratio sqrt 5; the errors fall by 4 with the cells' width."""
    F, D = WORKED
    exact, covariances, turns = linear_decomposition(F, D), [], []
    for n in (80, 160):
        bounds = tuple((-7 * s, 7 * s) for s in NARROW)
        ratio = NARROW[1] / NARROW[0] * 2.2360679775
        solution = solve_fokker_planck(lambda x: -F @ x, lambda x: D, bounds, (n, round(n * ratio)))
        x, J = points_of(solution), solution.current
        covariances.append([[mean_of(solution, x[i] * x[j]) for j in (0, 1)] for i in (0, 1)])
        turns.append(float((x[0] * J[..., 1] - x[1] * J[..., 0]).sum() * volume_of(solution)))
    misses = [np.max(np.abs(np.array(c) - exact.S)) for c in covariances]
    assert misses[0] / misses[1] == pytest.approx(4, abs=0.3)
    assert misses[1] < 2e-3 * np.max(exact.S)
    assert turns[1] == pytest.approx(2 * exact.Q[0, 1], rel=5e-3)  # E[x_0 dx_1 - x_1 dx_0]/dt


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_for_any_linear_force_the_density_is_positive_and_as_accurate_as_the_resolution_says(seed):
    """Also where the stable force leaves the box here and there, so that walls would gather the mass in a corner."""
    random = np.random.default_rng(seed)
    raw = random.normal(size=(2, 2)) * 2
    F = raw + (0.3 - np.linalg.eigvals(raw).real.min()) * np.eye(2)
    D = np.diag(random.uniform(0.5, 2, 2))
    S = linear_decomposition(F, D).S
    reaches = 6 * np.sqrt(S.diagonal())
    # v = -D^-1 F x has E |v|^2 = tr(F^T D^-2 F S): with so many cells `resolution` cannot exceed 1.
    cells = [int(12 * np.sqrt(s * (F.T @ np.linalg.inv(D) ** 2 @ F @ S).trace())) for s in S.diagonal()]
    assume(max(cells) < 300)
    solution = solve_fokker_planck(lambda x: -F @ x, lambda x: D, [(-r, r) for r in reaches], np.add(cells, 40))
    x = points_of(solution)
    covariance = [[mean_of(solution, x[i] * x[j]) for j in (0, 1)] for i in (0, 1)]
    assert solution.density.min() >= 0
    assert solution.mass_error < 1e-12
    assert solution.mass_outside < 1e-4
    assert np.max(np.abs(covariance - S)) < 5 * max(solution.resolution) ** 2 / 12 * np.max(np.abs(S))


@pytest.mark.parametrize("beta", [1, 3])
def test_the_divergence_of_the_current_velocity_is_beta_times_its_work(beta):
    """Erratum 28: printed, 0 = rho (div j - j.grad Phi), which holds for beta = 1 only. For any stream function of J."""
    names = x, y = sp.symbols("x y")
    Phi, stream = x**4 / 4 + x * y + y**2, sp.sin(x + 2 * y)
    rho = sp.exp(-beta * Phi)
    j = [sp.diff(stream, y) / rho, -sp.diff(stream, x) / rho]
    divergence = sum(sp.diff(part, v) for part, v in zip(j, names, strict=True))
    work = sum(part * sp.diff(Phi, v) for part, v in zip(j, names, strict=True))
    assert sp.simplify(divergence - beta * work) == 0
    assert (sp.simplify(divergence - work) == 0) == (beta == 1)
