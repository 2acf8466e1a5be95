"""Many runs of a process, each with its own training set: compiled segments, chunk by chunk, over the devices."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from gradnoise import _checks
from gradnoise._memory import parse_memory
from gradnoise._types import Key, Params
from gradnoise.dynamics.checkpoint import Checkpoint, Chunk, load_chunk, restored, save_chunk
from gradnoise.dynamics.identity import identity
from gradnoise.dynamics.plan import DEFAULT_MEMORY, Layout
from gradnoise.dynamics.prepare import Observe, make_inputs, make_setup, own_starts, probe
from gradnoise.dynamics.replica import Setup
from gradnoise.dynamics.runner import Compiled, Inputs, prepare, run_chunk, start_chunk
from gradnoise.dynamics.runs import Runs, make_runs
from gradnoise.dynamics.simulation import Simulation
from gradnoise.problem import probe_problem
from gradnoise.process import Process
from gradnoise.spacetime import Spacetime

Progress = Callable[[int, int], None]


def simulate(
    process: Process,
    params: Params | Callable[[Key], Params],
    spacetime: Spacetime,
    learning_rate: Any,
    num_replicas: int,
    key: Key,
    observe: Observe | None = None,
    every: int = 1,
    training_set: str = "drawn",
    *,
    dtype: str = "float32",
    memory: int | str | None = None,
    num_test_draws: int | None = None,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
    rate_scales: Any = None,
    replica_numbers: Any = None,
) -> Simulation:
    """Runs of `process` from `params`, independent in training set, batches and noise; see `Simulation` for the result.

    One effective step is the time `learning_rate`: a number, a tree like params (per-parameter rates), a function of
    the effective step, or an array (num_steps,); it is traced, so a sweep over learning rates compiles once. Recorded
    are the steps 0, every, 2*every, ..., num_steps.

    `training_set`: "drawn": each replica draws its N examples i.i.d. from the population (with replacement from a
    pool). "given": every replica trains on the pool, N is its size; a fixed order is drawn for each replica.
    "distinct": each replica draws N distinct examples of the pool, every set with the same chance, in a uniform order.
    "population": every batch is a fresh i.i.d. draw (N = infinity), and train loss is the mean over the pool.

    Test loss is the mean of `measured` over `test_pool`, or else over the pool; without a pool over `num_test_draws`
    fresh draws (default 1000) of each replica, the same at every step: unbiased, its error is part of the error over
    replicas. `observe` maps names to f(params, training_examples) -> scalar; the same function objects compile once.

    The numbers of replica r depend on `key` and r alone, beyond rounding: not on num_replicas, `memory` (peak of the
    process, in bytes or as "2GiB", its default) or the number of devices. Two processes given the same key see the same
    training sets and batches. `dtype` "float64" is an option. `progress(done, total)` is called after each record.

    Many settings in one call: replica r runs at `rate_scales[r]` times the learning rate, with the draws of number
    `replica_numbers[r]` in place of r; `params` may be a function of a key, `problem.init` say, from which each replica
    draws a start of its own. Replicas of one number share training set, start and batches.

    With a `checkpoint` the run keeps what it has done and goes on from there, to the same bits on the same kind of
    machine; another run's is refused.

    >>> import jax, numpy as np
    >>> from gradnoise.dynamics.discrete import sgd
    >>> from gradnoise.problem import from_arrays
    >>> problem = from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float32(0), np.array([-1.0, 1.0]))
    >>> runs = simulate(sgd(problem), np.float32(1), Spacetime(4, 2), 0.1, 1000, jax.random.key(0))
    >>> runs.observables["test_loss"].shape, runs.mean("test_loss")[0]
    ((1000, 3), Estimate(1 +- 0, num_samples=1000))

    Raises TypeError or ValueError, in one sentence that names the argument, before anything runs. A replica that
    diverges is kept as NaN from its step on, and `Simulation.mean` then refuses. Warns where the process has a caution.
    """
    num_replicas, every = _checks.integer("num_replicas", num_replicas), _checks.integer("every", every)
    setup = make_setup(process, spacetime, training_set, observe, dtype, num_test_draws, own_starts(params))
    runs = make_runs(num_replicas, replica_numbers, rate_scales, dtype)
    steps = record_steps(spacetime, every)
    limit = DEFAULT_MEMORY if memory is None else parse_memory(memory)
    if progress is not None and not callable(progress):
        raise TypeError(f"progress is {type(progress).__name__}, expected a function of (done, total).")
    if checkpoint is not None and not isinstance(checkpoint, Checkpoint):
        raise TypeError(
            f"checkpoint is {type(checkpoint).__name__}, expected begin, due, load and save. Give a CheckpointFolder, say."
        )
    with jax.enable_x64(dtype == "float64"):
        inputs = make_inputs(setup, params, learning_rate, key, runs.largest_scale)
        probe(setup, inputs)
        _heed(setup, inputs, learning_rate)
        layout, functions, inputs = prepare(setup, inputs, num_replicas, len(steps), limit)
        if checkpoint is not None:
            checkpoint.begin(identity(setup, inputs, layout, runs, steps))
        ready = _Ready(setup, functions, layout, inputs, steps, runs)
        observables, diverged_at = _run(ready, progress, checkpoint)
    problem, devices = process.problem, jax.local_devices()
    return Simulation(
        observables=observables,
        steps=np.array(steps),
        diverged_at=diverged_at,
        process=process,
        spacetime=spacetime,
        learning_rate=learning_rate,
        num_replicas=num_replicas,
        training_set=training_set,
        num_test_draws=setup.num_test_draws if problem.pool is None else None,
        dtype=dtype,
        device=devices[0].device_kind,
        num_devices=len(devices),
        chunk_width=layout.width,
        setting=problem.setting_for(training_set),
        problem_name=problem.name,
        process_name=process.name,
    )


def _heed(setup: Setup, inputs: Inputs, learning_rate: Any) -> None:
    """Warn where the process says that the run is not what it is for."""
    process = setup.process
    if process.caution is not None:
        told = process.caution(inputs.params, setup.spacetime, learning_rate)
        if told:
            warnings.warn(f"{process.name}: {told}", stacklevel=3)


def record_steps(spacetime: Spacetime, every: int) -> range:
    """The recorded steps; raises ValueError if the last one would be left out."""
    if spacetime.num_steps % every:
        near = [d for d in range(1, spacetime.num_steps + 1) if spacetime.num_steps % d == 0]
        best = sorted(sorted(near, key=lambda d: abs(d - every))[:3])
        raise ValueError(
            f"every={every} does not divide num_steps={spacetime.num_steps}, so the last step would not be recorded. "
            f"Use a divisor ({', '.join(map(str, best))}), or truncate the spacetime."
        )
    return range(0, spacetime.num_steps + 1, every)


class _Ready(NamedTuple):
    """A run made ready: what is compiled, how it is cut up, what is recorded."""

    setup: Setup
    functions: Compiled
    layout: Layout
    inputs: Inputs
    steps: range
    runs: Runs

    @property
    def num_replicas(self) -> int:
        return len(self.runs.number)


def _run(ready: _Ready, progress: Progress | None, checkpoint: Checkpoint | None) -> tuple[dict, np.ndarray]:
    """Observables by name, each (replica, record), and where replicas diverged."""
    layout, num_records = ready.layout, len(ready.steps)
    observables: dict[str, np.ndarray] = {}
    diverged_at = np.full(ready.num_replicas, -1)
    for number in range(layout.num_chunks):

        def hear(recorded: int, number: int = number) -> None:
            if progress is not None:
                progress(number * num_records + recorded, layout.num_chunks * num_records)

        chunk = _run_chunk(ready, number, hear, checkpoint)
        first = number * layout.width
        count = min(layout.width, ready.num_replicas - first)  # the last chunk is padded to the common width
        for name, values in chunk.values.items():
            whole = observables.setdefault(name, np.empty((ready.num_replicas, num_records), values.dtype))
            whole[first : first + count] = values[:count]
        diverged_at[first : first + count] = chunk.diverged_at[:count]
    return observables, diverged_at


def _run_chunk(ready: _Ready, number: int, hear: Callable[[int], None], checkpoint: Checkpoint | None) -> Chunk:
    """All records of one chunk, from where `checkpoint` has it."""
    name, steps, first = f"chunk-{number:05d}", ready.steps, number * ready.layout.width
    chunk = Chunk() if checkpoint is None else load_chunk(checkpoint, name, len(steps))
    if chunk.recorded == len(steps):
        hear(chunk.recorded)
        return chunk
    runs = restored(start_chunk(ready.functions, ready.layout, ready.inputs, ready.runs, first), chunk)
    for segment in run_chunk(ready.functions, ready.layout, ready.inputs, runs, chunk.step, steps[chunk.recorded :]):
        if segment.recorded is not None:
            chunk.add(*segment.recorded, len(steps))
            if chunk.recorded == 1 and np.any(chunk.diverged_at[: ready.num_replicas - first] == 0):
                _refuse_start(ready.setup, ready.inputs)
        if checkpoint is not None:
            finished = chunk.recorded == len(steps)
            jax.block_until_ready(segment.runs)  # calls return before the device is done: time would pass unseen
            if finished or checkpoint.due():
                save_chunk(checkpoint, name, chunk, segment, finished)
        if segment.recorded is not None:
            hear(chunk.recorded)
    return chunk


def _refuse_start(setup: Setup, inputs: Inputs) -> None:
    """Losses that are not finite at the start are the caller's mistake, not a divergence."""
    problem, pools = setup.process.problem, [pool for pool in inputs.data if pool is not None]
    for examples in pools or [problem.sample(inputs.keys.test_draws, setup.num_test_draws)]:
        probe_problem(problem, inputs.params, examples, dtype=np.dtype(setup.dtype))
    raise ValueError("params gives losses that are not finite at the start on some replicas. Start elsewhere.")
