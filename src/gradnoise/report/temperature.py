"""Which temperature: gap, test and train against learning rate / batch size, with what follows from the runs of a sweep."""

import math
from typing import Any

import numpy as np

from gradnoise.averaging import gap_curve
from gradnoise.report import figure as fig
from gradnoise.report import temperature_words as say
from gradnoise.report.html import Html, element, section, table
from gradnoise.report.source import Source
from gradnoise.report.temperature_words import GROUP, NAMES

TITLE = "Which temperature: learning rate over batch size"
COLOURS = fig.ORDER_COLOURS[1:]
SYMBOLS = ("circle-open", "diamond-open", "square-open", "triangle-up-open", "cross-open", "x-open")
LOWEST = ("test_loss", "test_accuracy")
GRID = "display:grid;grid-template-columns:repeat(auto-fit,minmax(min(280px,100%),1fr));gap:0 16px"
CAPTION = (
    "Against the temperature T = learning rate / batch size. Small open marks: one run each, a shape for each batch size "
    "(hover for which). Dots: means over seeds and batch sizes with their standard error. Curves: the fit of "
    "(a/T + b) exp(−T/c). Shaded: the 95% interval of the temperature at which the test loss, or the test error, is lowest."
)


def which_temperature(source: Source) -> Html:
    """The section on temperature; nothing where no sweep was judged."""
    if why := str(source.attr("absent", GROUP, "")):
        return section("temperature", TITLE, element("p", f"Nothing is said on temperature: {why}", class_="absent"))
    names = say.series(source)
    parts = [part for name in names for part in _findings(source, name, len(names) > 1)]
    told = say.split(source)
    return section(
        "temperature",
        TITLE,
        *parts,
        element("p", told) if told else None,
        _panels(source),
        element("p", CAPTION, class_="note"),
        *_predictions(source),
        *_cells(source),
    ) if names else Html()  # fmt: skip


def _findings(source: Source, name: str, named: bool) -> list[Html | None]:
    """What follows from the runs of one series, in plain words."""
    accuracy = say.best(source, name, "test_accuracy") if "test_accuracy" in source.labels(GROUP, "metric") else ""
    sentences = [*say.left_out(source, name), *say.advice(source), say.choice(source, name), accuracy]
    sentences += [say.collapse(source, name), say.fitted(source, name)]
    return [
        element("h3", name[0].upper() + name[1:]) if named else None,
        element("p", element("strong", say.best(source, name))),
        *(element("p", each) for each in sentences if each),
    ]


def _panels(source: Source) -> Html:
    """Gap, test and train, of losses and of accuracies."""
    metrics = [str(m) for m in source.labels(GROUP, "metric")]
    return element("div", *(_panel(source, metric) for metric in metrics), style=GRID)


def _panel(source: Source, metric: str) -> Html:
    """One quantity against temperature: runs, means, the fit, the band of the optimum."""
    data, shapes = [], []
    for place, name in enumerate(say.series(source)):
        paint = COLOURS[place % len(COLOURS)]
        data += [trace for part in (_runs, _curve, _means) for trace in part(source, metric, name, paint)]
        shapes += _band(source, metric, name, paint)
    temperatures = say.column(source, "temperature")
    x = fig.axis("T", "log", tickangle=0, **_ticks(temperatures.min(), temperatures.max()))
    several = len(say.series(source)) > 1
    shown = {"all": fig.variant(data, x, fig.axis(NAMES[metric]), shapes=shapes, showlegend=several)}
    return fig.figure(f"temperature-{metric}", NAMES[metric], f"{NAMES[metric]} against temperature", shown, 260)


