"""One replica as pure functions: its training set, the rows it uses, its steps. `runner` maps them over replicas."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradnoise import _tree
from gradnoise._rates import Rates
from gradnoise._types import Examples, Key, Params
from gradnoise.dynamics.batches import batch_key, index_block, permutation, with_replacement
from gradnoise.process import Batches, Process
from gradnoise.spacetime import Spacetime


@dataclass(frozen=True)
class Setup:
    """What a run compiles to, beside shapes: everything here is static, hashable and compared by value."""

    process: Process
    spacetime: Spacetime
    training_set: str
    observe: tuple[tuple[str, Callable[[Params, Examples], Any]], ...]
    dtype: str
    num_test_draws: int
    start: Callable[[Key], Params] | None = None


class Keys(NamedTuple):
    """One key a meaning; each replica folds in its number. `starts` only where each draws its own."""

    training_sets: Key
    batches: Key
    noise: Key
    test_draws: Key
    starts: Key = None


class Data(NamedTuple):
    """The examples that all replicas share; None where the problem has none."""

    pool: Examples
    test_pool: Examples


class Replica(NamedTuple):
    """One run in progress.

    `members`: its training set as rows of the pool, (N,), or None if it has no set of its own. `own`: its training set
    as examples, for problems without a pool. `diverged_at`: the first step with weights or losses that are not finite,
    or -1. `rate_scale`: the factor of its learning rate, or None.
    """

    number: jax.Array
    state: Any
    diverged_at: jax.Array
    members: jax.Array | None
    own: Examples
    rate_scale: jax.Array | None = None


def begin(
    setup: Setup, keys: Keys, data: Data, params: Params, number: Any, rate_scale: jax.Array | None = None
) -> Replica:
    """Replica `number` before its first step, its training set drawn, and its start where each draws its own."""
    members, own = None, None
    if setup.training_set == "drawn":
        key, size = jax.random.fold_in(keys.training_sets, number), setup.spacetime.num_examples
        if data.pool is None:
            own = _tree.cast(setup.process.problem.sample(key, size), setup.dtype)
        else:
            members = with_replacement(key, _tree.num_examples(data.pool), size)
    elif setup.training_set == "distinct":
        order = permutation(jax.random.fold_in(keys.training_sets, number), _tree.num_examples(data.pool))
        members = order[: setup.spacetime.num_examples]
    if setup.start is not None:
        params = _tree.cast(setup.start(jax.random.fold_in(keys.starts, number)), setup.dtype)
    return Replica(jnp.int32(number), setup.process.init(params), jnp.int32(-1), members, own, rate_scale)


def training_examples(data: Data, replica: Replica) -> Examples:
    """The replica's training set, leaves (N, ...); for an infinite one the pool, or None without a pool."""
    if replica.own is not None:
        return replica.own
    return data.pool if replica.members is None else _tree.take(data.pool, replica.members)


def rows(setup: Setup, keys: Keys, data: Data, replica: Replica, start: Any, length: int) -> jax.Array:
    """Which examples steps start, ..., start + length - 1 use: (length, num_substeps, batches_per_substep, B), int32.

    Rows of the pool or, where the replica has its own examples, of these.
    """
    process, spacetime = setup.process, setup.spacetime
    shape = (length, process.num_substeps, process.batches_per_substep, spacetime.batch_size)
    per_step = process.num_substeps * process.batches_per_substep
    if per_step == 0 or (setup.training_set == "population" and data.pool is None):
        return jnp.zeros((length, process.num_substeps, process.batches_per_substep, 0), jnp.int32)
    key = jax.random.fold_in(keys.batches, replica.number)
    if setup.training_set == "population":
        steps, numbers = start + jnp.arange(length, dtype=jnp.int32), jnp.arange(per_step, dtype=jnp.int32)
        size = _tree.num_examples(data.pool)
        drawn = jax.vmap(
            lambda step: jax.vmap(lambda j: with_replacement(batch_key(key, step, j), size, shape[-1]))(numbers)
        )(steps)
    else:
        drawn = index_block(spacetime, key, start, length, per_step, random_order=setup.training_set == "given")
    return (drawn if replica.members is None else replica.members[drawn]).reshape(shape)


def run_steps(
    setup: Setup, keys: Keys, data: Data, rates: Rates, replica: Replica, block: jax.Array, block_start: Any, span: Any
) -> Replica:
    """The replica after effective steps span[0], ..., span[1] - 1; `block` holds their rows from `block_start` on."""
    process, spacetime = setup.process, sampling_seen(setup)
    source = data.pool if replica.own is None else replica.own
    training_set = training_examples(data, replica)
    scale = replica.rate_scale
    if scale is not None:
        rates = rates._replace(base=jax.tree.map(lambda rate: rate * scale, rates.base))
    noise_key = jax.random.fold_in(keys.noise, replica.number)
    draws_key = jax.random.fold_in(keys.batches, replica.number)

    def examples(step: Any, substep: Any) -> Examples:
        if source is not None:
            return _tree.take(source, block[step - block_start, substep])
        numbers = substep * process.batches_per_substep + jnp.arange(process.batches_per_substep, dtype=jnp.int32)
        sample = process.problem.sample
        fresh = jax.vmap(lambda j: sample(batch_key(draws_key, step, j), setup.spacetime.batch_size))(numbers)
        return _tree.cast(fresh, setup.dtype)

    def one_substep(step: Any, rate: Any, substep: Any, state: Any) -> Any:
        key = jax.random.fold_in(noise_key, step * process.num_substeps + substep)
        return process.step(key, state, Batches(examples(step, substep), training_set, spacetime), rate)

    def one_step(step: Any, carry: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
        state, diverged_at = carry
        rate = rates.at(step)
        if process.num_substeps == 1:
            state = one_substep(step, rate, 0, state)
        else:
            state = jax.lax.fori_loop(
                0, process.num_substeps, lambda substep, inner: one_substep(step, rate, substep, inner), state
            )
        newly = (diverged_at < 0) & ~is_finite(process.params(state))
        return state, jnp.where(newly, jnp.int32(step + 1), diverged_at)

    state, diverged_at = jax.lax.fori_loop(span[0], span[1], one_step, (replica.state, replica.diverged_at))
    return replica._replace(state=state, diverged_at=diverged_at)


def sampling_seen(setup: Setup) -> Spacetime:
    """The spacetime that the process is shown: batches of a population are independent draws, whatever its sampling."""
    given = setup.spacetime
    if setup.training_set != "population" or not given.num_steps:
        return given
    return Spacetime(given.num_examples, given.batch_size, sampling="with_replacement", num_steps=given.num_steps)


def is_finite(params: Params) -> jax.Array:
    """Whether all weights are finite, by their sums: a sum that overflows counts as not finite too."""
    return jnp.isfinite(sum(jnp.sum(leaf) for leaf in jax.tree.leaves(params)))
