"""Pictures of a diagram: text, SVG for notebooks and pages, TikZ for papers.

As the field draws them: time runs to the right, so that every node stands left of its parent and the root, at the end, is
the rightmost; ties are fuzzy outlines. In text the root is at the top and ties are letters.
"""

from html import escape
from itertools import pairwise
from math import hypot
from typing import NamedTuple

from gradnoise.diagrams.diagram import Diagram

STYLES = ("text", "svg", "tikz")
COLOURS = (("#e69f00", "orange"), ("#56b4e9", "cyan"), ("#009e73", "teal"), ("#cc79a7", "magenta"), ("#d55e00", "red"))
"""One colour a tied part, for SVG and TikZ: the Okabe-Ito set, visible on light and on dark ground."""

COLUMN, ROW, MARGIN, CLEARANCE = 58.0, 40.0, 24.0, 22.0
"""Pixels: between depths, between leaves, around the picture, from a band's middle to a node that is not in it."""
BULGES = (0.0, 56.0, -56.0, 84.0, -84.0, 112.0, -112.0, 140.0, -140.0)
"""Pixels to a bend's control point, in the order in which they are tried."""
WIDTHS = (28, 23, 18)
"""Of the strokes, each faint, that make a band's soft outline, in pixels."""

Point = tuple[float, float]


class Tie(NamedTuple):
    """One stretch of the band that joins two tied nodes: a quadratic curve from `start` to `end`."""

    start: Point
    control: Point
    end: Point


def draw_diagram(diagram: Diagram, style: str = "text") -> str:
    """The diagram as "text" (ties are letters), "svg" or "tikz" (ties are fuzzy outlines).

    The SVG has no ids, no scripts and no outside resources, and takes its line colour from the text around it. Raises
    ValueError for another style.

    >>> print(draw_diagram(Diagram.parse("(01-2-3)(01-13-23)")))
    3 root
    ├── 1 a
    │   └── 0 a
    └── 2
    """
    if style not in STYLES:
        raise ValueError(f"style={style!r} is unknown. Use one of {', '.join(map(repr, STYLES))}.")
    return {"text": _text, "svg": _svg, "tikz": _tikz}[style](diagram)


def _text(diagram: Diagram) -> str:
    tied = [part for part in diagram.parts if len(part) > 1]
    letters = {node: letter for part, letter in zip(tied, "abcde", strict=False) for node in part}

    def label(node: int) -> str:
        words = [str(node), "root" if node == diagram.root else "", letters.get(node, "")]
        return " ".join(filter(None, words))

    def below(node: int) -> list[str]:
        lines, children = [], diagram.children(node)
        for child in children:
            branch, stem = ("└── ", "    ") if child == children[-1] else ("├── ", "│   ")
            lines.append(branch + label(child))
            lines.extend(stem + line for line in below(child))
        return lines

    return "\n".join([label(diagram.root), *below(diagram.root)])


def _svg(diagram: Diagram) -> str:
    places = _places(diagram)
    ties = _ties(diagram, places)
    points = [*places.values(), *(_apex(tie) for part in ties for tie in part)]
    left, right = min(x for x, _ in points) - MARGIN, max(x for x, _ in points) + MARGIN
    top, bottom = min(y for _, y in points) - MARGIN, max(y for _, y in points) + MARGIN
    width, height = right - left, bottom - top
    body = [
        *_svg_bands(ties),
        '<g stroke="currentColor" stroke-width="2" stroke-linecap="round">',
        *(_svg_edge(places[child], places[parent]) for child, parent in enumerate(diagram.parents)),
        "</g>",
        '<g fill="currentColor">',
        *(f'<circle cx="{x:g}" cy="{y:g}" r="5.5"/>' for x, y in places.values()),
        "</g>",
        '<circle cx="{:g}" cy="{:g}" r="10" fill="none" stroke="currentColor" stroke-width="2"/>'.format(
            *places[diagram.root]
        ),
    ]
    name = escape(f"diagram {diagram}", quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="{left:g} {top:g} {width:g} {height:g}" role="img" aria-label="{name}">'
        f"<title>{name}</title>{''.join(body)}</svg>"
    )


def _svg_bands(ties: list[list[Tie]]) -> list[str]:
    """Soft outlines: three strokes of falling width, each faint, on top of each other."""
    bands = []
    for part, (colour, _) in zip(ties, COLOURS, strict=False):
        path = "".join(
            f"M{tie.start[0]:g} {tie.start[1]:g}Q{tie.control[0]:g} {tie.control[1]:g} {tie.end[0]:g} {tie.end[1]:g}"
            for tie in part
        )
        strokes = "".join(f'<path d="{path}" stroke-width="{width}" opacity="0.28"/>' for width in WIDTHS)
        bands.append(f'<g fill="none" stroke="{colour}" stroke-linecap="round" stroke-linejoin="round">{strokes}</g>')
    return bands


