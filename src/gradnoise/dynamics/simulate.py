"""Many runs of a process, each with its own training set: compiled segments, chunk by chunk, over the devices."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gradnoise import _checks
from gradnoise._memory import parse_memory
from gradnoise._types import Key, Params
from gradnoise.dynamics.plan import DEFAULT_MEMORY, Layout
from gradnoise.dynamics.prepare import Observe, make_inputs, make_setup, probe
from gradnoise.dynamics.replica import Setup
from gradnoise.dynamics.runner import Compiled, Inputs, prepare, run_chunk
from gradnoise.dynamics.simulation import Simulation
from gradnoise.problem import probe_problem
from gradnoise.process import Process
from gradnoise.spacetime import Spacetime


def simulate(
    process: Process,
    params: Params,
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
    progress: Callable[[int, int], None] | None = None,
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

    >>> import jax, numpy as np
    >>> from gradnoise.dynamics.discrete import sgd
    >>> from gradnoise.problem import from_arrays
    >>> problem = from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float32(0), np.array([-1.0, 1.0]))
    >>> runs = simulate(sgd(problem), np.float32(1), Spacetime(4, 2), 0.1, 1000, jax.random.key(0))
    >>> runs.observables["test_loss"].shape, runs.mean("test_loss")[0]
    ((1000, 3), Estimate(1 +- 0, num_samples=1000))

    Raises TypeError or ValueError, in one sentence that names the argument, before anything runs. A replica that
    diverges is kept as NaN from its step on, and `Simulation.mean` then refuses.
    """
    num_replicas, every = _checks.integer("num_replicas", num_replicas), _checks.integer("every", every)
    setup = make_setup(process, spacetime, training_set, observe, dtype, num_test_draws)
    steps = record_steps(spacetime, every)
    limit = DEFAULT_MEMORY if memory is None else parse_memory(memory)
    if progress is not None and not callable(progress):
        raise TypeError(f"progress is {type(progress).__name__}, expected a function of (done, total).")
    with jax.enable_x64(dtype == "float64"):
        inputs = make_inputs(setup, params, learning_rate, key)
        probe(setup, inputs)
        plan, functions, inputs = prepare(setup, inputs, num_replicas, len(steps), limit)
        observables, diverged_at = _run(setup, functions, plan, inputs, steps, num_replicas, progress)
    problem, devices = process.problem, jax.devices()
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
        chunk_width=plan.width,
        setting="this training set" if training_set == "given" else problem.setting,
        problem_name=problem.name,
        process_name=process.name,
    )


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


def _run(
    setup: Setup, functions: Compiled, plan: Layout, inputs: Inputs, steps: range, num_replicas: int, progress: Any
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    observables: dict[str, np.ndarray] = {}
    diverged_at = np.full(num_replicas, -1)
    for chunk in range(plan.num_chunks):
        first = chunk * plan.width
        count = min(plan.width, num_replicas - first)  # the last chunk is padded to the common width
        place = slice(first, first + count)
        for column, (values, diverged) in enumerate(run_chunk(functions, plan, inputs, first, steps)):
            for name, value in values.items():
                whole = observables.setdefault(name, np.empty((num_replicas, len(steps)), value.dtype))
                whole[place, column] = value[:count]
            diverged_at[place] = diverged[:count]
            if column == 0 and np.any(diverged[:count] == 0):
                _refuse_start(setup, inputs)
            if progress is not None:
                progress(chunk * len(steps) + column + 1, plan.num_chunks * len(steps))
    return observables, diverged_at


def _refuse_start(setup: Setup, inputs: Inputs) -> None:
    """Losses that are not finite at the start are the caller's mistake, not a divergence."""
    problem, pools = setup.process.problem, [pool for pool in inputs.data if pool is not None]
    for examples in pools or [problem.sample(inputs.keys.test_draws, setup.num_test_draws)]:
        probe_problem(problem, inputs.params, examples, dtype=np.dtype(setup.dtype))
    raise ValueError("params gives losses that are not finite at the start on some replicas. Start elsewhere.")
