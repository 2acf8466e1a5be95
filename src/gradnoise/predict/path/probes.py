"""Deviations from the deterministic path to second order, driven by single examples: no matrix is formed.

Beside the path run weights w(s) = path + s x + s^2 y in which the noise of some examples is switched on with strength s:

    w_{t+1}(s) = w_t(s) - rate [G(w_t(s)) + s xi'(w_t(s))],      xi = l_example - mean l

One step is the second-order Taylor expansion of this map in s, by nested forward derivatives; hence it holds for every
optimizer that is a smooth map of the losses. A probe puts one random example into each class of a pattern (noise_weights);
the mean of the s^2 coefficient of a loss is that pattern's one-loop coefficient.

Source: loop.md section 12, row-jet form and matrix-free algorithm.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradnoise import _tree
from gradnoise._types import Examples
from gradnoise.predict.path.landscape import Landscape, tested
from gradnoise.predict.path.update import Update


class Motion(NamedTuple):
    """How weights move: static under jit."""

    landscape: Landscape
    update: Update
    hessian_damping: float = 0.0

    def step(
        self, state: jax.Array, gradient: Callable[[jax.Array], jax.Array], rate: jax.Array, is_first: jax.Array
    ) -> jax.Array:
        """One update with `gradient`, that of the batch as a function of the weights.

        With hessian_damping the direction is rate (1 + hessian_damping Hess rate)^-1 gradient (diagrams.md 4.4).
        """
        direction = gradient(state[0])
        if self.hessian_damping:
            hessian = jax.jacfwd(gradient)(state[0])
            damping = jnp.eye(len(direction)) + self.hessian_damping * hessian * rate
            direction = jnp.linalg.solve(damping, direction)
        return self.update(state, direction, rate, is_first)


class Draws(NamedTuple):
    """Which noise a probe carries, R probes of K patterns.

    `rows` (R, K, T): the example whose noise acts at each step; `kicks` (R, K, T): 0 where none acts. `counted` (R,): 0 for
    a probe that only fills a chunk. `tied_rows` (R, C):
    examples whose loss on the way, along the first pattern's deviation, is measured against the population's, counted from
    step `tied_from` (R, C) on.
    """

    rows: jax.Array
    kicks: jax.Array
    counted: jax.Array
    tied_rows: jax.Array
    tied_from: jax.Array


class Record(NamedTuple):
    """Second-order coefficients after t = 0..T steps, t first.

    `path_pool`, `path_test` (T+1,): the mean of measured on the path. `pool`, `test` (T+1, R, K): s^2 coefficients along
    the probes. `slope` (T+1, R, K): first derivatives of the test mean. `cross` (T+1, R, K, K): its second derivatives
    along a probe and its partner, 0 with 1, 2 with 3, ... `tied` (T+1, R): derivative of the tied examples' centred
    losses, summed. `shift` and `shift_square` (T+1, K, P), or None: sums over probes of y and of y^2.
    """

    path_pool: jax.Array
    path_test: jax.Array
    pool: jax.Array
    test: jax.Array
    slope: jax.Array
    cross: jax.Array
    tied: Any = None
    shift: Any = None
    shift_square: Any = None


@partial(jax.jit, static_argnames=("motion", "keep_shift"))
def run_probes(
    motion: Motion, start: jax.Array, rates: jax.Array, pool: Examples, test: Examples, rows: jax.Array,
    kicks: jax.Array, counted: jax.Array, tied_rows: jax.Array, tied_from: jax.Array, keep_shift: bool,
) -> Record:  # fmt: skip
    """All probes along the path from `start` (P,) with `rates` (T,) or (T, P); `test` None: measured over the pool."""
    num_steps = len(rates)
    state = motion.update.start(start)
    zeros = jnp.zeros((*rows.shape[:2], *state.shape))
    padded = jnp.concatenate([rates, rates[-1:]]) if num_steps else jnp.zeros(1)
    moved = (jnp.moveaxis(each, -1, 0) for each in (rows, kicks))
    own_rows, own_kicks = (jnp.concatenate([each, jnp.zeros_like(each, shape=(1, *each.shape[1:]))]) for each in moved)

    def body(carry: Any, inputs: Any) -> tuple[Any, Record]:
        path, first, second = carry
        step, rate, example_rows, strengths = inputs
        record = _record(motion.landscape, pool, test, path[0], first[:, :, 0], second[:, :, 0])
        tied = _tied(motion.landscape, pool, path[0], first[:, 0, 0], tied_rows, tied_from < step)
        record = record._replace(tied=tied)
        if keep_shift:
            shift = counted[:, None, None] * second[:, :, 0]
            record = record._replace(shift=shift.sum(0), shift_square=(shift**2).sum(0))

        def one(x: jax.Array, y: jax.Array, row: jax.Array, strength: jax.Array) -> tuple[jax.Array, jax.Array]:
            def moved(point: tuple[jax.Array, jax.Array]) -> jax.Array:
                return noisy_step(motion, point[0], pool, rate, step == 0, [(row, point[1])])

            return second_order(moved, (path, jnp.zeros(())), (x, strength), (y, jnp.zeros(())))

        moved_path = noisy_step(motion, path, pool, rate, step == 0, [])
        return (moved_path, *over_probes(one)(first, second, example_rows, strengths)), record

    steps = jnp.arange(num_steps + 1)
    _, record = jax.lax.scan(body, (state, zeros, zeros), (steps, padded, own_rows, own_kicks))
    return record


def noisy_step(
    motion: Motion, state: jax.Array, pool: Examples, rate: jax.Array, is_first: jax.Array, noise: list
) -> jax.Array:
    """One update with the mean gradient over the pool plus, for each (row, strength) of `noise`, strength xi_row'."""

    def gradient(weights: jax.Array) -> jax.Array:
        mean = motion.landscape.mean_gradient(weights, pool)
        total = mean
        for row, strength in noise:
            total += strength * (jax.grad(motion.landscape.loss)(weights, _tree.take(pool, row)) - mean)
        return total

    return motion.step(state, gradient, rate, is_first)


