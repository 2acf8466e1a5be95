"""The rotating double well as particles: paths with noise turn at the rate of the closed form."""

import numpy as np
import pytest

from gradnoise.testbeds import rotating_double_well as well

pytestmark = pytest.mark.slow


def stationary_sample(random, n):
    """Exact draws: x_2 is normal, x_1 by rejection from N(0, 1.5^2), of which exp(-(x^2 - 1)^2/4) is a bounded multiple."""
    first = np.empty(0)
    peak = np.max(np.exp(-((np.linspace(-4, 4, 4001) ** 2 - 1) ** 2) / 4 + np.linspace(-4, 4, 4001) ** 2 / 4.5))
    while len(first) < n:
        x = 1.5 * random.normal(size=2 * n)
        accepted = random.uniform(size=2 * n) * 1.001 * peak < np.exp(-((x**2 - 1) ** 2) / 4 + x**2 / 4.5)
        first = np.append(first, x[accepted])
    return np.stack([first[:n], random.normal(size=n)])


def turning_rate(random, rotation, step, n, time=4.0):
    """Of each path, (1/time) sum x_1 dx_2 - x_2 dx_1 by Euler's method; and the final places."""
    x, total = stationary_sample(random, n), np.zeros(n)
    for _ in range(round(time / step)):
        move = step * well.drift(x, rotation) + np.sqrt(2 * step) * random.normal(size=(2, n))
        total += x[0] * move[1] - x[1] * move[0]
        x = x + move
    return total / time, x


@pytest.mark.parametrize(("rotation", "rate"), [(0.0, 0.0), (0.5, 0.4120949), (1.5, 1.2362848)])
def test_simulated_paths_turn_at_the_angular_rate(rng, rotation, rate):
    """V: .4117 and 1.2497 simulated. Here steps of .02 and .01 and Richardson's 2 fine - coarse: a bias of order step^2."""
    n = 20_000
    coarse, fine = (turning_rate(rng, rotation, step, n)[0] for step in (0.02, 0.01))
    found = 2 * fine.mean() - coarse.mean()
    error = np.sqrt((4 * fine.var(ddof=1) + coarse.var(ddof=1)) / n)
    assert abs(found - rate) < 4.5 * error
    assert error < 0.03


@pytest.mark.parametrize("rotation", [0.5, 1.5])
def test_simulated_paths_keep_the_density_whatever_the_rotation(rng, rotation):
    """P(|x_1| < 1/2) = .2662835374 and E x_1^2 = 1.0417972965 after the time 4, again by Richardson's step."""
    n = 20_000
    places = [turning_rate(rng, rotation, step, n)[1][0] for step in (0.02, 0.01)]
    for of, exact in ((lambda x: np.abs(x) < 0.5, 0.2662835374), (np.square, 1.0417972965)):
        coarse, fine = (of(x) for x in places)
        error = np.sqrt((4 * fine.var(ddof=1) + coarse.var(ddof=1)) / n)
        assert abs(2 * fine.mean() - coarse.mean() - exact) < 4.5 * error
