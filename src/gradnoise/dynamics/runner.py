"""The compiled functions of a run, over chunks of replicas sharded on the devices, and the host loop over them."""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gradnoise._rates import Rates
from gradnoise._types import Params
from gradnoise.dynamics import records, replica
from gradnoise.dynamics.plan import Layout, Shapes, layout, needs
from gradnoise.dynamics.replica import Data, Keys, Replica, Setup
from gradnoise.dynamics.runs import Runs

REPLICAS, SHARED = PartitionSpec("replicas"), PartitionSpec()


class Inputs(NamedTuple):
    """The arrays that all replicas share; `params` is one of the starts where each draws its own."""

    keys: Keys
    data: Data
    params: Params
    rates: Rates


class Compiled(NamedTuple):
    """`begin(inputs, own)`, `draw(inputs, runs, start)`, `advance(inputs, runs, block, start, span)` and
    `record(inputs, runs, step)`, each for a whole chunk."""

    begin: Callable[..., Any]
    draw: Callable[..., Any]
    advance: Callable[..., Any]
    record: Callable[..., Any]


class Segment(NamedTuple):
    """A chunk between two compiled calls: its runs after `step` effective steps and, where these were just recorded, the
    values by name and where runs diverged. `runs` lasts until the next segment is asked for."""

    runs: Replica
    step: int
    recorded: tuple[dict[str, np.ndarray], np.ndarray] | None = None


def one_run(setup: Setup, block_steps: int, evaluation_block: int) -> Compiled:
    """The four functions for a single run, not compiled."""

    def begin(inputs: Inputs, own: Runs) -> Any:
        return replica.begin(setup, inputs.keys, inputs.data, inputs.params, *own)

    def draw(inputs: Inputs, run: Any, start: Any) -> Any:
        return replica.rows(setup, inputs.keys, inputs.data, run, start, block_steps)

    def advance(inputs: Inputs, run: Any, block: Any, start: Any, span: Any) -> Any:
        return replica.run_steps(setup, inputs.keys, inputs.data, inputs.rates, run, block, start, span)

    def record(inputs: Inputs, run: Any, step: Any) -> Any:
        run, values = records.record(setup, inputs.keys, inputs.data, run, step, evaluation_block)
        return run, values, run.diverged_at  # apart from the run, whose arrays the next call takes over

    return Compiled(begin, draw, advance, record)


@lru_cache(maxsize=16)
def compiled(setup: Setup, block_steps: int, evaluation_block: int, devices: tuple[Any, ...]) -> Compiled:
    """The four functions, vmapped over the runs of a device and sharded over devices; learning rates are traced."""
    single, mesh = one_run(setup, block_steps, evaluation_block), _mesh(devices)
    return Compiled(
        _sharded(single.begin, mesh, (SHARED, REPLICAS), quickly=True),
        _sharded(single.draw, mesh, (SHARED, REPLICAS, SHARED), quickly=True),
        _sharded(single.advance, mesh, (SHARED, REPLICAS, REPLICAS, SHARED, SHARED), donate=(1,)),
        _sharded(single.record, mesh, (SHARED, REPLICAS, SHARED), donate=(1,)),
    )


def prepare(
    setup: Setup, inputs: Inputs, num_replicas: int, num_records: int, memory: int
) -> tuple[Layout, Compiled, Inputs]:
    """How the run is cut up, its compiled functions, and a copy of the shared arrays on each device."""
    devices = tuple(jax.local_devices())
    plan = layout(setup, needs(setup, Shapes.of(inputs)), num_replicas, num_records, len(devices), memory)
    functions = compiled(setup, plan.block_steps, plan.evaluation_block, devices)
    return plan, functions, jax.device_put(inputs, NamedSharding(_mesh(devices), SHARED))


def _mesh(devices: tuple[Any, ...]) -> Mesh:
    return Mesh(np.array(devices), ("replicas",))


def start_chunk(functions: Compiled, plan: Layout, inputs: Inputs, own: Runs, first: int) -> Replica:
    """Runs first, ..., first + width - 1 of `own` before their first step."""
    return functions.begin(inputs, own.chunk(first, plan.width))


def run_chunk(
    functions: Compiled, plan: Layout, inputs: Inputs, runs: Replica, at: int, record_steps: Iterable[int]
) -> Iterator[Segment]:
    """The segments of a chunk whose `runs` have made `at` steps, to the last of the steps that are still to be recorded."""
    block, block_start = None, 0
    for step in record_steps:
        while at < step:
            if block is None or at >= block_start + plan.block_steps:
                block_start = at - at % plan.block_steps
                block = None  # freed before its successor is drawn
                block = functions.draw(inputs, runs, np.int32(block_start))
            stop = min(step, block_start + plan.block_steps, at + plan.segment_steps)
            runs = functions.advance(inputs, runs, block, np.int32(block_start), (np.int32(at), np.int32(stop)))
            at = stop
            if at < step:
                yield Segment(runs, at)
        runs, values, diverged_at = functions.record(inputs, runs, np.int32(step))
        yield Segment(
            runs, step, ({name: np.asarray(value) for name, value in values.items()}, np.asarray(diverged_at))
        )


def _sharded(
    function: Callable[..., Any],
    mesh: Mesh,
    specs: tuple[PartitionSpec, ...],
    donate: tuple[int, ...] = (),
    quickly: bool = False,
) -> Any:
    """`function` over replicas; `quickly` spares the compiler's optimizations, which for integer draws gain nothing."""
    mapped = jax.vmap(function, in_axes=tuple(0 if spec == REPLICAS else None for spec in specs))
    sharded = jax.shard_map(mapped, mesh=mesh, in_specs=specs, out_specs=REPLICAS, check_vma=False)
    options = {"xla_backend_optimization_level": 1} if quickly and mesh.devices.flat[0].platform == "cpu" else None
    return jax.jit(sharded, donate_argnums=donate, compiler_options=options)
