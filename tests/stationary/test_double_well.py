"""The rotating double well (Chaudhari and Soatto, example 19): algebra, quadrature, roots and the solver agree."""

import math

import numpy as np
import pytest
import sympy as sp
from scipy import integrate

from gradnoise.stationary.fokker_planck import solve_fokker_planck
from gradnoise.testbeds import rotating_double_well as well
from gradnoise.testbeds.landscapes import double_well_moments

ROTATIONS = [0.0, 0.5, 1.5]
X, Y, LAM = sp.symbols("x y lam", real=True)
PHI = (X**2 - 1) ** 2 / 4 + Y**2 / 2
FLOW = [-LAM * sp.exp(-((X**2 + Y**2) ** 2) / 4) * Y, LAM * sp.exp(-((X**2 + Y**2) ** 2) / 4) * X]
FORCE = [sp.exp(PHI) * part for part in FLOW]


def divergence(parts):
    return sp.diff(parts[0], X) + sp.diff(parts[1], Y)


def solve(rotation, cells):
    return solve_fokker_planck(
        lambda x: well.drift(x, rotation), lambda x: np.eye(2), ((-3.6, 3.6), (-5.2, 5.2)), (cells, cells)
    )


def points_of(solution):
    return np.stack(np.meshgrid(*solution.centers, indexing="ij"))


def sum_over(solution, values):
    return float(np.sum(values)) * np.prod([c[1] - c[0] for c in solution.centers])


# Closed forms -------------------------------------------------------------------------------------------------------


def test_the_functions_are_the_formulas():
    random = np.random.default_rng(0)
    points = random.uniform(-2, 2, (2, 50))
    symbols = (X, Y, LAM)
    for made, written in [
        (well.potential(points), PHI),
        (well.drift(points, 1.5), [FORCE[0] - sp.diff(PHI, X), FORCE[1] - sp.diff(PHI, Y)]),
        (well.current(points, 1.5), [part / well.NORMALIZATION for part in FLOW]),
        (well.angular_speed(points, 1.5), LAM * sp.exp(PHI - (X**2 + Y**2) ** 2 / 4)),
    ]:
        np.testing.assert_allclose(made, sp.lambdify(symbols, written)(*points, 1.5), rtol=1e-12, atol=1e-14)
    drift = sp.Matrix([FORCE[0] - sp.diff(PHI, X), FORCE[1] - sp.diff(PHI, Y)])
    exact = sp.lambdify(symbols, drift.jacobian([X, Y]).tolist())(*points, 1.5)
    np.testing.assert_allclose(well.jacobian(points, 1.5), exact, rtol=1e-11, atol=1e-12)


def test_far_out_the_force_does_not_overflow():
    with np.errstate(all="raise", under="ignore"):
        assert np.isfinite(well.drift([50.0, -80.0], 1.5)).all()


def test_the_density_is_stationary_for_every_rotation():
    """The equation 0 = div(grad Phi rho - j rho + grad rho) with rho = exp(-Phi), by algebra."""
    rho = sp.exp(-PHI)
    flow = [(FORCE[k] - sp.diff(PHI, v)) * rho - sp.diff(rho, v) for k, v in enumerate((X, Y))]
    assert sp.simplify(divergence(flow)) == 0
    assert [sp.simplify(a - b) for a, b in zip(flow, FLOW, strict=True)] == [0, 0]  # and J is what flows


def test_constants_of_the_density_have_their_digits():
    moments = double_well_moments(1.0)
    assert round(well.NORMALIZATION, 10) == 7.6234684447
    assert moments.normalization == pytest.approx(well.NORMALIZATION, rel=1e-14)
    assert moments.first_square == pytest.approx(1.0417972965, abs=5e-11)
    assert moments.second_square == 1.0
    across = math.sqrt(2 * math.pi) / well.NORMALIZATION
    middle = across * integrate.quad(lambda x: math.exp(-((x**2 - 1) ** 2) / 4), -0.5, 0.5, epsabs=1e-13)[0]
    assert middle == pytest.approx(0.2662835374, abs=5e-11)
    assert well.density([0.0, 0.0]) / well.density([1.0, 0.0]) == pytest.approx(math.exp(-0.25), rel=1e-14)
    assert math.exp(-0.25) == pytest.approx(0.7788, abs=5e-5)


