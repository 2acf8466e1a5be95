"""From a setting to samples: the dense recursion, random probes in chunks, or every row; within the memory allowed."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _checks, _memory
from gradnoise._liveness import working_bytes
from gradnoise._types import Key
from gradnoise.predict.path.chunks import RESERVE, Progress, chunk_numbers, direction_bytes, over_devices, plan_chunks
from gradnoise.predict.path.dense import Pattern, run_dense
from gradnoise.predict.path.noise_weights import num_classes
from gradnoise.predict.path.prediction import Pairs, Samples
from gradnoise.predict.path.probes import Draws, Record, run_probes
from gradnoise.predict.path.sampling import draw_pairs, draw_probes, every_row
from gradnoise.predict.path.setting import Setting
from gradnoise.predict.path.two_loops import run_pairs

Means = tuple[np.ndarray, np.ndarray]
"""Mean loss on the path over pool and test examples, (T+1,) each."""

CHUNK_BYTES = 2**27  # what one pass over examples may take for speed: more gains nothing
MAX_ROW_PROBES = 200_000
ROWS_AT_ONCE = 1024


def dense_samples(setting: Setting, memory: int | str | None) -> tuple[Means, Samples]:
    """Exact coefficients by the dense recursion; MemoryError, saying what it needs, if its matrices do not fit."""
    record = jax.tree.map(np.asarray, run_dense_on(setting, setting.rates, dense_block(setting, memory)))
    shift = np.asarray(record.shift)
    samples = Samples(
        record.pool[None], record.test[None], record.slope_square[None], record.cross_square[None], record.tied[None],
        shift, np.zeros_like(shift),
    )  # fmt: skip
    return (record.path_pool, record.path_test), samples


def run_dense_on(
    setting: Setting, rates: jax.Array, block: int, shares: jax.Array | None = None, strengths: jax.Array | None = None
) -> Any:
    """`run_dense` for a setting: a pure function of rates, shares and strengths."""
    shares = jnp.full(setting.num_pool, 1 / setting.num_pool) if shares is None else shares
    strengths = jnp.ones(setting.spacetime.num_steps) if strengths is None else strengths
    never = setting.spacetime.num_steps + 1
    patterns = []
    for kind in setting.kinds:
        columns = num_classes(kind, setting.spacetime) if kind == "column" else 1
        reset = setting.spacetime.steps_per_epoch if kind == "epoch" else never
        patterns.append(Pattern(kind, 0 if kind == "fresh" else columns, reset))
    return run_dense(
        setting.motion.landscape, setting.motion.update, tuple(patterns), block, setting.is_drawn,
        setting.start, rates, setting.pool, setting.test, shares, strengths,
    )  # fmt: skip


def dense_block(setting: Setting, memory: int | str | None) -> int:
    """How many directions the dense form treats at a time."""
    num_weights, size = setting.num_weights, setting.num_weights * setting.motion.update.num_slots
    carried = sum(num_classes(k, setting.spacetime) for k in setting.kinds if k == "column") + 2
    fixed = 8 * (12 * len(setting.kinds) * size**2 + 2 * carried * setting.num_pool * size)
    fixed += 8 * len(setting.kinds) * (setting.spacetime.num_steps + 1) * num_weights
    room = _memory.room(memory, RESERVE)
    one = direction_bytes(setting)
    if fixed + one > room:
        raise MemoryError(
            f"memory: the dense form of {num_weights} weights and {setting.num_pool} examples needs about "
            f"{_memory.format_memory(fixed + one)}, expected at most {_memory.format_memory(max(room, 0))}. Use "
            'method="probes", or allow more memory.'
        )
    return int(np.clip(min(room - fixed, CHUNK_BYTES) // one, 1, num_weights))


def probe_samples(
    setting: Setting, num_probes: int, key: Key, keep_shift: bool, memory: int | str | None, progress: Progress
) -> tuple[Means, Samples]:
    """Coefficients of random probes, chunk by chunk; probe r depends on key and r alone, beyond rounding."""
    own = jax.random.fold_in(_checks.random_key("key", key), 0)
    chosen = setting.spacetime, setting.kinds, setting.num_pool, setting.is_drawn, own

    def bytes_of(count: int, chunk: int) -> int:
        draws = draw_probes(*chosen, np.arange(count), count)
        return working_bytes(lambda rows: _run(setting, chunk, draws._replace(rows=rows), keep_shift), draws.rows)

    width, chunk = plan_chunks(setting, num_probes, bytes_of, memory)
    pieces = []
    for numbers in chunk_numbers(num_probes, width, progress):
        record = _run(setting, chunk, over_devices(draw_probes(*chosen, numbers, num_probes)), keep_shift)
        pieces.append(jax.tree.map(np.asarray, record))
    return _collect(pieces, num_probes)


def _run(setting: Setting, chunk: int, draws: Draws, keep_shift: bool) -> Record:
    motion = setting.motion._replace(landscape=setting.with_chunk(chunk))
    return run_probes(motion, setting.start, setting.rates, setting.pool, setting.test, *draws, keep_shift=keep_shift)


def _collect(pieces: list[Record], count: int) -> tuple[Means, Samples]:
    """Samples with the probes' axis first, the padding of the last chunk dropped."""

    def joined(name: str) -> np.ndarray:
        return np.moveaxis(np.concatenate([getattr(piece, name) for piece in pieces], axis=1), 1, 0)[:count]

    shift = variance = None
    if pieces[0].shift is not None:
        shift = np.sum([piece.shift for piece in pieces], axis=0) / count
        second = np.sum([piece.shift_square for piece in pieces], axis=0) / count
        variance = np.clip(second - shift**2, 0, None) / max(count - 1, 1)
    samples = Samples(
        joined("pool"), joined("test"), joined("slope") ** 2, joined("cross") ** 2, joined("tied"), shift, variance
    )
    return (np.asarray(pieces[0].path_pool), np.asarray(pieces[0].path_test)), samples


