"""Mean shift and covariance of the deviations from the path, as dense matrices: exact, for up to about a thousand weights.

Along the path run, for each pattern of the noise (noise_weights), in deviations z = (weights, buffer) from the path

    U' = M U (+ b xi)                                  carried noise of the examples, by class of steps
    S' = M S M^T + M X b^T + b X^T M^T + b C b^T       X = E_x[U xi^T], C = E_x[xi xi^T]
    m' = M m + b ((1/2) J:S + E_x[h_x U])              J:S = third derivative of the mean loss contracted with S

with M z = the update with gradient H z_weights and b xi = the update of nothing with gradient xi; for SGD M = 1 - rate H,
b = -rate. Everything is a pure function of start, rates and the shares of the examples, so JAX differentiates it.

Source: loop.md section 12, pair form; with momentum the same in the pair (weights, buffer).
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradnoise._types import Examples
from gradnoise.measure.derivatives import directional
from gradnoise.predict.path.landscape import Landscape
from gradnoise.predict.path.update import Update


class Pattern(NamedTuple):
    """How the carried noise of a kind is kept: `num_classes` accumulators, set back to zero at every `reset` steps."""

    kind: str
    num_classes: int
    reset: int


class DenseRecord(NamedTuple):
    """After t = 0..T steps, t first; K patterns.

    `path_pool`, `path_test` (T+1,). `pool`, `test` (T+1, K): G.m + (1/2) H:S of the mean over pool and test examples.
    `slope_square` (T+1, K): G S G. `cross_square` (T+1, K, K): tr(H S_k H S_l). `tied` (T+1,): E_x[xi'.U] of the measured
    function, all steps kicked. `shift` (T+1, K, P): m.
    """

    path_pool: jax.Array
    path_test: jax.Array
    pool: jax.Array
    test: jax.Array
    slope_square: jax.Array
    cross_square: jax.Array
    tied: jax.Array
    shift: jax.Array


class _State(NamedTuple):
    path: jax.Array  # (slots, P)
    spread: jax.Array  # S, (K, slots P, slots P)
    shift: jax.Array  # m, (K, slots P)
    carried: tuple[jax.Array, ...]  # U of each pattern, (classes, n, slots P)
    tied: jax.Array  # U with every step kicked, (n, slots P)


@partial(jax.jit, static_argnames=("landscape", "update", "patterns", "block", "is_drawn"))
def run_dense(
    landscape: Landscape, update: Update, patterns: tuple[Pattern, ...], block: int, is_drawn: bool,
    start: jax.Array, rates: jax.Array, pool: Examples, test: Examples, shares: jax.Array, strengths: jax.Array,
) -> DenseRecord:  # fmt: skip
    """The recursion along the path from `start` (P,) with `rates` (T,) or (T, P).

    `shares` (n,): the probability of each pool example; `strengths` (T,): what the noise of each step is multiplied by (1
    unless the batch size changes on the way). `block`: directions treated at a time; `test` None: measured over the pool.
    """
    num_steps, size, examples = len(rates), len(start) * update.num_slots, len(shares)
    state = _State(
        update.start(start),
        jnp.zeros((len(patterns), size, size)),
        jnp.zeros((len(patterns), size)),
        tuple(jnp.zeros((pattern.num_classes, examples, size)) for pattern in patterns),
        jnp.zeros((examples, size) if is_drawn else (0, size)),
    )
    padded = jnp.concatenate([rates, rates[-1:]]) if num_steps else jnp.zeros(1)
    padded_strengths = jnp.concatenate([strengths, jnp.zeros(1)])
    own_test = landscape.measured is not landscape.loss

    @jax.checkpoint
    def body(state: _State, inputs: Any) -> tuple[_State, DenseRecord]:
        step, rate, strength = inputs
        rows = landscape.row_gradients(state.path[0], pool)
        mean = shares @ rows
        hessian = mean_hessian(landscape, landscape.loss, block, state.path[0], pool, shares)
        known = None if own_test else (mean, hessian, rows)
        record = _record(landscape, block, state, pool, test, shares, known)
        linear, push = linearized(update, hessian, rate, step == 0)
        centred = strength * (rows - mean)
        moved = _advance(landscape, patterns, block, state, (linear, push), centred, (step, strength), pool, shares)
        return moved._replace(path=update(state.path, mean, rate, step == 0)), record

    _, record = jax.lax.scan(body, state, (jnp.arange(num_steps + 1), padded, padded_strengths))
    return record


def _advance(
    landscape: Landscape, patterns: tuple[Pattern, ...], block: int, state: _State, matrices: tuple[jax.Array, jax.Array],
    centred: jax.Array, when: tuple[jax.Array, jax.Array], pool: Examples, shares: jax.Array,
) -> _State:  # fmt: skip
    """S, m and U of all patterns one step on (the path as it was)."""
    (linear, push), (step, strength), num_weights = matrices, when, state.path.shape[1]
    path, fresh = state.path[0], centred @ push.T
    noise = push @ (centred.T * shares) @ centred @ push.T
    spread, shift, carried = [], [], []
    for k, pattern in enumerate(patterns):
        own = jnp.where(step % pattern.reset == 0, 0.0, state.carried[k])
        place = step % pattern.num_classes
        covariance, force = noise, third_derivative(landscape, block, path, pool, shares, state.spread[k]) / 2
        if pattern.kind != "fresh":
            here = own[place]
            tie = linear @ (here.T * shares) @ fresh
            covariance += tie + tie.T
            force += strength * _hessian_products(landscape, path, pool, shares, here[:, :num_weights])
            own = (own @ linear.T).at[place].add(fresh)
        spread.append(linear @ state.spread[k] @ linear.T + covariance)
        shift.append(linear @ state.shift[k] + push @ force)
        carried.append(own)
    tied = state.tied @ linear.T + fresh if len(state.tied) else state.tied
    return _State(state.path, jnp.stack(spread), jnp.stack(shift), tuple(carried), tied)


def _record(
    landscape: Landscape, block: int, state: _State, pool: Examples, test: Examples, shares: jax.Array, known: Any
) -> DenseRecord:
    path, num_weights = state.path[0], state.path.shape[1]
    spread, shift = state.spread[:, :num_weights, :num_weights], state.shift[:, :num_weights]

    def over(examples: Examples, own_shares: Any, known: Any) -> tuple[jax.Array, ...]:
        if known is None:
            gradient = jax.grad(lambda w: landscape.mean_measured(w, examples, own_shares))(path)
            hessian = mean_hessian(landscape, landscape.measured, block, path, examples, own_shares)
        else:
            gradient, hessian, _ = known
        bent = jnp.einsum("ij,kjl->kil", hessian, spread)
        value = landscape.mean_measured(path, examples, own_shares)
        return value, shift @ gradient + jnp.trace(bent, axis1=1, axis2=2) / 2, gradient, bent

    on_pool = over(pool, shares, known)
    path_test, second, gradient, bent = on_pool if test is None else over(test, None, None)
    rows = jax.vmap(jax.grad(landscape.measured), (None, 0))(path, pool) if known is None else known[2]
    tied = jnp.zeros(())
    if len(state.tied):
        tied = shares @ jnp.sum((rows - shares @ rows) * state.tied[:, :num_weights], axis=1)
    slopes = jnp.einsum("i,kij,j->k", gradient, spread, gradient)
    cross = jnp.einsum("kij,lji->kl", bent, bent)
    return DenseRecord(on_pool[0], path_test, on_pool[1], second, slopes, cross, tied, shift)


def linearized(update: Update, hessian: jax.Array, rate: jax.Array, is_first: jax.Array) -> tuple[jax.Array, jax.Array]:
    """M (slots P, slots P) and b (slots P, P): what one update does to a deviation and to a gradient."""
    slots, weights = update.num_slots, len(hessian)
    basis = jnp.eye(slots * weights).reshape(-1, slots, weights).transpose(1, 0, 2)
    moved = update(basis, basis[0] @ hessian, rate, is_first)
    pushed = update(jnp.zeros((slots, weights, weights)), jnp.eye(weights), rate, is_first)
    linear, push = (each.transpose(0, 2, 1).reshape(slots * weights, -1) for each in (moved, pushed))
    return linear, push


def mean_hessian(
    landscape: Landscape, function: Any, block: int, path: jax.Array, examples: Examples, shares: Any
) -> jax.Array:
    """The hessian (P, P) of the mean of `function` over the examples, `block` columns at a time."""
    chosen = landscape._replace(loss=function)
    product = lambda v: directional(lambda w: chosen.mean_gradient(w, examples, shares), path, [v])  # noqa: E731
    return jax.lax.map(product, jnp.eye(len(path)), batch_size=min(block, len(path)))


def third_derivative(
    landscape: Landscape, block: int, path: jax.Array, pool: Examples, shares: jax.Array, spread: jax.Array
) -> jax.Array:
    """J:S = sum_j D^2 G [e_j, S e_j], shape (P,); `spread` may hold buffers after the weights."""
    num_weights = len(path)
    gradient = partial(landscape.mean_gradient, examples=pool, shares=shares)
    product = lambda pair: directional(gradient, path, [pair[0], pair[1]])  # noqa: E731
    pairs = jnp.eye(num_weights), spread[:num_weights, :num_weights]
    return jax.lax.map(product, pairs, batch_size=min(block, num_weights)).sum(0)


def _hessian_products(
    landscape: Landscape, path: jax.Array, pool: Examples, shares: jax.Array, vectors: jax.Array
) -> jax.Array:
    """E_x[h_x v_x] for one vector an example, (n, P) -> (P,)."""

    def one(example: Any, vector: jax.Array) -> jax.Array:
        return directional(lambda w: jax.grad(landscape.loss)(w, example), path, [vector])

    return shares @ jax.vmap(one)(pool, vectors)
