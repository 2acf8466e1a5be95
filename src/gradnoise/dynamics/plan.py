"""How a run is cut up: the width of a chunk of runs, the steps of a block of rows, the examples of one evaluation.

All three follow from the plan and the memory allowed, never from the state of the machine: widths change last bits.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise._liveness import array_bytes, working_bytes
from gradnoise._memory import format_memory
from gradnoise.dynamics import records, replica
from gradnoise.dynamics.replica import Setup

DEFAULT_MEMORY = 2 * 2**30
RESERVE = 512 * 2**20  # Python, JAX, compiled code
STEP_TARGET = 2 * 2**20  # bytes that the steps of one device's runs work on: about the cache of a core
EVALUATION_TARGET = 8 * 2**20  # bytes of one pass over examples
ROWS_TARGET = 16 * 2**20  # bytes of a block of rows
SEGMENT_TARGET = 4 * 2**30  # bytes that one compiled call works through: a few seconds
MAX_WIDTH = 4096  # runs a device and chunk


@dataclass(frozen=True)
class Shapes:
    """A pytree's shapes and dtypes, hashable."""

    structure: Any
    leaves: tuple[jax.ShapeDtypeStruct, ...]

    @classmethod
    def of(cls, tree: Any) -> "Shapes":
        leaves, structure = jax.tree.flatten(tree)
        return cls(structure, tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves))

    def tree(self) -> Any:
        """The pytree, with shapes in the place of arrays."""
        return self.structure.unflatten(self.leaves)


@dataclass(frozen=True)
class Needs:
    """Bytes of one run: kept between calls; worked on by its start, a step, drawing rows, a record; rows a step; one
    example of an evaluation. `shared`: what all runs share."""

    kept: int
    begin: int
    step: int
    draw: int
    record: int
    rows_per_step: int
    per_example: int
    shared: int

    @property
    def per_run(self) -> int:
        """The most bytes one run takes at a time, old and new state included."""
        return 2 * self.kept + max(self.begin, self.step, self.draw, self.record)


@dataclass(frozen=True)
class Layout:
    """`num_chunks` of `width` runs (all devices), rows of `block_steps` at a time, `evaluation_block` examples a pass.

    A compiled call makes at most `segment_steps` steps, which no number depends on: between calls a run can be kept.
    `bytes` is the estimate of all arrays, results included, without Python, JAX and compiled code.
    """

    width: int
    num_chunks: int
    block_steps: int
    evaluation_block: int
    segment_steps: int
    bytes: int


@lru_cache(maxsize=64)
def needs(setup: Setup, shapes: Shapes) -> Needs:
    """What one run needs, from the shapes of (keys, data, params, rates) alone."""
    keys, data, params, rates = shapes.tree()
    unit, problem = rows_unit(setup), setup.process.problem
    number, step = jax.ShapeDtypeStruct((), jnp.int32), jax.ShapeDtypeStruct((), jnp.int32)

    def begin(*given: Any) -> Any:
        return replica.begin(setup, *given)

    def draw(keys: Any, data: Any, run: Any, start: Any) -> jax.Array:
        return replica.rows(setup, keys, data, run, start, unit)

    def advance(keys: Any, data: Any, rates: Any, run: Any, block: Any, start: Any) -> Any:
        return replica.run_steps(setup, keys, data, rates, run, block, start, (start, start + 1))

    def record(keys: Any, data: Any, run: Any, step: Any) -> Any:
        return records.record(setup, keys, data, run, step, 1)

    def evaluate(params: Any, examples: Any) -> Any:
        return records.per_example(problem, params, examples, 1, setup.dtype)

    one = jax.eval_shape(begin, keys, data, params, number)
    block = jax.eval_shape(draw, keys, data, one, step)
    examples = jax.eval_shape(lambda key: problem.sample(key, 1), jax.random.key(0))
    return Needs(
        kept=array_bytes(one),
        begin=working_bytes(begin, keys, data, params, number),
        step=working_bytes(advance, keys, data, rates, one, block, step),
        draw=working_bytes(draw, keys, data, one, step),
        record=working_bytes(record, keys, data, one, step),
        rows_per_step=-(-array_bytes(block) // unit),
        per_example=working_bytes(evaluate, params, examples),
        shared=array_bytes(data) + array_bytes(params) + array_bytes(rates),
    )


def layout(
    setup: Setup, need: Needs, num_replicas: int, num_records: int, num_devices: int, memory: int = DEFAULT_MEMORY
) -> Layout:
    """The widest chunk whose steps stay in the cache and whose arrays stay inside `memory` bytes.

    Raises ValueError, naming memory, if one run a device does not fit.
    """
    names = 3 + 2 * len(setup.process.problem.metrics or {}) + len(setup.observe)
    fixed = 8 * num_replicas * num_records * names + num_devices * (need.shared + EVALUATION_TARGET + ROWS_TARGET)
    fitting = (memory - RESERVE - fixed) // (num_devices * need.per_run)
    if fitting < 1:
        least = RESERVE + fixed + num_devices * need.per_run
        raise ValueError(
            f"memory={format_memory(memory)} does not hold one run a device of problem {setup.process.problem.name!r}, "
            f"expected at least {format_memory(least)}. Give more, a smaller num_examples, or fewer records."
        )
    width = int(np.clip(STEP_TARGET // max(need.step, 1), 1, min(fitting, MAX_WIDTH)))
    num_chunks = -(-num_replicas // (width * num_devices))
    width = -(-num_replicas // (num_chunks * num_devices))
    unit = rows_unit(setup)
    blocks = ROWS_TARGET // max(width * need.rows_per_step * unit, 1)
    steps = min(max(blocks, 1), -(-setup.spacetime.num_steps // unit)) * unit
    evaluation = max(EVALUATION_TARGET // (width * max(need.per_example, 1)), 16)
    segment = max(SEGMENT_TARGET // (width * max(need.step, 1) * setup.process.num_substeps), 1)
    total = fixed + num_devices * width * need.per_run
    return Layout(width * num_devices, num_chunks, steps, evaluation, segment, total)


def rows_unit(setup: Setup) -> int:
    """The fewest steps whose rows can be drawn apart: an epoch under reshuffle."""
    spacetime = setup.spacetime
    return spacetime.num_examples // spacetime.batch_size if spacetime.sampling == "reshuffle" else 1
