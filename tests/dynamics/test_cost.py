"""The estimated cost is of the right size."""

import time

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise.dynamics.cost import estimate_simulation
from gradnoise.dynamics.discrete import sgd
from gradnoise.dynamics.simulate import simulate
from gradnoise.problem import from_arrays
from gradnoise.spacetime import Spacetime


def test_estimated_seconds_are_those_of_the_run_within_a_factor():
    """Wide: the test machine is shared. What it catches is a missing or doubled factor of steps or chunks."""
    random = np.random.default_rng(0)
    pool = {"x": random.normal(size=(50, 20)), "y": random.normal(size=50)}
    problem = from_arrays(lambda w, e: (jnp.tanh(e["x"] @ w).sum() - e["y"]) ** 2, lambda key: None, pool)
    plan = (sgd(problem), np.zeros((20, 20)), Spacetime(50, 5, 200))
    started = time.perf_counter()
    estimated = estimate_simulation(*plan, num_replicas=400, every=1000).seconds
    setting_up = time.perf_counter() - started
    started = time.perf_counter()
    simulate(*plan, 1e-3, 400, jax.random.key(0), every=1000)
    took = time.perf_counter() - started
    assert 0.25 < (estimated - setting_up) / took < 4


def test_nothing_to_do_costs_little():
    problem = from_arrays(lambda w, x: (w - x) ** 2, lambda key: np.zeros(()), np.ones(2))
    cost = estimate_simulation(sgd(problem), np.zeros(()), Spacetime(4, 2).truncate(0), 10)
    assert cost.seconds < 60
    assert cost.bytes > 2**20
