"""The gradients of single examples at one point, in chunks: rows, mean, products with their covariance; float64."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr
from jaxtyping import Float

from gradnoise import _checks, _memory, _tree
from gradnoise._types import Examples, Key, Params
from gradnoise.problem import Loss, Problem, probe_problem, require_problem

BLOCK = 8
"""Chunks are whole blocks of so many examples: statistics over pairs inside a block then depend on no setting."""

VECTORS_AT_ONCE = 8
"""How many vectors a covariance product treats together."""

COMPILING = 2**27
"""Bytes that compiling takes beside the work itself, from experience."""

_FAST_BYTES = 2**27  # a chunk that traces to more gains no speed


@dataclass(frozen=True, eq=False)
class ExampleGradients:
    """The gradients g_i of n examples at `params`, flat vectors of length P; never all in memory unless asked.

    `drawn` says whether the examples are a sample of the population (covariance S2, divisor n - 1) or the population
    itself (D, divisor n). `room` is how many bytes a piece of work may take. Made by `example_gradients`. All arrays
    that come out are numpy float64.
    """

    loss: Loss
    params: Params
    examples: Examples
    drawn: bool
    room: int

    @cached_property
    def num_examples(self) -> int:
        return _tree.num_examples(self.examples)

    @cached_property
    def num_parameters(self) -> int:
        return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(self.params))

    @cached_property
    def mean(self) -> Float[np.ndarray, "P"]:
        """gbar = (1/n) sum_i g_i."""
        with jax.enable_x64(True):
            chunk = self.chunk_size(lambda block: _mean_gradient(self.loss, BLOCK, self.params, block))
            return np.asarray(_mean_gradient(self.loss, chunk, self.params, self.examples))

    def chunks(self) -> Iterator[Float[np.ndarray, "c P"]]:
        """The rows g_i in order, a chunk of c examples at a time."""
        with jax.enable_x64(True):
            chunk = self.chunk_size(lambda block: gradient_rows(self.loss, self.params, block))
        for start in range(0, self.num_examples, chunk):
            with jax.enable_x64(True):  # left before each yield: the setting is the thread's, not the generator's
                index = np.minimum(np.arange(start, start + chunk), self.num_examples - 1)
                rows = np.asarray(_compiled_rows(self.loss, self.params, _tree.take(self.examples, index)))
            yield rows[: self.num_examples - start]

    def covariance_product(self, vectors: Float[np.ndarray, "P *k"]) -> Float[np.ndarray, "P *k"]:
        """D v = (1/n) sum_i (g_i - gbar) ((g_i - gbar).v) for a vector (P,) or columns (P, k); D is never formed."""
        rows = np.asarray(vectors, dtype=float).reshape(self.num_parameters, -1).T
        results = [np.zeros((0, self.num_parameters))]
        with jax.enable_x64(True):
            for start in range(0, len(rows), VECTORS_AT_ONCE):
                some = jnp.asarray(rows[start : start + VECTORS_AT_ONCE])
                inputs = self.params, jnp.asarray(self.mean), self.examples, some
                results.append(np.asarray(_covariance_products(self.loss, self.product_chunk, *inputs)))
        return np.concatenate(results).T.reshape(np.shape(vectors))

    @cached_property
    def product_chunk(self) -> int:
        """How many examples a covariance product treats at a time."""
        with jax.enable_x64(True):
            one = jnp.asarray(self.mean)
            return self.chunk_size(
                lambda block: covariance_product(self.loss, BLOCK, self.params, one, block, one), VECTORS_AT_ONCE
            )

    def chunk_size(self, work: Callable[[Examples], Any], copies: int = 1) -> int:
        """Examples a chunk, a multiple of BLOCK, so that `copies` of `work` on a chunk stay within `room`.

        The bytes are bounded from above by the sizes of all intermediate arrays, as if none were ever freed.
        """
        one, two = (traced_bytes(work, _tree.take(self.examples, np.zeros(k * BLOCK, int))) for k in (1, 2))
        per_block = max(copies * (two - one), 1)
        spare = self.room - copies * max(2 * one - two, 0)
        if spare < per_block:
            needed = _memory.format_memory(self.room - spare + per_block)
            raise MemoryError(
                f"memory: {BLOCK} examples at a time may need {needed} more, expected at most "
                f"{_memory.format_memory(self.room)}. Allow more memory, or take a smaller model."
            )
        num_blocks = max(1, min(spare // per_block, _FAST_BYTES // per_block, -(-self.num_examples // BLOCK)))
        num_chunks = -(-self.num_examples // (num_blocks * BLOCK))
        return -(-self.num_examples // (num_chunks * BLOCK)) * BLOCK

    def require(self, needed: int, what: str, instead: str) -> None:
        """Raise MemoryError unless `needed` bytes fit in `room`."""
        if needed > self.room:
            came, room = _memory.format_memory(needed), _memory.format_memory(self.room)
            raise MemoryError(f"memory: {what} needs {came}, expected at most {room}. {instead}, or allow more memory.")


def example_gradients(
    problem: Problem,
    params: Params,
    num_draws: int | None = None,
    key: Key | None = None,
    memory: int | str | None = None,
    caller: str = "example_gradients",
) -> ExampleGradients:
    """The per-example gradients of the pool (num_draws=None), or of `num_draws` examples drawn by `problem.sample`.

    Everything is cast to float64 and the problem is probed. `memory` bounds the peak of the process (bytes or "2GiB",
    the default).

    >>> import gradnoise.problem as gp
    >>> problem = gp.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: 0.0, np.array([1.0, 3.0]))
    >>> gradients = example_gradients(problem, 0.5)
    >>> gradients.mean, np.concatenate(list(gradients.chunks())), gradients.covariance_product(np.ones(1))
    (array([-1.5]), array([[-0.5], [-2.5]]), array([1.]))

    Raises ValueError without a pool and without num_draws, and for a key without num_draws; TypeError if problem is no
    Problem; MemoryError if `memory` is less than the process already holds; later, if BLOCK examples at a time do not
    fit.
    """
    require_problem(problem)
    room = _room(memory)
    if num_draws is None and problem.pool is None:
        raise ValueError(
            f"num_draws is missing: {caller} averages over a pool, and problem {problem.name!r} has none. "
            "Give num_draws and key, or build the problem with from_arrays."
        )
    if num_draws is None and key is not None:
        raise ValueError(
            f"key has no meaning without num_draws: {caller} then uses the whole pool. Leave it out, or give num_draws."
        )
    with jax.enable_x64(True):
        if num_draws is None:
            examples = problem.pool
        else:
            num_draws = _checks.integer("num_draws", num_draws, 2)
            examples = problem.sample(_checks.random_key("key", key), num_draws)
            came = _checks.stacked_examples("sample(key, n)", examples)
            if came != num_draws:
                raise ValueError(
                    f"sample(key, n) gave {came} examples for n={num_draws}. Make its leading axis n long."
                )
        probe_problem(problem, params, examples)
        params, examples = _tree.cast(params, jnp.float64), _tree.cast(examples, jnp.float64)
    return ExampleGradients(_as_static(problem.loss), params, examples, num_draws is not None, room)


def _room(memory: int | str | None) -> int:
    """Bytes of work that keep the process within `memory`."""
    room = _memory.room(memory, COMPILING)
    if memory is not None and room <= 0:
        limit = _memory.parse_memory(memory)
        raise MemoryError(
            f"memory={_memory.format_memory(limit)} is less than the {_memory.format_memory(limit - room)} that the "
            "process already holds or needs to compile. Give more."
        )
    return room


def sum_over_chunks(function: Callable[[Examples, jax.Array], Any], examples: Examples, chunk: int) -> Any:
    """The sum over chunks of `function(block, fresh)`.

    The last block reaches back over examples that were seen; the function leaves out those where `fresh` is false.
    """
    num = _tree.num_examples(examples)
    chunk = min(chunk, num)

    def visit(start: jax.Array) -> Any:
        first = jnp.minimum(start, num - chunk)
        block = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, first, chunk), examples)
        return function(block, first + jnp.arange(chunk) >= start)

    starts = jnp.arange(0, num, chunk)
    zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(visit, starts[0]))
    return jax.lax.scan(lambda total, start: (jax.tree.map(jnp.add, total, visit(start)), None), zero, starts)[0]


def map_chunks(function: Callable[[Examples], Any], examples: Examples, chunk: int) -> Any:
    """`function(block)` stacked along chunks, in order; the last block is filled up with copies of the last example."""
    num = _tree.num_examples(examples)
    visit = lambda start: function(_tree.take(examples, jnp.minimum(start + jnp.arange(chunk), num - 1)))  # noqa: E731
    return jax.lax.map(visit, jnp.arange(0, num, chunk))


def gradient_rows(loss: Loss, params: Params, block: Examples) -> Float[jax.Array, "c P"]:
    """One flat gradient a row."""
    one = lambda example: _tree.flatten(jax.grad(loss)(params, example))[0]  # noqa: E731
    return jax.vmap(one)(block)


def covariance_product(
    loss: Loss, chunk: int, params: Params, mean: jax.Array, examples: Examples, vector: jax.Array
) -> Float[jax.Array, "P"]:
    """D v by forward and reverse mode: slopes a_i = g_i.v, then (1/n) sum_i (a_i - gbar.v) g_i; for use inside jit."""
    flat, unravel = _tree.flatten(params)

    def part(block: Examples, fresh: jax.Array) -> Any:
        losses = lambda at: jax.vmap(loss, (None, 0))(unravel(at), block)  # noqa: E731
        _, slopes = jax.jvp(losses, (flat,), (vector,))
        (total,) = jax.vjp(losses, flat)[1](jnp.where(fresh, slopes - mean @ vector, 0.0))
        return total

    return sum_over_chunks(part, examples, chunk) / _tree.num_examples(examples)


def traced_bytes(work: Callable[..., Any], *args: Any) -> int:
    """The bytes of all arrays that `work(*args)` makes, by tracing it: an upper bound of what it holds at once."""
    return _jaxpr_bytes(jax.make_jaxpr(work)(*args).jaxpr)


def _jaxpr_bytes(jaxpr: Jaxpr) -> int:
    total = 0
    for equation in jaxpr.eqns:
        shapes: list[Any] = [variable.aval for variable in equation.outvars]
        total += sum(shape.size * shape.dtype.itemsize for shape in shapes)
        inside = list(equation.params.values())
        for inner in jax.tree.leaves(inside, is_leaf=lambda part: isinstance(part, ClosedJaxpr | Jaxpr)):
            if isinstance(inner, ClosedJaxpr | Jaxpr):
                total += _jaxpr_bytes(inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner)
    return total


def _as_static(loss: Loss) -> Loss:
    """The loss as something jit can look up; a callable that has no hash is compiled anew each time."""
    try:
        hash(loss)
    except TypeError:
        return lambda params, example: loss(params, example)
    return loss


_compiled_rows = partial(jax.jit, static_argnums=0)(gradient_rows)


@partial(jax.jit, static_argnums=(0, 1))
def _mean_gradient(loss: Loss, chunk: int, params: Params, examples: Examples) -> Float[jax.Array, "P"]:
    def part(block: Examples, fresh: jax.Array) -> Any:
        total = lambda at: jnp.where(fresh, jax.vmap(loss, (None, 0))(at, block), 0.0).sum()  # noqa: E731
        return _tree.flatten(jax.grad(total)(params))[0]

    return sum_over_chunks(part, examples, chunk) / _tree.num_examples(examples)


@partial(jax.jit, static_argnums=(0, 1))
def _covariance_products(loss: Loss, chunk: int, params: Params, mean: Any, examples: Any, rows: Any) -> jax.Array:
    one = lambda vector: covariance_product(loss, chunk, params, mean, examples, vector)  # noqa: E731
    return jax.vmap(one)(rows)
