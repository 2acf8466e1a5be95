"""Forests of two roots: how many there are by labels, how they are written, and that they embed as one tree."""

from itertools import product
from math import factorial

import pytest

from gradnoise.diagrams import Diagram
from gradnoise.diagrams.forests import enumerate_forests, two_roots
from gradnoise.diagrams.orders import growth_strings


def labelled_forests(order):
    """How many labelled forests on two labelled roots can enter the variance: by trying all maps and partitions."""
    found = 0
    for parents in product(range(order + 2), repeat=order):
        roots = [reached(parents, node, order) for node in range(order)]
        if set(roots) != {order, order + 1}:
            continue
        for growth in growth_strings(order):
            parts = [[roots[u] for u in range(order) if growth[u] == part] for part in set(growth)]
            tied = [part for part in parts if len(part) > 1]
            own = {part[0] for part in tied if len(set(part)) == 1}
            found += any(len(set(part)) == 2 for part in tied) or len(own) == 2
    return found


def reached(parents, node, order):
    for _ in range(order):
        node = parents[node] if node < order else node
    return node if node >= order else None


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
def test_forests_are_all_labelled_ones_up_to_symmetry(order):
    """Each forest stands for 2 d!/|Aut| labelled ones."""
    found = list(enumerate_forests(order))
    assert len(found) == len(set(found))
    assert sum(2 * factorial(order) // forest.num_automorphisms for forest in found) == labelled_forests(order)


def test_the_numbers_of_forests():
    assert [len(list(enumerate_forests(order))) for order in range(6)] == [0, 0, 1, 5, 53, 461]


@pytest.mark.parametrize(
    "text",
    [
        "(0)()",
        "(0-1)(01)",
        "(0-1-2)(02-12)",  # roots without a child
        "(01-2-3)(01-13-23)",  # one of them
        "(0-1-2-3-4)(01-14-24-34)",  # three children of the root
        "(03-1-2-4)(01-14-23-34)",  # a root that is tied
        "(02-14-3)(01-14-23-34)",  # a root tied to the formal one
    ],
)
def test_what_is_no_forest_of_two_roots_is_told(text):
    assert two_roots(Diagram.parse(text)) is None


def test_a_forest_without_a_joint_tie_is_two_trees():
    forest = two_roots(Diagram.parse("(01-34-2-5-6)(01-12-26-34-45-56)"))
    chain = Diagram.parse("(01-2)(01-12)")
    assert forest is not None
    assert forest.apart == (chain, chain)
    assert forest.together == Diagram.parse("(01-23-4)(01-14-23-34)")


@pytest.mark.parametrize("order", [-1, 8])
def test_orders_without_a_written_form_are_refused(order):
    with pytest.raises(ValueError, match=f"order={order}"):
        list(enumerate_forests(order))
