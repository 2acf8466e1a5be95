"""Set partitions and ordered set partitions: the finite choices behind every count."""

from collections.abc import Collection, Iterator
from itertools import combinations

Relation = Collection[tuple[int, int]]
"""Pairs (u, v): u comes before v."""


def growth_strings(length: int) -> Iterator[tuple[int, ...]]:
    """Restricted growth strings, one for each set partition of `length` things, in lexicographic order.

    >>> list(growth_strings(3))
    [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (0, 1, 2)]
    """
    if length == 0:
        yield ()
        return
    for start in growth_strings(length - 1):
        yield from ((*start, label) for label in range(max(start, default=-1) + 2))


def ordered_partitions(
    items: frozenset[int], strict: Relation = (), weak: Relation = ()
) -> Iterator[tuple[frozenset[int], ...]]:
    """Weak orders of `items` as ordered tuples of blocks, one block for each distinct time.

    u stands in an earlier block than v for (u, v) in `strict`, and in an earlier one or the same for (u, v) in `weak`.

    >>> [[sorted(block) for block in blocks] for blocks in ordered_partitions(frozenset({0, 1}), weak=[(0, 1)])]
    [[[0], [1]], [[0, 1]]]
    """
    if not items:
        yield ()
        return
    free = sorted(items - {v for u, v in strict if u in items})
    for size in range(1, len(free) + 1):
        for chosen in combinations(free, size):
            block = frozenset(chosen)
            rest = items - block
            if not any(u in rest and v in block for u, v in weak):
                yield from ((block, *later) for later in ordered_partitions(rest, strict, weak))


def linear_extensions(items: frozenset[int], strict: Relation = ()) -> int:
    """How many total orders of `items` have u before v for every (u, v) in `strict`; 0 if there is a circle.

    >>> linear_extensions(frozenset({0, 1, 2}), [(0, 2), (1, 2)])
    2
    """
    counts = {frozenset(): 1}
    for size in range(1, len(items) + 1):
        for chosen in map(frozenset, combinations(sorted(items), size)):
            last = [v for v in chosen if not any(u == v and w in chosen for u, w in strict)]
            counts[chosen] = sum(counts[chosen - {v}] for v in last)
    return counts[items]


def components(items: Collection[int], pairs: Relation) -> dict[int, int]:
    """Each item's representative, the least item it is joined to by `pairs`.

    >>> components(range(4), [(3, 1), (1, 2)])
    {0: 0, 1: 1, 2: 1, 3: 1}
    """
    name = {item: item for item in items}
    for u, v in pairs:
        low, high = sorted((name[u], name[v]))
        name = {item: low if label == high else label for item, label in name.items()}
    return name
