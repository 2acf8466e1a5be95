"""The next order of the noise, 1/B^2: third cumulants and pairs of examples, by two independent probes on one path.

Two training sets a and b of one example a column move the weights together, w(s_a, s_b). In the mean over both

    test  L2 = d_a^3 f / 6 + d_a^2 d_b^2 f / 8          f = mean of measured at w
    gap   g2 = -(d_a^2 Q + d_a d_b^2 Q) / 2             Q = sum of the centred losses of the examples of a at w

are the coefficients of 1/B^2 and of 1/(N B): a pair of examples of one training set is, up to higher orders of 1/B, a pair
from two independent ones. Odd powers of an example's noise vanish in the mean. Never one part without the other: the
third cumulant alone makes the gap worse.

Source: loop.md section 12, row-jet form; the pairing by two sets is derived in docs/theory/loop.md.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from gradnoise import _tree
from gradnoise._types import Examples
from gradnoise.predict.path.landscape import Landscape
from gradnoise.predict.path.probes import Motion, noisy_step

POWERS = ((1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (2, 2))
"""The powers of (s_a, s_b) carried beside the path."""


@partial(jax.jit, static_argnames=("motion",))
def run_pairs(
    motion: Motion, start: jax.Array, rates: jax.Array, pool: Examples, test: Examples,
    rows: jax.Array, kicks: jax.Array, tied_rows: jax.Array, tied_from: jax.Array,
) -> dict[str, jax.Array]:  # fmt: skip
    """Taylor coefficients in (s_a, s_b) after t = 0..T steps, for R pairs of probes.

    `rows`, `kicks` (R, 2, T): the example whose noise acts, and how strongly. "pool", "test" (T+1, R, 2): coefficients
    of s_a^3 and of s_a^2 s_b^2 of the mean measured function; "tied" (T+1, R, 2): of s_a^2 and s_a s_b^2 of the centred
    losses of `tied_rows` (R, C), each counted from step `tied_from` (R, C) on.
    """
    num_steps = len(rates)
    state = motion.update.start(start)
    zeros = jnp.zeros((len(rows), len(POWERS), *state.shape))
    padded = jnp.concatenate([rates, rates[-1:]]) if num_steps else jnp.zeros(1)
    moved = (jnp.moveaxis(each, -1, 0) for each in (rows, kicks))
    own_rows, own_kicks = (jnp.concatenate([each, jnp.zeros_like(each, shape=(1, *each.shape[1:]))]) for each in moved)

    def body(carry: Any, inputs: Any) -> tuple[Any, dict[str, jax.Array]]:
        path, coefficients = carry
        step, rate, example_rows, strengths = inputs
        record = _record(motion.landscape, pool, test, path[0], coefficients[:, :, 0], tied_rows, tied_from < step)

        def one(own: jax.Array, row: jax.Array, strength: jax.Array) -> jax.Array:
            def moved(a: jax.Array, b: jax.Array) -> jax.Array:
                noise = [(row[0], a * strength[0]), (row[1], b * strength[1])]
                return noisy_step(motion, _polynomial(path, own, a, b), pool, rate, step == 0, noise)

            found = taylor(moved)
            return jnp.stack([found[power] for power in POWERS])

        moved_path = noisy_step(motion, path, pool, rate, step == 0, [])
        return (moved_path, jax.vmap(one)(coefficients, example_rows, strengths)), record

    steps = jnp.arange(num_steps + 1)
    _, record = jax.lax.scan(body, (state, zeros), (steps, padded, own_rows, own_kicks))
    return record


def taylor(function: Callable[[jax.Array, jax.Array], Any]) -> dict[tuple[int, int], Any]:
    """Coefficients of a^i b^j of function(a, b) at 0, i up to 3, j up to 2."""

    def along_a(b: jax.Array) -> tuple[Any, ...]:
        return _derivatives(lambda a: function(a, b), 3)(jnp.zeros(()))

    by_b = _derivatives(along_a, 2)(jnp.zeros(()))
    factorial = (1, 1, 2, 6)
    return {(i, j): by_b[j][i] / (factorial[i] * factorial[j]) for i in range(4) for j in range(3)}


def _derivatives(function: Callable[[jax.Array], Any], order: int) -> Callable[[jax.Array], tuple[Any, ...]]:
    """s -> (f, f', ..., f^(order)) at s."""
    if order == 0:
        return lambda s: (function(s),)
    lower = _derivatives(function, order - 1)

    def raised(s: jax.Array) -> tuple[Any, ...]:
        values, slopes = jax.jvp(lower, (s,), (jnp.ones_like(s),))
        return (*values, slopes[-1])

    return raised


def _polynomial(path: jax.Array, coefficients: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    return path + sum(a**i * b**j * own for (i, j), own in zip(POWERS, coefficients, strict=True))


def _record(
    landscape: Landscape, pool: Examples, test: Examples, path: jax.Array, coefficients: jax.Array,
    tied_rows: jax.Array, visited: jax.Array,
) -> dict[str, jax.Array]:  # fmt: skip
    def mean(examples: Examples) -> jax.Array:
        def one(own: jax.Array) -> jax.Array:
            found = taylor(lambda a, b: landscape.mean_measured(_polynomial(path, own, a, b), examples))
            return jnp.stack([found[3, 0], found[2, 2]])

        return jax.vmap(one)(coefficients)

    def tied(own: jax.Array, rows: jax.Array, counted: jax.Array) -> jax.Array:
        def centred(a: jax.Array, b: jax.Array) -> jax.Array:
            weights = _polynomial(path, own, a, b)
            losses = jax.vmap(landscape.measured, (None, 0))(weights, _tree.take(pool, rows))
            return jnp.where(counted, losses - landscape.mean_measured(weights, pool), 0.0).sum()

        found = taylor(centred)
        return jnp.stack([found[2, 0], found[1, 2]])

    on_pool = mean(pool)
    record = {"pool": on_pool, "test": on_pool if test is None else mean(test)}
    tie = jax.vmap(tied)(coefficients, tied_rows, visited) if tied_rows.shape[1] else jnp.zeros_like(on_pool)
    return record | {"tied": tie}
