"""Directional derivatives of a per-example function and of its mean, in chunks of examples.

`function(theta, example) -> scalar` with theta the flat weights (P,). Along k vectors v_1..v_k:

    message     D^k grad fbar (v_1, ..., v_k)     (P,)
    derivative  D^k fbar (v_1, ..., v_k)          scalar
    derivatives D^k f_i (v_1, ..., v_k)           (n,), one for each example
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from gradnoise import _tree
from gradnoise._types import Examples

Function = Callable[[jax.Array, Any], jax.Array]


def directional(function: Callable[[jax.Array], Any], point: jax.Array, vectors: Iterable[jax.Array]) -> Any:
    """D^k function(point) along the k vectors, by nested forward mode.

    >>> directional(lambda x: x[0] ** 2 * x[1], jnp.array([3.0, 1.0]), [jnp.array([1.0, 0.0])] * 2)
    Array(2., dtype=float32)
    """
    for vector in vectors:
        function = _along(function, vector)
    return function(point)


def _along(function: Callable[[jax.Array], Any], vector: jax.Array) -> Callable[[jax.Array], Any]:
    return lambda point: jax.jvp(function, (point,), (vector,))[1]


@partial(jax.jit, static_argnums=(0, 1))
def mean_message(function: Function, chunk: int, theta: jax.Array, examples: Examples, vectors: list) -> jax.Array:
    """D^k grad of the mean along the vectors, shape (P,)."""
    return _mean(lambda total: directional(jax.grad(total), theta, vectors), function, chunk, examples)


@partial(jax.jit, static_argnums=(0, 1))
def mean_derivative(function: Function, chunk: int, theta: jax.Array, examples: Examples, vectors: list) -> jax.Array:
    """D^k of the mean along the vectors, a scalar."""
    return _mean(lambda total: directional(total, theta, vectors), function, chunk, examples)


def _mean(derive: Callable[[Callable], jax.Array], function: Function, chunk: int, examples: Examples) -> jax.Array:
    def body(block: Examples, weights: jax.Array) -> jax.Array:
        return derive(lambda theta: weights @ jax.vmap(function, (None, 0))(theta, block))

    return sum_chunks(body, examples, chunk) / _tree.num_examples(examples)


@partial(jax.jit, static_argnums=(0, 1))
def derivatives(function: Function, chunk: int, theta: jax.Array, examples: Examples, vectors: list) -> jax.Array:
    """D^k of every example's function along the vectors, shape (n,)."""

    def body(block: Examples) -> jax.Array:
        return directional(lambda w: jax.vmap(function, (None, 0))(w, block), theta, vectors)

    size = _tree.num_examples(examples)
    if chunk >= size:
        return body(examples)
    index = jnp.minimum(jnp.arange(-(-size // chunk) * chunk), size - 1).reshape(-1, chunk)
    return jax.lax.map(lambda i: body(_tree.take(examples, i)), index).reshape(-1)[:size]


def sum_chunks(body: Callable[[Examples, jax.Array], Any], examples: Examples, chunk: int) -> Any:
    """sum over chunks of body(examples of the chunk, weights); weights are 1 and, in the padding of the last, 0."""
    size = _tree.num_examples(examples)
    if chunk >= size:
        return body(examples, jnp.ones(size, jnp.result_type(float)))

    def part(start: jax.Array) -> jax.Array:
        index = start + jnp.arange(chunk)
        weights = jnp.asarray(index < size, jnp.result_type(float))
        return body(_tree.take(examples, jnp.minimum(index, size - 1)), weights)

    first = jax.eval_shape(part, jnp.asarray(0))
    total, _ = jax.lax.scan(
        lambda total, start: (total + part(start), None),
        jnp.zeros(first.shape, first.dtype),
        jnp.arange(0, size, chunk),
    )
    return total
