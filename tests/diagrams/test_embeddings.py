from fractions import Fraction
from math import comb, factorial

import pytest

from diagrams.brute_force import every_diagram, weighted_count
from gradnoise.diagrams import Diagram, embedding_count, enumerate_diagrams
from gradnoise.spacetime import Spacetime

SAMPLINGS = ("fixed", "reshuffle", "subset", "with_replacement")
GRIDS = [(4, 1, 1), (4, 1, 2), (4, 2, 2), (4, 4, 4), (6, 2, 3), (5, 1, 1), (12, 3, 5), (7, 7, 1), (60000, 125, 90)]


def section_2(N: int, B: int, E: int) -> dict[str, Fraction]:
    """The 22 closed counts of diagrams.md section 2."""
    tau, T = N // B, E * N // B
    T2, T3, S1, S2, q = comb(T, 2), comb(T, 3), comb(E, 2), Fraction(E * (E - 1) * (2 * E - 1), 6), Fraction(tau - 1, 2)
    A = B * N * ((T - 1 - q) * S1 - tau * S2)
    chain, fork, star = "(01-12-23)", "(01-13-23)", "(03-13-23)"
    tree_y = "(02-12-23)"
    return {
        "(0-1)(01)": T * B,
        "(0-1-2)(01-12)": B**2 * T2,
        "(01-2)(01-12)": N * S1,
        "(0-1-2)(02-12)": Fraction((T * B) ** 2, 2),
        "(01-2)(02-12)": Fraction(N * E**2, 2),
        "(0-1-2-3)" + chain: B**3 * T3,
        "(01-2-3)" + chain: A,
        "(0-12-3)" + chain: A,
        "(02-1-3)" + chain: B * N * (Fraction(tau * E * (E**2 - 1), 6) - S1),
        "(012-3)" + chain: N * comb(E, 3),
        "(0-1-2-3)" + fork: B**3 * T * T2,
        "(01-2-3)" + fork: N * S1 * T * B,
        "(02-1-3)" + fork: E * B**2 * T2,
        "(0-12-3)" + fork: E * B**2 * T2,
        "(012-3)" + fork: N * S1 * E,
        "(0-1-2-3)" + tree_y: Fraction(B**3 * T * (T - 1) * (2 * T - 1), 12),
        "(01-2-3)" + tree_y: Fraction(B**2 * T2, 2) + A,
        "(02-1-3)" + tree_y: B * N * (tau * S2 + q * S1),
        "(012-3)" + tree_y: Fraction(N * S2) / 2,
        "(0-1-2-3)" + star: Fraction((T * B) ** 3, 6),
        "(01-2-3)" + star: Fraction(N * E**2 * T * B, 2),
        "(012-3)" + star: Fraction(N * E**3, 6),
    }


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("sampling", ["fixed", "reshuffle"])
def test_the_22_counts_through_order_3_have_their_closed_forms_however_epochs_are_shuffled(grid, sampling):
    counts = section_2(*grid)
    assert {Diagram.parse(text) for text in counts} == set(every_diagram(1, 2, 3))
    for text, count in counts.items():
        assert embedding_count(Diagram.parse(text), Spacetime(*grid, sampling=sampling)) == count, text


@pytest.mark.parametrize(("sampling", "counts"), [("fixed", (6, 1, 25)), ("reshuffle", (4, 3, 27))])
def test_inside_an_epoch_three_counts_of_order_3_depend_on_the_schedule(sampling, counts):
    stopped = Spacetime(4, 1, 2, sampling=sampling).truncate(6)
    texts = ("(02-1-3)(01-12-23)", "(0-12-3)(01-12-23)", "(0-12-3)(01-13-23)")
    assert tuple(embedding_count(Diagram.parse(text), stopped) for text in texts) == counts


SMALL = [
    *((Spacetime(3, 1, 2, sampling="fixed").truncate(t)) for t in range(7)),
    *((Spacetime(4, 2, 3, sampling="fixed").truncate(t)) for t in (3, 4, 5)),
    Spacetime(4, 1, 2, sampling="fixed").truncate(7),
    *((Spacetime(3, 1, 2, sampling="reshuffle").truncate(t)) for t in (2, 4, 5, 6)),
    Spacetime(4, 2, 2, sampling="reshuffle").truncate(3),
    Spacetime(2, 2, 3, sampling="reshuffle"),
    Spacetime(3, 2, sampling="subset", num_steps=3),
    Spacetime(2, 1, 2, sampling="subset"),
    Spacetime(1, 1, 3, sampling="subset"),
    Spacetime(2, 2, sampling="with_replacement", num_steps=2),
    Spacetime(3, 1, sampling="with_replacement", num_steps=3),
    Spacetime(1, 2, sampling="with_replacement", num_steps=3),
]


@pytest.mark.parametrize("spacetime", SMALL, ids=repr)
def test_counts_through_order_3_equal_a_walk_through_all_schedules_and_embeddings(spacetime):
    for diagram in every_diagram(0, 1, 2, 3):
        assert embedding_count(diagram, spacetime) == weighted_count(diagram, spacetime), diagram


