"""Predicted and simulated loss curves by order; a prediction is drawn only where it is one."""

import math

import numpy as np
import xarray as xr

from gradnoise.report import figure as fig
from gradnoise.report.html import Html, absent, section
from gradnoise.report.source import Source
from gradnoise.report.words import number, percent

LARGEST_SHARE = 0.3
"""A prediction is drawn until its truncation exceeds this share of the loss change so far."""

MOST_DOTS = 40

NAMES = {"test": "test loss", "train": "training loss", "gap": "gap (test − training)"}


def curves(source: Source) -> Html:
    """The section of loss curves, a choice of target and learning rate."""
    title = "Predicted and simulated loss"
    targets = [
        t
        for t in ("test", "train", "gap")
        if t in {*source.labels("predicted", "target"), *source.labels("simulated", "target")}
    ]
    rates = source.learning_rates
    if not targets or not rates:
        return section(
            "curves", title, absent("Loss curves", "these results hold neither predictions nor simulations.")
        )
    variants = {f"{t}|{i}": _variant(source, t, rate) for t in targets for i, rate in enumerate(rates)}
    main = (
        min(range(len(rates)), key=lambda i: abs(rates[i] - source.main_rate))
        if not math.isnan(source.main_rate)
        else 0
    )
    buttons = [
        ("target", "Show", [(t, NAMES[t].split(" (")[0]) for t in targets], targets[0]),
        ("rate", "Learning rate", [(str(i), number(rate)) for i, rate in enumerate(rates)], str(main)),
    ]
    caption = (
        "Points: mean of the simulated runs with a 95% band. Lines: the series in the learning rate, summed up to "
        "each order; dotted where it differs from the simulation by more than chance. A line ends at × where its "
        f"next term (at the highest order its last term), or the difference, exceeds {percent(LARGEST_SHARE)} of the "
        "loss change so far: beyond, it predicts nothing."
    )
    return section(
        "curves",
        title,
        fig.figure("loss-curves", caption, "Loss against step, simulated and predicted", variants, 440, buttons),
    )


def _variant(source: Source, target: str, rate: float) -> fig.Variant:
    simulated, notes = _simulated(source, target, rate)
    data: list[fig.Trace] = []
    found = source.array("predicted", "loss")
    loss = None if found is None else _at(found, target=target, learning_rate=rate)
    if loss is None:
        notes.append("No prediction for this choice.")
    else:
        for order in range(1, source.licensed_order + 1):
            traces, note = _predicted(source, loss, target, rate, order)
            data += traces
            notes.append(note)
        if source.kinks:
            notes.append("Orders from 2 on are not drawn: the loss has kinks.")
    data += simulated
    y = fig.axis("loss" if target != "gap" else "gap", exponentformat="power", nticks=7)
    return fig.variant(data, fig.axis("step", rangemode="tozero", nticks=7), y, notes)


def _simulated(source: Source, target: str, rate: float) -> tuple[list[fig.Trace], list[str]]:
    """For every process a band and points; the points lie over the predictions."""
    means, errors = source.array("simulated", "loss"), source.array("simulated", "loss_se")
    traces: list[fig.Trace] = []
    for place, process in enumerate(source.labels("simulated", "process")):
        mean = None if means is None else _at(means, process=process, target=target, learning_rate=rate)
        if mean is None or not np.isfinite(mean.values).any():
            continue
        group, paint = f"simulated {place}", ("@ink", "@order0", "@order5", "@order4")[place % 4]
        error = None if errors is None else _at(errors, process=process, target=target, learning_rate=rate)
        if error is not None:
            reach = fig.NORMAL_95 * error.values
            traces.append(fig.band(mean["step"].values, mean.values - reach, mean.values + reach, paint, group, 0.25))
        traces.append(_dots(mean, f"simulated, {process}", paint, group))
    return traces, [] if traces else [
        "No simulated mean for this choice: nothing was simulated, or runs diverged at once."
    ]


def _dots(mean: xr.DataArray, name: str, paint: str, group: str) -> fig.Trace:
    keep = np.unique(np.linspace(0, mean.size - 1, min(mean.size, MOST_DOTS)).round().astype(int))
    return {
        "type": "scatter",
        "mode": "markers",
        "x": fig.rounded(mean["step"].values[keep]),
        "y": fig.rounded(mean.values[keep]),
        "name": fig.label(name),
        "legendgroup": group,
        "marker": {"color": paint, "size": 6.5},
    }


