"""How far the batch can grow by linear scaling: the certificate of a run at equilibrium, and what scaled runs show."""

import numpy as np

from gradnoise.report import equilibrium_words as say
from gradnoise.report import figure as fig
from gradnoise.report.equilibrium_words import GROUP
from gradnoise.report.html import Html, element, section, table
from gradnoise.report.scaling import Finding
from gradnoise.report.source import Source
from gradnoise.report.words import interval, number, with_error

TITLE = "How far the batch can grow by linear scaling"
COLOURS = fig.ORDER_COLOURS[1:]
SHOWN = {
    "squared_norm": ("R = |x|²", "|weights|²"),
    "gradient_norm_squared": ("G = |∇L|²", "|gradient|²"),
    "batch_noise_trace": ("N × factor", "noise trace × factor"),
    "test_loss": ("Test loss", "test loss"),
}


def linear_scaling(source: Source) -> Html:
    """The section on linear scaling; nothing where no run to equilibrium is among the results."""
    if told := say.adaptive(source):
        first = element("p", element("strong", told[0]))
        return section("linear-scaling", TITLE, first, *(element("p", each) for each in told[1:]))
    if not say.factors(source):
        return Html()
    held = say.not_held(source)
    assumptions = [element("h3", "Assumptions that did not hold"), element("ul", *(element("li", s) for s in held))]
    wrong = say.contradiction(source)
    return section(
        "linear-scaling",
        TITLE,
        element("p", element("strong", say.certificate(source))),
        element("p", wrong, class_="absent") if wrong else None,
        *(element("p", sentence) for sentence in say.beside(source)),
        *(assumptions if held else [element("p", "No assumption of the theorems was seen to be broken.")]),
        *_observed(source),
        _series_figure(source),
        *_sde(source),
        _table(source),
    )


def linear_scaling_cards(source: Source) -> list[Finding]:
    """The advice in one line, for the page and the command line; none where nothing was run."""
    if told := say.adaptive(source):
        return [("Adam", told[0], told[1:], "plain")]
    if not say.factors(source):
        return []
    tone = "plain" if not say.reasons(source) else "caution"
    cards: list[Finding] = [("Linear scaling", say.certificate(source), say.beside(source), tone)]
    if seen := say.observed(source):
        cards.append(("Linear scaling, tried", seen, [], "plain"))
    if told := say.sde(source):
        cards.append(("Does the SDE hold?", told[0], told[1:], "plain"))
    held = say.not_held(source)
    if held:
        cards.append(("Assumptions that did not hold", held[0], held[1:], "caution"))
    return cards


def _observed(source: Source) -> list[Html]:
    told, drawn = say.observed(source), _closeness_figure(source)
    if not told or drawn is None:
        return []
    return [element("h3", "The rule, tried"), element("p", told), drawn]


def _sde(source: Source) -> list[Html]:
    told = say.sde(source)
    return [element("h3", "Does the SDE hold?"), *(element("p", each) for each in told)] if told else []


def _series_figure(source: Source) -> Html:
    """R, G, N and the test loss of every run against time, means over replicas."""
    steps = np.asarray(source.labels(GROUP, "step"), dtype=float)
    start = source.attr_number("burn_in", GROUP)
    variants = {}
    for name, (_, axis) in SHOWN.items():
        found = source.array(GROUP, name)
        if found is None:
            continue
        mean = found.mean("replica")
        data = []
        for place, factor in enumerate(say.factors(source)):
            scale = factor if name == "batch_noise_trace" else 1
            y, kept = scale * mean.sel(factor=factor).values, fig.thinned(len(steps))
            data.append(
                fig.line(steps[kept], y[kept], f"batch size {say.batch(source, factor)}", COLOURS[place % len(COLOURS)])
            )
        shape = {"type": "line", "x0": start, "x1": start, "yref": "paper", "y0": 0, "y1": 1}
        mark = {**shape, "line": {"dash": "dot", "width": 1, "color": "@ink"}}
        variants[name] = fig.variant(
            data, fig.axis("step of the baseline (time / its learning rate)"), fig.axis(axis, "log"), shapes=[mark]
        )
    options = [(name, SHOWN[name][0]) for name in variants]
    caption = (
        "Means over replicas, on the time axis of the baseline: under linear scaling all lines would lie on each other. "
        "Averages are taken to the right of the dotted line."
    )
    return fig.figure(
        "equilibrium", caption, "Norm, gradient, noise and loss against time", variants, 360,
        [("quantity", "Show", options, options[0][0])],
    )  # fmt: skip


