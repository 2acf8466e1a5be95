"""The functions at the nodes of diagrams, on flat weights, with the examples over which their means run."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _tree
from gradnoise._types import Examples, Params
from gradnoise.measure.contractions import Source
from gradnoise.measure.entries import FACTOR, PRODUCT, TEST_FACTOR
from gradnoise.problem import Problem


def flat_sources(
    problem: Problem, params: Params, examples: Examples, metric: Params | None = None, variance: bool = False
) -> tuple[jax.Array, dict[str, Source]]:
    """(point, kind of node -> function and examples) in float64.

    The point is the flat weights, or with a `metric` M the origin of u in params + sqrt(M) u: contractions over u are
    those of the weights with the inverse metric M. With `variance` there is one more coordinate s, zero at the point: the
    two roots of a forest are s l, the formal root s^2/2, so that the tree through all three is the product of the trees.
    """
    params = _tree.cast(params, jnp.float64)
    point, _ = _tree.flatten(params)
    leaves, structure = jax.tree.flatten(params)
    shapes = tuple(leaf.shape for leaf in leaves)
    roots = jnp.ones(()) if metric is None else _roots(metric, params)

    def at_point(function: Callable) -> Callable:
        flat = flat_function(function, structure, shapes)
        return flat if metric is None else _in_metric(flat, point, roots)

    sample = _tree.cast(examples, jnp.float64)
    sources = {"loss": Source(at_point(problem.loss), sample)}
    if problem.measured is not None:
        sources["measured"] = Source(at_point(problem.measured_loss), sample)
    if problem.test_pool is not None:
        sources["test"] = Source(at_point(problem.measured_loss), _tree.cast(problem.test_pool, jnp.float64))
    start = point if metric is None else jnp.zeros_like(point)
    if not variance:
        return start, sources
    return jnp.append(start, 0.0), {**sources, **dict(_forest_sources(sources))}


@lru_cache(maxsize=128)
def flat_function(function: Callable, structure: Any, shapes: tuple[tuple[int, ...], ...]) -> Callable:
    """`function(params, example)` as a function of the flat weights (what follows them is ignored); cached, so that
    compiled code is found again."""
    sizes = [int(np.prod(shape)) for shape in shapes]
    stops = np.cumsum(sizes)

    def flat(theta: jax.Array, example: Any) -> jax.Array:
        leaves = [
            theta[stop - size : stop].reshape(shape) for stop, size, shape in zip(stops, sizes, shapes, strict=True)
        ]
        return function(jax.tree.unflatten(structure, leaves), example)

    return flat


def read_metric(metric: Any, params: Params) -> Params:
    """A tree like params with one number a weight or a leaf, checked: finite and at least 0, somewhere above.

    Raises ValueError or TypeError, naming metric, for anything else.
    """
    if jax.tree.structure(metric) != jax.tree.structure(params):
        raise ValueError(
            "metric has another structure than params, expected one rate a weight or a leaf. Give a tree like params."
        )
    read = []
    for rate, leaf in zip(jax.tree.leaves(metric), jax.tree.leaves(params), strict=True):
        try:
            array = np.asarray(rate, dtype=float)
        except (TypeError, ValueError):
            raise TypeError(f"metric holds {rate!r}, expected numbers. Give a tree like params of rates.") from None
        if array.shape not in ((), np.shape(leaf)) or not np.all(np.isfinite(array) & (array >= 0)):
            raise ValueError(
                f"metric has a leaf of shape {array.shape} beside {np.shape(leaf)}, or a number that is negative or not "
                "finite, expected one rate of at least 0 a weight or a leaf. Mend it."
            )
        read.append(array)
    if not any(np.any(array > 0) for array in read):
        raise ValueError("metric is zero everywhere, so that nothing moves. Give a positive rate to some weight.")
    return jax.tree.unflatten(jax.tree.structure(params), read)


def _roots(metric: Params, params: Params) -> jax.Array:
    rates = jax.tree.map(lambda rate, leaf: jnp.broadcast_to(jnp.asarray(rate, leaf.dtype), leaf.shape), metric, params)
    return jnp.sqrt(_tree.flatten(rates)[0])


def _in_metric(function: Callable, point: jax.Array, roots: jax.Array) -> Callable:
    return lambda u, example: function(point + roots * u[: point.size], example)


def _forest_sources(sources: dict[str, Source]) -> Iterator[tuple[str, Source]]:
    sample = sources.get("measured", sources["loss"])
    yield FACTOR, Source(_times_last(sample.function), sample.examples)
    if "test" in sources:
        yield TEST_FACTOR, Source(_times_last(sources["test"].function), sources["test"].examples)
    yield PRODUCT, Source(_half_square_of_last, _tree.take(sample.examples, np.arange(1)))


@lru_cache(maxsize=128)
def _times_last(function: Callable) -> Callable:
    return lambda theta, example: theta[-1] * function(theta, example)


def _half_square_of_last(theta: jax.Array, example: Any) -> jax.Array:
    return theta[-1] ** 2 / 2
