"""The loss of the weights trained on each set, on every set."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from gradnoise import _checks, _memory, _tree
from gradnoise._liveness import working_bytes
from gradnoise._types import Examples, Params
from gradnoise.problem import Loss, Problem, probe_problem, require_problem

RESERVE = 2**28
"""Bytes for compiled code and results."""

FAST_BYTES = 2**27
"""A pass that works on more gains no speed."""


def cross_losses(
    problem: Problem,
    params: Params,
    training_sets: Any,
    leave_out_overlap: bool = False,
    memory: int | str | None = None,
) -> Float[np.ndarray, "sets sets"]:
    """M[s, s'] = the mean measured loss of the weights trained on set s, on set s': what `generalization_gap` takes.

    `params`: weights stacked along a leading axis, k for each set, those of one set after those of the other; M
    averages over the k. `training_sets`: for a problem with a pool, indices into it, integers (sets, n); without, the
    examples, leaves (sets, n, ...). An example that a set holds twice counts twice.

    `leave_out_overlap=True` evaluates the weights of s, on other sets, on the examples alone that set s does not hold:
    NaN where none is left: M is then the loss on unseen examples. Otherwise it is that on a fresh draw from the pool,
    part of which was seen, and its mean the loss on the whole pool. It needs a pool.

    Runs in float64: each weight vector on each example once, as many at a time as `memory` (bytes or "2GiB", the
    default) allows. The result is exact: its sampling error is that of `generalization_gap`.

    >>> import gradnoise.problem as gp
    >>> problem = gp.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: 0.0, np.array([0.0, 2.0, 4.0]))
    >>> sets = [[0, 1], [1, 2]]                                           # trained to their means, 1 and 3
    >>> cross_losses(problem, np.array([1.0, 3.0]), sets)
    array([[0.5, 2.5], [2.5, 0.5]])
    >>> cross_losses(problem, np.array([1.0, 3.0]), sets, leave_out_overlap=True)
    array([[0.5, 4.5], [4.5, 0.5]])

    Raises ValueError for indices that are not integers (sets, n) inside the pool, for params whose leading length is no
    multiple of the number of sets, not finite, or unfit for the loss, for losses that are not finite, for leave_out_overlap
    without a pool; MemoryError if all losses and the work on one of them do not fit.

    Source: docs/theory/averaging.md, "The gap without densities".
    """
    require_problem(problem)
    examples, counts = _distinct_examples(problem, training_sets, leave_out_overlap)
    sets = len(counts)
    total = _checks.stacked_examples("params", params)
    _checks.floating_tree("params", params)
    if total % sets:
        raise ValueError(
            f"params stacks {total} weight vectors for {sets} training sets, expected a multiple. Give k for each set, "
            "those of one set after those of the other."
        )
    with jax.enable_x64(True):
        params, examples = _tree.cast(params, jnp.float64), _tree.cast(examples, jnp.float64)
        probe_problem(problem, _tree.take(params, 0), examples)
        width, chunk = _pass_size(problem.measured_loss, params, examples, memory)
        losses = np.asarray(jax.jit(partial(_losses, problem.measured_loss, width, chunk))(params, examples))
    losses = losses.reshape(sets, total // sets, -1).mean(axis=1)
    if not np.all(np.isfinite(losses)):
        bad = int(np.flatnonzero(~np.isfinite(losses).all(axis=1))[0])
        raise ValueError(
            f"the measured loss of the weights of set {bad} is not finite on some example, expected finite losses. Leave "
            "diverged runs out, with their training sets, and say so."
        )
    return _averages(losses, counts, leave_out_overlap)


def _distinct_examples(
    problem: Problem, training_sets: Any, leave_out_overlap: bool
) -> tuple[Examples, Float[np.ndarray, "sets examples"]]:
    """The examples that occur in some set, once each, and how often each set holds each."""
    if problem.pool is None:
        if leave_out_overlap:
            raise ValueError(
                f"leave_out_overlap=True needs a pool to tell examples apart, and problem {problem.name!r} has none. "
                "Build it with from_arrays and give indices, or leave it out: fresh draws share no examples."
            )
        sets = _checks.stacked_examples("training_sets", training_sets)
        flat = jax.tree.map(lambda leaf: np.reshape(leaf, (-1, *np.shape(leaf)[2:])), training_sets)
        size = _checks.stacked_examples("training_sets", flat) // sets
        return flat, np.repeat(np.eye(sets), size, axis=1)
    indices, pool_size = _pool_indices(problem, training_sets)
    counts = np.zeros((len(indices), pool_size))
    np.add.at(counts, (np.arange(len(indices))[:, None], indices), 1)
    used = np.flatnonzero(counts.any(axis=0))
    return jax.tree.map(lambda leaf: np.asarray(leaf)[used], problem.pool), counts[:, used]


def _pool_indices(problem: Problem, training_sets: ArrayLike) -> tuple[np.ndarray, int]:
    indices, pool_size = np.asarray(training_sets), _tree.num_examples(problem.pool)
    if indices.ndim != 2 or indices.size == 0 or not np.issubdtype(indices.dtype, np.integer):
        raise ValueError(
            f"training_sets has shape {indices.shape} and dtype {indices.dtype}, expected integers (sets, n). Give the "
            "indices of each set's examples in the pool."
        )
    if indices.min() < 0 or indices.max() >= pool_size:
        raise ValueError(
            f"training_sets has indices from {indices.min()} to {indices.max()}, expected 0 to {pool_size - 1}. Give "
            "indices into the problem's pool."
        )
    return indices, pool_size


def _averages(losses: np.ndarray, counts: np.ndarray, leave_out_overlap: bool) -> Float[np.ndarray, "sets sets"]:
    """Mean over the examples of s' of the losses (sets, examples) of s; of those not in s, off the diagonal."""
    own = np.sum(losses * counts, axis=1) / counts.sum(axis=1)
    unseen = counts == 0 if leave_out_overlap else np.ones_like(counts)
    num_unseen = unseen @ counts.T
    matrix = np.where(num_unseen > 0, (losses * unseen) @ counts.T / np.maximum(num_unseen, 1), np.nan)
    np.fill_diagonal(matrix, own)
    return matrix