def _closeness_figure(source: Source) -> Html | None:
    """The smallest C of every scaled run, with its interval, against batch size; the critical batch as a line."""
    tried = [f for f in say.factors(source) if not np.isnan(source.number(GROUP, "closeness", factor=f))]
    if not tried:
        return None
    x = [say.batch(source, f) for f in tried]
    y, low, high = ([source.number(GROUP, f"closeness{end}", factor=f) for f in tried] for end in ("", "_low", "_high"))
    finite = [v for v in [*y, *low, *high] if np.isfinite(v)]
    points = {
        "type": "scatter", "mode": "markers", "x": fig.rounded(x), "y": fig.rounded(y), "name": "measured, 95%",
        "marker": {"color": "@order2", "size": 8},
        "error_y": {
            "type": "data", "symmetric": False, "color": "@order2", "thickness": 1.5, "width": 4,
            "array": fig.rounded(np.minimum(high, 10 * max(finite)) - np.array(y)),
            "arrayminus": fig.rounded(np.array(y) - low),
        },
    }  # fmt: skip
    level = source.attr_number("closeness", GROUP)
    ends = np.array([min(x) / 1.4, max(x) * 1.4])
    data = [fig.line(ends, np.full(2, level), "C of the certificate", "@ink", dash="dash", width=1.5), points]
    critical = source.number(GROUP, "critical_batch", form="sharp")
    top, bottom = 1.2 * max([*finite, level]), 0.97
    if not say.reasons(source) and np.isfinite(critical):
        ends = np.array([min(ends[0], critical / 1.2), max(ends[1], critical * 1.2)])
        above = [max(f, 1) for f in (bottom, top)]
        data.append(fig.line([critical, critical], above, "critical batch size (sharp)", "@order4", dash="dot"))
    ticks = {"tickvals": x, "ticktext": [str(b) for b in x], "range": np.log10(ends).tolist()}
    caption = (
        "The smallest C for which R, G and N × factor of a scaled run are within a factor C of the baseline's. To the right "
        "of the dotted line the points must lie above the dashed one; to its left nothing is promised."
    )
    y_axis = fig.axis("smallest C", "log", range=np.log10([bottom, top]).tolist())
    shown = {"all": fig.variant(data, fig.axis("batch size", "log", **ticks), y_axis)}
    return fig.figure("closeness", caption, "Distance from linear scaling against batch size", shown, 340)


def _table(source: Source) -> Html:
    """Averages, balance, closeness and final error of every run."""
    rows = []
    for f in say.factors(source):
        near = (source.number(GROUP, f"closeness{end}", factor=f) for end in ("", "_low", "_high"))
        value, low, high = near
        error = (source.number(GROUP, f"final_error{end}", factor=f) for end in ("", "_se"))
        averages = [say.average(source, name, f) for name in list(SHOWN)[:3]]
        told = "baseline" if f == 1 else "unknown" if np.isnan(value) else f"{number(value)} ({interval(low, high)})"
        rows.append([say.batch(source, f), *averages, say.balance(source, f), told, with_error(*error)])
    what = "Test error" if source.array(GROUP, "test_error") is not None else "Test loss"
    head = ["Batch size", "R", "G", "N (one batch)", "Balance (95%)", "Smallest C (95%)", what]
    return element("details", element("summary", "The runs in numbers"), table(head, rows, numeric=range(7)))
