"""Simulations made of given numbers, as if SVAG had been run: what is concluded from runs is tested without running any."""

import numpy as np

from gradnoise.dynamics import Simulation, sde, svag
from gradnoise.spacetime import Spacetime
from gradnoise.testbeds import linear_gradients

GRID = Spacetime(4, 1, sampling="with_replacement", num_steps=4)


def as_simulation(process, values, **changes):
    """A Simulation of `process` whose test_loss are `values` (replica, record)."""
    given = {
        "observables": {"test_loss": np.asarray(values, dtype=float)},
        "steps": np.arange(np.shape(values)[1]),
        "diverged_at": np.full(len(values), -1),
        "process": process,
        "spacetime": GRID,
        "learning_rate": 0.1,
        "num_replicas": len(values),
        "training_set": "population",
        "num_test_draws": None,
        "dtype": "float64",
        "device": "cpu",
        "num_devices": 1,
        "chunk_width": len(values),
        "setting": "population",
        "problem_name": process.problem.name,
        "process_name": process.name,
    }
    return Simulation(**(given | changes))


def svag_runs(samples, l_values, **changes):
    """l -> Simulation for samples (replica, l, record)."""
    problem = linear_gradients()
    return {l: as_simulation(svag(problem, l), samples[:, row], **changes) for row, l in enumerate(l_values)}


def sde_run(values):
    """A run of the SDE with 64 substeps."""
    return as_simulation(sde(linear_gradients(), 64), values)
