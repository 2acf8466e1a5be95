"""Steps of steepest descent in optimal transport: closed form of Gaussians, limit at the Fokker-Planck equation."""

import math

import numpy as np
import pytest
from scipy import stats

from gradnoise.stationary.fokker_planck import evolve_fokker_planck
from gradnoise.stationary.wasserstein_flow import density_quantiles, jko_step

CENTERS = np.linspace(-4, 4, 801)[1::2]


def normal_quantiles(n):
    return stats.norm.ppf((np.arange(n) + 0.5) / n)


def test_steps_follow_the_fokker_planck_equation_at_first_order_in_their_length():
    """A double well at beta = 2 from beside the barrier, after the time .4: errors halve with the step."""
    first = np.exp(-((CENTERS - 0.6) ** 2) / 0.4)
    moved = evolve_fokker_planck(
        lambda x: x - x**3, lambda x: np.eye(1) / 2, ((-4, 4),), (len(CENTERS),), first, [0.4]
    ).density[0]
    exact = density_quantiles(CENTERS, moved, 1600)
    errors = []
    for count in (4, 8, 16):
        x = density_quantiles(CENTERS, first, 1600)
        for _ in range(count):
            x = jko_step(lambda x: x**3 - x, lambda x: 3 * x**2 - 1, x, 0.4 / count, 2.0)
        errors.append([np.mean((x - exact)[160:-160]), np.sqrt(np.mean((x - exact) ** 2))])
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 1, atol=0.1)
    assert errors[-1][1] < 5e-3


@pytest.mark.parametrize("beta", [0.5, 3.0])
def test_a_gaussian_stays_one_with_the_mean_and_width_of_the_closed_form(beta):
    """On a parabola m' = m/(1 + tau) for any n; s' solves (s' - s)/tau + s' = 1/(beta s') as n grows, first order in 1/n."""
    tau, mean, width = 0.3, 1.5, 0.6
    b = width / (1 + tau)
    expected = (b + math.sqrt(b**2 + 4 * tau / (beta * (1 + tau)))) / 2
    misses = []
    for n in (400, 1600):
        x = jko_step(lambda x: x, np.ones_like, mean + width * normal_quantiles(n), tau, beta)
        assert x.mean() == pytest.approx(mean / (1 + tau), rel=1e-12)
        misses.append(np.sum(normal_quantiles(n) * x) / np.sum(normal_quantiles(n) ** 2) - expected)
    assert abs(misses[1]) < 2e-3
    assert abs(misses[1]) < abs(misses[0]) / 2.5


def test_each_step_lowers_the_free_energy_by_at_least_the_transport_it_costs():
    """F(rho') + W^2/(2 tau) <= F(rho) by the minimum, and the last step stands still at quantiles of the Gibbs density."""
    x, beta, tau = np.linspace(-2, 2, 50), 2.0, 0.4

    def free(x):
        return np.mean((x**2 - 1) ** 2 / 4) - np.sum(np.log(len(x) * np.diff(x))) / len(x) / beta

    for _ in range(60):
        old, x = x, jko_step(lambda x: x**3 - x, lambda x: 3 * x**2 - 1, x, tau, beta)
        assert free(x) + np.mean((x - old) ** 2) / (2 * tau) <= free(old) + 1e-13
        assert (np.diff(x) > 0).all()
    assert np.max(np.abs(x - old)) < 1e-8


def test_from_a_crowd_it_spreads_without_coming_out_of_order():
    x = jko_step(lambda x: x, np.ones_like, 1e-6 * np.arange(100), 1.0)
    assert (np.diff(x) > 1e-3).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"quantiles": [1.0, 1.0]}, "do not increase"),
        ({"quantiles": [1.0]}, "Give at least two"),
        ({"step": 0.0}, "step=0"),
        ({"inverse_temperature": 0.0}, "inverse_temperature=0"),
        ({"curvature": lambda x: -3 + 0 * x}, r"step=0.5 is too long: 1/step \+ f'' falls to -1"),
    ],
)
def test_wrong_arguments_are_told(change, words):
    arguments = {"slope": lambda x: x, "curvature": np.ones_like, "quantiles": [0.0, 1.0], "step": 0.5}
    with pytest.raises(ValueError, match=words):
        jko_step(**(arguments | change))


def test_wrong_densities_are_told():
    for density, words in [([1.0], "Give even centres"), ([1.0, -1.0], "negative numbers"), ([0.0, 0.0], "only zeros")]:
        with pytest.raises(ValueError, match=words):
            density_quantiles([0.0, 1.0], density, 3)