def exact_samples(setting: Setting) -> tuple[Means, Samples]:
    """Coefficients by every row: the sum over classes and the mean over examples, nothing drawn."""
    size = setting.num_pool
    draws = [every_row(setting.spacetime, kind, size) for kind in setting.kinds]
    count = sum(len(each.rows) for each in draws)
    if count > MAX_ROW_PROBES:
        raise ValueError(
            f'method="rows" runs {count} rows here, expected at most {MAX_ROW_PROBES}. Use "dense" or "probes".'
        )
    found = [_all_rows(setting, each) for each in draws]
    means, tied = found[0][0], found[0][1].tied if setting.is_drawn else np.zeros_like(found[0][1].tied)
    pool, test, slopes = (
        np.stack([getattr(samples, name)[..., 0].sum(0) / size for _, samples in found], axis=-1)[None]
        for name in ("pool", "test", "slope_square")
    )
    shift = np.concatenate([np.asarray(each.shift) * len(each.tied) / size for _, each in found], axis=1)
    unknown = np.full((*slopes.shape, len(draws)), np.nan)  # of pairs of rows: not run here
    return means, Samples(pool, test, slopes, unknown, tied.sum(0)[None] / size, shift, np.zeros_like(shift))


def _all_rows(setting: Setting, draws: Draws) -> tuple[Means, Samples]:
    """Every row of one pattern, `ROWS_AT_ONCE` at a time."""
    pieces = []
    for start in range(0, len(draws.rows), ROWS_AT_ONCE):
        some = jax.tree.map(lambda leaf, start=start: leaf[start : start + ROWS_AT_ONCE], draws)
        pieces.append(jax.tree.map(np.asarray, _run(setting, setting.num_pool, some, True)))
    return _collect(pieces, len(draws.rows))


def require_pairs(setting: Setting) -> None:
    """Raise ValueError where the second loop is not known to be the mean over two independent probes."""
    spacetime = setting.spacetime
    if setting.training_set != "drawn" or not spacetime.has_epochs:
        raise ValueError(
            f'num_loops=2 came with training_set="{setting.training_set}" and sampling="{spacetime.sampling}", expected '
            '"drawn" and "fixed" or "reshuffle". Use num_loops=1, or fit the second loop to a simulation (fit_two_loops).'
        )


def pair_samples(
    setting: Setting, samples: Samples, num_pairs: int, key: Key, memory: int | str | None, progress: Progress
) -> Samples:
    """The samples with two loops added, by `num_pairs` pairs of probes."""
    spacetime = setting.spacetime
    own = jax.random.fold_in(_checks.random_key("key", key), 1)

    def run(chunk: int, rows: jax.Array, tied: jax.Array) -> dict[str, jax.Array]:
        motion = setting.motion._replace(landscape=setting.with_chunk(chunk))
        first = jnp.broadcast_to(jnp.arange(tied.shape[1]), tied.shape)
        if spacetime.sampling == "reshuffle":
            first = jnp.zeros_like(first)  # every row is unvisited at first, and its mean zero until then
        return run_pairs(
            motion, setting.start, setting.rates, setting.pool, setting.test, rows, jnp.ones(rows.shape), tied, first
        )

    def bytes_of(count: int, chunk: int) -> int:
        rows, tied = draw_pairs(spacetime, setting.num_pool, own, np.zeros(count, int))
        return working_bytes(lambda rows: run(chunk, rows, tied), rows)

    width, chunk = plan_chunks(setting, num_pairs, bytes_of, memory)
    pieces = [
        jax.tree.map(np.asarray, run(chunk, *over_devices(draw_pairs(spacetime, setting.num_pool, own, numbers))))
        for numbers in chunk_numbers(num_pairs, width, progress)
    ]
    pool, test, tied = (
        np.concatenate([piece[name] for piece in pieces], axis=1).swapaxes(0, 1)[:num_pairs]
        for name in ("pool", "test", "tied")
    )
    weights = np.array([1.0, 0.5])  # of s_a^3 and s_a^2 s_b^2
    return replace(samples, pairs=Pairs(pool @ weights, test @ weights, tied.sum(-1)))
