"""A problem as functions of one flat vector of weights, with means over stacks of examples taken in chunks."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradnoise import _tree
from gradnoise._types import Examples, Params
from gradnoise.measure.derivatives import sum_chunks
from gradnoise.problem import Problem

Function = Callable[[jax.Array, Any], jax.Array]
"""function(weights (P,), example) -> scalar"""


class Landscape(NamedTuple):
    """Loss and measured function of flat weights; hashable, static under jit. `chunk`: examples treated at a time."""

    loss: Function
    measured: Function
    chunk: int

    def mean_gradient(self, weights: jax.Array, examples: Examples, shares: jax.Array | None = None) -> jax.Array:
        """G = sum_i share_i grad l_i, shares 1/n unless given; shape (P,)."""
        return weighted_sum(jax.grad, self.loss, self.chunk, weights, examples, shares)

    def mean_measured(self, weights: jax.Array, examples: Examples, shares: jax.Array | None = None) -> jax.Array:
        """The mean of the measured function over the examples."""
        return weighted_sum(lambda f: f, self.measured, self.chunk, weights, examples, shares)

    def row_gradients(self, weights: jax.Array, examples: Examples) -> jax.Array:
        """grad l_i of every example, (n, P)."""
        return jax.vmap(jax.grad(self.loss), (None, 0))(weights, examples)


def weighted_sum(
    operator: Callable[[Callable[..., Any]], Callable[..., Any]],
    function: Function,
    chunk: int,
    weights: jax.Array,
    examples: Examples,
    shares: jax.Array | None = None,
) -> Any:
    """operator(w -> sum_i share_i function(w, x_i))(weights), the sum taken chunk by chunk outside the operator."""
    if shares is None:
        size = _tree.num_examples(examples)
        shares = jnp.full(size, 1 / size)

    def body(block: Any, padding: jax.Array) -> Any:
        some, own = block
        return operator(lambda w: (own * padding) @ jax.vmap(function, (None, 0))(w, some))(weights)

    return sum_chunks(body, (examples, shares), chunk)


def tested(pool: Examples, test: Examples) -> Examples:
    """The examples over which test loss is measured: the pool where there are no others (None)."""
    return pool if test is None else test


@lru_cache(maxsize=64)
def _functions(problem: Problem, structure: Any, shapes: tuple[tuple[int, ...], ...]) -> tuple[Function, Function]:
    """Loss and measured of flat weights; the same objects for the same problem, so that they compile once."""
    _, unflatten = _tree.flatten(structure.unflatten([jnp.zeros(shape) for shape in shapes]))

    def loss(weights: jax.Array, example: Any) -> jax.Array:
        return problem.loss(unflatten(weights), example)

    def measured(weights: jax.Array, example: Any) -> jax.Array:
        return problem.measured_loss(unflatten(weights), example)

    return loss, (loss if problem.measured is None else measured)


def landscape(problem: Problem, params: Params, chunk: int) -> Landscape:
    """The problem at weights of the structure of `params`; call it inside `jax.enable_x64(True)`."""
    leaves, structure = jax.tree.flatten(params)
    return Landscape(*_functions(problem, structure, tuple(leaf.shape for leaf in leaves)), chunk)
