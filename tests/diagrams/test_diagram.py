from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagrams.brute_force import automorphisms, every_diagram
from gradnoise.diagrams import Diagram


@st.composite
def labelled_trees(draw, max_order=6):
    """(parents, parts) with the nodes numbered at random, the root last; the root may be tied."""
    order = draw(st.integers(0, max_order))
    above = [draw(st.integers(node + 1, order)) for node in range(order)]
    names = [*draw(st.permutations(range(order))), order]
    parents = [0] * order
    for node, parent in enumerate(above):
        parents[names[node]] = names[parent]
    labels = [draw(st.integers(0, order)) for _ in range(order + 1)]
    parts = [tuple(node for node in range(order + 1) if labels[node] == label) for label in sorted(set(labels))]
    return tuple(parents), tuple(draw(st.permutations(parts)))


@settings(deadline=None)
@given(labelled_trees(max_order=9))
def test_the_written_form_parses_back(tree):
    diagram = Diagram(*tree)
    assert Diagram.parse(str(diagram)) == diagram
    assert eval(repr(diagram), {"Diagram": Diagram}) == diagram


@settings(deadline=None)
@given(labelled_trees(), st.randoms(use_true_random=False))
def test_isomorphic_diagrams_are_equal_and_hash_alike(tree, random):
    parents, parts = tree
    names = [*random.sample(range(len(parents)), len(parents)), len(parents)]
    renamed = [0] * len(parents)
    for node, parent in enumerate(parents):
        renamed[names[node]] = names[parent]
    other = Diagram(tuple(renamed), tuple(tuple(names[node] for node in part) for part in parts))
    assert other == Diagram(parents, parts)
    assert hash(other) == hash(Diagram(parents, parts))
    assert (other.parents, other.parts) == (Diagram(parents, parts).parents, Diagram(parents, parts).parts)


@settings(deadline=None)
@given(labelled_trees(max_order=5))
def test_automorphisms_are_the_permutations_that_keep_edges_and_parts(tree):
    assert Diagram(*tree).num_automorphisms == automorphisms(Diagram(*tree))


def test_diagrams_that_are_not_isomorphic_differ():
    """All 101 of order 4, each under all renamings: the classes do not meet."""
    seen: dict[tuple, Diagram] = {}
    for diagram in every_diagram(3, 4):
        for names in permutations(range(diagram.order)):
            full = (*names, diagram.order)
            edges = frozenset((full[u], full[v]) for u, v in enumerate(diagram.parents))
            parts = frozenset(frozenset(full[u] for u in part) for part in diagram.parts)
            assert seen.setdefault((edges, parts), diagram) == diagram


@settings(deadline=None)
@given(labelled_trees())
def test_children_are_numbered_before_their_parents(tree):
    diagram = Diagram(*tree)
    assert all(child < parent for child, parent in enumerate(diagram.parents))
    assert sum(diagram.degree(node) for node in range(diagram.order + 1)) == 2 * diagram.order
    assert all(diagram.parents[child] == node for node in range(diagram.order + 1) for child in diagram.children(node))
    assert all(node in diagram.part_of(node) for node in range(diagram.order + 1))


@settings(deadline=None)
@given(labelled_trees())
def test_the_root_can_be_detached_and_joined_to_each_part(tree):
    alone = Diagram(*tree).detach_root()
    assert not alone.is_root_tied
    assert alone.root_part == (alone.root,)
    joined = dict(alone.attach_root())
    assert sum(joined.values()) == len(alone.parts) - 1
    for tied, ways in joined.items():
        assert tied.is_root_tied
        assert tied.detach_root() == alone
        assert ways * tied.num_automorphisms == alone.num_automorphisms


def test_a_tied_root_cannot_be_joined_again():
    with pytest.raises(ValueError, match="tied already"):
        next(Diagram.parse("(01)(01)").attach_root())


def test_the_diagram_of_order_0_is_a_lone_root():
    diagram = Diagram.parse("(0)()")
    assert (diagram.order, diagram.root, diagram.parents, diagram.parts, diagram.num_automorphisms) == (
        0,
        0,
        (),
        ((0,),),
        1,
    )
    assert str(diagram) == "(0)()"
    assert list(diagram.attach_root()) == []


def test_links_are_untied_nodes_with_one_child_and_never_the_root():
    links = {
        text: Diagram.parse(text).links for text in ("(0-1-2)(01-12)", "(01-2)(01-12)", "(0-1-2)(02-12)", "(0-1)(01)")
    }
    assert links == {"(0-1-2)(01-12)": (1,), "(01-2)(01-12)": (), "(0-1-2)(02-12)": (), "(0-1)(01)": ()}


def test_a_diagram_cannot_be_changed():
    with pytest.raises(AttributeError):
        Diagram.parse("(0-1)(01)").parents = ()  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "two brackets"),
        ("(01-2)", "two brackets"),
        ("(01-2)(02-12", "two brackets"),
        ("(01-2)(02-12)()", "two brackets"),
        ("((01-2)(02-12))", "two brackets"),
        ("01-2 02-12", "two brackets"),
        ("()()", "part ''"),
        ("(0--1)(01)", "part ''"),
        ("(0-a)(0a)", "part 'a'"),
        ("(0,1)(01)", "part '0,1'"),
        ("(0 -1)(01)", "part '0 '"),
        ("(01-1)(01)", "node 1 is listed twice"),
        ("(00-1)(01)", "node 0 is listed twice"),
        ("(0-2)(02)", "node 1 is missing"),
        ("(1-2)(12)", "node 0 is missing"),
        ("(0-1)(0)", "edge '0'"),
        ("(0-1)(0-1)", "edge '0'"),
        ("(0-1-2)(012)", "edge '012'"),
        ("(0-1)(0>1)", "edge '0>1'"),
        ("(0-1)(02)", "names node 2"),
        ("(0-1)(10)", "root 1 a child"),
        ("(0-1-2)(01-12-20)", "root 2 a child"),
        ("(0-1-2)(02-12-02)", "two parents"),
        ("(0-1-2)(01-02)", "two parents"),
        ("(0-1-2)(02)", "node 1 has no edge"),
        ("(0-1)()", "node 0 has no edge"),
        ("(0-1-2)(01-10)", "circle"),
        ("(0-1-2)(00-12)", "circle"),
        ("(0-1-2-3)(01-12-20)", "circle"),
    ],
)
def test_malformed_text_is_refused_with_what_is_wrong(text, message):
    with pytest.raises(ValueError, match=message) as error:
        Diagram.parse(text)
    assert repr(text) in str(error.value)
    assert "\n" not in str(error.value)


def test_text_is_asked_for():
    with pytest.raises(TypeError, match="of type int"):
        Diagram.parse(12)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parents", "parts", "message"),
    [
        ((1,), ((0,),), "no partition"),
        ((1,), ((0,), (1,), ()), "no partition"),
        ((1,), ((0, 1), (1,)), "no partition"),
        ((2,), ((0,), (1,)), "no tree"),
        ((0,), ((0,), (1,)), "no tree"),
        ((1, 0), ((0,), (1,), (2,)), "circle"),
        ((10,) * 10, tuple((n,) for n in range(11)), "at most 9"),
    ],
)
def test_parents_and_parts_that_make_no_diagram_are_refused(parents, parts, message):
    with pytest.raises(ValueError, match=message):
        Diagram(parents, parts)
