"""Probes in chunks: how many at a time, over how many examples, within the memory allowed; over all devices."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gradnoise import _memory
from gradnoise._liveness import working_bytes
from gradnoise.predict.path.setting import Setting

Progress = Callable[[int, int], None] | None

RESERVE = 2**28
"""Bytes for compiled code and results."""


def direction_bytes(setting: Setting) -> int:
    """What the third derivative of the mean loss along one direction works on, in bytes."""
    gradient = lambda w: setting.motion.landscape.mean_gradient(w, setting.pool)  # noqa: E731

    def third(vector: jax.Array) -> jax.Array:
        return jax.jvp(lambda w: jax.jvp(gradient, (w,), (vector,))[1], (setting.start,), (vector,))[1]

    return working_bytes(third, setting.start)


def plan_chunks(
    setting: Setting, count: int, bytes_of: Callable[[int, int], int], memory: int | str | None
) -> tuple[int, int]:
    """(probes a chunk, examples a pass) within memory: even (partners stay together), a multiple of the devices.

    `bytes_of(probes, examples)`: what so many take; MemoryError, saying what the least needs, if that does not fit.
    """
    room, devices = _memory.room(memory, RESERVE), len(jax.devices())
    least = min(count, 2) * devices
    chunk = setting.num_pool
    while True:
        small, large = bytes_of(1, chunk), bytes_of(2, chunk)
        each = max(large - small, 1)
        if small + each * (least - 1) <= room or chunk == 1:
            break
        chunk = -(-chunk // 2)
    if small + each * (least - 1) > room:
        raise MemoryError(
            f"memory: {least} probes of {setting.num_weights} weights need about "
            f"{_memory.format_memory(small + each * (least - 1))}, expected at most {_memory.format_memory(max(room, 0))}. "
            "Allow more memory."
        )
    width = int(np.clip((room - small) // each + 1, least, count))
    num_chunks = -(-count // width)
    width = -(-count // num_chunks)
    step = devices * (1 + devices % 2)
    return -(-width // step) * step, chunk


def chunk_numbers(count: int, width: int, progress: Progress) -> Iterator[np.ndarray]:
    """The numbers of the probes, chunk by chunk, the last one padded."""
    for start in range(0, count, width):
        yield np.arange(start, start + width)
        if progress is not None:
            progress(min(start + width, count), count)


def over_devices(draws: Any) -> Any:
    """Probes over all devices."""
    sharding = NamedSharding(Mesh(np.array(jax.devices()), ("probes",)), PartitionSpec("probes"))
    return jax.tree.map(lambda leaf: jax.device_put(leaf, sharding) if np.ndim(leaf) else leaf, draws)