def _predicted(source: Source, loss: xr.DataArray, target: str, rate: float, order: int) -> tuple[list[fig.Trace], str]:
    """One order's curve: solid, dotted from where it is known to differ, and ended by a cross where its domain ends."""
    resolved = first_difference(source, target, rate, order)
    inside, why = domain(source, loss, target, rate, order)
    values, steps, group, paint = loss.sel(order=order).values, loss["step"].values, f"order {order}", fig.colour(order)
    verdict = source.verdict(target, rate, order)
    judged = f" Verdict over the whole run: {verdict}." if verdict else ""
    if inside < 2:
        return [], f"Order {order} is not drawn: {why}.{judged}"
    shown = np.unique(np.concatenate([fig.thinned(inside), [inside - 1]]))
    traces = _error_band(source, values, shown, target, rate, order)
    known = math.inf if resolved is None else resolved
    for part, dash in ((shown[steps[shown] <= known], "solid"), (shown[steps[shown] >= known], "dot")):
        if part.size > (dash == "dot"):
            first = not any(t.get("name") == group for t in traces)
            traces.append(
                fig.line(
                    steps[part], values[part], group, paint, dash=dash, legendgroup=group, showlegend=first, width=2.5
                )
            )
    differs = f" Dotted from step {number(known, 7)}: more than chance apart." if known <= steps[inside - 1] else ""
    if inside == len(steps):
        return traces, f"Order {order} is drawn to the end.{differs}{judged}"
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "x": fig.rounded(steps[[inside - 1]]),
            "y": fig.rounded(values[[inside - 1]]),
            "marker": {"symbol": "x", "size": 11, "color": paint, "line": {"color": "@card", "width": 1.5}},
            "showlegend": False,
            "legendgroup": group,
            "name": group,
            "hovertemplate": f"order {order} stops here<extra></extra>",
        }
    )
    return traces, f"Order {order} stops at step {number(steps[inside - 1], 7)}: {why}.{differs}{judged}"


def _error_band(
    source: Source, values: np.ndarray, shown: np.ndarray, target: str, rate: float, order: int
) -> list[fig.Trace]:
    errors = source.array("predicted", "loss_se")
    error = None if errors is None else _at(errors, target=target, learning_rate=rate, order=order)
    if error is None or not np.nanmax(np.nan_to_num(error.values), initial=0) > 0:
        return []
    reach = fig.NORMAL_95 * error.values[shown]
    steps = error["step"].values[shown]
    return [fig.band(steps, values[shown] - reach, values[shown] + reach, fig.colour(order), f"order {order}")]


def domain(source: Source, loss: xr.DataArray, target: str, rate: float, order: int) -> tuple[int, str]:
    """How many leading steps of the order's curve are inside its domain, and what ends it.

    It ends where what was cut off exceeds LARGEST_SHARE of the largest change of the curve so far (and twice the error).
    Cut off: the next term where it is known and licensed, at the highest order (from 2 on) the last term; and a
    difference from the simulation that is more than chance.
    """
    values, steps = loss.sel(order=order).values, loss["step"].values
    last = order == source.licensed_order
    beside = loss.sel(order=order + (-1 if last else 1)).values
    cut_off = np.abs(beside - values) if order > 1 or not last else np.zeros_like(values)
    change = np.maximum.accumulate(np.nan_to_num(np.abs(values - values[0])))
    difference, error = (
        _compared(source, name, steps, target, rate, order) for name in ("difference", "difference_se")
    )
    resolved = first_difference(source, target, rate, order)
    apart = (np.abs(difference) > LARGEST_SHARE * change) & (steps >= (math.inf if resolved is None else resolved))
    large = cut_off > np.maximum(LARGEST_SHARE * change, 2 * error)
    ends = {
        f"its {'last' if last else 'next'} term exceeds {percent(LARGEST_SHARE)} of the loss change": large,
        f"it is off by more than {percent(LARGEST_SHARE)} of the loss change": apart,
        "it is not finite": ~np.isfinite(values),
    }
    first = {why: int(np.argmax(outside)) for why, outside in ends.items() if outside[1:].any() and not outside[0]}
    if not np.isfinite(values[0]):
        return 0, "it is not finite"
    why = min(first, key=lambda each: first[each], default="")
    return (first[why], why) if why else (len(values), "")


def first_difference(source: Source, target: str, rate: float, order: int) -> float | None:
    """The first step at which simulation and prediction differ by more than the simultaneous band allows; None for none."""
    z, band = source.array("compared", "z"), source.array("compared", "band")
    place = {"target": target, "learning_rate": rate, "order": order}
    scores = None if z is None else _at(z, **place)
    bound = None if band is None else _at(band, **{dim: value for dim, value in place.items() if dim in band.dims})
    if scores is None or bound is None:
        return None
    beyond = np.flatnonzero(np.abs(scores.values) > float(bound.values))
    return float(scores["step"].values[beyond[0]]) if beyond.size else None


def _compared(source: Source, name: str, steps: np.ndarray, target: str, rate: float, order: int) -> np.ndarray:
    """A variable of the comparison between its recorded steps; 0 where nothing was compared."""
    array = source.array("compared", name)
    found = None if array is None else _at(array, target=target, learning_rate=rate, order=order)
    if found is None or not np.isfinite(found.values).any():
        return np.zeros(len(steps))
    known = np.isfinite(found.values)
    return np.interp(steps, found["step"].values[known], found.values[known])


def _at(array: xr.DataArray, **place: object) -> xr.DataArray | None:
    try:
        return array.sel(place)
    except KeyError:
        return None
