"""What a simulation keeps so that a killed one goes on: the records of each chunk, and its runs while it is unfinished.

No files here: `gradnoise.results.checkpoint` has the folder that stands behind the protocol.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise.dynamics.replica import Replica
from gradnoise.dynamics.runner import Segment

VALUE, STATE = "value ", "state "


@runtime_checkable
class Checkpoint(Protocol):
    """Named bundles of arrays that outlive the process.

    `begin(identity)` comes first and raises ValueError, naming what differs, if another run's are there. `load(name)`
    gives what was last saved whole, or None. `save(name, arrays)` replaces it whole or not at all. `due()` says whether
    it is time to save a chunk that is not finished.
    """

    def begin(self, identity: Mapping[str, str | int]) -> None: ...

    def due(self) -> bool: ...

    def load(self, name: str) -> dict[str, np.ndarray] | None: ...

    def save(self, name: str, arrays: Mapping[str, np.ndarray]) -> None: ...


@dataclass
class Chunk:
    """The records of one chunk so far: each of `values` (width, record), filled up to column `recorded`; `diverged_at`
    as of the last of them. `state`: the leaves of the runs' state after `step` steps, empty at the start."""

    values: dict[str, np.ndarray] = field(default_factory=dict)
    diverged_at: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))
    recorded: int = 0
    step: int = 0
    state: tuple[np.ndarray, ...] = ()

    def add(self, values: Mapping[str, np.ndarray], diverged_at: np.ndarray, num_records: int) -> None:
        """Take in one more record."""
        for name, value in values.items():
            whole = self.values.setdefault(name, np.empty((len(value), num_records), value.dtype))
            whole[:, self.recorded] = value
        self.diverged_at = diverged_at
        self.recorded += 1


def save_chunk(checkpoint: Checkpoint, name: str, chunk: Chunk, segment: Segment, finished: bool) -> None:
    """Save the records so far and, of an unfinished chunk, the runs at the end of `segment`."""
    arrays = {f"{VALUE}{key}": value[:, : chunk.recorded] for key, value in chunk.values.items()}
    arrays |= {"diverged_at": chunk.diverged_at, "step": np.array(segment.step)}
    if not finished:
        state = (segment.runs.state, segment.runs.diverged_at)
        arrays |= {f"{STATE}{k}": _plain(leaf) for k, leaf in enumerate(jax.tree.leaves(state))}
    checkpoint.save(name, arrays)


def load_chunk(checkpoint: Checkpoint, name: str, num_records: int) -> Chunk:
    """The saved part of a chunk; an empty one if there is none."""
    arrays = checkpoint.load(name)
    if arrays is None:
        return Chunk()
    chunk = Chunk(diverged_at=arrays["diverged_at"], step=int(arrays["step"]))
    for key, saved in arrays.items():
        if key.startswith(VALUE):
            whole = np.empty((len(saved), num_records), saved.dtype)
            whole[:, : saved.shape[1]] = saved
            chunk.values[key.removeprefix(VALUE)], chunk.recorded = whole, saved.shape[1]
    num_leaves = sum(key.startswith(STATE) for key in arrays)
    chunk.state = tuple(arrays[f"{STATE}{k}"] for k in range(num_leaves))
    return chunk


def restored(runs: Replica, chunk: Chunk) -> Replica:
    """`runs` as they were when `chunk` was saved, on the devices where they are now."""
    if not chunk.state:
        return runs
    leaves, structure = jax.tree.flatten((runs.state, runs.diverged_at))
    pairs = zip(chunk.state, leaves, strict=True)
    state, diverged_at = structure.unflatten([_like(saved, leaf) for saved, leaf in pairs])
    return runs._replace(state=state, diverged_at=diverged_at)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(leaf: jax.Array) -> np.ndarray:
    """A leaf as numbers that any file can hold: a random key as its words, types of JAX's own such as bfloat16 as bits."""
    array = np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
    return array.view(f"u{array.itemsize}") if array.dtype.kind == "V" else array


def _like(saved: np.ndarray, leaf: jax.Array) -> jax.Array:
    """Saved numbers as an array of the leaf's kind, in its place."""
    if _is_key(leaf):
        return jax.device_put(
            jax.random.wrap_key_data(jnp.asarray(saved), impl=jax.random.key_impl(leaf)), leaf.sharding
        )
    return jax.device_put(saved if saved.dtype == leaf.dtype else saved.view(leaf.dtype), leaf.sharding)
