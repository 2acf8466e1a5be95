"""The figures of a whole run: curves by batch size, and what the prediction leaves out."""

import numpy as np
import xarray as xr

from gradnoise.report import figure as fig
from gradnoise.report.curves import NAMES
from gradnoise.report.html import Html
from gradnoise.report.source import Source
from gradnoise.report.words import number

COLOURS = fig.ORDER_COLOURS[1:]
BEYOND = 1.5
"""Simulated points higher than this many times what is inside the domain leave the figure."""


def curves_figure(source: Source) -> Html:
    """Predicted curves, where they are licensed and inside their domain, on simulated means with error bars."""
    targets = [t for t in ("test", "gap") if t in source.labels("path", "target")]
    caption = (
        "Points: means of simulated SGD runs with 95% bars. Lines: the prediction, all batch sizes from one path of "
        "gradient descent and the noise around it, with a 95% band; a line ends at × where the noise is too large for it. "
        "Dashed: gradient descent without noise, what ever larger batches lead to. "
        "A line of the gap has holes where that asks for less noise still." + _probes(source)
    )
    buttons = [("target", "Show", [(t, NAMES[t].split(" (")[0]) for t in targets], targets[0])]
    described = "Loss against step for several batch sizes, simulated and predicted"
    variants = {t: _variant(source, t) for t in targets}
    return fig.figure("whole-run", caption, described, variants, 460, buttons)


def _probes(source: Source) -> str:
    count = source.attr_number("num_probes", "path")
    return f" From {number(count, 7)} random probes: rare large ones can make the band too narrow." if count > 0 else ""


def _variant(source: Source, target: str) -> fig.Variant:
    found = source.array("path", "predicted")
    assert found is not None
    predicted, data, notes = found.sel(target=target), [], []
    steps, licensed = predicted["step"].values, source.attr_number("licensed_loops", "path") != 0 and not source.kinks
    quiet = predicted.sel(loops=0).isel(batch_size=0).values
    shown = fig.thinned(len(steps))
    tops = [-np.inf, *quiet[np.isfinite(quiet)]]
    for place, size in enumerate(predicted["batch_size"].values):
        paint, group = COLOURS[place % len(COLOURS)], f"batch size {int(size)}"
        lines, note = (
            _predicted(source, predicted.sel(batch_size=size, loops=1), target, paint, group) if licensed else ([], "")
        )
        points = _simulated(source, target, int(size), paint, group, not lines)
        data += [*lines, *points]
        tops += [y for line in lines for y in _known(line)]
        notes += [note] if note else []
    data.insert(0, fig.line(steps[shown], quiet[shown], "no noise", "@ink", dash="dash", width=1.5))
    limits, beyond = _limits(data, max(tops))
    if not licensed:
        notes.append(
            "No effect of the batch size is drawn: the loss has kinks, and curvature along the path has no licence."
        )
    y = fig.axis("loss" if target != "gap" else "gap", exponentformat="power", nticks=7, **limits)
    notes += [*beyond, *(_largest_miss(source, target) if licensed else [])]
    return fig.variant(data, fig.axis("step", rangemode="tozero", nticks=7), y, notes)


def _largest_miss(source: Source, target: str) -> list[str]:
    """By how much prediction and simulation differ at the last step, at most, where the whole run is inside the domain."""
    found, mean, inside = (source.array("path", name) for name in ("predicted", "simulated", "in_domain"))
    if found is None or mean is None or inside is None:
        return []
    predicted, simulated = (each.sel(target=target).isel(step=-1).values for each in (found.sel(loops=1), mean))
    kept = (inside.values > 0).all(axis=1) & np.isfinite(simulated) & (simulated != 0)
    if not kept.any():
        return []
    off = np.where(kept, np.abs(predicted / np.where(kept, simulated, 1) - 1), -1)
    worst = int(np.argmax(off))
    name, size = NAMES[target].split(" (")[0], int(found["batch_size"][worst])
    return [
        f"Where the whole run is inside the domain, the predicted {name} after the last step is off by at most "
        f"{number(100 * off[worst], 2)}% of the simulated one (at batch size {size})."
    ]


def _known(trace: fig.Trace) -> list[float]:
    return [y for y in trace["y"] if y is not None]


def _predicted(source: Source, curve: xr.DataArray, target: str, paint: str, group: str) -> tuple[list[fig.Trace], str]:
    """The curve inside its domain with its band, a cross where it ends, and the sentence on that."""
    size, steps = int(curve["batch_size"]), curve["step"].values
    inside = source.array("path", "in_domain")
    within = np.ones(len(steps), bool) if inside is None else inside.sel(batch_size=size).values > 0
    count = len(steps) if within.all() else int(np.argmin(within))
    if count < 2 or not np.isfinite(curve.values[:count]).all():
        return [], f"Batch size {size} is not drawn: the noise is too large from the start."
    shown = np.unique(np.concatenate([fig.thinned(count), [count - 1]]))
    x, y = steps[shown], curve.values[shown]
    errors = source.array("path", "predicted_se")
    error = np.zeros(len(steps)) if errors is None else errors.sel(batch_size=size, target=target, loops=1).values
    reach = fig.NORMAL_95 * np.nan_to_num(error[shown])
    traces = [fig.band(x, y - reach, y + reach, paint, group)] if np.any(reach > 0) else []
    traces.append(fig.line(x, y, group, paint, legendgroup=group, width=2.5))
    if count == len(steps):
        return traces, ""
    return [*traces, _cross(float(steps[count - 1]), float(curve.values[count - 1]), paint, group)], ""


