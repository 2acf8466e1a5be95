"""Closed moment hierarchies against enumeration, quadrature, limits and runs; the printed numbers of A4 and A5."""

from itertools import product

import numpy as np
import pytest

from gradnoise.dynamics import noisy_gd, sde, sgd, simulate, svag
from gradnoise.spacetime import Spacetime
from gradnoise.testbeds.linear_errors import decomposition, weak_errors
from gradnoise.testbeds.linear_gradients import (
    LinearRun,
    linear_gradients,
    noisy_gd_moments,
    sde_moments,
    sgd_moments,
    svag_moments,
)

PRINTED = LinearRun(learning_rate=0.4, num_steps=10)
SLOPES, SHIFTS = np.array(PRINTED.slopes), np.array(PRINTED.shifts)
POWERS = np.arange(5)


def batch_means(batch_size):
    """(alpha, beta) of every equally likely batch."""
    rows = np.array(list(product(range(4), repeat=batch_size)))
    return SLOPES[rows].mean(axis=1), SHIFTS[rows].mean(axis=1)


def after_all(x, rate, alpha, beta):
    """Every place that a step reaches from each of the places x, all equally likely."""
    return (x[:, None] - rate * (x[:, None] * alpha - beta)).ravel()


def enumerated(rate, alpha, beta, num_substeps):
    x = np.array([1.5])
    for _ in range(num_substeps):
        x = after_all(x, rate, alpha, beta)
    return np.mean(x ** POWERS[:, None], axis=1)


@pytest.mark.parametrize(("batch_size", "num_steps"), [(1, 5), (2, 3), (3, 2)])
def test_sgds_moments_are_those_of_all_sequences_of_batches(batch_size, num_steps):
    run = LinearRun(0.4, num_steps, batch_size)
    expected = [enumerated(0.4, *batch_means(batch_size), t) for t in range(num_steps + 1)]
    np.testing.assert_allclose(sgd_moments(run), expected, rtol=1e-13)


@pytest.mark.parametrize(("l", "batch_size", "num_steps"), [(2, 1, 2), (3, 1, 1), (2, 2, 1)])
def test_svags_moments_are_those_of_all_sequences_of_pairs_of_batches(l, batch_size, num_steps):
    alpha, beta = batch_means(batch_size)
    c1, c2 = (1 + (2 * l - 1) ** 0.5) / 2, (1 - (2 * l - 1) ** 0.5) / 2
    alphas, betas = (np.add.outer(c1 * mean, c2 * mean).ravel() for mean in (alpha, beta))
    expected = enumerated(0.4 / l, alphas, betas, num_steps * l)
    np.testing.assert_allclose(svag_moments(LinearRun(0.4, num_steps, batch_size), l)[-1], expected, rtol=1e-12)


