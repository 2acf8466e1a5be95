"""Schedules count effective steps, whoever wrote them: optax's, ours, arrays."""

import jax
import numpy as np
import optax
import pytest

from brute_force import linear_problem
from gradnoise._rates import learning_rates
from gradnoise.dynamics.discrete import sgd
from gradnoise.dynamics.gradient_flow import gradient_flow
from gradnoise.dynamics.noisy_gd import noisy_gd
from gradnoise.dynamics.sde import sde
from gradnoise.dynamics.simulate import simulate
from gradnoise.dynamics.svag import svag
from gradnoise.problem import from_arrays
from gradnoise.schedules import quarter_cosine, triangle
from gradnoise.spacetime import Spacetime

STEPS = 6
SCHEDULES = {
    "step": optax.piecewise_constant_schedule(0.2, {3: 0.0}),
    "cosine": optax.cosine_decay_schedule(0.2, STEPS),
    "joined": optax.join_schedules([optax.linear_schedule(0.0, 0.2, 3), optax.constant_schedule(0.1)], [3]),
    "quarter cosine": quarter_cosine(0.2, STEPS),
    "triangle": triangle(0.2, STEPS),
}
EXPECTED = {
    "step": [0.2, 0.2, 0.2, 0, 0, 0],
    "cosine": 0.1 * (1 + np.cos(np.pi * np.arange(6) / 6)),
    "joined": [0, 0.2 / 3, 0.4 / 3, 0.1, 0.1, 0.1],
    "quarter cosine": 0.2 * np.cos(np.pi * np.arange(6) / 12),
    "triangle": [0, 0.4 / 3, 0.4 / 3, 0, 0.2 / 3, 0.2 / 3],
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_evaluated_at_the_effective_steps(name):
    rates = learning_rates(SCHEDULES[name], {"w": np.zeros(2)}, STEPS, np.float32)
    found = [float(rates.at(step)) for step in range(STEPS)]
    np.testing.assert_allclose(found, EXPECTED[name], rtol=1e-6, atol=1e-8)


def quadratic():
    """Curvature one, no noise: all processes are known products."""
    return from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.zeros(()), np.zeros(2))


PROCESSES = {
    "sgd": (sgd(quadratic()), lambda rate: 1 - rate),
    "svag": (svag(quadratic(), 3), lambda rate: (1 - rate / 3) ** 3),
    "noisy_gd": (noisy_gd(quadratic()), lambda rate: 1 - rate),
    "sde": (sde(quadratic(), 2), lambda rate: (1 - rate / 2) ** 2),
    "gradient_flow": (gradient_flow(quadratic()), lambda rate: np.exp(-rate)),
}


@pytest.mark.parametrize("name", [n if n == "svag" else pytest.param(n, marks=pytest.mark.slow) for n in PROCESSES])
def test_every_process_takes_the_rate_of_its_effective_step_in_all_substeps(name):
    """Without noise each step multiplies the weight by a known factor of that step's rate; optax's step decay to zero at
    SGD step 3 stops SVAG(3) at its substep 9."""
    process, factor = PROCESSES[name]
    grid, observe = Spacetime(2, 1, sampling="with_replacement", num_steps=STEPS), {"w": lambda w, e: w}
    schedule = optax.join_schedules([optax.cosine_decay_schedule(0.4, 4), optax.constant_schedule(0.0)], [3])
    options = {"training_set": "given", "dtype": "float64"}
    found = simulate(process, np.ones(()), grid, schedule, 1, jax.random.key(0), observe, **options).observables["w"][0]
    rates = [0.2 * (1 + np.cos(np.pi * step / 4)) for step in range(3)] + [0.0] * 3
    np.testing.assert_allclose(found, np.cumprod([1, *(factor(rate) for rate in rates)]), rtol=1e-6)
    assert found[3] == found[6]


@pytest.mark.slow
@pytest.mark.parametrize("process", [sgd, lambda p: svag(p, 4), noisy_gd, lambda p: sde(p, 4)])
def test_noise_follows_the_schedule_too(process, getkey):
    """Linear losses: the variance after all steps is sum_k eta_k^2 D/B for every process; 4.5 errors."""
    rows, count = np.array([[0.4], [-1.0], [2.1], [0.3]]), 20_000
    grid, schedule = Spacetime(4, 2, sampling="with_replacement", num_steps=STEPS), SCHEDULES["triangle"]
    observe = {"w": lambda w, e: w[0]}
    options = {"training_set": "given", "every": STEPS}
    runs = simulate(process(linear_problem(rows)), np.zeros(1), grid, schedule, count, getkey(), observe, **options)
    w = runs.observables["w"][:, -1]
    squares = np.square(w - w.mean())
    expected = np.sum(np.square(EXPECTED["triangle"])) * rows.var() / 2
    assert abs(squares.mean() - expected) < 4.5 * squares.std() / np.sqrt(count)


# Ours.


def test_the_quarter_cosine_is_not_the_half_cosine():
    """dynamics.md B3: 1, .924, .707, .383, 0 at quarters; optax's cosine decay is 1, .854, .5, .146, 0."""
    found = [quarter_cosine(1.0, 100)(step) for step in (0, 25, 50, 75, 100, 130)]
    np.testing.assert_allclose(found, [1, 0.924, 0.707, 0.383, 0, 0], atol=5e-4)
    half = [float(optax.cosine_decay_schedule(1.0, 100)(step)) for step in (25, 50, 75)]
    np.testing.assert_allclose(half, [0.854, 0.5, 0.146], atol=5e-4)


@pytest.mark.parametrize("heights", [(1.0, 0.5), (1.0,), (0.3, 1.0, 0.2)])
def test_a_triangle_peaks_in_the_middle_of_each_cycle_and_is_zero_between(heights):
    schedule, length = triangle(0.8, 10 * len(heights), heights), 10
    for i, height in enumerate(heights):
        assert schedule(length * i) == pytest.approx(0, abs=1e-12)
        assert schedule(length * (i + 0.5)) == pytest.approx(0.8 * height)
        assert schedule(length * (i + 0.25)) == pytest.approx(0.4 * height)
        assert schedule(length * (i + 0.75)) == pytest.approx(0.4 * height)
    assert schedule(10 * len(heights)) == 0
    middles = sum(schedule(step + 0.5) for step in range(10 * len(heights)))
    assert middles == pytest.approx(0.8 * length * sum(heights) / 2)  # the time integral, which continuous time is


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: quarter_cosine(-1, 10), ValueError, "learning_rate=-1"),
        (lambda: quarter_cosine(0.1, 0), ValueError, "num_steps=0"),
        (lambda: quarter_cosine("much", 10), TypeError, "learning_rate='much'"),
        (lambda: triangle(0.1, 2.5), TypeError, "num_steps=2.5"),
        (lambda: triangle(0.1, 10, (1, -1)), ValueError, "heights=-1"),
        (lambda: triangle(0.1, 10, ()), ValueError, "heights is empty"),
        (lambda: learning_rates(lambda step: -0.1, np.zeros(2), 3, float), ValueError, "learning_rate holds -0.1"),
    ],
)
def test_wrong_arguments_are_named(make, error, words):
    with pytest.raises(error, match=words):
        make()
