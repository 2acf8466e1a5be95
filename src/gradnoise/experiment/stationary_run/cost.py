"""What `gradnoise stationary` will take on this machine, from a small trial of its run."""

from collections.abc import Sequence

from gradnoise import _checks, _memory
from gradnoise.dynamics.cost import estimate_simulation
from gradnoise.experiment.cost import Estimation
from gradnoise.experiment.stationary_run.config import StationaryConfig
from gradnoise.experiment.stationary_run.run import STAGES, StationaryJob
from gradnoise.problem import Problem


def estimate(
    problem: Problem, config: StationaryConfig, error: float = 0.01, stages: Sequence[str] = STAGES
) -> Estimation:
    """Time and memory of `run` with these arguments; takes some seconds itself (a burn-in among them), writes nothing.

    The simulation is timed over a few records; the runs behind the spectrum cost less than one replica each. `error` and
    `stages` do not matter here.
    """
    _checks.number("error", error, above=0)
    job = StationaryJob(problem, config, lambda message, share: None)
    one = estimate_simulation(
        job.process(), job.params, config.spacetime(job.num_pool), config.num_replicas, config.every, job.observe(),
        training_set=job.training_set, memory=config.memory,
    )  # fmt: skip
    notes = [
        f"{config.num_replicas} runs of {config.whole_steps} steps, the first {config.burn_in} left out, a record every "
        f"{config.every}"
    ]
    return Estimation(1.5 * one.seconds, max(_memory.peak_memory(), one.bytes), config.num_replicas, notes)