def over_probes(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` for each probe and pattern: the first two axes of all arguments."""
    return jax.vmap(jax.vmap(function))


def second_order(function: Callable[[Any], Any], point: Any, first: Any, second: Any) -> tuple[Any, Any]:
    """Coefficients of s and s^2 of function(point + s first + s^2 second): D f[x] and (1/2) D^2 f[x, x] + D f[y].

    Both from one derivative of (p, v) -> D f(p)[v] along (x, 2 y); the point itself stays free of the probe.
    """

    def slope(point: Any, direction: Any) -> Any:
        return jax.jvp(function, (point,), (direction,))[1]

    twice = jax.tree.map(lambda y: 2 * y, second)
    value, change = jax.jvp(slope, (point, first), (first, twice))
    return value, jax.tree.map(lambda c: c / 2, change)


def _record(
    landscape: Landscape, pool: Examples, test: Examples, path: jax.Array, x: jax.Array, y: jax.Array
) -> Record:
    """Path means, s^2 coefficients, slopes and cross derivatives of one step; x, y (R, K, P)."""

    def over(examples: Examples) -> tuple[jax.Array, ...]:
        mean = partial(landscape.mean_measured, examples=examples)
        return mean(path), *over_probes(lambda x, y: second_order(mean, path, x, y))(x, y)

    on_pool = over(pool)
    on_test = on_pool if test is None else over(test)
    mean = lambda w: landscape.mean_measured(w, tested(pool, test))  # noqa: E731

    def mixed(a: jax.Array, b: jax.Array) -> jax.Array:
        return jax.jvp(lambda w: jax.jvp(mean, (w,), (a,))[1], (path,), (b,))[1]

    pairs = jax.vmap(jax.vmap(mixed, (None, 0)), (0, None))  # over both patterns
    cross = jax.vmap(pairs)(x, x[jnp.arange(len(x)) ^ 1])
    return Record(on_pool[0], on_test[0], on_pool[2], on_test[2], on_test[1], cross)


def _tied(
    landscape: Landscape, pool: Examples, path: jax.Array, x: jax.Array, rows: jax.Array, visited: jax.Array
) -> jax.Array:
    """sum over the tied examples of grad xi . x, for each probe: x (R, P), rows and visited (R, C)."""
    if rows.shape[1] == 0:
        return jnp.zeros(len(x))
    pull = jax.grad(lambda w: landscape.mean_measured(w, pool))(path)

    def one(x: jax.Array, rows: jax.Array, visited: jax.Array) -> jax.Array:
        own = jax.vmap(landscape.measured, (None, 0))
        _, slopes = jax.jvp(lambda w: own(w, _tree.take(pool, rows)), (path,), (x,))
        return jnp.where(visited, slopes - pull @ x, 0.0).sum()

    return jax.vmap(one)(x, rows, visited)
