"""`gradnoise diagrams`: what it lists is what the library counts."""

import json
from fractions import Fraction
from xml.etree import ElementTree

import pytest
import sympy

import gradnoise as gn


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


def test_momentum_changes_the_number_and_not_the_formula(call):
    plain, heavy = (
        json.loads(call("diagrams", "(0-1)(01)", "--json", "--num-examples", 3, "--batch-size", 1, *more).out)
        for more in ((), ("--momentum", "0.5"))
    )
    assert plain["diagrams"][0]["coefficient"] == "-3"
    assert heavy["diagrams"][0]["coefficient"] == "-17/4"
    assert plain["diagrams"][0]["coefficient_formula"] == heavy["diagrams"][0]["coefficient_formula"]


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