def _pass_size(measured: Loss, params: Params, examples: Examples, memory: int | str | None) -> tuple[int, int]:
    """(weight vectors, examples) a pass within memory."""
    result = 16 * _tree.num_examples(params) * _tree.num_examples(examples)  # all losses, and a copy
    room = min(_memory.room(memory, RESERVE + result), FAST_BYTES)
    table, first = partial(_table, measured), _tree.take(params, np.zeros(1, int))
    one, two = (working_bytes(table, first, _tree.take(examples, np.zeros(count, int))) for count in (1, 2))
    if one > room:
        table_size, work = _memory.format_memory(result), _memory.format_memory(one)
        raise MemoryError(
            f"memory: the losses of all weights need {table_size} and one weight vector on one example about {work} more, "
            f"expected at most {_memory.format_memory(max(room + result, 0))}. Allow more memory, or evaluate fewer weights."
        )
    pairs = max(room // max(two - one, 1), 1)
    chunk = int(min(_tree.num_examples(examples), pairs))
    return int(np.clip(pairs // chunk, 1, _tree.num_examples(params))), chunk


def _table(measured: Loss, params: Params, examples: Examples) -> Float[jax.Array, "weights examples"]:
    return jax.vmap(jax.vmap(measured, (None, 0)), (0, None))(params, examples)


def _losses(
    measured: Loss, width: int, chunk: int, params: Params, examples: Examples
) -> Float[jax.Array, "weights examples"]:
    one_row = lambda at: jax.lax.map(lambda example: measured(at, example), examples, batch_size=chunk)  # noqa: E731
    return jax.lax.map(one_row, params, batch_size=width)
