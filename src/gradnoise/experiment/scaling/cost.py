"""What the advice on linear scaling will take on this machine, from small trials of its runs."""

from typing import Any

from gradnoise import _memory
from gradnoise.dynamics.cost import estimate_simulation
from gradnoise.dynamics.svag import svag
from gradnoise.experiment.cost import Estimation
from gradnoise.experiment.scaling.config import ScalingConfig
from gradnoise.experiment.scaling.run import L_VALUES, ScalingJob
from gradnoise.problem import Problem
from gradnoise.spacetime import Spacetime


def estimate(problem: Problem, config: ScalingConfig) -> Estimation:
    """Time and memory of `run` with these arguments; takes some seconds itself, writes nothing.

    The baseline and SVAG(1) are timed over a few records; a scaled run costs as much as the baseline (fewer, larger
    steps), a step of SVAG(l) as 2 l of SGD.
    """
    job = ScalingJob(problem, config)
    if config.optimizer == "adam":
        return _adam(job)
    grid, runs = config.grid, len(config.run_factors)
    options: dict[str, Any] = {"training_set": job.training_set, "memory": config.memory}
    whole = config.spacetime(job.num_pool)
    one = estimate_simulation(
        job.process(), job.params, whole, config.num_replicas, grid.every, job.observe(), **options
    )  # fmt: skip
    seconds = runs * one.seconds
    if config.svag_replicas:
        process = svag(problem, 1, weight_decay=config.weight_decay)
        cost = estimate_simulation(
            process, job.params, whole.truncate(config.svag_steps), config.svag_replicas, grid.every, **options
        )
        seconds += cost.seconds * (1 + sum(2 * l for l in L_VALUES[1:]))
    notes = [
        f"a relaxation time is {config.relaxation:.0f} steps; the baseline has {grid.num_steps} steps, the first "
        f"{grid.burn_in} are left out",
        f"runs at batch sizes {', '.join(str(f * config.batch_size) for f in config.run_factors)}, {config.num_replicas} "
        "replicas each",
    ]
    return Estimation(seconds, max(_memory.peak_memory(), one.bytes), config.num_replicas, notes)


def _adam(job: ScalingJob) -> Estimation:
    """One replica, and the noise at its end; as many steps of SGD cost about as much."""
    config = job.config
    whole = Spacetime(job.num_pool, config.batch_size, sampling="with_replacement", num_steps=config.grid.num_steps)
    one = estimate_simulation(job.process(), job.params, whole, 1, config.grid.num_steps, training_set="given")
    return Estimation(
        one.seconds, max(_memory.peak_memory(), one.bytes), 1, [f"one run of {config.grid.num_steps} steps"]
    )
