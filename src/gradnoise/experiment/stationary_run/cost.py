"""What `gradnoise stationary` will take on this machine, from a small trial of its run."""

from gradnoise import _memory
from gradnoise.dynamics.cost import estimate_simulation
from gradnoise.experiment.cost import Estimation
from gradnoise.experiment.stationary_run.config import StationaryConfig
from gradnoise.experiment.stationary_run.run import StationaryJob
from gradnoise.problem import Problem


def estimate(problem: Problem, config: StationaryConfig) -> Estimation:
    """Time and memory of `run` with these arguments; takes some seconds itself (a burn-in among them), writes nothing.

    The simulation is timed over a few records; the runs behind the spectrum cost less than one replica each.
    """
    job = StationaryJob(problem, config)
    one = estimate_simulation(
        job.process(), job.params, config.spacetime(job.num_pool), config.num_replicas, config.every, job.observe(),
        training_set=job.training_set, memory=config.memory,
    )  # fmt: skip
    notes = [
        f"{config.num_replicas} runs of {config.whole_steps} steps, the first {config.burn_in} left out, a record every "
        f"{config.every}"
    ]
    return Estimation(1.5 * one.seconds, max(_memory.peak_memory(), one.bytes), config.num_replicas, notes)