@pytest.mark.parametrize(("rotation", "rate"), [(0.0, 0.0), (0.5, 0.4120949), (1.5, 1.2362848)])
def test_the_angular_rate_has_its_digits_and_is_the_integral_of_the_current(rotation, rate):
    assert well.angular_rate(rotation) == pytest.approx(rate, abs=5e-8)
    radial = integrate.quad(lambda r: r**3 * math.exp(-(r**4) / 4), 0, math.inf)[0]
    assert 2 * math.pi * rotation * radial / well.NORMALIZATION == pytest.approx(well.angular_rate(rotation), rel=1e-9)


@pytest.mark.parametrize(
    ("rotation", "points", "eigenvalues"),
    [
        (0.0, [(0, 0), (1, 0), (-1, 0)], [(-1, 1), (-2, -1), (-2, -1)]),
        (0.5, [(0, 0), (0.902428, 0.388802), (-0.902428, -0.388802)], [(-0.76669, 0.76669)] + 2 * [(-1.2165, -1.0474)]),
        (1.5, [(0, 0)], [(-1.64609j, 1.64609j)]),
    ],
)
def test_zeros_of_the_drift_and_their_eigenvalues_have_their_digits(rotation, points, eigenvalues):
    zeros = well.zeros(rotation)
    np.testing.assert_allclose(zeros, points, atol=5e-7)
    assert np.max(np.abs(well.drift(zeros.T, rotation))) < 1e-14
    for zero, expected in zip(zeros, eigenvalues, strict=True):
        found = np.linalg.eigvals(well.jacobian(zero, rotation))
        assert sorted(found, key=lambda z: (z.real, z.imag)) == pytest.approx(list(expected), abs=6e-5)


def test_off_the_origin_there_is_one_pair_of_zeros_below_the_threshold_and_none_above():
    """All zeros lie on x_2 = x_1 sqrt(1 - u), u = x_1^2, where (1 - u)/speed^2 = 1: for unit rotation it only falls."""
    u = np.linspace(0, 1, 100_001)
    ratio = (1 - u) / well.angular_speed([np.sqrt(u), np.sqrt(u * (1 - u))], 1.0) ** 2
    assert (np.diff(ratio) < 0).all()
    assert ratio[0] == pytest.approx(well.SADDLE_ROTATION**2, rel=1e-12)  # where it equals rotation^2 at u = 0
    assert len(well.zeros(0.77)) == 3
    assert len(well.zeros(0.78)) == 1


# What the source says of it -----------------------------------------------------------------------------------------


def test_the_circulating_force_does_work_on_the_potential_and_has_divergence():
    """Erratum 32: printed, example 19 satisfies Assumption 4 (div j = 0). It has div j = j.grad Phi != 0."""
    spread, work = divergence(FORCE), FORCE[0] * sp.diff(PHI, X) + FORCE[1] * sp.diff(PHI, Y)
    written = -LAM * sp.exp(PHI - (X**2 + Y**2) ** 2 / 4) * X * Y * (X**2 - 2)
    assert sp.simplify(spread - work) == 0
    assert sp.simplify(work - written) == 0
    there = spread.subs({X: sp.Rational(1, 2), Y: sp.Rational(1, 2), LAM: 1})
    assert float(there) == pytest.approx(0.5360, abs=5e-5)  # printed: 0


def test_the_force_is_no_gradient_so_no_loss_has_it():
    """Erratum 32, second half: D = I and Phi != f is no contradiction, for f does not exist."""
    curl = sp.diff(FORCE[1], X) - sp.diff(FORCE[0], Y)
    assert float(curl.subs({X: 0, Y: 0, LAM: 1})) == pytest.approx(2 * math.exp(0.25))


def first_return(radius, rotation):
    """Where the noiseless path from (radius, 0) next crosses the positive x_1 axis, upwards."""

    def crossing(time, x):
        return x[1] if time > 1e-3 else 1.0

    crossing.terminal, crossing.direction = True, 1
    path = integrate.solve_ivp(
        lambda _, x: well.drift(x, rotation), (0, 60), [radius, 0.0], events=crossing, rtol=1e-10, atol=1e-13
    )
    assert path.t_events[0].size
    return path.y_events[0][0][0]


