"""What a sweep will take on this machine, from timing a few of its chunks."""

import os
from collections.abc import Sequence
from typing import NamedTuple

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


class SweepCost(NamedTuple):
    """Seconds of all, those of setting up and compiling each shape once among them, and peak bytes of the process."""

    seconds: float
    bytes: int
    setting_up: float


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
    cost = cost_of(plan, todo)
    return Estimation(cost.seconds, cost.bytes, sum(len(chunk.runs) for chunk in todo), notes)


def cost_of(plan: SweepPlan, todo: Sequence[Chunk]) -> SweepCost:
    """What the chunks will take: each shape is set up and compiled once, each chunk then run."""
    firsts = sorted({chunk.shape: chunk for chunk in reversed(todo)}.values(), key=lambda chunk: chunk.work)
    if not firsts:
        return SweepCost(0.0, peak_memory(), 0.0)
    places = np.unique(np.linspace(0, len(firsts) - 1, min(MOST_TIMED, len(firsts))).round().astype(int))
    chosen = [firsts[place] for place in places]
    once, again = ([_timed(plan, chunk) for chunk in chosen] for _ in range(2))  # the second finds all compiled
    compiling = [max(first.seconds - second.seconds, 0.0) for first, second in zip(once, again, strict=True)]
    setting_up = _in_between(firsts, chosen, compiling)
    running = _in_between(todo, chosen, [cost.seconds for cost in again])
    return SweepCost(setting_up + running, max(cost.bytes for cost in once + again), setting_up)


def _in_between(chunks: Sequence[Chunk], timed: Sequence[Chunk], seconds: Sequence[float]) -> float:
    """Seconds of `chunks` together: those of their shape where it was timed, between those of others by their work."""
    known = {chunk.shape: taken for chunk, taken in zip(timed, seconds, strict=True)}
    guessed = np.interp([chunk.work for chunk in chunks], [chunk.work for chunk in timed], seconds)
    return float(sum(known.get(chunk.shape, guess) for chunk, guess in zip(chunks, guessed, strict=True)))


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
