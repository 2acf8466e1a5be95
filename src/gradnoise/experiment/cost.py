"""What the main job will take on this machine, from small trials of its parts."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from gradnoise import _checks, _memory
from gradnoise.dynamics import sgd, simulate
from gradnoise.dynamics.cost import estimate_simulation
from gradnoise.experiment.config import Config
from gradnoise.experiment.control_variates import control_variates
from gradnoise.experiment.job import STAGES, Job
from gradnoise.experiment.path_cost import whole_run_cost
from gradnoise.experiment.problem_job import silent
from gradnoise.experiment.setup import NO_POOL_DRAWS
from gradnoise.measure import diagram_values
from gradnoise.problem import Problem

TRIAL_EXAMPLES = 128
PILOT_REPLICAS = 200
FLOPS = 2e10
"""Double-precision operations a second that dense algebra reaches on two slow cores; only for the spectrum."""


class Estimation(NamedTuple):
    """Seconds and peak bytes of the process; replicas for the asked error; what else to know, a sentence each."""

    seconds: float
    memory_bytes: int
    num_replicas_needed: int
    notes: list[str]


def estimate(problem: Problem, config: Config, error: float = 0.01, stages: Sequence[str] = STAGES) -> Estimation:
    """Time, memory and replicas of `pipeline.run` with these arguments; takes some seconds itself, writes nothing.

    Diagram values are timed on 128 examples and scaled with the square of their number, the simulation on one chunk. The
    replicas needed bring the standard error of the mean change of the test loss to `error` times that change at the last
    step, at the main learning rate, without control variates. Other load on the machine is not foreseen.

    Raises what `run` would raise before long work.
    """
    error = _checks.number("error", error, above=0)
    job = Job(problem, config, silent)
    seconds, notes = 0.0, [f"learning rates {', '.join(f'{rate:g}' for rate in job.rates)}; {job.spacetime}"]
    if "measured" in stages or "predicted" in stages:
        seconds += _values_seconds(job)
    if "measured" in stages:
        seconds += 2 * _spectrum_seconds(job)
    needed = 0
    if "simulated" in stages or "compared" in stages:
        job.check_decay()
        seconds += len(job.rates) * _simulation_seconds(job)
        needed = _replicas_needed(job, error)
        enough = "enough" if config.num_replicas >= needed else "fewer than needed"
        notes.append(f"{config.num_replicas} replicas asked for, {enough} for a relative error of {error:g}")
    held = 0
    if "path" in stages:
        told, spent, held = whole_run_cost(job)
        seconds, notes = seconds + spent, [*notes, told]
    return Estimation(seconds, max(_peak(job, stages), _memory.resident_memory() + held), needed, notes)


def _values_seconds(job: Job) -> float:
    """Compilation, timed, plus n^2 times the pace of a second, compiled run."""
    problem, n = job.penalized, job.problem.num_pool or NO_POOL_DRAWS
    count = min(n, TRIAL_EXAMPLES)
    arguments: dict[str, Any] = {"method": "unbiased", "num_draws": count, "key": jax.random.key(0)}
    if problem.pool is not None:
        problem = replace(problem, pool=jax.tree.map(lambda leaf: leaf[:count], problem.pool))
        arguments = {"method": "population"}
    once = _timed(
        lambda: diagram_values(problem, job.params, job.config.max_order, **arguments, memory=job.config.memory)
    )
    again = _timed(
        lambda: diagram_values(problem, job.params, job.config.max_order, **arguments, memory=job.config.memory)
    )
    return max(once - again, 0.0) + again * (n / count) ** 2


def _spectrum_seconds(job: Job) -> float:
    n, size = job.problem.num_pool or NO_POOL_DRAWS, job.attributes["num_parameters"]
    small, large = sorted((n, size))
    return 1.0 + (2 * small**2 * large + 10 * small**3) / FLOPS if small <= 2000 else 1.0 + 400 * n * size / FLOPS


def _simulation_seconds(job: Job) -> float:
    config = job.config
    process = sgd(job.problem, momentum=config.momentum, weight_decay=config.weight_decay)
    options: dict[str, Any] = {"dtype": "float64", "memory": config.memory}
    seconds = estimate_simulation(process, job.params, job.spacetime, config.num_replicas, job.every, **options).seconds
    if job.problem.pool is not None:
        observe = control_variates(job.penalized, job.params)
        start = job.spacetime.truncate(0)
        seconds += estimate_simulation(process, job.params, start, config.num_replicas, 1, observe, **options).seconds
    return seconds


def _replicas_needed(job: Job, error: float) -> int:
    process = sgd(job.problem, momentum=job.config.momentum, weight_decay=job.config.weight_decay)
    steps = job.spacetime.num_steps
    runs = simulate(
        process, job.params, job.spacetime, job.learning_rate, PILOT_REPLICAS, jax.random.key(1), every=steps
    )
    change = runs.observables["test_loss"][:, -1] - runs.observables["test_loss"][:, 0]
    if not np.all(np.isfinite(change)) or change.mean() == 0:
        return 0
    return max(2, math.ceil((change.std(ddof=1) / (error * abs(change.mean()))) ** 2))


def _peak(job: Job, stages: Sequence[str]) -> int:
    """The trials' own peak, and the arrays that grow with the pool and the replicas."""
    n, size = job.problem.num_pool or NO_POOL_DRAWS, job.attributes["num_parameters"]
    small = min(n, size)
    spectrum = 8 * (2 * n * size + 4 * small**2) if "measured" in stages and small <= 2000 else 0
    return _memory.peak_memory() + spectrum


def _timed(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
