"""Where a loss is not smooth in its weights, or drops precision: read off its jaxpr, without running it."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _tree
from gradnoise._dataflow import Dataflow, Value, reachable
from gradnoise._types import Params
from gradnoise.problem import Problem

KINKED = frozenset(
    """max min abs sign sort clamp floor ceil round rem nextafter reduce_max reduce_min cummax cummin top_k approx_top_k
    reduce_window_max reduce_window_min scatter_max scatter_min select_and_scatter_add""".split()  # noqa: SIM905
)
SMOOTH_FUNCTIONS = ("logaddexp", "logaddexp2", "_det", "_slogdet_lu", "_slogdet_qr")
"""Functions of JAX with their own derivative, smooth although max, abs or select stand in their jaxpr."""

SMOOTH_SOLVES = ("custom_linear_solve",)
"""Operations that take a pivot order, an integer that depends on the weights, and do not depend on it."""

FORMATS = {(8, 23): "float32", (5, 10): "float16", (8, 7): "bfloat16"}


def kinks(problem: Problem, params: Params) -> tuple[str, ...]:
    """Names of the operations in loss and measured that are not smooth in the weights; () if there is none.

    A name is that of a JAX primitive (max, abs, sort, select_n for a `where` whose condition depends on the weights, gt
    for a comparison used as a number) or of the custom-derivative function around it (relu). Where there is one,
    orders 0 and 1 and all measures stand, orders from 2 on do not.

    A kink counts if a weight reaches it and it reaches the result, both without passing a `stop_gradient`: the shift
    by a stopped maximum inside logsumexp is none. Not seen: powers and roots at zero, tests for equality with something
    fixed (they guard single points), and what a custom derivative leaves out. Said although smooth: max(0, y) where
    y >= 0 cannot be read off, as for a variance written as a difference.

    >>> hinge = Problem(lambda w, x: jnp.maximum(0.0, 1 - w * x), lambda key, n: jnp.ones(n), lambda key: 0.0)
    >>> kinks(hinge, jnp.array(0.5))
    ('max',)
    """
    return _unique(name for graph in _graphs(problem, params) for name in _kinks(graph))


def narrowings(problem: Problem, params: Params, dtype: Any = jnp.float64) -> tuple[str, ...]:
    """Floating types narrower than `dtype` that values depending on the weights pass through; () if there is none.

    A cast back at the end hides this from the result's dtype: half of the digits are gone all the same.

    >>> lossy = lambda w, x: (w.astype("float32") * x).astype("float64")
    >>> narrowings(Problem(lossy, lambda key, n: jnp.ones(n), lambda key: 0.0), jnp.array(0.5))
    ('float32',)
    """
    with jax.enable_x64(True):
        graphs = _graphs(problem, _tree.cast(params, dtype), dtype)
    return _unique(name for graph in graphs for name in _narrowings(graph, jnp.finfo(dtype).nmant))


def _kinks(graph: Dataflow) -> Iterable[str]:
    for value in graph.values:
        if value not in graph.needed or not value.floating or value.operation in SMOOTH_SOLVES:
            continue
        steps = [source for source in value.sources if not source.floating and source in graph.dependent]
        if steps:
            origins = [value.operation] if value.chooser in steps else _origins(graph, steps)
            yield from [value.label] if value.label else origins
        elif value.operation in KINKED and not _identity(value) and graph.differentiable.intersection(value.operands):
            yield value.label or value.operation


def _origins(graph: Dataflow, steps: Sequence[Value]) -> list[str]:
    """The operations that made integers or truth values out of weights."""
    discrete = {value for value in graph.values if not value.floating and value in graph.dependent}
    before = reachable(steps, {value: [s for s in value.sources if s in discrete] for value in discrete})
    made = [v for v in graph.values if v in before and any(s.floating and s in graph.dependent for s in v.sources)]
    return [value.label or value.operation for value in made]


def _identity(value: Value) -> bool:
    """abs(y) and max(y, c) for y >= 0 >= c, max(y, -inf), and abs of a complex number, which is smooth like a norm."""
    if value.operation in ("abs", "sign"):
        return value.operands[0].nonnegative or jnp.issubdtype(value.operands[0].dtype, jnp.complexfloating)
    pairs = (value.operands, value.operands[::-1]) if value.operation == "max" else ()
    return any(
        bound.constant is not None and (bound.constant == -np.inf or (bound.constant <= 0 and other.nonnegative))
        for bound, other in pairs
    )


def _narrowings(graph: Dataflow, mantissa_bits: int) -> Iterable[str]:
    for value in graph.values:
        if value not in graph.needed or value not in graph.dependent or not value.floating:
            continue
        if value.format is not None and value.format[1] < mantissa_bits:
            yield FORMATS.get(value.format, "reduced precision")
        elif jnp.finfo(value.dtype).nmant < mantissa_bits:
            yield jnp.finfo(value.dtype).dtype.name


def _graphs(problem: Problem, params: Params, dtype: Any = None) -> list[Dataflow]:
    """The graphs of loss and of measured for one example, floating inputs as they are or as `dtype`."""
    examples = problem.pool
    if examples is None:
        examples = jax.eval_shape(lambda key: problem.sample(key, 1), jax.random.key(0))

    def abstract(leaf: Any, skip: int) -> jax.ShapeDtypeStruct:
        kind = jax.dtypes.canonicalize_dtype(leaf.dtype if hasattr(leaf, "dtype") else np.result_type(leaf))
        changes = dtype is not None and jnp.issubdtype(kind, jnp.floating)
        return jax.ShapeDtypeStruct(np.shape(leaf)[skip:], dtype if changes else kind)

    weights = jax.tree.map(lambda leaf: abstract(leaf, 0), params)
    example = jax.tree.map(lambda leaf: abstract(leaf, 1), examples)
    functions = [problem.loss] if problem.measured is None else [problem.loss, problem.measured]
    return [Dataflow(function, weights, example, SMOOTH_FUNCTIONS) for function in functions]


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
