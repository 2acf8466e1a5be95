"""Patterns of embeddings: what remains of a diagram when only the sizes of the grid are still open.

An embedding puts nodes into (epoch, column). Which epochs are equal and which come first, and likewise columns, is a
pattern; there are finitely many, and each stands for a product of binomial coefficients in the sizes of the grid. The
tables below count patterns once for a diagram, in pure integers; `embeddings` evaluates them on any grid.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from typing import NamedTuple

from gradnoise.diagrams.diagram import Diagram
from gradnoise.diagrams.orders import Relation, components, growth_strings, ordered_partitions

Level = tuple[int, ...]
"""The tied rows in one column: how many nodes look at each of them, sorted. Untied nodes do not show."""

Shape = tuple[tuple[tuple[Level, ...], int], ...]
"""One epoch's ways to stand in columns: (the columns in use, how many ways give these)."""


class FixedPattern(NamedTuple):
    """Counts C(full epochs, num_epochs) times the ways to choose columns.

    cut=False: C(columns, high). cut=True, the unfinished epoch of r columns is in use: C(r, low) C(columns - r, high).
    """

    num_epochs: int
    low: int
    high: int
    cut: bool


class RandomPattern(NamedTuple):
    """Counts (N)_num_rows C(full epochs, len(epochs)) times the ways of all shapes; `cut`: the unfinished epoch's."""

    num_rows: int
    epochs: tuple[Shape, ...]
    cut: Shape | None


def same_step_sets(diagram: Diagram) -> Iterator[frozenset[int]]:
    """Sets of nodes that may share their parent's step in a hessian-damped update, the empty set first.

    Each node has at most one child at its own step, and the root none (diagrams.md section 4.4).
    """
    inner = [node for node, parent in enumerate(diagram.parents) if parent != diagram.root]
    for size in range(len(inner) + 1):
        for chosen in combinations(inner, size):
            if len({diagram.parents[node] for node in chosen}) == size:
                yield frozenset(chosen)


def tied_parts(diagram: Diagram) -> list[tuple[int, ...]]:
    """The parts of more than one node; the root counts for none."""
    without_root = (tuple(node for node in part if node != diagram.root) for part in diagram.parts)
    return [part for part in without_root if len(part) > 1]


def row_merges(diagram: Diagram) -> Iterator[tuple[int, dict[int, int]]]:
    """(number of rows, row of each tied node): different parts may look at the same row or at different ones."""
    parts = tied_parts(diagram)
    for growth in growth_strings(len(parts)):
        rows = {node: row for part, row in zip(parts, growth, strict=True) for node in part}
        yield len(set(growth)), rows


@cache
def fixed_patterns(diagram: Diagram, same: frozenset[int]) -> Counter[FixedPattern]:
    """Patterns when the order is the same every epoch; nodes in `same` share the step of their parent.

    All nodes of a part share one column. Within an epoch a child's column is left of its parent's.
    """
    clusters, edges = _clusters(diagram, same)
    joined = [(part[0], node) for part in tied_parts(diagram) for node in part]
    column = components(range(diagram.order), [*joined, *((node, diagram.parents[node]) for node in same)])
    found: Counter[FixedPattern] = Counter()
    for epochs in ordered_partitions(frozenset(clusters.values()), weak=edges):
        epoch_of = {cluster: number for number, block in enumerate(epochs) for cluster in block}
        left = frozenset((column[u], column[v]) for u, v in edges if epoch_of[u] == epoch_of[v])
        columns, last = frozenset(column.values()), frozenset(column[u] for u in (epochs[-1] if epochs else ()))
        for (low, high), ways in _column_levels(columns, left, frozenset()).items():
            if low == 0:
                found[FixedPattern(len(epochs), 0, high, cut=False)] += ways
        if epochs:
            for (low, high), ways in _column_levels(columns, left, last).items():
                found[FixedPattern(len(epochs) - 1, low, high, cut=True)] += ways
    return found


@cache
def random_patterns(diagram: Diagram, same: frozenset[int]) -> Counter[RandomPattern]:
    """Patterns when epochs (or steps, then epochs of one column) are drawn independently."""
    clusters, edges = _clusters(diagram, same)
    found: Counter[RandomPattern] = Counter()
    for num_rows, rows in row_merges(diagram):
        shapes: dict[frozenset[int], Shape] = {}
        for epochs in ordered_partitions(frozenset(clusters.values()), weak=edges):
            for block in epochs:
                if block not in shapes:
                    shapes[block] = _shape(block, clusters, edges, rows)
            own = [shapes[block] for block in epochs]
            found[RandomPattern(num_rows, tuple(sorted(own)), None)] += 1
            if own:
                found[RandomPattern(num_rows, tuple(sorted(own[:-1])), own[-1])] += 1
    return found


def _clusters(diagram: Diagram, same: frozenset[int]) -> tuple[dict[int, int], frozenset[tuple[int, int]]]:
    """Nodes that share a step, by representative, and the edges that still go forward in time, between clusters."""
    clusters = components(range(diagram.order), [(node, diagram.parents[node]) for node in same])
    forward = [(u, v) for u, v in enumerate(diagram.parents) if v != diagram.root and u not in same]
    return clusters, frozenset((clusters[u], clusters[v]) for u, v in forward)


@cache
def _column_levels(
    columns: frozenset[int], left: frozenset[tuple[int, int]], low: frozenset[int]
) -> Counter[tuple[int, int]]:
    """Weak orders of column groups, by (columns in use inside the unfinished epoch's range, columns beyond it).

    Groups in `low` are used in the unfinished epoch, so stand in its range; others may stand anywhere.
    """
    found: Counter[tuple[int, int]] = Counter()
    for levels in ordered_partitions(columns, strict=left):
        needed = 1 + max((number for number, block in enumerate(levels) if block & low), default=-1)
        for inside in range(needed, len(levels) + 1):
            found[inside, len(levels) - inside] += 1
    return found


def _shape(block: frozenset[int], clusters: dict[int, int], edges: Relation, rows: dict[int, int]) -> Shape:
    """The ways of one epoch's nodes to stand in columns: nodes that look at the same row stand in the same cell."""
    nodes = [node for node, cluster in clusters.items() if cluster in block]
    first_of_row = {rows[node]: node for node in reversed(nodes) if node in rows}
    coincide = [(node, first_of_row[rows[node]]) for node in nodes if node in rows]
    column = components(nodes, [*((node, clusters[node]) for node in nodes), *coincide])
    left = frozenset((column[u], column[v]) for u, v in edges if u in block and v in block)
    found: Counter[tuple[Level, ...]] = Counter()
    for levels in ordered_partitions(frozenset(column.values()), strict=left):
        looks = (Counter(rows[node] for node in nodes if node in rows and column[node] in level) for level in levels)
        found[tuple(sorted(tuple(sorted(look.values())) for look in looks))] += 1
    return tuple(sorted(found.items()))
