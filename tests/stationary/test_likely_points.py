"""The most likely point and the circulation against temperature."""

import jax.numpy as jnp
import numpy as np
import pytest

import gradnoise as gn
from gradnoise.stationary.circulation_from_data import area_rate
from gradnoise.stationary.fokker_planck import solve_fokker_planck
from gradnoise.stationary.likely_points import against_temperature, mode_shift
from gradnoise.stationary.linear import linear_decomposition
from gradnoise.stationary.linearize import linearize
from gradnoise.testbeds import turning_noise as testbed


def box(heat):
    width = 6.5 * heat**0.5
    return ((-width, width), (-1.1 * width, 1.1 * width))


def shift_of_testbed():
    return mode_shift(testbed.FORCE, testbed.NOISE, testbed.third_derivatives(), testbed.noise_slope())


def test_the_testbed_has_the_force_the_noise_and_their_derivatives_that_it_states():
    problem, point = testbed.turning_noise(2.0), np.array([0.3, -0.4])
    found = linearize(problem, point)
    np.testing.assert_allclose(found.D, 4 * testbed.diffusion(point), rtol=1e-12)
    np.testing.assert_allclose(found.gradient, -testbed.drift(point), rtol=1e-12)
    origin = linearize(problem, np.zeros(2))
    np.testing.assert_allclose(origin.F, testbed.FORCE, atol=1e-14)
    np.testing.assert_allclose(origin.D, 4 * testbed.NOISE, atol=1e-14)
    for axis in range(2):
        step = np.zeros(2)
        step[axis] = 1e-5
        ahead, behind = linearize(problem, step), linearize(problem, -step)
        np.testing.assert_allclose((ahead.F - behind.F) / 2e-5, testbed.third_derivatives()[..., axis], atol=1e-8)
        np.testing.assert_allclose((ahead.D - behind.D) / 8e-5, testbed.noise_slope()[..., axis], atol=1e-8)


def test_in_one_dimension_the_likely_point_moves_to_weak_noise_and_the_third_derivative_does_not_matter(rng):
    for _ in range(10):
        force, noise, slope, third = rng.uniform(0.5, 2, 4)
        np.testing.assert_allclose(mode_shift([[force]], [[noise]], [[[third]]], [[[slope]]]), [-slope / force])


