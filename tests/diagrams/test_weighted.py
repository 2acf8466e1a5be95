"""Sums step by step, for filters that remember: against walks through all embeddings, and against the closed counts."""

from fractions import Fraction

import numpy as np
import pytest

from diagrams.brute_force import every_diagram, optimizer_response, weighted_count
from gradnoise.diagrams import embedding_count
from gradnoise.diagrams.embeddings import grid_of, num_embeddings
from gradnoise.diagrams.filters import LinearFilter
from gradnoise.diagrams.weighted import weighted_embeddings
from gradnoise.spacetime import Spacetime

GRIDS = [
    Spacetime(3, 1, 2),
    Spacetime(4, 2, 3).truncate(5),
    Spacetime(3, 1, 2, sampling="reshuffle").truncate(5),
    Spacetime(4, 2, 2, sampling="reshuffle"),
    Spacetime(3, 2, sampling="subset", num_steps=3),
    Spacetime(1, 1, 3, sampling="subset"),
    Spacetime(2, 2, sampling="with_replacement", num_steps=3),
]
THIRD, HALF, RATES = (
    Fraction(1, 3),
    Fraction(1, 2),
    (Fraction(2), Fraction(0), Fraction(1, 5), Fraction(1), Fraction(3), Fraction(1)),
)


def exact_curve(diagram, spacetime, optimizer):
    sums = weighted_embeddings(diagram, spacetime, optimizer, lambda shape: np.ones(shape, dtype=object))
    return [Fraction(total, scale) / diagram.num_automorphisms for total, scale in sums]


@pytest.mark.parametrize("spacetime", GRIDS, ids=repr)
@pytest.mark.parametrize(
    "options",
    [
        {"momentum": THIRD},
        {"momentum": THIRD, "nesterov": True},
        {"momentum": HALF, "dampening": Fraction(1, 4)},
        {"momentum": HALF, "dampening": Fraction(1)},
        {"rates": RATES},
        {"momentum": HALF, "rates": RATES, "dampening": THIRD},
        {"momentum": THIRD, "nesterov": True, "rates": RATES},
    ],
    ids=str,
)
def test_sums_equal_the_walk_with_edges_weighed_by_the_optimizers_response(spacetime, options):
    edge = optimizer_response(spacetime.num_steps, **options)
    for diagram in every_diagram(1, 2) if spacetime.sampling != "fixed" else every_diagram(1, 2, 3):
        assert exact_curve(diagram, spacetime, LinearFilter(**options))[-1] == weighted_count(diagram, spacetime, edge)


@pytest.mark.parametrize("spacetime", [GRIDS[0], GRIDS[4], GRIDS[6]], ids=repr)
def test_edges_inside_a_step_equal_the_walk(spacetime):
    options = {"momentum": THIRD, "rates": RATES}
    edge = optimizer_response(spacetime.num_steps, **options)
    for diagram in every_diagram(2, 3):
        walk = weighted_count(diagram, spacetime, edge, inside=lambda step: HALF * RATES[step])
        assert exact_curve(diagram, spacetime, LinearFilter(**options, hessian_damping=HALF))[-1] == walk


@pytest.mark.parametrize("spacetime", [*GRIDS, Spacetime(9, 3, 3), Spacetime(9, 3, 3, sampling="reshuffle")], ids=repr)
@pytest.mark.parametrize("damping", [0, Fraction(2, 7)])
def test_without_memory_sums_equal_the_closed_counts_after_every_step(spacetime, damping):
    plain = LinearFilter(hessian_damping=damping, rates=(Fraction(1),) * spacetime.num_steps)
    for diagram in every_diagram(0, 1, 2, 3):
        for step, count in enumerate(exact_curve(diagram, spacetime, plain)):
            grid = grid_of(spacetime.truncate(step))
            closed = num_embeddings(diagram, spacetime.sampling, grid, damping)
            assert count == Fraction(closed) / diagram.num_automorphisms


@pytest.mark.parametrize(
    "spacetime", [Spacetime(4, 1, 3), Spacetime(4, 1, 3, sampling="reshuffle").truncate(10)], ids=repr
)
def test_at_order_4_two_tied_parts_have_columns_of_their_own(spacetime):
    plain = LinearFilter(rates=(Fraction(1),) * spacetime.num_steps)
    for diagram in every_diagram(4):
        if sorted(map(len, diagram.parts)) == [1, 2, 2]:
            assert exact_curve(diagram, spacetime, plain)[-1] == embedding_count(diagram, spacetime)


def test_floats_follow_the_exact_sums():
    spacetime = Spacetime(12, 2, 4)
    exact, rough = LinearFilter(momentum=Fraction(9, 10)), LinearFilter(0.9, dampening=0.0, hessian_damping=0.0)
    for diagram in every_diagram(1, 2, 3):
        floats = [total for total, _ in weighted_embeddings(diagram, spacetime, rough, np.ones)]
        wanted = [float(x * diagram.num_automorphisms) for x in exact_curve(diagram, spacetime, exact)]
        np.testing.assert_allclose(floats, wanted, rtol=24 * 12 * np.finfo(float).eps)
