"""Two rooted trees with ties between them, written as one diagram: the terms of the variance of the loss."""

from collections.abc import Iterator
from typing import NamedTuple

from gradnoise import _checks
from gradnoise.diagrams.diagram import Diagram
from gradnoise.diagrams.enumerate import diagrams_on, rooted_trees

NUM_FORMAL_EDGES = 2
"""The edges from the two roots to the formal one: they stand for no update."""


class TwoRoots(NamedTuple):
    """A forest of two roots. `together`: its nodes on one common root, which embeds in as many ways as the forest.

    `apart`: the two trees where no tie joins them, else None.
    """

    together: Diagram
    apart: tuple[Diagram, Diagram] | None


def two_roots(diagram: Diagram) -> TwoRoots | None:
    """The forest that `diagram` writes: its root has two children, the roots of the two trees; None if it is none.

    The formal root and both roots are alone in their parts, and each root has a child. The forest's order is that of
    the diagram less two.

    >>> two_roots(Diagram.parse("(02-1-3-4)(01-14-23-34)"))            # two edges with tied leaves: G C G
    TwoRoots(together=Diagram.parse('(01-2)(02-12)'), apart=None)
    >>> two_roots(Diagram.parse("(01-2)(02-12)")) is None
    True
    """
    roots = diagram.children(diagram.root)
    alone = {part[0] for part in diagram.parts if len(part) == 1}
    if len(roots) != 2 or not alone.issuperset({*roots, diagram.root}) or not all(map(diagram.children, roots)):
        return None
    trees = [_nodes_above(diagram, root) for root in roots]
    if any(set(part).intersection(trees[0]) and set(part).intersection(trees[1]) for part in diagram.parts):
        return TwoRoots(_on_one_root(diagram, trees[0] + trees[1]), None)
    first, second = (_on_one_root(diagram, tree) for tree in trees)
    return TwoRoots(_on_one_root(diagram, trees[0] + trees[1]), (first, second))


def enumerate_forests(order: int) -> Iterator[Diagram]:
    """All forests of two roots with `order` edges that can enter the variance of a loss, each once, as one diagram.

    Either a tie joins the two trees, or each tree has a tie of its own (their counts may then vary together with the
    order of the examples, from order 4 on). In the order of `enumerate_diagrams`. Raises ValueError unless
    0 <= order <= 7.

    >>> [str(forest) for forest in enumerate_forests(2)]
    ['(02-1-3-4)(01-14-23-34)']
    """
    order = _checks.integer("order", order, minimum=0, maximum=7)
    for parents in rooted_trees(order + NUM_FORMAL_EDGES):
        root = len(parents)
        roots = [node for node in range(root) if parents[node] == root]
        if len(roots) != 2 or any(node not in parents for node in roots):
            continue
        inner = [node for node in range(root) if node not in roots]
        for diagram in diagrams_on(parents, inner):
            forest = two_roots(diagram)
            if forest and (forest.apart is None or all(map(_has_tie, forest.apart))):
                yield diagram


def _nodes_above(diagram: Diagram, root: int) -> list[int]:
    """The nodes of the tree on `root`, without it."""
    children = diagram.children(root)
    return [*children, *(node for child in children for node in _nodes_above(diagram, child))]


def _on_one_root(diagram: Diagram, nodes: list[int]) -> Diagram:
    """`nodes` with their edges and ties; whose parent is not among them hangs on the one root."""
    number = {node: k for k, node in enumerate(sorted(nodes))}
    root = len(number)
    parts = [tuple(number[node] for node in part if node in number) for part in diagram.parts]
    parents = tuple(number.get(diagram.parents[node], root) for node in number)
    return Diagram(parents, (*filter(None, parts), (root,)))


def _has_tie(diagram: Diagram) -> bool:
    return any(len(part) > 1 for part in diagram.parts)
