"""What a sweep will take on this machine, from timing a few of its chunks."""

import os
from collections.abc import Sequence

import numpy as np

from gradnoise._memory import peak_memory
from gradnoise.dynamics.cost import SimulationCost, estimate_simulation
from gradnoise.experiment.cost import Estimation
from gradnoise.experiment.sweep.cells import Chunk, chunks, process_of
from gradnoise.experiment.sweep.config import SweepPlan
from gradnoise.experiment.sweep.run import identity
from gradnoise.results.run_store import RunStore

MOST_TIMED = 4
"""Shapes that are compiled and timed; the others' seconds lie between theirs, by the examples they look at."""


def outline(plan: SweepPlan, store: str | os.PathLike[str] | None = None) -> tuple[list[Chunk], list[str]]:
    """The chunks that are still to be done, and the plan in sentences; runs and writes nothing.

    Raises what `sweep` raises before it runs.
    """
    everything = chunks(plan)
    done: set[str] = set()
    if store is not None:
        kept = RunStore(store, identity(plan, everything))
        kept.require_same()
        done = set(kept.scan(chunk.name for chunk in everything)[0])
    todo = [chunk for chunk in everything if chunk.name not in done]
    return todo, _sentences(plan, everything, todo)


def estimate(plan: SweepPlan, store: str | os.PathLike[str] | None = None) -> Estimation:
    """Time and memory of `sweep` with these arguments; takes some seconds itself, writes nothing."""
    todo, notes = outline(plan, store)
    seconds, held = cost_of(plan, todo)
    return Estimation(seconds, held, sum(len(chunk.runs) for chunk in todo), notes)


def cost_of(plan: SweepPlan, todo: Sequence[Chunk]) -> tuple[float, int]:
    """Seconds of the chunks, compilation included, and peak bytes of the process."""
    firsts = sorted({chunk.shape: chunk for chunk in reversed(todo)}.values(), key=lambda chunk: chunk.work)
    if not firsts:
        return 0.0, peak_memory()
    places = np.unique(np.linspace(0, len(firsts) - 1, min(MOST_TIMED, len(firsts))).round().astype(int))
    timed = [(firsts[place], _timed(plan, firsts[place])) for place in places]
    work, seconds = [chunk.work for chunk, _ in timed], [cost.seconds for _, cost in timed]
    total = float(sum(np.interp([chunk.work for chunk in todo], work, seconds)))
    return total, max(cost.bytes for _, cost in timed)


def _timed(plan: SweepPlan, chunk: Chunk) -> SimulationCost:
    process, shape = process_of(plan, chunk.shape), chunk.shape
    return estimate_simulation(
        process, process.problem.init, shape.spacetime, chunk.size, shape.every, training_set=plan.training_set,
        memory=plan.memory, rate_scales=np.ones(chunk.size),
    )  # fmt: skip


def _sentences(plan: SweepPlan, everything: Sequence[Chunk], todo: Sequence[Chunk]) -> list[str]:
    runs = sum(len(chunk.runs) for chunk in everything)
    left_out = 0
    if plan.temperatures:
        left_out = sum(len(plan.temperatures) - len(plan.rates(batch_size)) for batch_size in plan.batch_sizes)
    steps = sorted({chunk.shape.num_steps for chunk in everything})
    length = f"{steps[0]} to {steps[-1]}" if len(steps) > 1 else f"{steps[0]}"
    told = [
        f"cells: {runs // plan.seeds}, seeds: {plan.seeds}, runs: {runs} of {length} steps, chunks of runs: "
        f"{len(everything)}, shapes to compile: {len({chunk.shape for chunk in everything})}"
    ]
    if left_out:
        told.append(f"temperatures times batch sizes left out, for their rate is above {plan.cap:g}: {left_out}")
    if len(todo) < len(everything):
        told.append(f"chunks finished already: {len(everything) - len(todo)}")
    return told
