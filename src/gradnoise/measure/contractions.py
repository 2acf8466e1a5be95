"""Numbers for labelled trees: averages over examples of products of derivatives, contracted along the tree.

Messages flow along edges: a node with children v_1..v_k sends the vector D^k grad f (v_1, ..., v_k) to its parent; a
tree is closed by a scalar derivative or a dot product. Nothing of size P x P or n x P is formed: examples pass in
chunks. Messages that depend on no example are computed once; all trees that need a loop over the examples share one
loop and the messages in it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _memory, _tree
from gradnoise._types import Examples
from gradnoise.measure import branches
from gradnoise.measure.branches import MEAN, PINNED, SINGLE, Branch
from gradnoise.measure.derivatives import (
    Function,
    derivatives,
    directional,
    mean_derivative,
    mean_message,
    sum_chunks,
)

CHUNK = 32
"""Examples that are differentiated at a time, where memory allows; half as many of each of two that meet."""

SPARE = 2**25
"""Bytes kept back from the room that is left once a loop is compiled."""


class Source(NamedTuple):
    """A function of (flat weights, example) and the examples over which its mean is taken."""

    function: Function
    examples: Examples


@dataclass
class Contractor:
    """Evaluates labelled trees at one point theta (P,).

    `sources` maps a node's kind to its function and examples; all kinds but "test" share the sample's n examples.
    `memory` bounds the process' peak (None: 2 GiB): `chunk` examples, chunk^2
    pairs where two examples meet, are differentiated at a time, and the chunk shrinks until the compiled loop fits.
    `progress` hears the share of each loop that is done.
    """

    theta: jax.Array
    sources: Mapping[str, Source]
    memory: int | str | None = None
    progress: Callable[[float], None] = lambda share: None
    chunk: int = CHUNK
    _constants: dict[Branch, jax.Array] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """n, the number of examples in the sample."""
        return _tree.num_examples(self.sources["loss"].examples)

    def restricted(self, index: Any) -> "Contractor":
        """The same for the examples at `index` of the sample; it reports no progress of its own."""
        sample = self.sources["loss"].examples
        sources = {
            kind: source._replace(examples=_tree.take(source.examples, index)) if source.examples is sample else source
            for kind, source in self.sources.items()
        }
        return Contractor(self.theta, sources, self.memory, chunk=self.chunk)

    def per_example(self, trees: Iterable[Branch]) -> dict[Branch, np.ndarray]:
        """Tree -> its value for each example of its pinned block or node (n,), all other blocks averaged."""
        plans = {tree: branches.cheapest_form(tree, self.size) for tree in trees}
        self._prepare_constants(plans.values())
        loops = {plan: tag for plan in plans.values() if (tag := outer_tag(plan)) is not None}
        values = self._sweep(loops, vector=False)
        values |= {plan: np.asarray(self._without_loop(plan)) for plan in plans.values() if plan not in loops}
        return {tree: np.broadcast_to(values[plan], (self.size,)) for tree, plan in plans.items()}

    def mean(self, trees: Iterable[Branch]) -> dict[Branch, float]:
        """Tree -> its value, every block averaged over all examples."""
        pinned = {tree: branches.pin_first_block(tree) for tree in trees}
        values = self.per_example(pinned.values())
        return {tree: float(values[form].mean()) for tree, form in pinned.items()}

    def _prepare_constants(self, plans: Iterable[Branch]) -> None:
        """Compute the constant messages that the plans need, in rounds: what is ready shares one loop."""
        missing = {c for plan in plans for c in branches.constants(plan, deep=True)} - set(self._constants)
        while missing:
            ready = [b for b in missing if not missing.intersection(branches.constants(b, deep=True))]
            loops = {b: closing[0] for b in ready if (closing := branches.closing_tags(b, frozenset()))}
            self._constants |= self._sweep(loops, vector=True)
            self._constants |= {b: self._without_loop(b, mean_message) for b in ready if b not in loops}
            missing -= set(ready)

    def _without_loop(self, plan: Branch, derive: Callable | None = None) -> jax.Array:
        """A tree whose other nodes are constants: one derivative along constant vectors."""
        kind, tag, children = plan
        source = self.sources[kind]
        derive = derive or (derivatives if tag == SINGLE else mean_derivative)
        vectors = [self._constants[branches.canonical(c)] for c in children]
        return derive(
            source.function, min(self.chunk, _tree.num_examples(source.examples)), self.theta, source.examples, vectors
        )

    def _sweep(self, loops: Mapping[Branch, int], vector: bool) -> dict[Branch, Any]:
        """Loops over the examples; each plan names the block whose example the loop supplies.

        Plans share one loop and its messages, but for those that average over a second block inside: each of these is a
        loop of its own (compiled together they ran three times slower).
        """
        nested = [plan for plan in loops if len(branches.tags(plan)) > 1]
        groups = [{plan: tag for plan, tag in loops.items() if plan not in nested}, *({p: loops[p]} for p in nested)]
        return {plan: value for group in groups if group for plan, value in self._loop(group, vector).items()}

    def _loop(self, loops: Mapping[Branch, int], vector: bool) -> dict[Branch, Any]:
        """One compiled loop over chunks of examples; its plans' sums over n, or their values one an example."""
        names = tuple(sorted({c for plan in loops for c in branches.constants(plan)}, key=repr))
        constants = [self._constants[name] for name in names]
        run, chunk = self._fitting_loop(loops, names, constants, vector)
        parts: list[list] = []
        for start in range(0, self.size, chunk):
            values = run(*self._loop_arguments(start, chunk, constants))
            parts.append([v if _is_sum(plan, vector) else np.asarray(v) for plan, v in zip(loops, values, strict=True)])
            self.progress(min(1.0, (start + chunk) / self.size))
        return {
            plan: self._join(plan, part, vector) for plan, part in zip(loops, zip(*parts, strict=True), strict=True)
        }

    def _join(self, plan: Branch, parts: tuple, vector: bool) -> Any:
        return sum(parts) / self.size if _is_sum(plan, vector) else np.concatenate(parts)[: self.size]

    def _loop_arguments(self, start: int, chunk: int, constants: list[jax.Array]) -> tuple:
        index = jnp.arange(start, start + chunk)
        block = _tree.take(self.sources["loss"].examples, jnp.minimum(index, self.size - 1))
        weights = jnp.asarray(index < self.size, self.theta.dtype)
        return self.theta, constants, {k: source.examples for k, source in self.sources.items()}, block, weights

    def _fitting_loop(
        self, loops: Mapping[Branch, int], names: tuple, constants: list, vector: bool
    ) -> tuple[Callable, int]:
        """The compiled loop body with the largest chunk that fits the memory, halved from `chunk`."""
        plans = tuple(branches.rename(plan, {tag: PINNED}) for plan, tag in loops.items())
        functions = tuple((kind, source.function) for kind, source in self.sources.items())
        nested = any(len(branches.tags(plan)) > 1 for plan in plans)
        chunk = max(1, self.chunk // 2) if nested else self.chunk
        while True:
            arguments = self._loop_arguments(0, chunk, constants)
            shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), arguments)
            leaves, structure = jax.tree.flatten(shapes)
            run, needed = _compiled_loop(plans, names, functions, chunk, vector, structure, tuple(leaves))
            room = _memory.room(self.memory, SPARE)
            if needed <= room:
                return run, chunk
            if chunk == 1:
                raise MemoryError(
                    f"memory: one pair of examples at a time needs {_memory.format_memory(needed)} more, expected at "
                    f"most {_memory.format_memory(max(room, 0))}. Allow more memory, or take a smaller max_order or model."
                )
            chunk //= 2


