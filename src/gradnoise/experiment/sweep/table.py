"""The records of runs as labelled arrays: of a chunk, and of the whole sweep."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from gradnoise.dynamics import Simulation
from gradnoise.experiment.sweep.cells import Chunk, temperature
from gradnoise.experiment.sweep.config import SweepPlan
from gradnoise.experiment.sweep.problems import problem_of
from gradnoise.results import build_tree, provenance

SERIES = ("run", "record")


def chunk_table(chunk: Chunk, found: Simulation) -> xr.Dataset:
    """What a chunk's runs recorded, padding left out: each observable (run, record), labelled."""
    count, shape = len(chunk.runs), chunk.shape
    epoch = np.broadcast_to(found.steps * shape.batch_size / shape.num_examples, (count, len(found.steps)))
    values = {name: (SERIES, np.asarray(series)[:count]) for name, series in found.observables.items()}
    values |= {"epoch": (SERIES, epoch.copy()), "diverged_at": ("run", np.asarray(found.diverged_at)[:count])}
    return xr.Dataset(values, _labels([chunk]), {"device": found.device, "num_devices": found.num_devices})


def sweep_tree(plan: SweepPlan, chunks: Sequence[Chunk], found: Mapping[str, xr.Dataset]) -> xr.DataTree:
    """The results tree of a finished sweep: `found` holds the table of each chunk by its name."""
    tables = [found[chunk.name] for chunk in chunks]
    series = {str(name): tables[0][name].dims for name in tables[0].data_vars}
    values = {name: (dims, np.concatenate([table[name].values for table in tables])) for name, dims in series.items()}
    devices = {f"{one.attrs['num_devices']} x {one.attrs['device']}" for one in found.values()}
    table = xr.Dataset(values, _labels(chunks), {**_facts(plan), "devices": ", ".join(sorted(devices))})
    problem = problem_of(plan, plan.widths[0] if plan.widths else None)
    told = {
        "problem": problem.name, "setting": problem.setting, "num_pool": problem.num_pool, "sampling": plan.sampling,
        "weight_decay": plan.weight_decay, "seed": plan.seed,
    }  # fmt: skip
    return build_tree({"sweep": table}, {**provenance(), **told})


def _labels(chunks: Sequence[Chunk]) -> dict[str, Any]:
    """What each run is, along the dimension run; the width 0 stands for the problem's own."""
    pairs = [(chunk.shape, run) for chunk in chunks for run in chunk.runs]
    columns = {
        "learning_rate": [run.learning_rate for _, run in pairs],
        "batch_size": [shape.batch_size for shape, _ in pairs],
        "num_examples": [shape.num_examples for shape, _ in pairs],
        "width": [shape.width or 0 for shape, _ in pairs],
        "variant": [shape.variant for shape, _ in pairs],
        "seed": [run.seed for _, run in pairs],
        "temperature": [temperature(run.learning_rate, shape.batch_size) for shape, run in pairs],
        "epochs": [shape.num_steps * shape.batch_size / shape.num_examples for shape, _ in pairs],
        "num_steps": [shape.num_steps for shape, _ in pairs],
    }
    return {name: ("run", np.asarray(column)) for name, column in columns.items()}


def _facts(plan: SweepPlan) -> dict[str, Any]:
    return {
        "training_set": plan.training_set, "momentum": plan.momentum, "seeds": plan.seeds, "variants": plan.variants,
        "reference_epochs": plan.reference_epochs, "reference_temperature": plan.reference_temperature,
        "max_factor": plan.max_factor, "num_records": plan.num_records,
    }  # fmt: skip
