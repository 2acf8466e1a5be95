"""A sweep: chunk by chunk, each stored as soon as it is finished."""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import jax
import numpy as np
import xarray as xr

import gradnoise
from gradnoise import schedules
from gradnoise.dynamics import simulate
from gradnoise.dynamics.checkpoint import Checkpoint
from gradnoise.dynamics.identity import DIGEST
from gradnoise.experiment.problem_job import ProblemJob, Progress, silent
from gradnoise.experiment.settings import Settings
from gradnoise.experiment.sweep.cells import Chunk, chunks, process_of
from gradnoise.experiment.sweep.config import SweepPlan, read_plan
from gradnoise.experiment.sweep.problems import problem_of
from gradnoise.experiment.sweep.table import chunk_table, sweep_tree
from gradnoise.results.run_store import RunStore

STAGE = "sweep"

Hear = Callable[[float], None]
"""hear(share of the work that is to be done)"""
Strategy = Callable[[SweepPlan, Sequence[Chunk], Hear], Iterator[tuple[Chunk, xr.Dataset]]]
"""Does chunks, in any order and anywhere, and gives each with its table as soon as it is finished."""


class DamagedRuns(UserWarning):
    """A file of finished runs that is cut short or altered; its runs are done again."""


def sweep(
    plan: SweepPlan | Mapping[str, Any] | str | os.PathLike[str],
    store: str | os.PathLike[str] | None = None,
    cluster: Strategy | str | None = None,
    progress: Progress | None = None,
) -> xr.DataTree:
    """SGD at every learning rate, batch size, N, width and variant of `plan`, several seeds each.

    `plan`: settings of `SweepPlan` as a mapping, or the path of a TOML file of them. Gives a results tree with the group
    "sweep" (docs/architecture.md): train and test loss, gap and metrics of each run at each record, in the loss's own
    units, labelled with all that a run is; the spread over seeds is their error. A run that diverges is NaN from then on.

    `store`: a folder in which every chunk of runs is kept as it finishes, and the one in progress every 10 seconds. A
    sweep that was killed goes on from there to the same bits (on the same kind and number of devices); one that is
    finished costs nothing; a damaged file is named in a warning and its runs done again; another plan's folder is refused.
    `cluster`: "local", a process a core, or the address of a Dask scheduler, whose workers do the chunks while this
    process alone stores them (docs/cluster.md); a `Strategy` that does them elsewhere; None: here, one after the other.

    >>> tree = sweep({"problem": "mean-estimation", "learning_rates": [0.1, 0.2], "num_examples": 16, "seeds": 3})
    >>> table = tree["sweep"].to_dataset()
    >>> dict(table["gap"].sizes), sorted(set(table["temperature"].values.tolist()))
    ({'run': 6, 'record': 21}, [0.0125, 0.025])

    Raises TypeError or ValueError, one sentence, for a plan that is impossible, before anything is run or written, and
    for the store of another sweep; OSError, one sentence, if the store cannot be written: what is finished stays.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging"; docs/theory/temperature_protocol.md.
    """
    plan = read_plan(plan)
    everything = chunks(plan)
    kept = None if store is None else RunStore(store, identity(plan, everything))
    found: dict[str, xr.Dataset] = {}
    with _strategy(cluster, kept) as strategy:
        if kept is not None:
            kept.begin()
            found, damaged = kept.scan(chunk.name for chunk in everything)
            for path in damaged:
                warnings.warn(f"{path!r} is damaged: its runs are done again.", DamagedRuns, stacklevel=2)
            kept.forget_progress(found)
        todo = [chunk for chunk in everything if chunk.name not in found]
        for chunk, table in strategy(plan, todo, partial(progress or silent, STAGE)):
            if kept is not None:
                kept.put(chunk.name, table)
            found[chunk.name] = table
    return sweep_tree(plan, everything, found)


def _strategy(cluster: Strategy | str | None, kept: RunStore | None) -> AbstractContextManager[Strategy]:
    """What `cluster` stands for."""
    if isinstance(cluster, str):
        from gradnoise.experiment.sweep.cluster import on_cluster

        return on_cluster(cluster)
    if cluster is not None and not callable(cluster):
        raise TypeError(
            f"cluster is {type(cluster).__name__}, expected 'local' or the address of a Dask scheduler. Leave it out to run "
            "here."
        )
    return nullcontext(cluster or partial(in_process, checkpoint=None if kept is None else kept.checkpoint))


def in_process(
    plan: SweepPlan, todo: Sequence[Chunk], hear: Hear, checkpoint: Callable[[str], Checkpoint] | None = None
) -> Iterator[tuple[Chunk, xr.Dataset]]:
    """The chunks one after the other, in this process; `checkpoint(name)` is where the one in progress is kept."""
    total, before = sum(chunk.work for chunk in todo), 0.0
    for chunk in todo:

        def heard(done: int, of: int, chunk: Chunk = chunk, before: float = before) -> None:
            hear((before + chunk.work * done / of) / total)

        kept = None if checkpoint is None else checkpoint(chunk.name)
        yield chunk, do_chunk(plan, chunk, heard, kept)
        before += chunk.work


def do_chunk(
    plan: SweepPlan,
    chunk: Chunk,
    progress: Callable[[int, int], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> xr.Dataset:
    """Run one chunk and give its table: a function of plan and chunk alone, to be called in any process.

    Runs that share a seed share training set, start and batches, in whatever chunk they are.
    """
    shape, process = chunk.shape, process_of(plan, chunk.shape)
    rate = schedules.quarter_cosine(1.0, shape.num_steps) if "cosine" in shape.variant else 1.0
    runs = simulate(
        process, process.problem.init, shape.spacetime, rate, chunk.size, jax.random.key(plan.seed), every=shape.every,
        training_set=plan.training_set, memory=plan.memory, progress=progress, checkpoint=checkpoint,
        rate_scales=np.array([run.learning_rate for run in chunk.padded]),
        replica_numbers=np.array([run.seed for run in chunk.padded]),
    )  # fmt: skip
    return chunk_table(chunk, runs)


def identity(plan: SweepPlan, everything: Sequence[Chunk]) -> dict[str, Any]:
    """Name -> value, all that the bits of a sweep hang on but the devices: settings, the cut into chunks, data, functions.

    `memory` counts by the cut that it leads to, data by what they hold.
    """
    settings = plan.model_dump(mode="json", exclude={"memory", "data", "runs_per_chunk"})
    marks = [ProblemJob(problem_of(plan, width), Settings(seed=plan.seed)).mark for width in plan.widths or (None,)]
    return {
        "gradnoise_version": gradnoise.__version__,
        "jax_version": jax.__version__,
        **settings,
        "runs of a chunk": sorted({chunk.size for chunk in everything}),
        "num_chunks": len(everything),
        "loss, start or data": DIGEST + " ".join(marks),
    }
