"""Two batches as halves of one draw of distinct examples: what a loader of twice the batch size hands out."""

import jax

from gradnoise._types import Key
from gradnoise.dynamics.batches import subset
from gradnoise.spacetime import Spacetime


def distinct_halves(key: Key, num_examples: int, batch_size: int) -> jax.Array:
    """Rows (2, B), all distinct: 2B examples out of N, each ordered pair of halves with the same chance.

    >>> import jax
    >>> sorted(distinct_halves(jax.random.key(0), num_examples=4, batch_size=2).ravel().tolist())
    [0, 1, 2, 3]
    """
    drawn, order = jax.random.split(key)
    rows = subset(drawn, num_examples, 2 * batch_size)
    return jax.random.permutation(order, rows).reshape(2, batch_size)  # a subset's own order is not uniform


def require_halves(spacetime: Spacetime, num_examples: int) -> None:
    """Raise ValueError where two halves of distinct examples do not exist."""
    if spacetime.sampling == "with_replacement":
        raise ValueError(
            'batches="split" takes two halves of distinct examples, and came with sampling="with_replacement" (or with '
            'training_set="population"), whose batches may repeat one. Use sampling="subset", or batches="independent".'
        )
    if 2 * spacetime.batch_size > num_examples:
        raise ValueError(
            f'batches="split" takes 2 * batch_size={2 * spacetime.batch_size} distinct examples, and the training set holds '
            f'{num_examples}. Use a batch_size of at most {num_examples // 2}, or batches="independent".'
        )
