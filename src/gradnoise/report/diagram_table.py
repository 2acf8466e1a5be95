"""The table of diagrams: drawn, in words, with value, coefficient and contribution."""

import math
from typing import NamedTuple

from gradnoise.diagrams import Diagram
from gradnoise.report.curves import NAMES
from gradnoise.report.html import Html, absent, choices, element, escape, section
from gradnoise.report.source import Source
from gradnoise.report.words import number, with_error

SHOWN = 12
"""Rows before the rest is folded away."""


class Row(NamedTuple):
    """One diagram's part in one target at the main learning rate."""

    written: str
    meaning: str
    order: int
    value: float
    error: float
    factor: float
    contribution: float


def diagram_table(source: Source) -> Html:
    """The section of diagrams, a choice of target."""
    title = "Which diagrams matter"
    if source.array("measured", "value") is None or not source.labels("measured", "diagram"):
        return section("diagrams", title, absent("Diagrams", "these results hold no diagram values."))
    targets = [t for t in ("test", "train", "gap") if t in source.labels("predicted", "target")]
    if source.array("predicted", "factor") is None or not targets:
        targets = [""]
    rate = source.main_rate
    tables = [
        element(
            "div",
            *_table(rows(source, target, rate), rate),
            data_choice="diagram-target",
            data_value=target,
            hidden=target != targets[0],
        )
        for target in targets
    ]
    buttons = (
        choices("diagram-target", "Show", [(t, NAMES[t].split(" (")[0]) for t in targets], targets[0])
        if len(targets) > 1
        else None
    )
    how = (
        "Each diagram is one term of the series. A dot is one visit of an example, the ringed dot the loss that is "
        "measured, a line one derivative passed on; a coloured band says that the dots in it look at the same "
        "example, which is where noise enters. Contribution = coefficient × value × learning rate to the power of "
        f"the order, at learning rate {number(rate)}."
        if not math.isnan(rate)
        else "Each diagram is one term of the series."
    )
    return section(
        "diagrams", title, element("p", how), element("div", buttons, class_="controls") if buttons else None, *tables
    )


def rows(source: Source, target: str, rate: float) -> list[Row]:
    """The diagrams with a part in `target`, by order, the largest contribution first; all of them for target ""."""
    values = source.array("measured", "value")
    diagrams, orders, words = (source.labels("measured", name) for name in ("diagram", "order", "meaning"))
    if values is None:
        return []
    found = []
    for place, written in enumerate(diagrams):
        order = int(orders[place]) if orders else _order(written)
        value = float(values[place])
        error = _entry(source, "measured", "value_se", place)
        factor = _entry(source, "predicted", "factor", place, target) if target else math.nan
        if target and (factor == 0 or math.isnan(factor)):
            continue
        part = factor * value * (rate**order if order else 1.0)
        found.append(Row(str(written), str(words[place]) if words else "", order, value, error, factor, part))
    return sorted(
        found,
        key=lambda row: (row.order, -abs(row.contribution) if not math.isnan(row.contribution) else -abs(row.value)),
    )


def _entry(source: Source, group: str, name: str, place: int, target: str | None = None) -> float:
    found = source.array(group, name)
    if found is None or place >= found.sizes["entry"]:
        return math.nan
    return float((found if target is None else found.sel(target=target))[place])


def _order(written: object) -> int:
    return str(written).rpartition("(")[2].count("-") + 1 if not str(written).endswith("()") else 0


def _table(found: list[Row], rate: float) -> list[Html]:
    largest = max(
        (abs(row.contribution) for row in found if row.order and math.isfinite(row.contribution)), default=0.0
    )
    first, rest = found[:SHOWN], found[SHOWN:]
    parts = [_rows_of(first, largest)]
    if rest:
        parts.append(element("details", element("summary", f"{len(rest)} more diagrams"), _rows_of(rest, largest)))
    return parts


def _rows_of(found: list[Row], largest: float) -> Html:
    head = ["Diagram", "Meaning", "Order", "Value", "Coefficient", "Contribution"]
    classes = ["drawing", "meaning", "number", "number", "number", "number contribution"]
    top = element(
        "thead", element("tr", *(element("th", text, class_=c) for text, c in zip(head, classes, strict=True)))
    )
    body = [
        element(
            "tr",
            *(
                element("td", cell, class_=c, data_label=h)
                for cell, c, h in zip(_cells(row, largest), classes, head, strict=True)
            ),
        )
        for row in found
    ]
    return element("div", element("table", top, element("tbody", *body)), class_="scroll diagrams", tabindex="0")


def _cells(row: Row, largest: float) -> list[Html]:
    words, _, letters = row.meaning.rpartition(": ")
    meaning = [element("span", words or letters), element("span", letters, class_="letters") if words else None]
    share = abs(row.contribution) / largest if largest and row.order and math.isfinite(row.contribution) else 0.0
    bar = element(
        "span", class_=f"bar {'minus' if row.contribution < 0 else 'plus'}", style=f"width:{100 * share:.1f}%"
    )
    return [
        drawing(row.written),
        Html(escape(meaning) + element("code", row.written)),
        escape(row.order),
        escape(with_error(row.value, row.error)),
        escape("–" if math.isnan(row.factor) else number(row.factor, 5)),
        Html(
            escape("–" if math.isnan(row.contribution) else number(row.contribution))
            + element("span", bar, class_="track")
        ),
    ]


def drawing(written: str) -> Html:
    """The diagram as SVG; its written form, escaped, if it cannot be drawn."""
    try:
        return Html(Diagram.parse(written).draw("svg"))
    except (ValueError, TypeError):
        return escape(written)
