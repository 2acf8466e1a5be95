"""A density in time: closed forms, the matrix exponential by another route, and the law that free energy falls."""

import math

import numpy as np
import pytest
from scipy.sparse.linalg import expm_multiply

from gradnoise.stationary.fokker_planck import evolve_fokker_planck, solve_fokker_planck
from gradnoise.stationary.fokker_planck.solve import discretize, rate_matrix
from gradnoise.testbeds import rotating_double_well as well

pytestmark = pytest.mark.slow  # compiling takes a minute in all

UNIT = [np.eye(1), np.eye(2)]


def gaussian(x, mean, variance):
    exponent = sum((part - m) ** 2 for part, m in zip(x, mean, strict=True)) / (2 * variance)
    return np.exp(-exponent) / (2 * math.pi * variance) ** (len(mean) / 2)


def cell_points(bounds, shape):
    places = [lo + (hi - lo) * (np.arange(n) + 0.5) / n for (lo, hi), n in zip(bounds, shape, strict=True)]
    return np.stack(np.meshgrid(*places, indexing="ij"))


def test_a_gaussian_relaxes_by_its_closed_form_at_second_order():
    """dx = -x dt + sqrt(2) dW: the mean decays as e^-t, the variance goes to 1 as e^-2t."""
    errors = []
    for n in (60, 120, 240):
        x = cell_points(((-7, 7),), (n,))
        moved = evolve_fokker_planck(
            lambda x: -x, lambda x: UNIT[0], ((-7, 7),), (n,), gaussian(x, [1.5], 0.3), [0.4, 1.1]
        )
        exact = [gaussian(x, [1.5 * math.exp(-t)], 1 - 0.7 * math.exp(-2 * t)) for t in (0.4, 1.1)]
        errors.append(np.max(np.abs(moved.density - exact)))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)
    assert np.log2(errors[1] / errors[2]) == pytest.approx(2, abs=0.1)


BOX = ((-3, 3), (-4, 4)), (24, 30)
CROSS = np.array([[1.0, 0.3], [0.3, 0.8]])


def rotating(x):
    return well.drift(x, 1.5)


def start(bounds=BOX[0], shape=BOX[1]):
    return gaussian(cell_points(bounds, shape), [0.5, -0.5], 0.2)


def test_the_exponential_step_is_the_matrix_exponential():
    moved = evolve_fokker_planck(rotating, lambda x: CROSS, *BOX, start(), [0.05, 0.6], max_mass_outside=math.inf)
    matrix = rate_matrix(discretize(rotating, lambda x: CROSS, *BOX)[0])
    for state, time in zip(moved.density, (0.05, 0.6), strict=True):
        np.testing.assert_allclose(state.ravel(), expm_multiply(matrix * time, start().ravel()), atol=1e-11)


def test_implicit_steps_are_of_first_order_in_their_length():
    options = {"max_mass_outside": math.inf}
    exact = evolve_fokker_planck(rotating, lambda x: CROSS, *BOX, start(), [0.5, 1.0], **options).density
    errors = [
        np.max(
            np.abs(
                evolve_fokker_planck(
                    rotating, lambda x: CROSS, *BOX, start(), [0.5, 1.0], num_steps=k, **options
                ).density
                - exact
            )
        )
        for k in (20, 40, 80)
    ]
    np.testing.assert_allclose(np.log2(np.array(errors[:-1]) / errors[1:]), 1, atol=0.1)


@pytest.mark.parametrize("num_steps", [None, 7])
def test_mass_is_kept_and_no_density_is_negative_even_from_a_single_cell(num_steps):
    point = np.zeros(BOX[1])
    point[13, 13] = 3.0
    options = {"num_steps": num_steps, "max_mass_outside": math.inf}
    times = [0.01, 0.5, 3.0] if num_steps is None else [0.1, 0.5, 3.0]
    moved = evolve_fokker_planck(rotating, lambda x: CROSS, *BOX, point, times, **options)
    assert moved.density.min() >= 0
    assert moved.mass_error.max() < 1e-12
    assert moved.density.sum(axis=(1, 2)) == pytest.approx(3.0)
    assert moved.current.shape == (3, 24, 30, 2)


@pytest.mark.parametrize("num_steps", [None, 3])
def test_the_stationary_density_stands_still_and_others_come_to_it(num_steps):
    bounds, shape = ((-3.6, 3.6), (-5, 5)), (40, 50)
    stationary = solve_fokker_planck(rotating, lambda x: UNIT[1], bounds, shape)
    still = evolve_fokker_planck(
        rotating, lambda x: UNIT[1], bounds, shape, stationary.density, [2.0], num_steps=num_steps
    )
    np.testing.assert_allclose(still.density[0], stationary.density, atol=1e-12)
    np.testing.assert_allclose(still.current[0], stationary.current, atol=1e-12)
    moved = evolve_fokker_planck(
        rotating, lambda x: UNIT[1], bounds, shape, start(bounds, shape), [40.0], num_steps=400
    )
    total = start(bounds, shape).sum() / stationary.density.sum()
    np.testing.assert_allclose(moved.density[0], stationary.density * total, atol=1e-9)


def test_free_energy_falls_at_the_stated_rate_where_the_stated_assumption_fails():
    """Erratum 34: printed, Theorem 5 under Assumption 4, div j = 0. At rotation 1.5 div j is not zero (erratum 32), yet

    dF/dt = -int rho |grad log(rho/rho_ss)|^2, F = KL(rho || rho_ss) (beta = 1), and F falls all the way.
    """
    misses = []
    for n in (60, 120):
        bounds, shape = ((-3.6, 3.6), (-5, 5)), (n, n)
        x = cell_points(bounds, shape)
        area, final = 7.2 * 10 / n**2, well.density(x)
        times = [0.29, 0.3, 0.31, 0.6, 1.2, 2.4]
        first = gaussian(x, [0.5, -0.5], 0.3)
        moved = evolve_fokker_planck(rotating, lambda x: UNIT[1], bounds, shape, first, times)
        free = [float(np.sum(state * np.log(state / final)) * area) for state in moved.density]
        slopes = np.gradient(np.log(moved.density[1] / final), *(c[1] - c[0] for c in moved.centers))
        expected = -float(np.sum(moved.density[1] * sum(s**2 for s in slopes)) * area)
        misses.append((free[2] - free[0]) / 0.02 / expected - 1)
        assert (np.diff(free) < 0).all()
    assert np.max(np.abs(misses)) < 1e-3  # differences in time over 0.02, in space over a cell: both squared


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"density": np.ones(5)}, r"density has shape \(5,\), expected \(40,\)"),
        ({"density": -np.ones(40)}, "density holds negative numbers"),
        ({"density": np.zeros(40)}, "only zeros"),
        ({"times": [1.0, 0.5]}, "do not increase"),
        ({"times": [-1.0]}, "do not increase from 0"),
        ({"times": [[1.0]]}, "Give a list of finite times"),
        ({"times": [1e9]}, "Give num_steps"),
        ({"num_steps": 0}, "num_steps=0"),
        ({"max_mass_outside": -1.0}, "max_mass_outside=-1"),
        ({"drift": lambda x: x}, "of the mass lies beyond bounds"),
    ],
)
def test_wrong_arguments_are_told(change, words):
    x = cell_points(((-5, 5),), (40,))
    arguments = {"drift": lambda x: -x, "diffusion": lambda x: UNIT[0], "bounds": ((-5, 5),), "shape": (40,)}
    arguments |= {"density": gaussian(x, [0.0], 0.5), "times": [2.0]}
    with pytest.raises(ValueError, match=words):
        evolve_fokker_planck(**(arguments | change))
