"""Figures as plain plotly data, drawn by the page's script; colours are names ("@ink") that the script looks up."""

import html
import math
from typing import Any

import numpy as np

from gradnoise.report.html import Html, choices, element, json_block
from gradnoise.report.words import tick

NORMAL_95 = 1.96
ORDER_COLOURS = ("@order0", "@order1", "@order2", "@order3", "@order4", "@order5")
CHECKPOINT_COLOURS = ("@start", "@end", "@order1", "@order4")
MOST_POINTS = 400

Trace = dict[str, Any]
Variant = dict[str, Any]


def colour(order: int) -> str:
    """The colour of an order of the series, the same in every figure."""
    return ORDER_COLOURS[order % len(ORDER_COLOURS)]


def label(text: Any, longest: int = 60) -> str:
    """Text for a legend, an axis or a hover box, where plotly would read markup.

    >>> label("<a>")
    '&lt;a&gt;'
    """
    text = str(text)
    return html.escape(text if len(text) <= longest else f"{text[: longest - 1]}…", quote=False)


def rounded(values: Any) -> list[float | None]:
    """Six significant digits, enough for a picture; None where a number is not finite."""
    return [float(f"{v:.6g}") if math.isfinite(v) else None for v in np.asarray(values, dtype=float).ravel()]


def thinned(size: int) -> np.ndarray:
    """At most MOST_POINTS indices of `size`, first and last among them."""
    return np.unique(np.linspace(0, size - 1, min(size, MOST_POINTS)).round().astype(int))


def line(x: Any, y: Any, name: str, paint: str, **style: Any) -> Trace:
    """A curve; `dash` and `width` are its style."""
    drawn = {"color": paint, "width": style.pop("width", 2), "dash": style.pop("dash", "solid")}
    return {
        "type": "scatter",
        "mode": "lines",
        "x": rounded(x),
        "y": rounded(y),
        "name": label(name),
        "line": drawn,
        **style,
    }


def band(x: Any, low: Any, high: Any, paint: str, group: str, strength: float = 0.18) -> Trace:
    """A filled band between two curves, without a place in the legend; it goes with the curves of `group`."""
    x, low, high = (np.asarray(each, dtype=float) for each in (x, low, high))
    known = np.isfinite(low) & np.isfinite(high)
    around = np.concatenate([x[known], x[known][::-1]]), np.concatenate([high[known], low[known][::-1]])
    return {
        "type": "scatter",
        "mode": "lines",
        "x": rounded(around[0]),
        "y": rounded(around[1]),
        "fill": "toself",
        "fillcolor": f"{paint}/{strength}",
        "line": {"width": 0, "color": paint},
        "hoverinfo": "skip",
        "showlegend": False,
        "legendgroup": group,
    }


def axis(title: str, kind: str = "linear", **options: Any) -> dict[str, Any]:
    """An axis; a logarithmic one has its labels at powers of ten."""
    log = {"exponentformat": "power", "dtick": None, "minor": {"showgrid": False}} if kind == "log" else {}
    return {"title": {"text": title, "standoff": 10}, "type": kind, "automargin": True, **log, **options}


def decades(low: float, high: float) -> dict[str, Any]:
    """Range and ticks of a log axis that shows [low, high]: decades where there are at least two, else 1, 2 and 5."""
    start, stop = math.log10(low), math.log10(high)
    span = stop - start
    margin = max(0.04 * span, 0.03)
    steps = (1,) if span > 2 else (1, 2, 5) if span > 0.6 else (1, 1.5, 2, 3, 4, 5, 6, 8)
    stride = max(1, math.ceil(span / 7))
    ticks = [
        m * 10.0**e
        for e in range(math.floor(start) - 1, math.ceil(stop) + 1)
        for m in steps
        if start - margin <= math.log10(m * 10.0**e) <= stop + margin and (len(steps) > 1 or e % stride == 0)
    ]
    return {"range": [start - margin, stop + margin], "tickvals": ticks, "ticktext": [tick(t) for t in ticks]}


def variant(
    data: list[Trace], x: dict[str, Any], y: dict[str, Any], notes: list[str] | None = None, **layout: Any
) -> Variant:
    """What a figure shows for one choice of its buttons; `notes` are the sentences below it."""
    return {"data": data, "layout": {"xaxis": x, "yaxis": y, **layout}, "notes": notes or []}


def figure(
    identifier: str,
    caption: str,
    described: str,
    variants: dict[str, Variant],
    height: int = 420,
    buttons: list[tuple[str, str, list[tuple[str, str]], str]] | None = None,
) -> Html:
    """A figure with its buttons (name, label, options, chosen), and the data of all `variants` (options joined by "|")."""
    controls = [
        choices(f"{identifier}-{name}", text, options, chosen)
        for name, text, options, chosen in buttons or []
        if len(options) > 1
    ]
    names = [name for name, *_ in buttons or []]
    start = "|".join(chosen for *_, chosen in buttons or []) or next(iter(variants))
    return element(
        "figure",
        element("div", *controls, class_="controls") if controls else None,
        element(
            "div",
            id=identifier,
            class_="plot",
            style=f"height:{height}px",
            role="img",
            aria_label=described,
            data_figure=identifier,
            data_names="|".join(names),
            data_start=start,
        ),
        element("div", class_="notes", id=f"{identifier}-notes"),
        element("figcaption", caption),
        json_block(f"{identifier}-data", variants),
    )
