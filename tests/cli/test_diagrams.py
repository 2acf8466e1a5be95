"""`gradnoise diagrams`: what it lists is what the library counts."""

import json
import re
from fractions import Fraction
from xml.etree import ElementTree

import pytest
import sympy

import gradnoise as gn

GRID = ("-N", 100, "-B", 5, "-E", 2)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_every_diagram_of_an_order_is_listed_with_both_factors(call, order):
    told = json.loads(call("diagrams", "--order", order, "--json").out)
    listed = [gn.Diagram.parse(entry["diagram"]) for entry in told["diagrams"]]
    assert told["count"] == len(listed) == len(set(listed))
    untied = [diagram for diagram in listed if not diagram.is_root_tied]
    assert set(untied) == set(gn.enumerate_diagrams(order))
    assert set(listed) - set(untied) == {joined for d in untied for joined, _ in d.attach_root()}


def test_numbers_are_those_of_the_library_and_of_the_formulas(call):
    told = json.loads(
        call("diagrams", "--json", "--num-examples", 6, "--batch-size", 2, "--epochs", 3, "--sampling", "reshuffle").out
    )
    grid = gn.Spacetime(6, 2, 3, "reshuffle")
    for entry in told["diagrams"]:
        diagram = gn.Diagram.parse(entry["diagram"])
        exact = Fraction(entry["coefficient"])
        assert exact == gn.coefficient(diagram, grid, entry["target"])
        symbols = sympy.symbols("N B E")
        formula = sympy.sympify(entry["coefficient_formula"], dict(zip("NBE", symbols, strict=True)))
        assert formula.subs(dict(zip(symbols, (6, 2, 3), strict=True))) == sympy.Rational(
            exact.numerator, exact.denominator
        )
        if not diagram.is_root_tied:
            assert Fraction(entry["embeddings"]) == gn.embedding_count(diagram, grid)


def test_one_target_alone_has_the_diagrams_it_sees_with_their_factors(call):
    grid = gn.Spacetime(100, 5, 2)
    for target in ("test", "train", "gap", "displacement"):
        told = json.loads(call("diagrams", "--order", 3, "--target", target, *GRID, "--json").out)
        factors = {gn.Diagram.parse(entry["diagram"]): Fraction(entry["coefficient"]) for entry in told["diagrams"]}
        every = [*gn.enumerate_diagrams(3), *(tied for d in gn.enumerate_diagrams(3) for tied, _ in d.attach_root())]
        expected = {diagram: gn.coefficient(diagram, grid, target) for diagram in every}
        assert {diagram: factor for diagram, factor in factors.items() if factor} == {
            diagram: factor for diagram, factor in expected.items() if factor
        }


def test_the_gap_of_order_3_is_told_in_words(call):
    told = call("diagrams", "--order", 3, "--target", "gap", *GRID)
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith("Order 3: 31 of the gap (root tied); factors in the gap.")
    assert "factor in the gap = E*(B - E*N)*(2*B - E*N)/(6*B**3) -> 494/5" in told.out


def test_a_written_diagram_has_the_factor_of_the_target_asked_for(call):
    told = call("diagrams", "(01-2)(02-12)", "--target", "train", "-N", 4, "-B", 2)
    assert "factor in the train loss = E**2*N/(2*B**2) -> 1/2" in told.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--target", "loss"), ("--target='loss'", "test, train, gap or displacement")),
        (("--order", 5), ("--order=5", "700 diagrams", "0 to 4")),
        (("--order", 40), ("--order=40", "more than 90 million", "0 to 4")),
        (("--gallery", "."), ("--gallery='.'", "folder")),
        (("--gallery", "g.html", "--target", "gap"), ("--gallery='g.html'", "Leave other choices out")),
        (("-B", 5), ("--num-examples is missing beside --batch-size",)),
    ],
)
def test_wrong_use_is_one_sentence_and_writes_nothing(call, folder, arguments, words):
    told = call("diagrams", *arguments)
    assert (told.code, told.out) == (2, "")
    assert all(word in told.err for word in words)
    assert told.err.count("\n") == 1
    assert not list(folder.iterdir())