@lru_cache(maxsize=64)
def _compiled_loop(
    plans: tuple, names: tuple, functions: tuple, chunk: int, vector: bool, structure: Any, shapes: tuple
) -> tuple[Callable, int]:
    """The loop body for one chunk, and the bytes it takes while it runs."""
    body = jax.jit(partial(_chunk_values, plans, names, dict(functions), chunk, vector))
    compiled = body.lower(*jax.tree.unflatten(structure, shapes)).compile()
    used = compiled.memory_analysis()
    return compiled, 0 if used is None else used.temp_size_in_bytes + 2 * used.output_size_in_bytes


def _is_sum(plan: Branch, vector: bool) -> bool:
    """Whether the loop adds up (a message, or one number for each pinned example) or lists one number an example."""
    return vector or plan[1] == SINGLE


def outer_tag(plan: Branch) -> int | None:
    """The block over which the loop runs: the pinned one, or one that closes at a pinned single node."""
    if PINNED in branches.tags(plan):
        return PINNED
    return next(iter(branches.closing_tags(plan, frozenset())), None)


def _chunk_values(
    plans: tuple[Branch, ...],
    names: tuple[Branch, ...],
    functions: Mapping[str, Function],
    chunk: int,
    vector: bool,
    theta: jax.Array,
    constants: list[jax.Array],
    arrays: dict[str, Examples],
    block: Examples,
    weights: jax.Array,
) -> list[jax.Array]:
    """For one chunk of examples: every plan's values, or their weighted sum where the plan asks for a mean."""
    known = dict(zip(names, constants, strict=True))
    sources = {kind: Source(function, arrays[kind]) for kind, function in functions.items()}

    def one(example: Any) -> list[jax.Array]:
        scope = _Scope(theta, sources, chunk, known, {PINNED: example}, {})
        return [scope.value(plan, "vector" if vector else "scalar") for plan in plans]

    return [
        jnp.tensordot(weights, value, 1) if _is_sum(plan, vector) else value
        for plan, value in zip(plans, jax.vmap(one)(block), strict=True)
    ]