def test_without_noise_there_is_no_limit_cycle_but_a_slow_spiral_into_the_origin():
    """Erratum 33: printed, stable limit cycles at rotation 1.5. The return map is below the radius at every radius.

    The origin is the only zero, so a closed orbit must go round it and cross the positive axis, always upwards.
    """
    printed_digits = {0.05: -0.0016, 0.1: -0.0066, 0.4: -0.109, 0.8: -0.354, 1.2: -0.539, 2.0: -0.719}
    for radius, change in printed_digits.items():
        assert first_return(radius, 1.5) / radius - 1 == pytest.approx(
            change, abs=1.01 * 10 ** -(3 + (radius < 0.4)) / 2
        )
    radii = np.geomspace(0.02, 5, 12)
    returns = np.array([first_return(radius, 1.5) for radius in radii])
    assert (returns < radii).all()
    assert (np.diff(returns) > 0).all()  # paths do not cross
    assert (well.drift([radii, 0 * radii], 1.5)[1] > 0).all()


def test_yet_the_density_keeps_both_wells():
    """Erratum 33, second half: at rotation 1.5 the drift knows the origin only, the density has modes at (+-1, 0)."""
    solution = solve(1.5, 100)
    x, density = points_of(solution), solution.density
    mode = x[:, *np.unravel_index(np.argmax(density), density.shape)]
    assert abs(abs(mode[0]) - 1) < 0.11
    assert abs(mode[1]) < 0.11
    middle = density[50, 50] / density.max()
    assert middle == pytest.approx(math.exp(-0.25), abs=0.01)


def test_closed_orbits_belong_to_the_circulating_force_alone():
    """dx/dt = j goes round circles in the time int dphi/speed."""
    for radius in (0.3, 1.0, 1.7):
        angles = np.linspace(0, 2 * math.pi, 400, endpoint=False)
        circle = radius * np.array([np.cos(angles), np.sin(angles)])
        period = np.mean(2 * math.pi / well.angular_speed(circle, 1.5))  # spectrally accurate on a circle
        path = integrate.solve_ivp(
            lambda _, x: well.circulating_force(x, 1.5), (0, period), [radius, 0.0], rtol=1e-11, atol=1e-12
        )
        np.testing.assert_allclose(path.y[:, -1], [radius, 0.0], atol=1e-7)
        np.testing.assert_allclose(np.hypot(*path.y), radius, rtol=1e-7)


# The solver ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_the_solver_finds_density_and_current_at_second_order(rotation):
    errors = []
    for cells in (50, 100, 200):
        solution = solve(rotation, cells)
        x = points_of(solution)
        density_error = np.max(np.abs(solution.density - well.density(x))) / well.density([1.0, 0.0])
        flow = np.moveaxis(well.current(x, rotation), 0, -1)
        errors.append((density_error, np.max(np.abs(solution.current - flow))))
        assert solution.density.min() > 0
        assert solution.mass_error < 1e-12
    if rotation == 0:
        assert max(errors)[0] < 1e-6  # the mass beyond the box, 4e-7, is all that is missing
        assert max(flow for _, flow in errors) < 1e-12
    else:
        orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
        assert (np.abs(orders - 2) < 0.1).all(), orders
        assert errors[-1][0] < 2.5e-4


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_the_solver_finds_the_constants(rotation):
    """Two grids and one Richardson step: an error h^2 falls by 4, so (4 fine - coarse)/3 is of fourth order."""
    found = []
    for cells in (80, 160):
        solution = solve(rotation, cells)
        x, flow = points_of(solution), solution.current
        found.append(
            [
                sum_over(solution, x[0] ** 2 * solution.density),
                sum_over(solution, x[1] ** 2 * solution.density),
                sum_over(solution, x[0] * flow[..., 1] - x[1] * flow[..., 0]),
            ]
        )
    extrapolated = (4 * np.array(found[1]) - np.array(found[0])) / 3
    np.testing.assert_allclose(extrapolated, [1.0417972965, 1.0, well.angular_rate(rotation)], atol=2e-5)


def test_wrong_arguments_are_told():
    with pytest.raises(ValueError, match=r"x has shape \(3,\)"):
        well.drift([1.0, 2.0, 3.0], 0.5)
    with pytest.raises(ValueError, match="rotation=-1"):
        well.zeros(-1.0)
