"""The gallery of diagrams: one HTML page without scripts, every term with its drawing, meaning, count and factors."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from gradnoise.report.html import Html, element, section

if TYPE_CHECKING:
    from fractions import Fraction

    import sympy

    from gradnoise.diagrams import Diagram
    from gradnoise.spacetime import Spacetime

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:1200px;margin:2em auto;padding:0 1em;color:#222;background:#fff}"
    ".cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:1em}"
    "article{border:1px solid #ddd;border-radius:6px;padding:.8em}svg{max-width:100%;height:auto}"
    "h3{margin:.3em 0;font:15px monospace}p{margin:.3em 0}dl{margin:.3em 0}dt{color:#666;font-size:13px}dd{margin:0 0 .3em}"
    "sup{line-height:0}@media(prefers-color-scheme:dark){body{color:#ddd;background:#151515}article{border-color:#444}"
    "dt{color:#aaa}}"
)
GUIDE = (
    "A diagram is a rooted tree with ties. Time runs to the right; the circled node is the root, the measured loss. A node "
    "with k edges is the k-th derivative of one example's loss; nodes in one outline look at the same example and carry a "
    "joint cumulant. The expected test loss of SGD is the sum over diagrams with an untied root of factor × value × "
    "(learning rate)^edges, the gap (test less train) the same sum over those with a tied root."
)
SYMBOLS = (
    "N training examples, batches of B, E epochs; W(D) counts embeddings over automorphisms, the factor in the test loss is "
    "(−1/B)^edges W(D). Formulas hold for whole epochs in a fixed order, through order 3 for every shuffling. A factor "
    "with (E − 1) is zero in one epoch, and the SDE lacks the term altogether."
)


def gallery(orders: Sequence[int], spacetime: "Spacetime | None" = None) -> str:
    """The page for all diagrams of test loss of these orders, with the root-tied ones of the gap that come from each.

    With a `spacetime` the numbers stand beside the formulas, which are those of a fixed order.
    """
    from gradnoise.diagrams import enumerate_diagrams

    parts = []
    for order in orders:
        found = list(enumerate_diagrams(order))
        title = f"Order {order}: {len(found)} diagram{'s' * (len(found) != 1)}"
        cards = element("div", *(_card(each, spacetime) for each in found), class_="cards")
        parts.append(section(f"order-{order}", title, cards))
    meta = element("meta", name="viewport", content="width=device-width, initial-scale=1")
    head = [
        element("meta", charset="utf-8"),
        meta,
        element("title", "Diagrams – gradnoise"),
        element("style", Html(STYLE)),
    ]
    body = element("body", element("h1", "Diagrams"), element("p", GUIDE), element("p", SYMBOLS), *parts)
    return "<!DOCTYPE html>\n" + element("html", element("head", *head), body, lang="en") + "\n"


def _card(diagram: "Diagram", spacetime: "Spacetime | None") -> Html:
    from gradnoise.results.meaning import meaning

    facts: list[Html] = [element("dt", "W(D)"), _count(diagram, spacetime), element("dt", "factor in the test loss")]
    facts.append(_factor(diagram, "test", spacetime))
    for tied, _ in diagram.attach_root():
        facts += [element("dt", "in the gap: ", element("code", str(tied))), _factor(tied, "gap", spacetime)]
    written, words = element("h3", str(diagram)), element("p", meaning(diagram))
    return element("article", Html(diagram.draw("svg")), written, words, element("dl", *facts))


def _count(diagram: "Diagram", spacetime: "Spacetime | None") -> Html:
    from gradnoise.diagrams import embedding_count

    written = embeddings_formula(diagram)
    return _fact(written, None if spacetime is None else embedding_count(diagram, spacetime), spacetime)


def _factor(diagram: "Diagram", target: str, spacetime: "Spacetime | None") -> Html:
    from gradnoise.predict import coefficient, coefficient_formula

    written = coefficient_formula(diagram, target)
    return _fact(written, None if spacetime is None else coefficient(diagram, spacetime, target), spacetime)


def _fact(written: "sympy.Expr", number: "Fraction | None", spacetime: "Spacetime | None") -> Html:
    """A formula, and the number on the grid: equal to it, or where it does not hold for the sampling, beside it."""
    if number is None or spacetime is None:
        return element("dd", formula(str(written)))
    told = " = " if holds(written, number, spacetime) else f"; with sampling {spacetime.sampling}: "
    return element("dd", formula(str(written)), f"{told}{number}")


def holds(written: "sympy.Expr", number: "Fraction", spacetime: "Spacetime") -> bool:
    """Whether a formula in N, B, E, which is that of plain SGD in a fixed order, gives the number on this grid."""
    import sympy

    sizes: Any = {"N": spacetime.num_examples, "B": spacetime.batch_size, "E": spacetime.epochs}
    return written.subs(sizes) == sympy.Rational(number.numerator, number.denominator)


def embeddings_formula(diagram: "Diagram") -> "sympy.Expr":
    """W(D) of an untied diagram in N, B, E, from its factor (-1/B)^d W(D) in the test loss."""
    import sympy

    from gradnoise.predict import coefficient_formula

    factor = coefficient_formula(diagram, "test") * (-sympy.Symbol("B")) ** diagram.order
    return cast("sympy.Expr", sympy.factor(factor))


def formula(written: str) -> Html:
    """A formula of sympy's as markup: powers raised, products as spaces.

    >>> formula("-E**2*N/(2*B)")
    '<span>−E<sup>2</sup> N/(2 B)</span>'
    """
    parts = re.split(r"\*\*(\d+)", written.replace("-", "−"))  # text, power, text, power, ...
    shown = [element("sup", part) if place % 2 else part.replace("*", " ") for place, part in enumerate(parts)]
    return element("span", *shown)