def _svg_edge(child: Point, parent: Point) -> str:
    return f'<line x1="{child[0]:g}" y1="{child[1]:g}" x2="{parent[0]:g}" y2="{parent[1]:g}"/>'


def _tikz(diagram: Diagram) -> str:
    places = _places(diagram)
    lines = [r"\begin{tikzpicture}"]
    for part, (_, colour) in zip(_ties(diagram, places), COLOURS, strict=False):
        curves = " ".join(
            f"{_at(tie.start)} .. controls {_at(_towards(tie.start, tie.control))} "
            f"and {_at(_towards(tie.end, tie.control))} .. {_at(tie.end)}"
            for tie in part
        )
        lines += [
            rf"  \draw[{colour}, opacity=0.28, line width={width / 2:g}pt, line cap=round, line join=round] {curves};"
            for width in WIDTHS
        ]
    for child, parent in enumerate(diagram.parents):
        lines.append(rf"  \draw[thick] {_at(places[child])} -- {_at(places[parent])};")
    lines += [rf"  \fill {_at(place)} circle (2.5pt);" for place in places.values()]
    return "\n".join([*lines, rf"  \draw[thick] {_at(places[diagram.root])} circle (5pt);", r"\end{tikzpicture}"])


def _at(point: Point) -> str:
    """A pixel position in TikZ's centimetres, the y axis upwards."""
    return f"({point[0] / 50:.3g},{-point[1] / 50 + 0:.3g})"


def _towards(end: Point, control: Point) -> Point:
    """A cubic's control point that traces the same curve as the quadratic's."""
    return end[0] + (control[0] - end[0]) * 2 / 3, end[1] + (control[1] - end[1]) * 2 / 3


def _places(diagram: Diagram) -> dict[int, Point]:
    """Depth to the left of the root; leaves on rows of their own, parents in the middle of their children."""
    places: dict[int, Point] = {}
    leaves = 0

    def place(node: int, depth: int) -> float:
        nonlocal leaves
        heights = [place(child, depth + 1) for child in diagram.children(node)]
        if not heights:
            heights = [leaves * ROW]
            leaves += 1
        height = (heights[0] + heights[-1]) / 2
        places[node] = (-depth * COLUMN, height)
        return height

    place(diagram.root, 0)
    return dict(sorted(places.items()))


def _ties(diagram: Diagram, places: dict[int, Point]) -> list[list[Tie]]:
    """For each tied part the curves between its nodes in drawing order, bent where another node would be covered."""
    found = []
    for part in (part for part in diagram.parts if len(part) > 1):
        nodes = sorted(part, key=lambda node: places[node])
        side = -1.0 if len(found) % 2 == 0 else 1.0
        others = [place for node, place in places.items() if node not in part]
        found.append([_tie(places[a], places[b], others, side) for a, b in pairwise(nodes)])
    return found


def _tie(start: Point, end: Point, others: list[Point], side: float) -> Tie:
    """The least bent curve that keeps clear of `others`; bends to `side` are tried first."""
    curves = [_bent(start, end, side * bulge) for bulge in BULGES]
    return next((curve for curve in curves if _clearance(curve, others) >= CLEARANCE), curves[0])


def _bent(start: Point, end: Point, bulge: float) -> Tie:
    (x, y), (u, v) = start, end
    length = hypot(u - x, v - y)
    return Tie(start, ((x + u) / 2 - (v - y) / length * bulge, (y + v) / 2 + (u - x) / length * bulge), end)


def _clearance(tie: Tie, others: list[Point]) -> float:
    """The least distance from points along the curve to any of `others`."""
    shares = [step / 20 for step in range(21)]
    along = [
        tuple((1 - s) ** 2 * a + 2 * s * (1 - s) * b + s**2 * c for a, b, c in zip(*tie, strict=True)) for s in shares
    ]
    return min((hypot(x - u, y - v) for x, y in along for u, v in others), default=CLEARANCE)


def _apex(tie: Tie) -> Point:
    """The middle of the curve, where it is farthest out."""
    return (tie.start[0] + 2 * tie.control[0] + tie.end[0]) / 4, (tie.start[1] + 2 * tie.control[1] + tie.end[1]) / 4
