"""Draft 1's Theorem 1 and Proposition 1: the printed weights and counts fail on enumeration, the corrected ones pass.

Strict embeddings and raw moments, as in the draft. The table of all items: docs/theory/errata_diagrams.md.
"""

from fractions import Fraction
from itertools import pairwise, permutations
from math import comb, factorial, prod

import pytest

from diagrams.brute_force import every_diagram
from gradnoise.diagrams import Diagram
from gradnoise.predict.coefficients import coefficient
from gradnoise.spacetime import Spacetime
from predict.raw_moments import G, raw_value, sgd


def strict_embeddings(diagram, num_examples):
    """E = B = 1: a cell for each part, another one for each other part, every child before its parent."""
    parts = [part for part in diagram.parts if part != diagram.root_part]
    for cells in permutations(range(num_examples), len(parts)):
        at = {node: cell for part, cell in zip(parts, cells, strict=True) for node in part}
        if all(at[child] < at.get(parent, num_examples) for child, parent in enumerate(diagram.parents)):
            yield tuple(at[node] for node in range(diagram.order))


def symmetries(diagram):
    edges, parts = set(enumerate(diagram.parents)), set(map(frozenset, diagram.parts))
    for order in permutations(range(diagram.order)):
        to = (*order, diagram.root)
        if {(to[u], to[v]) for u, v in edges} == edges and {frozenset(to[u] for u in part) for part in parts} == parts:
            yield order


def printed_weight(embedding):
    return Fraction(1, prod(factorial(embedding.count(cell)) for cell in set(embedding)))


def orbits(diagram, embeddings):
    """One embedding out of each set that the automorphisms carry into each other."""
    moves = list(symmetries(diagram))
    return {min(tuple(f[node] for node in move) for move in moves) for f in embeddings}


def test_the_printed_weight_of_theorem_1_fails_read_either_way():
    """With embeddings as functions from order 2, up to automorphisms from order 3; 1/|Aut_f| holds. (9.1)"""
    truth = sgd(3, 1, order=3)["test"]
    for order, (functions_hold, classes_hold) in {1: (True, True), 2: (False, True), 3: (False, False)}.items():
        functions = classes = correct = Fraction(0)
        for diagram in every_diagram(order):
            found, weight = list(strict_embeddings(diagram, 3)), (-1) ** order * raw_value(diagram)
            functions += weight * sum(map(printed_weight, found))
            classes += weight * sum(map(printed_weight, orbits(diagram, found)))
            correct += weight * Fraction(len(found), len(list(symmetries(diagram))))
        assert correct == truth[order]
        assert (functions == truth[order]) == functions_hold
        assert (classes == truth[order]) == classes_hold


def test_without_the_power_of_the_batch_size_theorem_1_fails_at_order_1():
    edge = coefficient(Diagram.parse("(0-1)(01)"), Spacetime(4, 2))
    truth = sgd(4, 2, order=1)["test"][1]
    assert edge * G * G == truth
    assert 2 * edge * G * G != truth


def orders_of(diagram):
    """Total orders of the nodes with children first and parts contiguous, one for each class of automorphisms."""
    part = {node: number for number, nodes in enumerate(diagram.parts) for node in nodes}
    count = 0
    for order in permutations(range(diagram.order)):
        place = {node: k for k, node in enumerate(order)}
        runs = 1 + sum(part[a] != part[b] for a, b in pairwise(order))
        upward = all(place[child] < place.get(parent, 99) for child, parent in enumerate(diagram.parents))
        count += upward and runs == len(diagram.parts) - 1
    return Fraction(count, len(list(symmetries(diagram))))


def related(diagram):
    """Whether a part holds a node and one of its ancestors."""
    above = {}
    for node in range(diagram.order - 1, -1, -1):
        parent = diagram.parents[node]
        above[node] = {parent, *above.get(parent, ())}
    return any(v in above[u] for part in diagram.parts for u in part for v in part if u != v)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_proposition_1_counts_orders_of_nodes_not_maps_onto_parts(order):
    """E = B = 1: #f/|Aut D| = o(D) C(T, P) / prod d_p!, P parts without the root; zero if a part is a chain. (9.2)"""
    for diagram in every_diagram(order):
        parts = [part for part in diagram.parts if part != diagram.root_part]
        found = Fraction(len(list(strict_embeddings(diagram, 4))), len(list(symmetries(diagram))))
        claimed = orders_of(diagram) * Fraction(comb(4, len(parts)), prod(factorial(len(part)) for part in parts))
        assert found == (0 if related(diagram) else claimed), str(diagram)


def test_maps_onto_the_parts_are_too_many_for_the_untied_trees_of_order_3():
    """1, 3, 2, 6 maps; 1, 3, 1, 1 orders. (9.2)"""
    untied = [diagram for diagram in every_diagram(3) if len(diagram.parts) == 4]
    assert [str(diagram)[10:] for diagram in untied] == ["01-12-23)", "01-13-23)", "02-12-23)", "03-13-23)"]
    assert [len(list(strict_embeddings(diagram, 3))) for diagram in untied] == [1, 3, 2, 6]
    assert [orders_of(diagram) for diagram in untied] == [1, 3, 1, 1]
