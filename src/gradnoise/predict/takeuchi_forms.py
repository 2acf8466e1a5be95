"""The gap after T steps of descent as functions of flat weights: Takeuchi's, by removal, and by probes; differentiable."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float
from matfree import decomp

from gradnoise import _tree
from gradnoise._types import Examples, Params
from gradnoise.predict.path.landscape import landscape
from gradnoise.predict.travelled import carried, travelled
from gradnoise.problem import Loss, Problem, probe_problem

COLUMNS = 64
"""Columns of the hessian formed at a time."""
EXHAUSTED = 1e-11
"""A Lanczos step shorter than this share of the operator's size is rounding."""


def dense_takeuchi(
    loss: Loss, learning_rate: float, num_steps: int, params: jax.Array, weight_decay: Any, examples: Examples
) -> jax.Array:
    """`takeuchi_term` exactly, of flat weights (P,); differentiable in them and in `weight_decay`.

    P hessian columns and one symmetric decomposition. The derivative holds for equal curvatures too (divided differences
    of phi_T). Run it in float64.
    """
    rows, moves, _ = _gradients_and_moves(loss, learning_rate, num_steps, params, weight_decay, examples)
    return jnp.sum(rows * moves) / len(rows)


def dense_removal(
    loss: Loss, learning_rate: float, num_steps: int, params: jax.Array, weight_decay: Any, examples: Examples
) -> jax.Array:
    """(1/n) sum_i [l_i(theta + d_i) - l_i(theta)], d_i: how far the weights move when example i is left out.

        d_i = x_i / (1 - c_i),    x_i = phi_T(H + lam I) (g_i - gbar) / (n-1),    c_i = x_i.(h_i - H) x_i / x_i.(g_i - gbar)

    Its leading order in 1/n is `dense_takeuchi`, (1/n) sum_i g_i.x_i. c_i is the share of the curvature along x_i that
    example i gave itself: for T -> infinity d_i is the minimum along x_i of the quadratic model of the loss without
    example i. (So it is the gap of runs of n - 1 examples.) Differentiable as `dense_takeuchi`. NaN where c_i >= 1: without
    example i that model has no minimum along x_i.
    """
    rows, moves, hessian = _gradients_and_moves(loss, learning_rate, num_steps, params, weight_decay, examples)
    curve = jax.vmap(lambda e, x: jax.jvp(lambda w: jax.grad(loss)(w, e), (params,), (x,))[1])(examples, moves)
    along, own = jnp.sum(rows * moves, axis=1), jnp.sum((curve - moves @ hessian) * moves, axis=1)
    share = jnp.where(along > 0, own / jnp.where(along > 0, along, 1), 0)
    left_out = params + moves / jnp.where(share < 1, 1 - share, jnp.nan)[:, None]
    return jnp.mean(jax.vmap(loss)(left_out, examples) - jax.vmap(loss, (None, 0))(params, examples))


DENSE_FORMS = {"takeuchi": dense_takeuchi, "removal": dense_removal}
"""Two estimates of the gap from the training set; the same to leading order in 1/N."""


def probed_takeuchi(
    loss: Loss,
    learning_rate: float,
    num_steps: int,
    depth: int,
    params: jax.Array,
    weight_decay: Any,
    examples: Examples,
    signs: Float[jax.Array, "r n"],
) -> Float[jax.Array, "r 2"]:
    """The term by each probe, from Lanczos of `depth` and of one less; differentiable by `jax.grad`, not by `jax.jvp`.

    Where a probe's gradients span fewer directions than `depth`, they are all there is (the derivative is then NaN).
    """
    decompose = decomp.hessenberg(depth, reortho="full")

    def product(vector: jax.Array, at: jax.Array, decay: Any) -> jax.Array:
        gradient = jax.grad(lambda w: jax.vmap(loss, (None, 0))(w, examples).mean())
        return jax.jvp(gradient, (at,), (vector,))[1] + decay * vector

    def one(some: jax.Array) -> jax.Array:
        centred = some - some.mean()
        start = jax.grad(lambda w: centred @ jax.vmap(loss, (None, 0))(w, examples))(params)
        found = decompose(product, start / jnp.linalg.norm(start), params, jnp.asarray(weight_decay, params.dtype))
        matrix = _tridiagonal(jnp.asarray(found.J_small))
        less = max(depth - 1, 1)
        both = jnp.stack([_first_entry(learning_rate, num_steps, part) for part in (matrix, matrix[:less, :less])])
        square = start @ start
        return jnp.where(square == 0, 0, both * square) / (len(some) * (len(some) - 1))

    return jax.lax.map(one, signs)


def flat_problem(problem: Problem, params: Params) -> tuple[Loss, jax.Array, Examples]:
    """Loss of flat weights, the weights and the pool in float64; call it inside `jax.enable_x64(True)`."""
    if problem.num_pool == 1:
        raise ValueError("pool holds one example, expected at least two: one gradient has no covariance. Give more.")
    params, examples = _tree.cast(params, float), _tree.cast(problem.pool, float)
    probe_problem(problem, params, examples)
    return landscape(problem, params, chunk=1).loss, _tree.flatten(params)[0], examples


def _gradients_and_moves(
    loss: Loss, rate: float, steps: int, params: jax.Array, weight_decay: Any, examples: Examples
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Rows g_i - gbar and phi_T(H + lam I) (g_i - gbar) / (n-1), both (n, P), and H."""
    rows = jax.vmap(jax.grad(loss), (None, 0))(params, examples)
    rows = rows - rows.mean(axis=0)
    gradient = jax.grad(lambda at: jax.vmap(loss, (None, 0))(at, examples).mean())
    identity = jnp.eye(len(params), dtype=params.dtype)
    columns = jax.lax.map(lambda v: jax.jvp(gradient, (params,), (v,))[1], identity, batch_size=COLUMNS)
    hessian = (columns + columns.T) / 2
    return rows, carried(rate, steps, rows, hessian + weight_decay * identity) / (len(rows) - 1), hessian


def _tridiagonal(hessenberg: jax.Array) -> jax.Array:
    """Lanczos' matrix from Arnoldi's of a symmetric operator, cut where the directions that the start reaches are used up.

    There the subdiagonal is rounding, and what follows in Arnoldi's matrix, its upper half above all, means nothing.
    """
    diagonal, below = jnp.diagonal(hessenberg), jnp.diagonal(hessenberg, -1)
    size = jnp.nanmax(jnp.abs(jnp.concatenate([diagonal, below])))
    reached = jnp.cumprod(below > EXHAUSTED * size)
    diagonal = diagonal.at[1:].set(jnp.where(reached, diagonal[1:], 0))
    below = jnp.where(reached, below, 0)
    return jnp.diag(diagonal) + jnp.diag(below, 1) + jnp.diag(below, -1)


def _first_entry(rate: float, steps: int, matrix: jax.Array) -> jax.Array:
    """e_1.phi_T(matrix) e_1: Gauss quadrature, exact for polynomials of degree up to twice the side less one."""
    values, vectors = jnp.linalg.eigh(matrix)
    return jnp.square(vectors[0]) @ travelled(values, rate, steps)
