"""Canonical numbering of a rooted tree with tied nodes, and the number of its automorphisms."""

from collections.abc import Iterator, Sequence
from itertools import product
from math import factorial, prod

TreeCode = tuple["TreeCode", ...]
"""A rooted tree up to isomorphism: the codes of its children, the largest first. A leaf is ()."""

Parts = tuple[tuple[int, ...], ...]
"""A partition of the nodes 0..d: each part sorted, parts sorted by their smallest node."""


def tree_size(code: TreeCode) -> int:
    """The number of nodes, the root included."""
    return 1 + sum(map(tree_size, code))


def tree_rank(code: TreeCode) -> tuple[int, TreeCode]:
    """The key by which children are sorted: size first, then the codes of their children."""
    return tree_size(code), code


def tree_codes(parents: Sequence[int]) -> list[TreeCode]:
    """The code of the branch above each node; `parents[u]` is the parent of node u, the root is the last node.

    Works for any numbering of a tree. The codes of two branches are equal if and only if they are isomorphic (Aho,
    Hopcroft and Ullman 1974).

    >>> tree_codes((2, 2))
    [(), (), ((), ())]
    """
    children = children_of(parents)

    def code(node: int) -> TreeCode:
        return tuple(sorted(map(code, children[node]), key=tree_rank, reverse=True))

    return [code(node) for node in range(len(parents) + 1)]


def children_of(parents: Sequence[int]) -> list[list[int]]:
    """The children of each node 0..d, in increasing order."""
    children: list[list[int]] = [[] for _ in range(len(parents) + 1)]
    for node, parent in enumerate(parents):
        children[parent].append(node)
    return children


def canonical_parents(code: TreeCode) -> tuple[int, ...]:
    """The tree numbered depth first, children before parents and larger branches before smaller ones.

    >>> canonical_parents((((),), ()))
    (1, 3, 3)
    """
    parents: list[int] = []

    def visit(branch: TreeCode) -> int:
        below = [visit(child) for child in branch]
        node = len(parents)
        parents.append(-1)
        for child in below:
            parents[child] = node
        return node

    visit(code)
    return tuple(parents[:-1])


def canonical_form(parents: Sequence[int], parts: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], Parts, int]:
    """(parents, parts, number of automorphisms) of a tree with tied nodes; equal for isomorphic input.

    Of all numberings that turn the tree into its canonical one, take that whose restricted growth string (part of
    node 0, of node 1, ...; parts numbered by first appearance) is least. The numberings that reach the minimum are
    the automorphisms of the diagram, up to the twins, which `_orders` does not exchange.

    >>> canonical_form((2, 2), [(1,), (0,), (2,)])
    ((2, 2), ((0,), (1,), (2,)), 2)
    """
    part_of = {node: index for index, part in enumerate(parts) for node in part}
    tied = {node for part in parts if len(part) > 1 for node in part}
    codes, children = tree_codes(parents), children_of(parents)
    numberings, num_twins = _numberings(len(parents), codes, children, part_of, tied)
    strings = [restricted_growth([part_of[node] for node in numbering]) for numbering in numberings]
    best = min(strings)
    return canonical_parents(codes[-1]), parts_of(best), strings.count(best) * num_twins


def restricted_growth(labels: Sequence[int]) -> tuple[int, ...]:
    """Labels renumbered by first appearance."""
    names: dict[int, int] = {}
    return tuple(names.setdefault(label, len(names)) for label in labels)


def parts_of(growth: Sequence[int]) -> Parts:
    """The partition with this restricted growth string."""
    return tuple(
        tuple(node for node, label in enumerate(growth) if label == part) for part in range(max(growth, default=-1) + 1)
    )


def _numberings(
    root: int, codes: list[TreeCode], children: list[list[int]], part_of: dict[int, int], tied: set[int]
) -> tuple[list[tuple[int, ...]], int]:
    """All ways to list the old nodes in canonical order, one of each class modulo twins; and the number of twin moves.

    Twins are sibling branches that may be exchanged without a look at the rest: equal ones without a tied node, and
    leaves in the same part.
    """
    num_twins = 1

    def twin_class(node: int) -> tuple[object, ...]:
        inside = branch(node)
        if not tied.intersection(inside):
            return ("untied",)
        return ("leaf", part_of[node]) if len(inside) == 1 else ("itself", node)

    def branch(node: int) -> list[int]:
        return [node, *(inner for child in children[node] for inner in branch(child))]

    def listings(node: int) -> list[tuple[int, ...]]:
        nonlocal num_twins
        groups: dict[TreeCode, list[int]] = {}
        for child in sorted(children[node], key=lambda child: tree_rank(codes[child]), reverse=True):
            groups.setdefault(codes[child], []).append(child)
        inner = {child: listings(child) for child in children[node]}
        choices = []
        for group in groups.values():
            classes = [twin_class(child) for child in group]
            num_twins *= prod(factorial(classes.count(c)) for c in set(classes))
            choices.append(list(_orders(group, classes)))
        found = []
        for orders in product(*choices):
            for lists in product(*(inner[child] for order in orders for child in order)):
                found.append((*(n for listing in lists for n in listing), node))
        return found

    return listings(root), num_twins


def _orders(items: Sequence[int], classes: Sequence[object]) -> Iterator[tuple[int, ...]]:
    """Orders of `items` in which items of one class keep their given order."""
    if not items:
        yield ()
        return
    for index, cls in enumerate(classes):
        if cls in classes[:index]:
            continue
        rest = [i for i in range(len(items)) if i != index]
        for order in _orders([items[i] for i in rest], [classes[i] for i in rest]):
            yield (items[index], *order)
