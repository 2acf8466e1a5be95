"""The rows of examples that probes carry: drawn, or, on small problems, all of them in turn."""

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise._types import Key
from gradnoise.predict.path.noise_weights import classes
from gradnoise.predict.path.probes import Draws
from gradnoise.spacetime import Spacetime


def draw_probes(
    spacetime: Spacetime,
    kinds: tuple[str, ...],
    num_pool: int,
    is_drawn: bool,
    key: Key,
    numbers: np.ndarray,
    count: int,
) -> Draws:
    """Probes of these numbers (below `count` they count): one independent uniform example in each class of each pattern.

    The gap is read from the first pattern, which has the most classes: all give the same mean, it the least error.
    """
    places = [classes(kind, spacetime) for kind in kinds]
    first = np.unique(places[0], return_index=True)[1] if is_drawn else np.zeros(0, int)

    def one(number: jax.Array) -> tuple[jax.Array, jax.Array]:
        own = jax.random.fold_in(key, number)
        rows = [
            jax.random.randint(jax.random.fold_in(own, k), (max(place.max(initial=0) + 1, 1),), 0, num_pool)
            for k, place in enumerate(places)
        ]
        return jnp.stack([row[place] for row, place in zip(rows, places, strict=True)]), rows[0][: len(first)]

    rows, tied_rows = jax.vmap(one)(jnp.asarray(numbers))
    counted = jnp.asarray(numbers < count, float)
    return Draws(rows, jnp.ones(rows.shape), counted, tied_rows, jnp.broadcast_to(first, tied_rows.shape))


def every_row(spacetime: Spacetime, kind: str, num_pool: int) -> Draws:
    """Every example of the pool in every class of one pattern, alone: num_classes x num_pool probes, class by class."""
    place = classes(kind, spacetime)
    num_classes = place.max(initial=0) + 1
    rows = np.tile(np.arange(num_pool), num_classes)
    own = np.repeat(np.arange(num_classes), num_pool)
    kicks = own[:, None] == place
    first = np.unique(place, return_index=True)[1] if len(place) else np.zeros(1, int)
    spread = np.broadcast_to(rows[:, None, None], (len(rows), 1, len(place)))
    return Draws(
        jnp.asarray(spread), jnp.asarray(kicks[:, None], float), jnp.ones(len(rows)), jnp.asarray(rows[:, None]),
        jnp.asarray(first[own][:, None]),
    )  # fmt: skip


def draw_pairs(spacetime: Spacetime, num_pool: int, key: Key, numbers: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Two training sets a, b of one example a column, with schedules of their own: rows (R, 2, T), tied rows (R, C).

    Fixed order: the same columns in every epoch; reshuffled: a fresh order each epoch. (Steps of one epoch at most: fresh.)
    """
    num_steps = spacetime.num_steps
    columns = min(spacetime.steps_per_epoch, num_steps)
    epochs = -(-num_steps // max(columns, 1))

    def one_set(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        rows = jax.random.randint(jax.random.fold_in(key, 0), (columns,), 0, num_pool)
        order = jnp.tile(jnp.arange(columns), (epochs, 1))
        if spacetime.sampling == "reshuffle" and epochs > 1:
            order = jax.random.permutation(jax.random.fold_in(key, 1), order, axis=1, independent=True)
        return rows, rows[order.reshape(-1)[:num_steps]]

    def one(number: jax.Array) -> tuple[jax.Array, jax.Array]:
        own = jax.random.fold_in(key, number)
        (rows, first), (_, second) = (one_set(jax.random.fold_in(own, k)) for k in (0, 1))
        return jnp.stack([first, second]), rows

    return jax.vmap(one)(jnp.asarray(numbers))
