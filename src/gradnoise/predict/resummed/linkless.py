"""Which diagrams a resummed prediction sums: those without links, up to a power of the learning rate at large times.

A linkless diagram with d edges and m independent times grows to eta^(d-m) while times run on. d - m counts, over the
parts, their nodes less one. Near a minimum the mean gradient G is small, as sqrt(eta) once the noise has spread the
weights; so an untied leaf (a factor G) counts a half. A root in a part counts as one of its nodes: the factor 1/N of
the gap stands for one power, as eta/B does. There are finitely many diagrams up to any power:

    power(D) = sum over parts (nodes - 1) + (untied leaves)/2

The root's own gradient counts nothing: it is small only where the loss itself is measured.
"""

from collections.abc import Iterator
from functools import cache
from itertools import combinations, product

from gradnoise import _checks
from gradnoise.diagrams.diagram import Diagram

MOST_POWER = 2
Blocks = frozenset[frozenset[int]]


def linkless_diagrams(excess_power: int = 1, root_tied: bool = False) -> tuple[Diagram, ...]:
    """The linkless diagrams D of power(D) <= excess_power, root alone or (`root_tied`) in a part; at least one edge.

    At most 4 excess_power - 1 edges: tied nodes and untied leaves are at most 2 excess_power together, and untied nodes with
    several children fewer than leaves. Power 0 has none, for every tree has a leaf. Raises ValueError unless
    0 <= excess_power <= 2.

    >>> [str(diagram) for diagram in linkless_diagrams(1)]
    ['(0-1)(01)', '(01-2)(01-12)', '(0-1-2)(02-12)', '(01-2)(02-12)', '(0-1-2-3)(02-12-23)', '(01-2-3)(02-12-23)']
    >>> [str(diagram) for diagram in linkless_diagrams(1, root_tied=True)]
    ['(01)(01)']

    Source: diagrams.md section 3, "Power counting".
    """
    excess_power = _checks.integer("excess_power", excess_power, minimum=0, maximum=MOST_POWER)
    return _linkless(excess_power, root_tied)


def untied_leaves(diagram: Diagram) -> int:
    """How many factors G the diagram has, the root's not counted."""
    return sum(len(part) == 1 and part[0] != diagram.root and not diagram.children(part[0]) for part in diagram.parts)


@cache
def _linkless(excess_power: int, root_tied: bool) -> tuple[Diagram, ...]:
    found: dict[Diagram, None] = {}
    for order in range(1, 4 * excess_power):
        for parents in _trees(order, 2 * excess_power):
            ties = [blocks for blocks in _ties(order, excess_power) if _fits(parents, blocks, excess_power)]
            for blocks in ties:
                if (len(next(block for block in blocks if order in block)) > 1) == root_tied:
                    found[Diagram(parents, tuple(sorted(tuple(sorted(block)) for block in blocks)))] = None
    return tuple(found)


@cache
def _trees(order: int, most_leaves: int) -> tuple[tuple[int, ...], ...]:
    """Parents of the rooted trees with so many edges and not too many leaves, up to isomorphism."""
    alone = tuple((node,) for node in range(order + 1))
    maps = product(*(range(node + 1, order + 1) for node in range(order)))
    few = (parents for parents in maps if order - len(set(parents) - {order}) <= most_leaves)
    return tuple(sorted({Diagram(parents, alone).parents for parents in few}))


@cache
def _ties(order: int, most: int) -> tuple[Blocks, ...]:
    """Partitions of the nodes 0..order that at most `most` mergers of two blocks make."""
    level: set[Blocks] = {frozenset(frozenset([node]) for node in range(order + 1))}
    found = [level]
    for _ in range(most):
        level = {merged for blocks in level for merged in _mergers(blocks)}
        found.append(level)
    return tuple(sorted((blocks for each in found for blocks in each), key=lambda b: sorted(map(sorted, b))))


def _mergers(blocks: Blocks) -> Iterator[Blocks]:
    for first, second in combinations(blocks, 2):
        yield blocks - {first, second} | {first | second}


def _fits(parents: tuple[int, ...], blocks: Blocks, excess_power: int) -> bool:
    """No links, and few enough untied leaves."""
    untied = [node for block in blocks if len(block) == 1 for node in block if node < len(parents)]
    leaves = sum(parents.count(node) == 0 for node in untied)
    excess = len(parents) + 1 - len(blocks)
    return all(parents.count(node) != 1 for node in untied) and 2 * excess + leaves <= 2 * excess_power
