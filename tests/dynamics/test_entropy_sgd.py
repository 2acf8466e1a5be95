"""Entropy-SGD: its step by hand, its special case SGD, and the moments of its thermal noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradnoise.dynamics.discrete import sgd
from gradnoise.dynamics.entropy_sgd import entropy_sgd
from gradnoise.dynamics.simulate import simulate
from gradnoise.problem import from_arrays
from gradnoise.process import Batches
from gradnoise.spacetime import Spacetime

CURVATURE = np.array([2.0, 0.5])
POOL = np.random.default_rng(0).normal(size=(8, 2))
GRID = Spacetime(8, 2, sampling="with_replacement", num_steps=3)


def parabola(pool=POOL):
    return from_arrays(
        lambda w, x: jnp.sum(jnp.asarray(CURVATURE, w.dtype) * (w - x) ** 2) / 2, lambda key: pool[0], pool
    )


def test_without_thermal_noise_a_step_is_the_algorithm_by_hand():
    """The inner loop on five given batches with weight decay, its average, and momentum outside."""
    scope, rate, share, decay = 0.4, 0.1, 0.3, 0.2
    process = entropy_sgd(parabola(), scope, 5, rate, None, share, momentum=0.5, weight_decay=decay)
    examples = np.random.default_rng(1).normal(size=(2, 5, 2, 2))
    theta, velocity, expected = np.array([1.0, -2.0]), None, []
    for batches in examples:
        y = average = theta
        for batch in batches:
            y = y - rate * (CURVATURE * (y - batch.mean(0)) + decay * y + (y - theta) / scope)
            average = (1 - share) * average + share * y
        gradient = (theta - average) / scope
        velocity = gradient if velocity is None else 0.5 * velocity + gradient
        theta = theta - 0.3 * velocity
        expected.append(theta)
    with jax.enable_x64(True):
        state = process.init(jnp.array([1.0, -2.0]))
        for batches, wanted in zip(examples, expected, strict=True):
            state = process.step(jax.random.key(0), state, Batches(jnp.asarray(batches), jnp.asarray(POOL), GRID), 0.3)
            np.testing.assert_allclose(process.params(state), wanted, rtol=1e-12)


@pytest.mark.slow
def test_one_inner_step_without_noise_is_sgd_at_a_reduced_rate(getkey):
    """theta - mu = r g for averaging 1, so the outer rate 0.5 acts as 0.5 r/gamma."""
    key, start = getkey(), np.array([1.0, -2.0])
    one = entropy_sgd(parabola(), 0.4, 1, 0.1, None, averaging=1.0)
    ours = simulate(one, start, GRID, 0.5, num_replicas=3, key=key).observables["test_loss"]
    theirs = simulate(sgd(parabola()), start, GRID, 0.5 * 0.1 / 0.4, num_replicas=3, key=key).observables["test_loss"]
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.slow
def test_the_thermal_noise_of_a_step_has_the_mean_and_covariance_of_the_linear_chain(getkey):
    """One example, so no batch noise. mu is linear in the xi: both moments by the matrix of the chain (y, mu)."""
    scope, rate, share, b, eta, count = 0.5, 0.1, 0.25, 4.0, 0.3, 6
    problem = parabola(np.array([[0.7, -0.2]]))
    process = entropy_sgd(problem, scope, count, rate, b, share)
    grid, start, n = Spacetime(1, 1, sampling="with_replacement", num_steps=1), np.array([1.0, -2.0]), 4000
    observe = {"first": lambda w, _: w[0], "second": lambda w, _: w[1]}
    runs = simulate(process, start, grid, eta, num_replicas=n, key=getkey(), observe=observe)
    for axis, name in enumerate(observe):
        h, x, pull = CURVATURE[axis], [0.7, -0.2][axis], start[axis] / scope
        shrink = 1 - rate * (h + 1 / scope)
        chain = np.array([[shrink, 0.0], [share * shrink, 1 - share]])
        mean, covariance = np.full(2, start[axis]), np.zeros((2, 2))
        for _ in range(count):
            mean = chain @ mean + rate * (h * x + pull) * np.array([1, share])
            covariance = chain @ covariance @ chain.T + 2 * rate / b * np.outer([1, share], [1, share])
        expected = start[axis] - eta / scope * (start[axis] - mean[1])
        variance = (eta / scope) ** 2 * covariance[1, 1]
        found = np.asarray(runs.observables[name])[:, -1]
        assert abs(found.mean() - expected) < 4.5 * np.sqrt(variance / n)
        assert abs(found.var(ddof=1) / variance - 1) < 4.5 * np.sqrt(2 / (n - 1))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scope": 0.0}, "scope=0"),
        ({"num_inner_steps": 0}, "num_inner_steps=0"),
        ({"inner_learning_rate": -0.1}, "inner_learning_rate=-0.1"),
        ({"inner_inverse_temperature": 0.0}, "inner_inverse_temperature=0"),
        ({"averaging": 0.0}, "averaging=0"),
        ({"averaging": 1.5}, "averaging=1.5 is above 1"),
        ({"momentum": 1.0}, "momentum=1"),
    ],
)
def test_wrong_settings_are_told(change, words):
    arguments = {"scope": 0.1, "num_inner_steps": 3, "inner_learning_rate": 0.1}
    with pytest.raises(ValueError, match=words):
        entropy_sgd(parabola(), **(arguments | change))
