"""Which examples a step uses: a spacetime's sampling as rows of indices that depend on key and step only."""

from typing import Any

import jax
import jax.numpy as jnp

from gradnoise import _checks
from gradnoise._types import Key
from gradnoise.spacetime import Spacetime, require_spacetime


def batch_indices(spacetime: Spacetime, key: Key, random_order: bool = False) -> jax.Array:
    """The examples that each step uses: integers in [0, num_examples), shape (num_steps, batch_size).

    fixed: rows 0, 1, 2, ... in this order every epoch, whatever the key (`random_order`: one uniform order, drawn from
    the key); reshuffle: a fresh uniform order each epoch; subset: batch_size distinct rows a step, uniform (their
    order inside the batch is not), independent between steps; with_replacement: independent uniform draws.

    >>> import jax
    >>> from gradnoise.spacetime import Spacetime
    >>> batch_indices(Spacetime(num_examples=4, batch_size=2, epochs=2), jax.random.key(0)).tolist()
    [[0, 1], [2, 3], [0, 1], [2, 3]]

    Raises TypeError if `spacetime` is no Spacetime or `key` no random key.
    """
    require_spacetime(spacetime)
    key = _checks.random_key("key", key)
    return index_block(spacetime, key, 0, spacetime.num_steps, random_order=random_order)[:, 0]


def index_block(
    spacetime: Spacetime,
    key: Key,
    start: Any,
    length: int,
    batches_per_step: int = 1,
    random_order: bool = False,
) -> jax.Array:
    """Rows for steps start, ..., start + length - 1: shape (length, batches_per_step, batch_size), int32.

    `start` may be traced. Under reshuffle it must be a multiple of the steps an epoch: a block holds whole epochs.
    More than one batch a step is defined for the samplings whose steps are independent.
    """
    if spacetime.sampling in ("fixed", "reshuffle"):
        return _epoch_rows(spacetime, key, start, length, random_order)[:, None]
    steps = jnp.asarray(start, jnp.int32) + jnp.arange(length, dtype=jnp.int32)
    draw = subset if spacetime.sampling == "subset" else with_replacement

    def one_batch(step: Any, batch: Any) -> jax.Array:
        return draw(batch_key(key, step, batch), spacetime.num_examples, spacetime.batch_size)

    numbers = jnp.arange(batches_per_step, dtype=jnp.int32)
    return jax.vmap(jax.vmap(one_batch, in_axes=(None, 0)), in_axes=(0, None))(steps, numbers)


def batch_key(key: Key, step: Any, batch: Any) -> Key:
    """The key of one batch: batch number `batch` of effective step `step`."""
    return jax.random.fold_in(jax.random.fold_in(key, step), batch)


def with_replacement(key: Key, num_examples: int, batch_size: int) -> jax.Array:
    """Independent uniform rows, shape (batch_size,)."""
    return jax.random.randint(key, (batch_size,), 0, num_examples, dtype=jnp.int32)


def subset(key: Key, num_examples: int, batch_size: int) -> jax.Array:
    """Distinct uniform rows, shape (batch_size,); every set has the same chance, the order inside is not uniform.

    Small batches by Floyd's rule: entry i is uniform in [0, m], m = N - B + i, or m itself if that row is taken: B^2
    comparisons and no sort. Large ones are the head of a permutation.
    """
    if batch_size == num_examples:
        return jnp.arange(num_examples, dtype=jnp.int32)
    if batch_size**2 > 8 * num_examples * num_examples.bit_length():
        return permutation(key, num_examples)[:batch_size]
    last = num_examples - batch_size + jnp.arange(batch_size, dtype=jnp.int32)
    drawn = jax.random.randint(key, (batch_size,), 0, last + 1, dtype=jnp.int32)

    def add(i: Any, chosen: jax.Array) -> jax.Array:
        taken = jnp.any(chosen == drawn[i])
        return chosen.at[i].set(jnp.where(taken, last[i], drawn[i]))

    return jax.lax.fori_loop(0, batch_size, add, jnp.full(batch_size, -1, jnp.int32))


def permutation(key: Key, num_examples: int) -> jax.Array:
    """A uniform order of the rows, shape (num_examples,)."""
    return jax.random.permutation(key, jnp.arange(num_examples, dtype=jnp.int32))


def _epoch_rows(spacetime: Spacetime, key: Key, start: Any, length: int, random_order: bool) -> jax.Array:
    steps_per_epoch, batch_size = spacetime.num_examples // spacetime.batch_size, spacetime.batch_size
    if spacetime.sampling == "reshuffle":
        epochs = start // steps_per_epoch + jnp.arange(-(-length // steps_per_epoch), dtype=jnp.int32)
        orders = jax.vmap(lambda epoch: permutation(jax.random.fold_in(key, epoch), spacetime.num_examples))(epochs)
        return orders.reshape(-1, batch_size)[:length]
    columns = (start + jnp.arange(length, dtype=jnp.int32)) % steps_per_epoch
    rows = columns[:, None] * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
    return permutation(jax.random.fold_in(key, 0), spacetime.num_examples)[rows] if random_order else rows