def test_with_constant_isotropic_noise_the_likely_point_is_the_minimum(rng):
    third = rng.normal(size=(2, 2, 2))
    third = sum(third.transpose(p) for p in ((0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (2, 1, 0), (1, 0, 2)))
    found = mode_shift(np.diag([1.0, 3.0]), 0.7 * np.eye(2), third, np.zeros((2, 2, 2)))
    np.testing.assert_allclose(found, 0, atol=1e-12)


def test_a_turned_problem_has_the_turned_shift(rng):
    turn = np.linalg.qr(rng.normal(size=(2, 2)))[0]
    F, D = (turn @ matrix @ turn.T for matrix in (testbed.FORCE, testbed.NOISE))
    third, slope = (
        np.einsum("ia,jb,kc,abc->ijk", turn, turn, turn, cube)
        for cube in (testbed.third_derivatives(), testbed.noise_slope())
    )
    np.testing.assert_allclose(mode_shift(F, D, third, slope), turn @ shift_of_testbed(), atol=1e-12)


def test_circulation_and_likely_point_approach_their_first_order_as_it_cools():
    heats = [0.0125, 0.025, 0.05, 0.1, 0.2]
    table = against_temperature(testbed.drift, testbed.diffusion, heats, box, (80, 80))
    heats = table.temperatures
    shift = table.likely_point / heats[:, None]
    at_zero = 2 * shift[0] - shift[1]  # linear in T to the next order
    np.testing.assert_allclose(at_zero, shift_of_testbed(), atol=0.003)
    assert np.all(np.diff(np.abs(shift - shift_of_testbed()), axis=0) > 0)
    Q = linear_decomposition(testbed.FORCE, testbed.NOISE).Q[0, 1]
    rate = table.circulation / heats
    assert abs(2 * rate[0] - rate[1] - 2 * Q) < 0.001
    np.testing.assert_allclose(rate, 2 * Q, rtol=0.02)
    assert np.all(table.circulation_error < 0.01 * np.abs(table.circulation))


def test_leaving_out_the_change_of_the_circulating_part_gives_another_shift():
    """Theorem 22: grad f = -T div(D + Q). With the Q of the minimum held fixed, div Q = 0, the shift is 11 and 27 % off."""
    fixed = -np.linalg.solve(testbed.FORCE, np.einsum("ijj->i", testbed.noise_slope()))
    np.testing.assert_allclose(fixed, [-1.0, -0.125])
    assert np.all(np.abs(fixed - shift_of_testbed()) > 0.04)
    np.testing.assert_allclose(shift_of_testbed(), [-1.12883, -0.17078], atol=5e-6)


@pytest.mark.parametrize(
    ("shape", "bounds", "told"),
    [((33, 32), box, "odd side"), ((32, 32), lambda heat: ((2.0, 4.0), (-2.0, 2.0)), "edge of the box|mass")],
)
def test_wrong_grids_are_refused(shape, bounds, told):
    with pytest.raises(ValueError, match=told):
        against_temperature(lambda x: -x, lambda x: np.eye(2), [0.1], bounds, shape)


def test_wrong_derivatives_are_refused():
    with pytest.raises(ValueError, match="third has shape \\(2,\\)"):
        mode_shift(np.eye(2), np.eye(2), np.zeros(2), np.zeros((2, 2, 2)))


@pytest.mark.slow
def test_sgd_turns_and_dwells_as_the_fokker_planck_equation_says(getkey):
    """T = eta strength^2/2 = 0.05 at eta = 0.01, batches of one: 1000 runs of 4000 steps after 1000."""
    heat, rate = 0.05, 0.01
    problem = testbed.turning_noise((2 * heat / rate) ** 0.5)
    grid = gn.Spacetime(4, 1, sampling="with_replacement", num_steps=5000)
    observe = {"first": lambda x, examples: x[0], "second": lambda x, examples: x[1]}
    runs = gn.simulate(
        gn.sgd(problem), jnp.zeros(2), grid, rate, 1000, getkey(), observe, every=1, training_set="population"
    )
    paths = np.stack([runs.observables[name][:, 1001:] for name in observe], axis=-1)
    table = against_temperature(testbed.drift, testbed.diffusion, [heat], box, (120, 120))
    turning = area_rate(paths, rate)
    miss = 2 * rate * abs(table.circulation[0])  # SGD's own order eta: |F| = 2
    assert abs(turning.value[0, 1] - table.circulation[0]) < 4.5 * turning.stderr[0, 1] + miss
    assert abs(turning.value[0, 1]) > 10 * turning.stderr[0, 1]

    edges = [np.linspace(*side, 61) for side in box(heat)]
    solution = solve_fokker_planck(testbed.drift, lambda x: heat * testbed.diffusion(x), box(heat), (60, 60))
    groups = [np.histogram2d(*part.reshape(-1, 2).T, bins=edges)[0] for part in np.array_split(paths, 20)]
    exact = fitted_mode(solution.density, solution.centers)
    found = gn.Estimate(
        np.mean(modes := [fitted_mode(counts, solution.centers) for counts in groups], axis=0),
        np.std(modes, axis=0, ddof=1) / 20**0.5,
        20,
    )
    assert np.all(np.abs(found.value - exact) < 4.5 * found.stderr + 2 * rate * np.abs(exact))
    assert found.value[0] < -5 * found.stderr[0]  # the minimum is at the origin


def fitted_mode(counts, centers):
    """The maximum of a quartic fitted to log counts where they exceed a fifth of the largest, weighted by them."""
    x, y = np.meshgrid(*centers, indexing="ij")
    kept = counts > counts.max() / 5
    x, y, weight = x[kept], y[kept], np.sqrt(counts[kept])
    powers = [(a, b) for a in range(5) for b in range(5 - a)]
    terms = np.stack([x**a * y**b for a, b in powers], axis=1)
    coefficients = np.linalg.lstsq(terms * weight[:, None], np.log(counts[kept]) * weight, rcond=None)[0]
    at = np.zeros(2)
    for _ in range(50):
        value = lambda p, q, at=at: sum(  # noqa: E731
            c
            * np.prod(np.arange(a - p + 1, a + 1))
            * np.prod(np.arange(b - q + 1, b + 1))
            * at[0] ** (a - p)
            * at[1] ** (b - q)
            for c, (a, b) in zip(coefficients, powers, strict=True)
            if a >= p and b >= q
        )
        at = at - np.linalg.solve([[value(2, 0), value(1, 1)], [value(1, 1), value(0, 2)]], [value(1, 0), value(0, 1)])
    return at
