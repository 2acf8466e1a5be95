"""The noise scale of the whole model and of its parameter groups."""

import math

import numpy as np

from gradnoise.report import figure as fig
from gradnoise.report.html import Html, absent, section, table
from gradnoise.report.source import Source
from gradnoise.report.words import interval, number, with_error

WHOLE = "whole model"

Row = tuple[str, float, float, float]
"""A group, its B_simple and the two ends of the interval."""


def noise_scale(source: Source) -> Html:
    """The section of B_simple by parameter group."""
    title, points = "Noise scale by parameter group", source.checkpoints
    rows = {point: _rows(source, point) for point in points}
    known = [scale for each in rows.values() for _, scale, *_ in each if 0 < scale < math.inf]
    if not known:
        return section("noise-scale", title, absent("Noise scale", "the results hold no finite simple_noise_scale."))
    ends = [end for each in rows.values() for _, _, low, high in each for end in (low, high) if 0 < end < math.inf]
    low, high = min(known + ends), max(known + ends)
    low = max(low, min(known) / 30)
    high = min(high, max(known) * 30)
    groups = list(dict.fromkeys(name for each in rows.values() for name, *_ in each))
    lines = {group: place for place, group in enumerate(reversed(groups))}
    data = []
    for place, (point, paint) in enumerate(zip(points, fig.CHECKPOINT_COLOURS, strict=False)):
        shift = 0.16 * ((len(points) - 1) / 2 - place)
        data.append(_dots(point, paint, rows[point], (low, high), {g: line + shift for g, line in lines.items()}))
    y = {
        "tickvals": list(lines.values()),
        "ticktext": [fig.label(_shortened(group)) for group in lines],
        "automargin": True,
        "range": [-0.6, len(groups) - 0.4],
    }
    x = fig.axis("B_simple, in examples", "log", **fig.decades(low / 1.15, high * 1.15))
    notes = [
        f"{name} at {point}: B_simple is not bounded, for the mean gradient cannot be told from zero"
        + ("; the open arrow is its lower 95% bound." if low_end > 0 else ", so it is not drawn.")
        for point in points
        for name, scale, low_end, _ in rows[point]
        if math.isinf(scale)
    ]
    caption = (
        "B_simple = tr D / |G|²: the noise of one example's gradient over the squared mean gradient, in examples. "
        "Well below it, larger batches save steps at little cost; well above it they mostly cost examples. Bars: 95% "
        "(for groups 1.96 standard errors); an arrow means that the interval goes on."
    )
    drawn = fig.figure(
        "noise-scale-groups",
        caption,
        "Noise scale by parameter group and checkpoint",
        {"all": fig.variant(data, x, y, notes)},
        130 + 40 * max(len(groups), 3),
    )
    return section("noise-scale", title, drawn, _scale_table(source, points))


def _rows(source: Source, point: str) -> list[Row]:
    """(group, B_simple, low, high), the whole model first; a group's interval is 1.96 standard errors."""
    whole = [source.number("measured", f"simple_noise_scale{end}", checkpoint=point) for end in ("", "_low", "_high")]
    rows = [] if math.isnan(whole[0]) else [(WHOLE, whole[0], whole[1], whole[2])]
    for group in source.labels("measured", "group"):
        scale, error = (
            source.number("measured", f"group_simple_noise_scale{end}", checkpoint=point, group=group)
            for end in ("", "_se")
        )
        if not math.isnan(scale):
            reach = fig.NORMAL_95 * error
            rows.append((str(group), scale, scale - reach, scale + reach))
    return rows


def _shortened(name: str, longest: int = 22) -> str:
    """A group's name as it fits beside the figure: in a long one all parts but the last keep three letters.

    >>> _shortened("encoder.blocks.3.attention.weight")
    'enc.blo.3.att.weight'
    """
    if len(name) <= longest:
        return name
    *parts, last = name.split(".")
    name = ".".join([*(part[:3] for part in parts), last])
    return name if len(name) <= longest + 4 else f"{name[: longest // 2]}…{name[-longest // 2 :]}"


def _dots(point: str, paint: str, rows: list[Row], ends: tuple[float, float], lines: dict[str, float]) -> fig.Trace:
    bounds = [(name, low if math.isinf(scale) else scale, low, high) for name, scale, low, high in rows]
    shown = [row for row in bounds if 0 < row[1] < math.inf]
    scale = np.array([row[1] for row in shown])
    below = np.nan_to_num(scale - np.maximum([row[2] for row in shown], ends[0]), nan=0.0)
    above = np.nan_to_num(np.minimum([row[3] for row in shown], ends[1] * 100) - scale, nan=0.0)
    unbounded = {name for name, scale, *_ in rows if math.isinf(scale)}
    symbols = [
        "triangle-right-open" if name in unbounded else "triangle-right" if end > ends[1] * 1.1 else "circle"
        for name, _, _, end in shown
    ]
    hover = [f"{fig.label(name)}: {number(value)} ({interval(a, b)})" for name, value, a, b in shown]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": fig.rounded(scale),
        "y": [lines[row[0]] for row in shown],
        "name": point,
        "text": hover,
        "hovertemplate": f"%{{text}}<extra>{fig.label(point)}</extra>",
        "marker": {"size": 11, "color": paint, "symbol": symbols},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": fig.rounded(np.maximum(above, 0)),
            "arrayminus": fig.rounded(np.maximum(below, 0)),
            "color": paint,
            "thickness": 2,
            "width": 4,
        },
    }


def _scale_table(source: Source, points: list[str]) -> Html:
    rows = []
    for point in points:
        values = {
            name: source.number("measured", name, checkpoint=point)
            for name in (
                "gradient_norm_squared",
                "gradient_norm_squared_se",
                "simple_noise_scale",
                "simple_noise_scale_low",
                "simple_noise_scale_high",
                "test_loss",
            )
        }
        low, high = values["simple_noise_scale_low"], values["simple_noise_scale_high"]
        exact = low == high == values["simple_noise_scale"]
        rows.append(
            [
                point,
                number(values["test_loss"], 4),
                with_error(values["gradient_norm_squared"], values["gradient_norm_squared_se"]),
                number(values["simple_noise_scale"], 4),
                "exact for this pool" if exact else interval(low, high),
            ]
        )
    return table(["Point", "Test loss", "|G|²", "B_simple (examples)", "95% interval"], rows, numeric=range(1, 5))
