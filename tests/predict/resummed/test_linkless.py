"""Which diagrams are summed, and the edge that takes the links up."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from gradnoise.diagrams import Diagram, enumerate_diagrams
from gradnoise.predict.resummed.diagram_curve import summed_diagrams
from gradnoise.predict.resummed.linkless import linkless_diagrams, untied_leaves
from gradnoise.predict.resummed.propagator import propagator


def power(diagram: Diagram) -> Fraction:
    return sum(len(part) - 1 for part in diagram.parts) + Fraction(untied_leaves(diagram), 2)


@pytest.mark.parametrize("excess_power", [1, 2])
def test_they_are_all_diagrams_without_links_up_to_the_power(excess_power):
    """Against the list of all diagrams of up to four edges."""
    every = [diagram for order in (1, 2, 3, 4) for diagram in enumerate_diagrams(order)]
    alone = {diagram for diagram in every if not diagram.links and power(diagram) <= excess_power}
    assert alone == {diagram for diagram in linkless_diagrams(excess_power) if diagram.order <= 4}
    joined = {tied for diagram in every for tied, _ in diagram.attach_root()}
    tied = {diagram for diagram in joined if not diagram.links and power(diagram) <= excess_power}
    assert tied == {diagram for diagram in linkless_diagrams(excess_power, root_tied=True) if diagram.order <= 4}


def test_they_are_finitely_many_each_once():
    for excess_power, alone, tied in ((0, 0, 0), (1, 6, 1), (2, 171, 36)):
        found = linkless_diagrams(excess_power), linkless_diagrams(excess_power, root_tied=True)
        assert tuple(map(len, found)) == (alone, tied)
        assert len({*found[0], *found[1]}) == alone + tied
        assert max((diagram.order for diagram in found[0]), default=-1) == (4 * excess_power - 1 if alone else -1)


def test_at_a_minimum_of_the_measured_loss_one_pair_is_left():
    at_minimum = {"has_slope": False, "root_has_slope": False, "is_held_out": False}
    assert summed_diagrams(1, "test", **at_minimum) == (Diagram.parse("(01-2)(02-12)"),)
    assert summed_diagrams(1, "gap", **at_minimum) == (Diagram.parse("(01)(01)"),)
    assert len(summed_diagrams(1, "displacement", **at_minimum)) == 2  # C01, Y01
    assert Diagram.parse("(012-3)(03-13-23)") in summed_diagrams(2, "test", **at_minimum)
    assert Diagram.parse("(012-3-4)(03-13-24-34)") in summed_diagrams(2, "test", **at_minimum)


def chains(span: int, weights: list[Fraction], slope: Fraction) -> Fraction:
    """sum over the ways to interrupt an edge of length `span` by links: weights a_s of the pieces, -slope a link."""
    sums = [Fraction(0)] * (span + 1)
    for length in range(1, span + 1):
        sums[length] = weights[length] - slope * sum(weights[s] * sums[length - s] for s in range(1, length))
    return sums[span]


@pytest.mark.parametrize("momentum", [Fraction(0), Fraction(1, 3), Fraction(9, 10)])
def test_the_resummed_edge_is_the_sum_over_all_chains_of_links(momentum):
    """To all orders for spans up to 8: a span of s has at most s - 1 links."""
    slope = Fraction(3, 7)
    a = [sum((momentum**k for k in range(s)), Fraction(0)) for s in range(9)]
    edge = propagator(np.array([[float(slope)]]), 1.0, float(momentum))
    moved = edge.push
    for span in range(1, 9):
        assert -moved[0, 0] == pytest.approx(float(chains(span, a, slope)), rel=1e-12, abs=1e-13)
        moved = edge.advance @ moved


def test_the_edge_follows_its_three_term_recursion_and_closed_form():
    momentum, slope = 0.5, 0.3
    edge = propagator(np.array([[slope]]), 1.0, momentum)
    p, moved = [0.0], edge.push
    for _ in range(8):
        p.append(-moved[0, 0])
        moved = edge.advance @ moved
    for before, (here, after) in zip(p, pairwise(p[1:]), strict=False):
        assert after == pytest.approx((1 + momentum - slope) * here - momentum * before, rel=1e-12)
    x, y = np.roots([1, -(1 + momentum - slope), momentum])
    assert p[8] == pytest.approx(((x**8 - y**8) / (x - y)).real, rel=1e-12)
