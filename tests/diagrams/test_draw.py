import re
from xml.etree import ElementTree

import numpy as np
import pytest

from diagrams.brute_force import every_diagram
from diagrams.landscape import root_tied
from gradnoise.diagrams import Diagram

SVG = "{http://www.w3.org/2000/svg}"


def test_text_shows_every_node_once_and_ties_as_letters():
    text = Diagram.parse("(02-13-4)(01-12-23-34)").draw()
    assert re.findall(r"\d", text) == list("43210")
    assert [line[-1] for line in text.splitlines()] == ["t", "b", "a", "b", "a"]


@pytest.mark.parametrize("diagram", list(every_diagram(0, 1, 2, 3)), ids=str)
def test_svg_is_well_formed_and_draws_each_node_edge_and_tie(diagram):
    tree = ElementTree.fromstring(diagram.draw("svg"))
    assert len(tree.findall(f".//{SVG}circle")) == diagram.order + 2
    assert len(tree.findall(f".//{SVG}line")) == diagram.order
    assert len(tree.findall(f".//{SVG}path")) == 3 * sum(len(part) > 1 for part in diagram.parts)
    assert tree.find(f"{SVG}title").text == f"diagram {diagram}"


def test_many_svgs_fit_on_one_page_of_any_colour():
    """No ids that could collide, nothing fetched, and lines in the colour of the text around."""
    for diagram in every_diagram(0, 3, 4):
        svg = diagram._repr_svg_()
        assert not re.search(r"\bid=|url\(|href|<style|<script|<image", svg)
        assert svg.count("http") == 1
        assert "currentColor" in svg
        assert not re.search(r"black|white|#000|#fff", svg)


def test_svg_draws_inside_its_frame():
    for diagram in every_diagram(3, 4):
        tree = ElementTree.fromstring(diagram.draw("svg"))
        left, top, width, height = map(float, tree.attrib["viewBox"].split())
        for circle in tree.iter(f"{SVG}circle"):
            x, y, radius = (float(circle.attrib[name]) for name in ("cx", "cy", "r"))
            assert left <= x - radius <= x + radius <= left + width
            assert top <= y - radius <= y + radius <= top + height


def test_a_tie_bends_around_the_node_between():
    straight, bent = (Diagram.parse(text).draw("svg") for text in ("(01-2-3)(01-12-23)", "(02-1-3)(01-12-23)"))
    heights = [re.search(r"Q\S+ (\S+?) ", svg)[1] for svg in (straight, bent)]
    assert float(heights[0]) == 0
    assert abs(float(heights[1])) > 40


def every_drawn_diagram(*orders):
    yield from every_diagram(*orders)
    for order in orders:
        yield from root_tied(order)


def test_time_runs_to_the_right_and_the_root_is_last():
    for diagram in every_drawn_diagram(1, 2, 3, 4):
        circles = ElementTree.fromstring(diagram.draw("svg")).findall(f".//{SVG}circle")[: diagram.order + 1]
        x = [float(circle.attrib["cx"]) for circle in circles]
        assert all(x[child] < x[parent] for child, parent in enumerate(diagram.parents))
        assert max(x[:-1]) < x[-1]


def test_no_outline_touches_a_node_that_is_not_tied_by_it():
    """Points along each stretch of band, from the path's own text, against the nodes of other parts."""
    shares = np.linspace(0, 1, 101)
    weights = np.stack([(1 - shares) ** 2, 2 * shares * (1 - shares), shares**2], axis=1)
    for diagram in every_drawn_diagram(1, 2, 3, 4):
        tree = ElementTree.fromstring(diagram.draw("svg"))
        circles = tree.findall(f".//{SVG}circle")[: diagram.order + 1]
        places = np.array([[float(circle.attrib[name]) for name in ("cx", "cy")] for circle in circles])
        bands = [band for band in tree if "stroke-linejoin" in band.attrib]
        for part, band in zip((part for part in diagram.parts if len(part) > 1), bands, strict=True):
            others = places[[node for node in range(diagram.order + 1) if node not in part]]
            widest = max(float(path.attrib["stroke-width"]) for path in band) / 2
            numbers = np.array(re.findall(r"[-\d.]+", band[0].attrib["d"]), dtype=float).reshape(-1, 3, 2)
            curves = (weights @ numbers).reshape(-1, 1, 2)
            assert others.size == 0 or np.linalg.norm(curves - others, axis=-1).min() > widest, str(diagram)


def test_tikz_has_a_line_for_each_edge_and_band():
    tikz = Diagram.parse("(01-23-4)(01-12-23-34)").draw("tikz")
    assert tikz.count(r"\draw[thick]") == 5
    assert tikz.count("controls") == 3 * 2
    assert tikz.count(r"\fill") == 5
    assert tikz.startswith(r"\begin{tikzpicture}")
    assert tikz.endswith(r"\end{tikzpicture}")


def test_an_unknown_style_is_refused():
    with pytest.raises(ValueError, match="'text', 'svg', 'tikz'"):
        Diagram.parse("(0-1)(01)").draw("png")
