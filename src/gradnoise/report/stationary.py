"""Is the run stationary, is it an equilibrium, what is its noise like: words first, then spectrum and loss."""

import math

import numpy as np

from gradnoise.report import figure as fig
from gradnoise.report.html import Html, element, section, table
from gradnoise.report.scaling import Finding
from gradnoise.report.source import Source
from gradnoise.report.words import interval, number, with_error

GROUP = "stationary"
TITLE = "Where SGD settles"
NAMES = {"norm": "norm, 2⟨(θ − o)·s⟩", "loss": "loss, 2⟨∇U·s⟩"}
STILL = 2.39
"""Standard errors of a drift from which on it is called one: one of three tests that together alarm falsely at 5 %."""


def stationary_state(source: Source) -> Html:
    """The section on the stationary state; nothing where no such run is among the results."""
    cards = stationary_cards(source)
    if not cards:
        return Html()
    first, *rest = [*(cards[0][1],), *cards[0][2]]
    others = [element("p", element("strong", f"{title.rstrip('?')}. "), finding) for title, finding, *_ in cards[1:]]
    return section(
        "stationary",
        TITLE,
        element("p", element("strong", first)),
        *(element("p", sentence) for sentence in rest),
        *others,
        _identities(source),
        _loss_figure(source),
        _spectrum_figure(source),
    )


def stationary_cards(source: Source) -> list[Finding]:
    """The findings, for the page and the command line; none where nothing was run."""
    if source.array(GROUP, "identity_ratio") is None:
        return []
    told, tone = _stationarity(source)
    cards: list[Finding] = [
        ("Stationary?", told[0], told[1:], tone),
        ("Equilibrium?", _equilibrium(source), [], "plain"),
    ]
    if spectrum := str(source.attr("spectrum", GROUP, "")):
        cards.append(("The noise", spectrum, [], "plain"))
    return [*cards, ("Temperature", _temperature(source), [], "plain")]


def _stationarity(source: Source) -> tuple[list[str], str]:
    """Both discrete identities and the drift of the loss, put together."""
    said = {name: str(source.attr(f"{name}_discrete", GROUP, "")) for name in NAMES}
    drift, error = (source.number(GROUP, f"drift{end}") for end in ("", "_se"))
    moving = math.isfinite(error) and abs(drift) > STILL * error
    steps, burn_in = (number(source.attr_number(name, GROUP), 7) for name in ("num_steps", "burn_in"))
    window = f"over steps {burn_in} to {steps}"
    told = [
        f"Train loss from the first half of these steps to the second: {with_error(drift, error)}.",
        *(f"Identity of the {NAMES[name]}: {words.rstrip('.')}." for name, words in said.items()),
    ]
    if any(words.startswith("differs") for words in said.values()) or moving:
        return [f"The run is not stationary {window}, as far as these tests see.", *told], "caution"
    if any(words.startswith("cannot") for words in said.values()) or math.isnan(error):
        return [f"Too short to tell whether the run is stationary {window}.", *told], "caution"
    return [
        f"Nothing speaks against a stationary run {window}.",
        *told,
        "A motion slower than the window would not show in these tests.",
    ], "plain"


def _equilibrium(source: Source) -> str:
    conclusion = str(source.attr("reversal", GROUP, "unknown")).rstrip(".")
    extra = {
        "irreversible": "The state is no thermal equilibrium: probability circulates, the potential is not the loss.",
        "not told": "A circulation too weak to be seen, or in other directions, is not excluded.",
    }
    more = next((words for start, words in extra.items() if conclusion.startswith(start)), "")
    where = f"along the {number(source.attr_number('num_components', GROUP))} strongest directions of the noise"
    return f"Time reversal {where}: {conclusion}. {more}".strip()


def _temperature(source: Source) -> str:
    temperature = source.attr_number("temperature", GROUP)
    return (
        f"Learning rate / batch size is {number(temperature)}: runs at the same ratio have, at small learning rates, the "
        "same stationary state, reached in as many learning rates × steps."
    )


def _identities(source: Source) -> Html:
    rows = []
    for name, words in NAMES.items():
        row: list[object] = [words]
        for form in ("discrete", "continuous"):
            value, low, high = (
                source.number(GROUP, f"identity_ratio{end}", identity=name, form=form) for end in ("", "_low", "_high")
            )
            row.append(f"{number(value)} ({interval(low, high)})")
        rows.append(row)
    head = ["Identity", "left / right, SGD's own form", "the diffusion's form"]
    caption = (
        "1 inside the interval (98.3%, for three tests at 5% together): obeyed. The second form leaves out terms of the "
        "order of the learning rate."
    )
    return element("div", table(head, rows, numeric=(1, 2)), element("p", caption, class_="note"))


def _loss_figure(source: Source) -> Html:
    steps = np.asarray(source.labels(GROUP, "step"), dtype=float)
    data = []
    for name, words, paint in (("train_loss", "train loss", "@order2"), ("test_loss", "test loss", "@order1")):
        found = source.array(GROUP, name)
        if found is not None:
            kept = fig.thinned(len(steps))
            data.append(fig.line(steps[kept], found.mean("replica").values[kept], words, paint))
    start = source.attr_number("burn_in", GROUP)
    mark = {
        "type": "line", "x0": start, "x1": start, "yref": "paper", "y0": 0, "y1": 1,
        "line": {"dash": "dot", "width": 1, "color": "@ink"},
    }  # fmt: skip
    shown = {"all": fig.variant(data, fig.axis("step"), fig.axis("loss"), shapes=[mark])}
    caption = "Means over replicas. Everything left of the dotted line is left out."
    return fig.figure("stationary-loss", caption, "Loss against step", shown, 300)


def _spectrum_figure(source: Source) -> Html | None:
    """Eigenvalues of D by rank at the checkpoints."""
    found = source.array(GROUP, "eigenvalue")
    if found is None:
        return None
    data = []
    for place, point in enumerate(source.labels(GROUP, "checkpoint")):
        values = found.sel(checkpoint=point).values
        values = values[values > values.max() * 1e-14]
        kept = fig.thinned(len(values))
        data.append(fig.line(kept + 1, values[kept], f"after {point}", fig.ORDER_COLOURS[1 + place % 4], width=1.5))
    shown = {"all": fig.variant(data, fig.axis("number", "log"), fig.axis("eigenvalue of D", "log"))}
    caption = "Eigenvalues of one example's gradient covariance, largest first, at three points of a training run."
    return fig.figure("stationary-spectrum", caption, "Noise spectrum at three checkpoints", shown, 320)
