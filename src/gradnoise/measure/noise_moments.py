"""What noise scales need of n gradients: a few numbers an example and parameter group, in two chunked passes."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _tree
from gradnoise._types import Examples, Params
from gradnoise.measure.gradients import BLOCK, ExampleGradients, gradient_rows, map_chunks
from gradnoise.problem import Loss

Places = tuple[tuple[int, int], ...]
"""Start and stop of each parameter group in the flat vector."""


class Moments(NamedTuple):
    """Numbers of n gradients, each perhaps with a last axis of parameter groups."""

    mean_squared: Any
    """|gbar|^2."""
    spread: np.ndarray
    """|g_i - gbar|^2, shape (n,)."""
    along_mean: np.ndarray
    """(g_i - gbar).gbar, shape (n,)."""
    pairs: np.ndarray
    """(g_i - gbar).(g_j - gbar) for pairs inside blocks of consecutive examples, shape (blocks, pairs)."""


def group_moments(gradients: ExampleGradients) -> Moments:
    """The moments, with a last axis of parameter groups; pairs inside full blocks (for n < BLOCK: all pairs)."""
    count, block = gradients.num_examples, min(BLOCK, gradients.num_examples)
    places = tuple((group.start, group.stop) for group in _tree.group_slices(gradients.params).values())
    with jax.enable_x64(True):
        loss, weights, mean = gradients.loss, gradients.params, jnp.asarray(gradients.mean)
        chunk = gradients.chunk_size(lambda part: _chunk_moments(loss, places, block, weights, mean, part))
        compiled = _all_moments(loss, places, block, chunk, weights, mean, gradients.examples)
        spread, along, pairs = (np.asarray(part) for part in compiled)
    flat = lambda part, rows: part.reshape(part.shape[0] * part.shape[1], *part.shape[2:])[:rows]  # noqa: E731
    squares = np.array([np.square(gradients.mean[start:stop]).sum() for start, stop in places])
    return Moments(squares, flat(spread, count), flat(along, count), flat(pairs, count // block))


def _chunk_moments(loss: Loss, places: Places, block: int, params: Params, mean: Any, part: Examples) -> Any:
    centred = gradient_rows(loss, params, part) - mean
    first, second = np.triu_indices(block, 1)
    spread, along, pairs = [], [], []
    for start, stop in places:
        rows = centred[:, start:stop]
        spread.append(jnp.square(rows).sum(axis=1))
        along.append(rows @ mean[start:stop])
        blocks = rows[: len(rows) // block * block].reshape(len(rows) // block, block, stop - start)
        pairs.append(jnp.einsum("bip,bjp->bij", blocks, blocks)[:, first, second])
    return jnp.stack(spread, -1), jnp.stack(along, -1), jnp.stack(pairs, -1)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _all_moments(
    loss: Loss, places: Places, block: int, chunk: int, params: Params, mean: Any, examples: Examples
) -> Any:
    return map_chunks(lambda part: _chunk_moments(loss, places, block, params, mean, part), examples, chunk)