@pytest.mark.parametrize(("batch_size", "num_substeps"), [(1, 1), (3, 1), (2, 2)])
def test_moments_with_gaussian_noise_are_those_of_exact_quadrature(batch_size, num_substeps):
    """Gauss-Hermite nodes integrate each step's polynomial in z; the noise's size comes from the gradients at x."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(4)
    x, mass, h = np.array([1.5]), np.ones(1), 0.4 / num_substeps
    for _ in range(2 * num_substeps):
        gradients = x[:, None] * SLOPES - SHIFTS
        spread = np.sqrt(0.4 * h / batch_size) * gradients.std(axis=1)
        x = (x - h * gradients.mean(axis=1))[:, None] + spread[:, None] * nodes
        x, mass = x.ravel(), (mass[:, None] * weights / weights.sum()).ravel()
    found = sde_moments(LinearRun(0.4, 2, batch_size), num_substeps)[-1]
    np.testing.assert_allclose(found, (x ** POWERS[:, None]) @ mass, rtol=1e-12)


def test_with_one_common_slope_the_sde_is_an_ornstein_uhlenbeck_process():
    run = LinearRun(0.2, 15, 2, slopes=np.full(4, 0.7), start=-1.0)
    time = 0.2 * np.arange(16)
    rest = SHIFTS.mean() / 0.7
    mean = rest + (-1.0 - rest) * np.exp(-0.7 * time)
    variance = 0.2 * SHIFTS.var() / 2 * (1 - np.exp(-1.4 * time)) / 1.4
    gaussian = [np.ones(16), mean, mean**2 + variance, mean**3 + 3 * mean * variance]
    gaussian.append(mean**4 + 6 * mean**2 * variance + 3 * variance**2)
    np.testing.assert_allclose(sde_moments(run), np.transpose(gaussian), rtol=1e-12)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_euler_maruyama_converges_to_the_exact_sde_at_first_order(batch_size):
    run = LinearRun(0.4, 10, batch_size)
    scheme = {m: sde_moments(run, m)[-1, 1:] for m in (1024, 2048, 4096)}
    exact = sde_moments(run)[-1, 1:]
    np.testing.assert_allclose((scheme[1024] - exact) / (scheme[2048] - exact), 2, rtol=0.02)
    coarse, fine = (2 * scheme[2 * m] - scheme[m] - exact for m in (1024, 2048))
    np.testing.assert_allclose(coarse / fine, 4, rtol=0.05)


def test_the_printed_moments_of_the_sde_are_reproduced_but_for_one_misprinted_digit():
    exact = sde_moments(PRINTED)[-1, 1:]
    np.testing.assert_allclose(exact, [0.32197877, 0.21587193, 0.13819901, 0.11885035], rtol=0, atol=5e-9)
    assert exact[0] == pytest.approx(0.3 + 1.2 * np.exp(-4), abs=1e-14)
    assert abs(exact[0] - 0.32197867) > 5e-8


def test_the_printed_weak_errors_of_svag_128_are_those_at_the_end_and_not_the_largest_over_steps():
    final = np.abs(svag_moments(PRINTED, 128) - sde_moments(PRINTED))[-1, 1:]
    np.testing.assert_allclose(128 * final, [0.017565, 0.012799, 0.011870, 0.011901], rtol=0, atol=5e-7)
    assert np.all(weak_errors(PRINTED, 128)[1:] > 4 * final)


def test_weak_errors_fall_as_one_over_l_with_slope_minus_one():
    l_values = np.array([32, 64, 128, 256])
    errors = np.array([weak_errors(PRINTED, int(l))[1:] for l in l_values])
    slopes = np.diff(np.log(errors), axis=0) / np.diff(np.log(l_values))[:, None]
    np.testing.assert_allclose(slopes, -1, atol=0.02)


def test_the_printed_decomposition_is_reproduced():
    found = decomposition(PRINTED)
    np.testing.assert_allclose(found.discretization[-1, 1:], [0.01472, -0.02126, -0.01767, -0.03183], rtol=0, atol=5e-6)
    np.testing.assert_allclose(found.non_gaussian[-1, 3:], [-0.00276, 0.01819], rtol=0, atol=5e-6)
    total = sde_moments(PRINTED) - sgd_moments(PRINTED)
    np.testing.assert_allclose(found.discretization + found.non_gaussian, total, atol=1e-15)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_with_linear_gradients_noise_that_is_not_gaussian_first_shows_in_the_cube(batch_size):
    run = LinearRun(0.4, 10, batch_size)
    part = decomposition(run).non_gaussian
    np.testing.assert_allclose(part[:, :3], 0, atol=1e-15)
    assert np.abs(part[-1, 3]) > 1e-4


def test_through_the_square_svag_l_is_euler_maruyama_with_l_substeps_and_in_the_cube_it_is_not():
    for l in (1, 2, 7):
        difference = svag_moments(PRINTED, l) - sde_moments(PRINTED, l)
        np.testing.assert_allclose(difference[:, :3], 0, atol=1e-14)
        assert np.abs(difference[-1, 3]) > 1e-4


def test_svag_1_is_sgd_and_one_substep_is_noisy_gd():
    np.testing.assert_array_equal(svag_moments(PRINTED, 1), sgd_moments(PRINTED))
    np.testing.assert_array_equal(sde_moments(PRINTED, 1), noisy_gd_moments(PRINTED))


def test_without_noise_every_process_is_a_power_of_its_own_path():
    still = LinearRun(0.3, 4, slopes=(0.5, 0.5), shifts=(0.2, 0.2), start=2.0)
    path = 0.4 + 1.6 * (1 - 0.15) ** np.arange(5)
    for moments in (sgd_moments(still), noisy_gd_moments(still)):
        np.testing.assert_allclose(moments, path[:, None] ** POWERS, rtol=1e-13)
    flow = 0.4 + 1.6 * np.exp(-0.15 * np.arange(5))
    np.testing.assert_allclose(sde_moments(still), flow[:, None] ** POWERS, rtol=1e-13)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 0}, "batch_size=0 is below 1"),
        ({"learning_rate": -0.1}, "learning_rate=-0.1"),
        ({"shifts": (1.0, 2.0)}, "lengths differ"),
        ({"slopes": 1.0, "shifts": 2.0}, "single number"),
        ({"slopes": [[1.0]], "shifts": [[1.0]]}, "not both lists of numbers"),
        ({"order": 0}, "order=0 is below 1"),
    ],
)
def test_wrong_input_is_answered_with_one_sentence(change, words):
    with pytest.raises((TypeError, ValueError), match=words):
        LinearRun(**({"learning_rate": 0.1, "num_steps": 2} | change))


def test_a_first_moment_alone_can_be_asked_for():
    one = LinearRun(0.4, 10, order=1)
    for moments in (sgd_moments, noisy_gd_moments, sde_moments):
        np.testing.assert_allclose(moments(one), moments(PRINTED)[:, :2], rtol=1e-14)


def power(p):
    return lambda x, examples: x**p


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sgd", "svag", "noisy_gd", "sde"])
def test_runs_have_the_moments_of_the_hierarchy(name, getkey):
    problem, run = linear_gradients(), LinearRun(0.4, 10, 2)
    process, exact = {
        "sgd": (sgd(problem), sgd_moments(run)),
        "svag": (svag(problem, 4), svag_moments(run, 4)),
        "noisy_gd": (noisy_gd(problem), noisy_gd_moments(run)),
        "sde": (sde(problem, 8), sde_moments(run, 8)),
    }[name]
    grid = Spacetime(4, 2, sampling="with_replacement", num_steps=10)
    observe = {str(p): power(p) for p in (1, 2, 3, 4)}
    found = simulate(
        process,
        np.array(1.5),
        grid,
        0.4,
        200_000,
        getkey(),
        observe,
        every=5,
        training_set="population",
        dtype="float64",
    )
    for p in (1, 2, 3, 4):
        mean = found.mean(str(p))
        z = (mean.value[1:] - exact[5::5, p]) / mean.stderr[1:]
        assert np.abs(z).max() < 4.5, (p, z)
