"""A whole training run for several batch sizes: predicted around one path of gradient descent, simulated beside it."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import xarray as xr

from gradnoise.dynamics import Simulation, sgd, simulate
from gradnoise.experiment.path_table import path_table
from gradnoise.experiment.problem_job import Progress
from gradnoise.experiment.setup import Setup, two_digits
from gradnoise.predict import PathPrediction, predict_path
from gradnoise.predict.path.cost import PathCost, estimate_path
from gradnoise.predict.path.setting import PathDiverges
from gradnoise.spacetime import Spacetime

REACH = 0.25
"""The learning rate where none is given: learning_rate * lambda_max / (1 - momentum)."""
SHORT, LONG = 64, 96
"""Steps where none are given: the long run if the short one is not well beyond the reach of a series."""
FAR = 10.0
"""learning_rate * num_steps * lambda_max / (1 - momentum) of a whole run."""
NUM_BATCH_SIZES = 5
DENSE_HERE = 300
"""Most weights for which the report does without probes: fewer than `predict_path`, for the time it takes."""
FEWEST_PROBES, MOST_PROBES = 50, 200
WORK = 1.4e10
"""Probes * steps * examples * weights that are spent by default, unless even the fewest probes take more."""
MOST_REPLICAS = 300
NUM_RECORDS = 8
NO_POOL = "it needs a pool of examples as the population, and this problem only draws them"
LEFT_OUT = "num_probes=0 left it out"


@dataclass(frozen=True)
class Plan:
    """A whole run, made definite: the grid at the config's batch size, and all batch sizes, smallest first."""

    spacetime: Spacetime
    learning_rate: float
    batch_sizes: tuple[int, ...]
    method: str
    num_probes: int
    num_replicas: int

    @property
    def every(self) -> int:
        """Steps between records of the simulation."""
        steps = self.spacetime.num_steps
        return min((d for d in range(1, steps + 1) if steps % d == 0), key=lambda d: abs(steps / d - NUM_RECORDS))

    def resized(self, batch_size: int) -> Spacetime:
        """The same steps in other batches: with epochs one, N = T B; without, N as it is."""
        own = self.spacetime
        if not own.has_epochs:
            return Spacetime(own.num_examples, batch_size, sampling=own.sampling, num_steps=own.num_steps)
        return Spacetime(own.num_steps * batch_size, batch_size, sampling=own.sampling)


def why_absent(setup: Setup) -> str | None:
    """Why there is no whole run for this problem and these settings; None if there is one."""
    if setup.config.num_probes == 0:
        return LEFT_OUT
    return NO_POOL if setup.problem.pool is None else None


def make_plan(setup: Setup) -> Plan:
    """Learning rate, steps, batch sizes, probes and replicas of the whole run, chosen where the config leaves them open."""
    config, batch = setup.config, setup.config.batch_size
    scale = max(setup.curvature, 1e-12) / (1 - config.momentum)
    rate = config.path_learning_rate or config.learning_rate or two_digits(REACH / scale)
    steps = config.path_steps or (SHORT if rate * scale * SHORT >= FAR else LONG)
    size, pool = setup.attributes["num_parameters"], setup.problem.num_pool or 1
    method = "dense" if size <= DENSE_HERE else "probes"
    probes = config.num_probes or int(np.clip(WORK / (steps * pool * size), FEWEST_PROBES, MOST_PROBES))
    replicas = min(config.num_replicas, MOST_REPLICAS) if config.path_replicas is None else config.path_replicas
    grid = Spacetime(steps * batch, batch, sampling=config.sampling)
    return Plan(grid, rate, batch_row(batch, pool), method, probes, replicas)


def batch_row(batch_size: int, num_pool: int) -> tuple[int, ...]:
    """Five batch sizes, each twice the one before, `batch_size` in the middle where its halves are whole.

    None is larger than the pool (unless `batch_size` is); then there may be fewer.

    >>> batch_row(8, 1797), batch_row(3, 1797), batch_row(64, 100)
    ((2, 4, 8, 16, 32), (3, 6, 12, 24, 48), (4, 8, 16, 32, 64))
    """
    smallest, largest = batch_size, max(num_pool, batch_size)
    for _ in range(NUM_BATCH_SIZES // 2):
        smallest = smallest // 2 if smallest % 2 == 0 else smallest
    while smallest % 2 == 0 and smallest * 2 ** (NUM_BATCH_SIZES - 1) > largest:
        smallest //= 2
    return tuple(b for k in range(NUM_BATCH_SIZES) if (b := smallest * 2**k) <= largest)


def whole_run(setup: Setup, progress: Progress) -> xr.Dataset:
    """The group "path" of the results tree; where there is none, an empty one that says why in its attribute `absent`.

    A path that diverges, or does not fit in memory, is such a reason: the rest of the report stands.
    """
    reason = why_absent(setup)
    if reason is not None:
        return xr.Dataset(attrs={"absent": reason})
    plan = make_plan(setup)
    try:
        prediction = _predict(setup, plan, progress)
    except (PathDiverges, MemoryError) as error:
        return xr.Dataset(attrs={"absent": str(error).rstrip(".")})
    runs = _simulate(setup, plan, progress) if plan.num_replicas else {}
    cost = stated_cost(setup, plan)
    table = path_table(prediction, plan.batch_sizes, runs, cost)
    return table.assign_attrs(curvature=setup.curvature, learning_rate=plan.learning_rate)


def stated_cost(setup: Setup, plan: Plan) -> PathCost:
    """What the prediction costs, beside plain simulation at the config's batch size."""
    config = setup.config
    return estimate_path(
        setup.penalized, setup.params, plan.spacetime, plan.method, plan.num_probes, config.momentum, memory=config.memory
    )  # fmt: skip


def _predict(setup: Setup, plan: Plan, progress: Progress) -> PathPrediction:
    config = setup.config
    progress("whole run, predicted", 0.0)
    return predict_path(
        setup.problem, setup.params, plan.spacetime, plan.learning_rate, config.momentum, method=plan.method,
        num_probes=plan.num_probes, key=jax.random.fold_in(setup.key["path"], 0), weight_decay=config.weight_decay,
        memory=config.memory, keep_displacement=False,
        progress=lambda done, total: progress("whole run, predicted", done / total),
    )  # fmt: skip


def _simulate(setup: Setup, plan: Plan, progress: Progress) -> dict[int, Simulation]:
    """SGD at every batch size, each with its own replicas."""
    config, runs = setup.config, {}
    process = sgd(setup.problem, momentum=config.momentum, weight_decay=config.weight_decay)
    for k, batch in enumerate(plan.batch_sizes):
        share: Any = lambda done, total, k=k: progress(  # noqa: E731
            "whole run, simulated", (k + done / total) / len(plan.batch_sizes)
        )
        key = jax.random.fold_in(setup.key["path"], k + 1)
        runs[batch] = simulate(
            process, setup.params, plan.resized(batch), plan.learning_rate, plan.num_replicas, key,
            every=plan.every, memory=config.memory, progress=share, checkpoint=setup.checkpoint(f"path-{batch}"),
        )  # fmt: skip
    return runs
