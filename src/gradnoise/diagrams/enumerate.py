"""All diagrams of an order, and their number by an independent count that builds none of them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import combinations
from math import factorial, gcd, prod

from gradnoise import _checks
from gradnoise.diagrams.diagram import Diagram
from gradnoise.diagrams.orders import growth_strings
from gradnoise.diagrams.symmetry import TreeCode, canonical_parents, parts_of, tree_rank


def enumerate_diagrams(order: int) -> Iterator[Diagram]:
    """All diagrams with `order` edges and an untied root, each once.

    Rooted trees come in lexicographic order of `parents` (the chain first, the star last). Of one tree the untied
    diagram comes first, the one with all nodes tied last; in between by falling number of parts, then by restricted
    growth string. Raises ValueError unless 0 <= order <= 9.

    >>> [str(diagram) for diagram in enumerate_diagrams(2)]
    ['(0-1-2)(01-12)', '(01-2)(01-12)', '(0-1-2)(02-12)', '(01-2)(02-12)']
    """
    order = _checks.integer("order", order, minimum=0, maximum=9)
    for parents in rooted_trees(order):
        yield from diagrams_on(parents, range(order))


def rooted_trees(order: int) -> list[tuple[int, ...]]:
    """The rooted trees with `order` edges as `parents`, in lexicographic order: the chain first, the star last.

    >>> rooted_trees(2)
    [(1, 2), (2, 2)]
    """
    return sorted(canonical_parents(code) for code in _trees(order + 1))


def diagrams_on(parents: tuple[int, ...], nodes: Sequence[int]) -> Iterator[Diagram]:
    """The diagrams on one tree whose ties lie among `nodes`, each once: untied first, all tied last."""
    others = [(node,) for node in range(len(parents) + 1) if node not in nodes]
    growths = sorted(growth_strings(len(nodes)), key=lambda growth: (-max(growth, default=0), growth))
    partitions = ([tuple(nodes[k] for k in part) for part in parts_of(growth)] for growth in growths)
    yield from dict.fromkeys(Diagram(parents, (*parts, *others)) for parts in partitions)


def number_of_diagrams(order: int) -> int:
    """Rooted trees with `order` edges and a partition of the non-root nodes, up to isomorphism.

    Burnside over the permutations of d labelled nodes, by cycle type:  (1/d!) sum_sigma trees(sigma) partitions(sigma),
    the labelled rooted trees and the set partitions that sigma leaves as they are. No tree is built. Raises ValueError
    for a negative order, TypeError for what is no integer.

    >>> [number_of_diagrams(d) for d in range(1, 7)]
    [1, 4, 17, 101, 700, 5861]
    """
    order = _checks.integer("order", order, minimum=0)
    total = sum(
        factorial(order) // _centralizer(cycles) * _fixed_trees(cycles) * _fixed_partitions(cycles)
        for cycles in _cycle_types(order)
    )
    return total // factorial(order)


@cache
def _trees(size: int) -> tuple[TreeCode, ...]:
    """Codes of the rooted trees with `size` nodes."""
    return tuple(_forests(size - 1, None))


def _forests(size: int, largest: TreeCode | None) -> Iterator[TreeCode]:
    """Tuples of tree codes, falling, with `size` nodes in all and none above `largest`."""
    if size == 0:
        yield ()
        return
    for first_size in range(1, size + 1):
        for first in _trees(first_size):
            if largest is None or tree_rank(first) <= tree_rank(largest):
                yield from ((first, *rest) for rest in _forests(size - first_size, first))


def _cycle_types(size: int, largest: int | None = None) -> Iterator[tuple[int, ...]]:
    """Falling tuples of positive integers with sum `size`."""
    if size == 0:
        yield ()
        return
    for first in range(min(size, largest or size), 0, -1):
        yield from ((first, *rest) for rest in _cycle_types(size - first, first))


def _centralizer(cycles: tuple[int, ...]) -> int:
    """How many permutations commute with one of this cycle type."""
    return prod(length**count * factorial(count) for length, count in Counter(cycles).items())


def _fixed_trees(cycles: tuple[int, ...]) -> int:
    """Labelled trees on the nodes and a fixed root that the permutation maps to themselves.

    (c_1 + 1)^(c_1 - 1) prod_{k>1} (f_k^{c_k} - k c_k f_k^{c_k - 1}),  f_k = 1 + sum_{j divides k} j c_j, with c_k
    cycles of length k. Source: Bergeron, Labelle and Leroux 1998, "Combinatorial Species", section 3.2.
    """
    counts = Counter(cycles)
    fixed = counts.pop(1, 0)
    total = 1 if fixed == 0 else (fixed + 1) ** (fixed - 1)
    for length, count in counts.items():
        targets = 1 + sum(other for other in cycles if length % other == 0)
        total *= targets**count - length * count * targets ** (count - 1)
    return total


@cache
def _fixed_partitions(cycles: tuple[int, ...]) -> int:
    """Set partitions that a permutation with these cycles maps to themselves.

    The first cycle runs through m blocks, m a divisor of its length; other cycles whose length m divides may share
    these blocks, each in m ways.
    """
    if not cycles:
        return 1
    first, others = cycles[0], range(1, len(cycles))
    total = 0
    for size in range(len(cycles)):
        for sharing in combinations(others, size):
            common = gcd(first, *(cycles[i] for i in sharing))
            ways = sum(m**size for m in range(1, common + 1) if common % m == 0)
            total += ways * _fixed_partitions(tuple(cycles[i] for i in others if i not in sharing))
    return total