class _Scope(NamedTuple):
    """Messages under the examples bound so far: block -> example. An average over a block opens an inner scope."""

    theta: jax.Array
    sources: Mapping[str, Source]
    chunk: int
    known: Mapping[Branch, jax.Array]
    bound: Mapping[int, Any]
    memo: dict[tuple[Branch, str], jax.Array]

    def value(self, branch: Branch, mode: str) -> jax.Array:
        """mode "vector": the message (P,); "scalar": the closed tree, a number, or (n,) at a pinned SINGLE node."""
        if mode == "vector" and not set(branches.tags(branch)).intersection(self.bound):
            constant = self.known.get(branches.canonical(branch))
            if constant is not None:
                return constant
        if (branch, mode) not in self.memo:
            closing = branches.closing_tags(branch, frozenset(self.bound))
            result = self._average(branch, closing[0], mode) if closing else self._at_node(branch, mode)
            self.memo[branch, mode] = result
        return self.memo[branch, mode]

    def _at_node(self, branch: Branch, mode: str) -> jax.Array:
        kind, tag, children = branch
        vectors = [self.value(child, "vector") for child in children]
        if kind == "dot":
            return vectors[0] @ vectors[1]
        function, examples = self.sources[kind]
        if tag in (MEAN, SINGLE):
            derive = derivatives if tag == SINGLE else mean_message if mode == "vector" else mean_derivative
            return derive(function, min(self.chunk, _tree.num_examples(examples)), self.theta, examples, vectors)

        def at_example(theta: jax.Array) -> jax.Array:
            return function(theta, self.bound[tag])

        if mode == "scalar":
            return directional(at_example, self.theta, vectors)
        message = directional(jax.grad(at_example), self.theta, vectors)
        return message if children else message - self.known[(kind, MEAN, ())]

    def _average(self, branch: Branch, tag: int, mode: str) -> jax.Array:
        """The mean over the examples of block `tag`; messages that do not depend on it are computed before the loop."""
        for child in branches.independent_branches(branch, tag, frozenset(self.bound)):
            self.value(child, "vector")
        examples = self.sources["loss"].examples

        def body(block: Examples, weights: jax.Array) -> jax.Array:
            def inner(example: Any) -> jax.Array:
                return self._replace(bound={**self.bound, tag: example}, memo=dict(self.memo)).value(branch, mode)

            return jnp.tensordot(weights, jax.vmap(inner)(block), 1)

        return sum_chunks(body, examples, min(self.chunk, _tree.num_examples(examples))) / _tree.num_examples(examples)
