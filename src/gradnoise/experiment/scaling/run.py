"""The runs behind the advice on linear scaling: the baseline, the scaled ones, SVAG; then the judgement."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from gradnoise.dynamics import Simulation, simulate, svag
from gradnoise.dynamics.equilibrium_records import equilibrium_records
from gradnoise.dynamics.train import train
from gradnoise.experiment.problem_job import ConstantRateJob, Progress, silent
from gradnoise.experiment.scaling.adaptive import adaptive_table
from gradnoise.experiment.scaling.config import ScalingConfig
from gradnoise.experiment.scaling.judge import QUANTITIES, judge
from gradnoise.experiment.weak_order import weak_order_of
from gradnoise.measure.curvature import hessian_extremes
from gradnoise.problem import Problem, require_problem
from gradnoise.results import build_tree, provenance
from gradnoise.results.store import Stages
from gradnoise.stationary.scale_invariant import scale_invariant_groups

L_VALUES = (1, 2, 4, 8)
SDE_OBSERVABLES = ("test_loss", "train_loss", "squared_norm")


@dataclass
class ScalingJob(ConstantRateJob[ScalingConfig]):
    """One problem and its settings; what the runs share."""

    keys = ("params", "examples", "runs", "train", "svag")
    command = "scaling"

    @cached_property
    def groups(self) -> dict[str, bool]:
        """Parameter group -> whether the loss is invariant to its scale."""
        return scale_invariant_groups(self.problem, self.params)

    def observe(self, factor: int = 1) -> dict[str, Any]:
        """R, G, N of the scale-invariant groups, or of all weights where there are none."""
        chosen = self.groups if any(self.groups.values()) else None
        spacetime = self.config.spacetime(self.num_pool, factor)
        count = self.config.num_batches(self.num_pool, factor)
        records = equilibrium_records(self.problem, spacetime, chosen, count, training_set=self.training_set)
        return {name: records[name] for name in QUANTITIES}

    def scaled(self, factor: int, place: int) -> Simulation:
        """The run at `factor` times learning rate and batch size; independent of the others."""
        config, total = self.config, len(self.config.run_factors)

        def hear(done: int, count: int) -> None:
            self.progress(f"SGD at batch size {factor * config.batch_size}", (place + done / count) / total)

        return simulate(
            self.process(), self.params, config.spacetime(self.num_pool, factor), factor * config.learning_rate,
            config.num_replicas, jax.random.fold_in(self.key["runs"], factor), self.observe(factor),
            config.grid.every // factor, self.training_set, memory=config.memory, progress=hear,
            checkpoint=self.checkpoint(f"sgd-{factor}"),
        )  # fmt: skip

    def sde(self) -> dict[str, Any]:
        """What SVAG says of the SDE for each observable: variables by `observable`, sentences as attributes."""
        config, count = self.config, self.config.svag_replicas
        if not count:
            return {}
        every = config.grid.every
        spacetime = config.spacetime(self.num_pool).truncate(config.svag_steps)
        records = self.observe()
        runs = {}
        for place, l in enumerate(L_VALUES):
            self.progress(f"SVAG({l}): does the SDE hold?", place / len(L_VALUES))
            runs[l] = simulate(
                svag(self.problem, l, weight_decay=config.weight_decay), self.params, spacetime, config.learning_rate,
                count, self.key["svag"], {"squared_norm": records["squared_norm"]}, every, self.training_set,
                memory=config.memory, checkpoint=self.checkpoint(f"svag-{l}"),
            )  # fmt: skip
        if any(np.any(run.diverged_at >= 0) for run in runs.values()):
            return {}
        return {name: weak_order_of(runs, name) for name in SDE_OBSERVABLES}

    def curvature(self) -> tuple[float, float]:
        """lambda_max of the data loss after one more run, on the whole pool, and its error; NaN if that run diverges."""
        config = self.config
        self.progress("curvature at the end", None)
        try:
            end = train(
                self.process(), self.params, config.grid.num_steps, config.batch_size, config.learning_rate,
                self.key["train"],
            )  # fmt: skip
        except ValueError:  # the weights stopped being finite
            return np.nan, np.nan
        found = hessian_extremes(self.problem, end, memory=config.memory).largest
        return float(found.value), float(found.stderr)


def run(
    problem: Problem,
    config: ScalingConfig,
    *,
    store: str | Path | None = None,
    progress: Progress | None = None,
) -> xr.DataTree:
    """Run the baseline (and with `config.verify` the scaled runs) to equilibrium, SVAG beside it, and judge.

    Gives a results tree with the group "scaling" (docs/architecture.md): series, averages, critical batch sizes and what
    the report says. `store`: a folder in which the runs are kept, from which a killed call goes on to the same numbers.

    Raises ValueError for a problem without a pool, batches larger than the training set, and what the engines raise.
    """
    require_problem(problem)
    job = ScalingJob(problem, config, progress or silent)
    for factor in config.run_factors:
        config.spacetime(job.num_pool, factor)
    job.kept = None if store is None else Stages(Path(store), job.mark)
    found = adaptive_table(job) if config.optimizer == "adam" else judge(_sgd_table(job))
    return build_tree(
        {"scaling": found.assign_attrs(_facts(job))}, {**provenance(), **job.attributes(config.grid.num_steps)}
    )


def _sgd_table(job: ScalingJob) -> xr.Dataset:
    """All runs and their facts, not judged yet."""
    runs = {factor: job.scaled(factor, place) for place, factor in enumerate(job.config.run_factors)}
    found = series_table(runs, job.config).merge(sde_table(job.sde()), combine_attrs="no_conflicts")
    found = found.assign_attrs(sde_steps=job.config.svag_steps)
    curvature, error = job.curvature()
    return found.assign(hessian_max=curvature, hessian_max_se=error).assign_attrs(_facts(job))


def series_table(runs: Mapping[int, Simulation], config: ScalingConfig) -> xr.Dataset:
    """R, G, N and losses (factor, replica, record); record k of a run is its step k every / factor."""
    first = next(iter(runs.values()))
    dims = ("factor", "replica", "record")
    names = (*QUANTITIES, "test_loss", "train_loss")
    table: dict[str, Any] = {n: (dims, np.stack([run.observables[n] for run in runs.values()])) for n in names}
    if "test_accuracy" in first.observables:
        table["test_error"] = (dims, np.stack([1 - run.observables["test_accuracy"] for run in runs.values()]))
    table["num_diverged"] = (("factor",), [int(np.sum(run.diverged_at >= 0)) for run in runs.values()])
    steps = np.arange(len(first.steps)) * config.grid.every
    return xr.Dataset(table, {"factor": list(runs), "step": ("record", steps)})


def sde_table(found: Mapping[str, Any]) -> xr.Dataset:
    """The largest difference of SVAG from SGD by observable, its simultaneous interval, and what would have been seen."""
    if not found:
        return xr.Dataset()
    rows = [(each.largest.difference.value, *each.largest_size, each.detectable) for each in found.values()]
    names = ("sde_difference", "sde_size_low", "sde_size_high", "sde_detectable")
    table = {name: ("observable", list(column)) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    table["sde_differs"] = ("observable", [int(each.holds == "differs") for each in found.values()])
    sentences = {f"sde_{name}": each.sentence for name, each in found.items()}
    return xr.Dataset(table, {"observable": list(found)}, sentences)


def _facts(job: ScalingJob) -> dict[str, Any]:
    config, grid = job.config, job.config.grid
    adam = config.optimizer == "adam"  # one run on the whole pool
    invariant = [name for name, holds in job.groups.items() if holds]
    return {
        "learning_rate": config.learning_rate, "batch_size": config.batch_size, "weight_decay": config.weight_decay,
        "closeness": config.closeness, "every": grid.every, "burn_in": grid.burn_in, "num_steps": grid.num_steps,
        "num_examples": job.num_pool if adam else config.num_examples or job.num_pool,
        "sampling": "with_replacement" if adam else config.sampling, "training_set": job.training_set,
        "num_replicas": config.num_replicas, "invariant_groups": invariant,
        "other_groups": [name for name in job.groups if name not in invariant],
    }  # fmt: skip