def test_the_gallery_shows_each_diagram_once_with_the_formulas_of_test_and_gap(call, folder):
    told = call("diagrams", "--order", 2, "--gallery", "gallery.html", "-N", 6, "-B", 2, "-E", 3)
    assert (told.code, told.out) == (0, "gallery.html\n")
    page = (folder / "gallery.html").read_text(encoding="utf-8")
    shown = re.findall(r"<h3>([^<]*)</h3>", page)
    assert shown == [str(diagram) for order in range(3) for diagram in gn.enumerate_diagrams(order)]
    assert page.count("<svg") == len(shown) == 1 + 1 + 4
    assert not re.search("<script|<link|<img|url\\(|https?://(?!www.w3.org/2000/svg)", page)
    grid = gn.Spacetime(6, 2, 3)
    for order in range(3):
        for diagram in gn.enumerate_diagrams(order):
            card = page.split(f"<h3>{diagram}</h3>")[1].split("</article>")[0]
            assert f"</span> = {gn.coefficient(diagram, grid)}</dd>" in card
            for tied, _ in diagram.attach_root():
                assert f"<code>{tied}</code>" in card
                assert f"</span> = {gn.coefficient(tied, grid, 'gap')}</dd>" in card


@pytest.mark.slow
def test_the_gallery_through_order_4_has_all_of_them(call, folder):
    assert call("diagrams", "--gallery", "gallery.html").code == 0
    page = (folder / "gallery.html").read_text(encoding="utf-8")
    assert [page.count(f"<h2>Order {order}: {count} ") for order, count in enumerate((1, 1, 4, 17, 101))] == [1] * 5
    assert page.count("<svg") == 124


def test_momentum_changes_the_number_and_not_the_formula(call):
    plain, heavy = (
        json.loads(call("diagrams", "(0-1)(01)", "--json", "--num-examples", 3, "--batch-size", 1, *more).out)
        for more in ((), ("--momentum", "0.5"))
    )
    assert plain["diagrams"][0]["coefficient"] == "-3"
    assert heavy["diagrams"][0]["coefficient"] == "-17/4"
    assert plain["diagrams"][0]["coefficient_formula"] == heavy["diagrams"][0]["coefficient_formula"]


@pytest.mark.parametrize("more", [("--sampling", "with_replacement"), ("--momentum", "0.5")])
def test_no_formula_points_at_a_number_that_it_does_not_give(call, more):
    """N E^2/(2 B^2) is that of plain SGD in epochs; with replacement V01 has T/(2B) [a + (T-1)/N]."""
    grid = ("-N", 4, "-B", 2)
    told = call("diagrams", "(01-2)(02-12)", *grid, *more).out
    number = json.loads(call("diagrams", "(01-2)(02-12)", *grid, *more, "--json").out)["diagrams"][0]
    assert not number["coefficient_formula_holds"]
    assert number["embeddings_formula_holds"] == ("--momentum" in more)
    assert f"E**2*N/(2*B**2) (plain, in a fixed order); as asked for: {number['coefficient']}" in told


def test_the_gallery_of_another_sampling_equates_no_formula_with_its_number(call, folder):
    call("diagrams", "--order", 2, "--gallery", "gallery.html", "-N", 4, "-B", 2, "--sampling", "with_replacement")
    page = (folder / "gallery.html").read_text(encoding="utf-8")
    card = page.split("<h3>(01-2)(02-12)</h3>")[1].split("</article>")[0]
    number = gn.coefficient(gn.Diagram.parse("(01-2)(02-12)"), gn.Spacetime(4, 2, 1, "with_replacement"))
    assert f"</span>; with sampling with_replacement: {number}</dd>" in card
    assert "</span> = 4</dd>" in page  # W of one edge, E N, holds all the same


def test_a_diagram_is_drawn_with_its_meaning(call):
    told = call("diagrams", "(01-2)(02-12)", "--num-examples", 4, "--batch-size", 2, "--epochs", 2)
    assert (told.code, told.err) == (0, "")
    assert "C:H" in told.out
    assert "├── 0 a" in told.out
    assert "= E**2*N/(2*B**2) -> 2" in told.out


def test_the_svg_sheet_is_well_formed_and_holds_every_drawing(call, folder):
    told = call("diagrams", "--order", 2, "--svg", "sheet.svg")
    assert told.code == 0
    assert told.out.splitlines()[-1] == "sheet.svg"
    root = ElementTree.parse(folder / "sheet.svg").getroot()
    assert len(root.findall("{http://www.w3.org/2000/svg}svg")) == 9
    assert [path.name for path in folder.iterdir()] == ["sheet.svg"]