def _cross(x: float, y: float, paint: str, group: str) -> fig.Trace:
    return {
        "type": "scatter", "mode": "markers", "x": [x], "y": fig.rounded([y]),
        "marker": {"symbol": "x", "size": 11, "color": paint, "line": {"color": "@card", "width": 1.5}},
        "showlegend": False, "legendgroup": group, "name": group, "hovertemplate": f"{group} stops here<extra></extra>",
    }  # fmt: skip


def _simulated(source: Source, target: str, size: int, paint: str, group: str, legend: bool) -> list[fig.Trace]:
    means, errors = (source.array("path", f"simulated{end}") for end in ("", "_se"))
    if means is None:
        return []
    mean = means.sel(batch_size=size, target=target)
    known = np.isfinite(mean.values)
    error = np.zeros(mean.size) if errors is None else np.nan_to_num(errors.sel(batch_size=size, target=target).values)
    if not known.any():
        return []
    return [_points(mean["step"].values[known], mean.values[known], error[known], paint, group, legend)]


def _points(
    x: np.ndarray, y: np.ndarray, error: np.ndarray, paint: str, group: str, legend: bool, filled: bool = True
) -> fig.Trace:
    symbol = "circle" if filled else "circle-open"
    marker = {"color": paint, "size": 7, "symbol": symbol, "line": {"width": 2, "color": paint}}
    reach = fig.rounded(fig.NORMAL_95 * error)
    return {
        "type": "scatter", "mode": "markers", "x": fig.rounded(x), "y": fig.rounded(y), "name": group,
        "legendgroup": group, "showlegend": legend,
        "marker": marker,
        "error_y": {"type": "data", "array": reach, "color": paint, "thickness": 1.5, "width": 4},
    }  # fmt: skip


def _limits(data: list[fig.Trace], top: float) -> tuple[dict, list[str]]:
    """The axis' range where simulated points would push all else to the bottom, and a sentence on the points left out."""
    heights = [(max(_known(t)), t["name"]) for t in data if t["mode"] == "markers" and _known(t)]
    lows = [y for t in data for y in _known(t)]
    above = [f"{name} (up to {number(height)})" for height, name in heights if height > BEYOND * top > 0]
    if not above:
        return {}, []
    bottom = min([0.0, *lows]) if min(lows) < 0 else 0.9 * min(lows)
    return {"range": [bottom, 1.1 * top]}, [f"Some simulated points lie above the figure: {', '.join(above)}."]


def residual_figure(source: Source, inside: list[int]) -> Html | None:
    """B^2 (simulation - prediction) of the test loss at the last step against B; None if nothing was simulated."""
    found, errors = (source.array("path", f"residual_scaled{end}") for end in ("", "_se"))
    if found is None or errors is None or not np.isfinite(found.values).any():
        return None
    sizes = found["batch_size"].values
    data = []
    for within, name in ((True, "inside the domain"), (False, "outside it")):
        kept = np.isfinite(found.values) & np.array([(int(b) in inside) == within for b in sizes])
        if kept.any():
            paint = "@order2" if within else "@order0"
            data.append(_points(sizes[kept], found.values[kept], errors.values[kept], paint, name, True, within))
    level, error = (source.number("path", f"residual_level{end}") for end in ("", "_se"))
    ends = np.array([sizes.min() / 1.3, sizes.max() * 1.3])
    if np.isfinite(level):
        both, reach = np.full(2, level), fig.NORMAL_95 * error
        data.insert(
            0, fig.line(ends, both, f"level {number(level)}", "@order2", dash="dot", width=1.5, legendgroup="level")
        )
        data.insert(0, fig.band(ends, both - reach, both + reach, "@order2", "level", 0.12))
    caption = (
        "Simulation − prediction of the test loss after the last step, times B². If what is left out is the next order of "
        "the noise alone, this is the same at every batch size. Bars: 95% of both sides; the prediction's share is common "
        "to all points and tilts them together, which the fitted level (dotted, with its band) allows for."
    )
    ticks = {"tickvals": sizes.tolist(), "ticktext": [str(int(b)) for b in sizes], "range": np.log10(ends).tolist()}
    x, y = fig.axis("batch size B", "log", **ticks), fig.axis("B² × (simulation − prediction)", nticks=6)
    return fig.figure("two-loops", caption, "Scaled residual against batch size", {"all": fig.variant(data, x, y)}, 320)
