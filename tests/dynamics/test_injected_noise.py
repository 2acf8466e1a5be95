"""Injected noise has covariance learning_rate T beta^2 I an effective step, T = learning_rate/B, in every process."""

import jax
import numpy as np
import pytest

from brute_force import linear_problem
from gradnoise.dynamics.discrete import gradient_descent, sgd
from gradnoise.dynamics.hessian_sgd import hessian_sgd
from gradnoise.dynamics.levy import levy
from gradnoise.dynamics.noisy_gd import noisy_gd
from gradnoise.dynamics.sde import sde
from gradnoise.dynamics.svag import svag
from gradnoise.process import Batches
from gradnoise.spacetime import Spacetime

FLAT = linear_problem(np.zeros((5, 2)))  # no gradient and no noise of its own
RATE, BATCH, BETA, COUNT = 0.3, 2, 1.7, 20_000
SAMPLINGS = {"svag on halves": "subset"}
MAKERS = {
    "sgd": sgd,
    "gradient_descent": gradient_descent,
    "svag": lambda problem, **options: svag(problem, 4, **options),
    "svag on halves": lambda problem, **options: svag(problem, 4, batches="split", **options),
    "noisy_gd": noisy_gd,
    "sde": lambda problem, **options: sde(problem, 3, **options),
    "sde of order two": lambda problem, **options: sde(problem, 3, order=2, **options),
    "levy": lambda problem, **options: levy(problem, num_substeps=3, **options),
    "hessian_sgd": lambda problem, **options: hessian_sgd(problem, 0.5, **options),
}


QUICK = ("noisy_gd",)
"""The others are slow to compile."""


def effective_steps(name, key):
    """The displacement of COUNT independent runs in one effective step: (COUNT, 2)."""
    process = MAKERS[name](FLAT, injected_noise=BETA)
    grid = Spacetime(5, BATCH, sampling=SAMPLINGS.get(name, "with_replacement"), num_steps=1)

    @jax.jit
    @jax.vmap
    def run(key):
        pool, state = jax.numpy.zeros((5, 2)), process.init(jax.numpy.zeros(2))
        batches = Batches(jax.numpy.zeros((process.batches_per_substep, BATCH, 2)), pool, grid)
        keys = jax.random.split(key, process.num_substeps)
        return process.params(jax.lax.scan(lambda at, k: (process.step(k, at, batches, RATE), None), state, keys)[0])

    return np.asarray(run(jax.random.split(key, COUNT)), dtype=float)


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in MAKERS])
def test_an_effective_step_gets_learning_rate_squared_over_batch_size_times_beta_squared_in_each_weight(name, getkey):
    """Mean zero, variances, no correlation, no excess kurtosis: each within 4.5 of a normal law's errors."""
    moves = effective_steps(name, getkey())
    unit = moves / np.sqrt(RATE * (RATE / BATCH) * BETA**2)
    moments = [unit.mean(0), (unit**2).mean(0) - 1, (unit**4).mean(0) - 3, np.mean(unit[:, 0] * unit[:, 1])]
    for moment, variance in zip(moments, (1, 2, 96, 1), strict=True):
        assert np.all(np.abs(moment) < 4.5 * np.sqrt(variance / COUNT))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sgd", "sde"])
def test_without_the_batch_size_it_would_be_another(name, getkey):
    """lambda T beta^2 with T = lambda/B, not lambda^2 beta^2: the variance tells the two apart at once."""
    moves = effective_steps(name, getkey())
    wrong = RATE**2 * BETA**2
    assert np.all(np.abs((moves**2).mean(0) / wrong - 1) > 4.5 * np.sqrt(2 / COUNT))