@pytest.mark.parametrize(
    "spacetime",
    [
        Spacetime(3, 1, 2),
        Spacetime(3, 1, 2).truncate(5),
        Spacetime(2, 1, 2, sampling="reshuffle"),
        Spacetime(2, 1, 2, sampling="reshuffle").truncate(3),
        Spacetime(3, 2, sampling="subset", num_steps=2),
        Spacetime(2, 2, sampling="with_replacement", num_steps=2),
    ],
    ids=repr,
)
def test_counts_of_order_4_with_two_ties_equal_the_walk(spacetime):
    two_ties = [d for d in enumerate_diagrams(4) if sorted(map(len, d.parts)) == [1, 2, 2]]
    assert len(two_ties) == 20
    for diagram in two_ties:
        assert embedding_count(diagram, spacetime) == weighted_count(diagram, spacetime), diagram


def test_shuffling_changes_counts_from_order_4_on_and_the_walk_agrees():
    fixed, shuffled = (Spacetime(3, 1, 2, sampling=sampling) for sampling in ("fixed", "reshuffle"))
    changed = [d for d in enumerate_diagrams(4) if embedding_count(d, fixed) != embedding_count(d, shuffled)]
    assert {max(map(len, diagram.parts)) for diagram in changed} == {2}
    for text in ("(03-12-4)(01-12-23-34)", "(03-1-2-4)(01-12-23-34)"):
        diagram = Diagram.parse(text)
        assert diagram in changed
        assert embedding_count(diagram, shuffled) == weighted_count(diagram, shuffled)


def test_one_batch_an_epoch_leaves_nothing_to_shuffle():
    for diagram in every_diagram(1, 2, 3, 4):
        counts = {embedding_count(diagram, Spacetime(3, 3, 4, sampling=s)) for s in ("fixed", "reshuffle", "subset")}
        assert len(counts) == 1


def test_drawing_one_example_a_step_is_the_same_with_and_without_replacement():
    for diagram in every_diagram(1, 2, 3, 4):
        subset, free = (Spacetime(5, 1, 3, sampling=sampling) for sampling in ("subset", "with_replacement"))
        assert embedding_count(diagram, subset) == embedding_count(diagram, free)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_untied_counts_know_only_the_number_of_steps(sampling):
    for diagram in every_diagram(1, 2, 3, 4):
        if len(diagram.parts) == diagram.order + 1:
            assert embedding_count(
                diagram, Spacetime(6, 2, 2, sampling=sampling)
            ) == 2**diagram.order * embedding_count(diagram, Spacetime(1, 1, 6))


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_untied_branches_at_the_root_multiply(sampling):
    grid = Spacetime(6, 2, 3, sampling=sampling).truncate(7)
    pair, chain = Diagram.parse("(01-2)(01-12)"), Diagram.parse("(0-1-2)(01-12)")
    both = Diagram.parse("(01-2-3-4)(01-14-23-34)")
    assert embedding_count(both, grid) == embedding_count(pair, grid) * embedding_count(chain, grid)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_diagram_tied_in_one_part_counts_rows_one_by_one(sampling):
    for order in (2, 3, 4, 5):
        star = Diagram((order,) * order, (tuple(range(order)), (order,)))
        if sampling in ("fixed", "reshuffle"):
            assert embedding_count(star, Spacetime(60, 5, 3, sampling=sampling)) == Fraction(
                60 * 3**order, factorial(order)
            )
        one = embedding_count(star, Spacetime(1, 1, 6, sampling=sampling))
        assert one == Fraction(6**order, factorial(order))


@pytest.mark.parametrize("sampling", ["fixed", "reshuffle", "subset"])
def test_with_the_full_batch_every_row_is_there_at_every_step(sampling):
    """Then a part chooses one of N rows for good, and nodes their steps, as if they were untied."""
    for diagram in every_diagram(1, 2, 3, 4):
        untied = Diagram(diagram.parents, tuple((node,) for node in range(diagram.order + 1)))
        steps = embedding_count(untied, Spacetime(1, 1, 90)) * untied.num_automorphisms
        rows = 1000 ** (len(diagram.parts) - 1)
        count = embedding_count(diagram, Spacetime(1000, 1000, 90, sampling=sampling))
        assert count == rows * steps / diagram.num_automorphisms


def test_one_epoch_has_no_embedding_of_a_part_with_an_ancestor_and_a_descendant():
    forbidden = [diagram for diagram in every_diagram(2, 3, 4) if _ties_an_ancestor(diagram)]
    assert len(forbidden) > 50
    assert {embedding_count(diagram, Spacetime(6, 2)) for diagram in forbidden} == {0}


def _ties_an_ancestor(diagram: Diagram) -> bool:
    def ancestors(node):
        return [] if node == diagram.root else [diagram.parents[node], *ancestors(diagram.parents[node])]

    return any(set(part) & set(ancestors(node)) for part in diagram.parts for node in part)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_nothing_is_embedded_before_the_first_update(sampling):
    empty = Spacetime(4, 2, 2, sampling=sampling).truncate(0)
    assert embedding_count(Diagram.parse("(0)()"), empty) == 1
    assert all(embedding_count(diagram, empty) == 0 for diagram in every_diagram(1, 2, 3))


def test_a_tied_root_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match="detach_root"):
        embedding_count(Diagram.parse("(01)(01)"), Spacetime(4, 2))


@pytest.mark.parametrize(("diagram", "spacetime"), [("(0-1)(01)", Spacetime(4, 2)), (Diagram.parse("(0-1)(01)"), 4)])
def test_other_types_are_refused(diagram, spacetime):
    with pytest.raises(TypeError, match="expected a"):
        embedding_count(diagram, spacetime)
