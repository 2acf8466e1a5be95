"""How fast simulation and prediction part as the learning rate grows, order by order."""

import numpy as np
import xarray as xr

from gradnoise.report import figure as fig
from gradnoise.report.curves import NAMES
from gradnoise.report.html import Html, absent, element, section, table
from gradnoise.report.source import Source
from gradnoise.report.words import interval, number

TOLD_FROM_ZERO = 2.0
"""A residual counts as told from zero beyond this many standard errors."""


UNCLEAR = 2.0
"""A 95 % interval of a slope wider than this is not worth a number in the legend; the table below gives it."""


def residuals(source: Source) -> Html:
    """The section of residuals at the last step against the learning rate, with slopes."""
    title, found = "How the error grows with the learning rate", source.array("compared", "residual")
    targets = [t for t in ("test", "train", "gap") if t in source.labels("compared", "target")]
    if found is None or not targets or not np.isfinite(found.values).any():
        return section("residuals", title, absent("Residuals", "theory and simulation were not compared."))
    variants = {target: _variant(source, found.sel(target=target), target) for target in targets}
    caption = (
        "Distance between the simulated mean and the prediction at the last step; both axes are logarithmic. A "
        "series that is right up to order k leaves a rest that falls as learning rate to the power k + 1. Bars: 95%. "
        "Hollow points cannot be told from zero: there the simulation's noise is what one sees. Dotted: the slope "
        "that theory expects."
    )
    buttons = [("target", "Show", [(t, NAMES[t].split(" (")[0]) for t in targets], targets[0])]
    drawn = fig.figure("residual", caption, "Residual against learning rate by order", variants, 440, buttons)
    return section("residuals", title, drawn, _slopes(source, targets))


def _variant(source: Source, residual: xr.DataArray, target: str) -> fig.Variant:
    errors = source.array("compared", "residual_se")
    rates = residual["learning_rate"].values.astype(float)
    data: list[fig.Trace] = []
    sizes: list[float] = []
    for order in [int(o) for o in residual["order"].values if int(o) <= source.licensed_order]:
        size = np.abs(residual.sel(order=order).values)
        error = np.zeros_like(size) if errors is None else np.nan_to_num(errors.sel(target=target, order=order).values)
        seen = np.isfinite(size) & (size > 0) & (rates > 0)
        told = seen & (size > TOLD_FROM_ZERO * error)
        name = _told(source, target, order)
        fitted = told & (rates <= source.main_rate) if (told & (rates <= source.main_rate)).sum() > 1 else told
        lines = _line(source, target, order, rates[fitted], size[fitted], error[fitted])
        points = [
            _points(order, name, rates[kind], size[kind], error[kind], kind is told) for kind in (told, seen & ~told)
        ]
        data += [*lines, *(each for each in points if each["x"])]
        if points[0]["x"] and points[1]["x"]:
            data[-1]["showlegend"] = False
        sizes += [*size[seen], *(size + fig.NORMAL_95 * error)[seen]]
    if not sizes:
        return fig.variant(
            [], fig.axis("learning rate"), fig.axis("residual"), ["No residual is known for this choice."]
        )
    x = fig.axis("learning rate", "log", **fig.decades(rates[rates > 0].min(), rates.max()))
    y = fig.axis("|simulation − prediction|", "log", **fig.decades(min(sizes), max(sizes)))
    return fig.variant(data, x, y)


def _is_clear(source: Source, target: str, order: int) -> bool:
    low, high = (source.number("compared", name, target=target, order=order) for name in ("slope_low", "slope_high"))
    return bool(high - low < UNCLEAR)


def _told(source: Source, target: str, order: int) -> str:
    slope, expected = (
        source.number("compared", name, target=target, order=order) for name in ("slope", "expected_slope")
    )
    if not (np.isfinite(slope) and np.isfinite(expected)):
        return f"order {order}"
    low, high = (source.number("compared", name, target=target, order=order) for name in ("slope_low", "slope_high"))
    if not high - low < UNCLEAR:
        return f"order {order}: slope too noisy to tell (theory {number(expected)})"
    return f"order {order}: slope {number(slope)} (theory {number(expected)})"


def _points(order: int, name: str, rates: np.ndarray, size: np.ndarray, error: np.ndarray, told: bool) -> fig.Trace:
    reach = fig.NORMAL_95 * error
    paint = fig.colour(order)
    return {
        "type": "scatter",
        "mode": "markers",
        "x": fig.rounded(rates),
        "y": fig.rounded(size),
        "name": name,
        "legendgroup": f"order {order}",
        "marker": {
            "color": paint,
            "size": 9,
            "symbol": "circle" if told else "circle-open",
            "line": {"width": 2, "color": paint},
        },
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": fig.rounded(reach),
            "arrayminus": fig.rounded(np.minimum(reach, 0.95 * size)),
            "color": paint,
            "thickness": 1.5,
            "width": 4,
        },
    }


def _line(
    source: Source, target: str, order: int, rates: np.ndarray, size: np.ndarray, error: np.ndarray
) -> list[fig.Trace]:
    """The fitted power law and the expected one, through the weighted middle of points told from zero."""
    if len(rates) < 2:
        return []
    x, y = np.log(rates), np.log(size)
    weights = np.minimum((size / error) ** 2, 1e4) if np.all(error > 0) else np.ones_like(size)
    middle_x, middle_y = np.average(x, weights=weights), np.average(y, weights=weights)
    ends = np.array([x.min() - 0.1, x.max() + 0.1])
    lines = []
    for name, dash in (("slope", "solid"), ("expected_slope", "dot")):
        slope = source.number("compared", name, target=target, order=order)
        if np.isfinite(slope) and (name != "slope" or _is_clear(source, target, order)):
            values = np.exp(middle_y + slope * (ends - middle_x))
            told_as = f"order {order}: {'fitted' if name == 'slope' else 'expected'} slope {number(slope)}"
            lines.append(
                fig.line(
                    np.exp(ends),
                    values,
                    told_as,
                    fig.colour(order),
                    dash=dash,
                    width=1.5 if dash == "dot" else 2,
                    showlegend=False,
                    legendgroup=f"order {order}",
                    hoverinfo="name",
                )
            )
    return lines


def _slopes(source: Source, targets: list[str]) -> Html | None:
    rows = []
    for target in targets:
        for order in [int(o) for o in source.labels("compared", "order") if int(o) <= source.licensed_order]:
            parts = [
                source.number("compared", name, target=target, order=order)
                for name in ("expected_slope", "slope", "slope_low", "slope_high")
            ]
            if np.isfinite(parts[0]):
                fitted = number(parts[1]) if np.isfinite(parts[1]) else "too noisy to fit"
                span = interval(*parts[2:]) if np.isfinite(parts[1]) else "–"
                rows.append([NAMES[target], order, number(parts[0]), fitted, span])
    if not rows:
        return None
    head = ["Loss", "Order k", "Expected slope k + 1", "Fitted slope", "95% interval"]
    return element("details", element("summary", "Slopes in numbers"), table(head, rows, numeric=(1, 2, 3, 4)))