def _ticks(low: float, high: float) -> dict[str, Any]:
    """Ticks of a small panel: no more than five labels."""
    found = fig.decades(low, high)
    stride = -(-len(found["ticktext"]) // 5)
    return {**found, "ticktext": [text if k % stride == 0 else "" for k, text in enumerate(found["ticktext"])]}


def _runs(source: Source, metric: str, name: str, paint: str) -> list[fig.Trace]:
    """Every run of a cell without a failed one; a trace for each batch size."""
    steady, traces = source.groups[GROUP]["steady"].sel(metric=metric).values, []
    batches = sorted(set(say.column(source, "batch_size").tolist()))
    for place, batch in enumerate(batches):
        own = say.cells(source, name)
        own = own[(say.column(source, "batch_size")[own] == batch) & (say.column(source, "failed")[own] == 0)]
        x = np.repeat(say.column(source, "temperature")[own], steady.shape[1])
        marker = {
            "color": paint,
            "size": 5,
            "symbol": SYMBOLS[place % len(SYMBOLS)],
            "line": {"width": 1},
            "opacity": 0.55,
        }
        traces.append(_marks(x, steady[own].ravel(), f"{name}, batch size {batch}", marker, showlegend=False))
    return traces


def _means(source: Source, metric: str, name: str, paint: str) -> list[fig.Trace]:
    T, mean, error = _levels(source, metric, name)
    bars = {"type": "data", "array": fig.rounded(error), "color": paint, "thickness": 1.5, "width": 3}
    return [_marks(T, mean, name, {"color": paint, "size": 7}, error_y=bars)]


def _marks(x: Any, y: Any, name: str, marker: dict[str, Any], **style: Any) -> fig.Trace:
    pair = {"x": fig.rounded(x), "y": fig.rounded(y)}
    return {"type": "scatter", "mode": "markers", **pair, "name": fig.label(name), "marker": marker, **style}


def _curve(source: Source, metric: str, name: str, paint: str) -> list[fig.Trace]:
    """The fit, over the temperatures that it was made from."""
    a, b, c = (source.number(GROUP, "fit", series=name, metric=metric, parameter=p) for p in "abc")
    T = _levels(source, metric, name)[0]
    if math.isnan(a) or not len(T):
        return []
    fine = np.geomspace(T.min(), T.max(), 80)
    return [fig.line(fine, gap_curve(fine, a, b, 1 / c), "fit", paint, width=1.5, showlegend=False)]


def _levels(source: Source, metric: str, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Temperatures of a series that were judged, means, standard errors."""
    own = np.flatnonzero(np.array(source.labels(GROUP, "level_series")) == name)
    group = source.groups[GROUP]
    mean, error = (group[each].sel(metric=metric).values[own] for each in ("average", "average_se"))
    return group["level_temperature"].values[own], mean, error


def _band(source: Source, metric: str, name: str, paint: str) -> list[dict[str, Any]]:
    """The interval of the optimum in the panels of the test loss and the test accuracy, to the edge where it has no end."""
    value, low, high = say.optimum(source, name, metric) if metric in LOWEST else (math.nan,) * 3
    if math.isnan(value):
        return []
    T = _levels(source, metric, name)[0]
    ends = {"x0": max(low, T.min()), "x1": min(high, T.max())}
    shape = {"type": "rect", **ends, "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    return [{**shape, "fillcolor": f"{paint}/0.15", "line": {"width": 0, "color": paint}}]


def _predictions(source: Source) -> list[Html]:
    """The three predictions of data averaging with their verdicts."""
    names, lines = say.series(source), []
    for which in map(str, source.labels(GROUP, "prediction")):
        for name in names:
            verdict, why = say.prediction(source, name, which)
            whose = f"{name}: " if len(names) > 1 else ""
            lines.append(element("li", element("strong", f"{say.PREDICTIONS[which]}: {whose}{verdict}. "), why))
    caption = "Each at 5%: seen, contradicted, or undecided. Accuracies are judged as errors, 1 − accuracy."
    title = element("h3", "Three predictions of data averaging")
    return [title, element("ul", *lines), element("p", caption, class_="note")]


def _cells(source: Source) -> list[Html]:
    head, *rows = say.cell_rows(source)
    keep = [k for k, name in enumerate(head) if name != "series" or len(say.series(source)) > 1]
    shown = [[row[k] for k in keep] for row in rows]
    numeric = [place for place, k in enumerate(keep) if head[k] != "series"]
    caption = (
        "Medians of each run's last 50 epochs, means over seeds with standard errors. Settled: train and test loss show no "
        "slope over that window or change by less than 5% of themselves and of their way from the start; untold where a "
        "larger change cannot be told from noise."
    )
    note = element("p", caption, class_="note")
    return [element("h3", "Cells"), table([head[k] for k in keep], shown, numeric=numeric), note]
