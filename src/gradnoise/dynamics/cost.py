"""What a simulation will cost, from compiling it and timing a few of its steps."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from gradnoise import _checks
from gradnoise._memory import parse_memory, peak_memory
from gradnoise._types import Params
from gradnoise.dynamics.plan import DEFAULT_MEMORY, Layout
from gradnoise.dynamics.prepare import Observe, make_inputs, make_setup, own_starts, probe
from gradnoise.dynamics.runner import Compiled, Inputs, prepare, start_chunk
from gradnoise.dynamics.runs import Runs, make_runs
from gradnoise.dynamics.simulate import record_steps
from gradnoise.process import Process
from gradnoise.spacetime import Spacetime

TIMED_SECONDS = 0.2


class SimulationCost(NamedTuple):
    """Wall-clock seconds of the whole run, compilation included, and the peak memory of its process, in bytes."""

    seconds: float
    bytes: int


def estimate_simulation(
    process: Process,
    params: Params,
    spacetime: Spacetime,
    num_replicas: int,
    every: int = 1,
    observe: Observe | None = None,
    training_set: str = "drawn",
    *,
    dtype: str = "float32",
    memory: int | str | None = None,
    num_test_draws: int | None = None,
    rate_scales: Any = None,
) -> SimulationCost:
    """Seconds and bytes that `simulate` with these arguments will take on this machine.

    The first chunk of runs is set up as in the run itself and compiled, some of its steps (at learning rate 0) and a
    record are timed, and the times multiplied up. The bytes are the most this process has held so far plus the results
    (on an accelerator: the device's own peak); they hold for a process that does what this one did before. Other load
    on the machine, and weights whose losses become slower to evaluate, are not foreseen.

    >>> import jax, numpy as np
    >>> from gradnoise.dynamics.discrete import sgd
    >>> from gradnoise.problem import from_arrays
    >>> problem = from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float32(0), np.array([-1.0, 1.0]))
    >>> cost = estimate_simulation(sgd(problem), np.float32(1), Spacetime(4, 2), num_replicas=1000)
    >>> 0 < cost.seconds < 60, cost.bytes > 2**20
    (True, True)

    Raises what `simulate` raises.
    """
    num_replicas, every = _checks.integer("num_replicas", num_replicas), _checks.integer("every", every)
    setup = make_setup(process, spacetime, training_set, observe, dtype, num_test_draws, own_starts(params))
    own = make_runs(num_replicas, None, rate_scales, dtype)
    steps = record_steps(spacetime, every)
    limit = DEFAULT_MEMORY if memory is None else parse_memory(memory)
    started = time.perf_counter()
    with jax.enable_x64(dtype == "float64"):
        inputs = make_inputs(setup, params, 0.0, jax.random.key(0))
        probe(setup, inputs)
        plan, functions, inputs = prepare(setup, inputs, num_replicas, len(steps), limit)
        chunk, num_values = _time_chunk(functions, plan, inputs, own, spacetime.num_steps, len(steps))
    setting_up = time.perf_counter() - started
    results = num_replicas * len(steps) * num_values * np.dtype(dtype).itemsize
    return SimulationCost(setting_up + plan.num_chunks * chunk, _peak_memory() + results)


def _time_chunk(
    functions: Compiled, plan: Layout, inputs: Inputs, own: Runs, num_steps: int, num_records: int
) -> tuple[float, int]:
    """Seconds of one chunk, and the number of values recorded; everything is called once before it is timed."""
    zero = np.int32(0)
    runs, beginning = _timed(start_chunk, functions, plan, inputs, own, 0)
    (runs, values, _), recording = _timed_donating(functions.record, runs, lambda runs: (inputs, runs, zero))
    if num_steps == 0:
        return beginning + recording, len(values)
    block, drawing = _timed(functions.draw, inputs, runs, zero)

    def advance(runs: Any, span: int) -> tuple[Any, float]:
        return _clock(functions.advance, inputs, runs, block, zero, (zero, np.int32(span)))

    runs, _ = advance(advance(runs, 0)[0], 0)  # fills the compiler's cache, then the dispatcher's
    runs, overhead = advance(runs, 0)
    span, stepping = 1, 0.0
    while stepping < TIMED_SECONDS and span <= min(num_steps, plan.block_steps):
        runs, stepping = advance(runs, span)
        span *= 4
    step = max(stepping - overhead, 0.0) / (span // 4)
    num_blocks = -(-num_steps // plan.block_steps)
    calls = num_records + num_blocks
    return beginning + num_records * recording + num_blocks * drawing + calls * overhead + num_steps * step, len(values)


def _timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    jax.block_until_ready(function(*arguments))
    return _clock(function, *arguments)


def _timed_donating(function: Callable[..., Any], runs: Any, arguments: Callable[[Any], Any]) -> tuple[Any, float]:
    for _ in range(2):
        runs = jax.block_until_ready(function(*arguments(runs)))[0]
    return _clock(function, *arguments(runs))


def _clock(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    started = time.perf_counter()
    result = jax.block_until_ready(function(*arguments))
    return result, time.perf_counter() - started


def _peak_memory() -> int:
    devices = jax.local_devices()
    if devices[0].platform == "cpu":
        return peak_memory()
    return sum((device.memory_stats() or {}).get("peak_bytes_in_use", 0) for device in devices)
