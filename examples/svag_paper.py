"""The experiments of Li, Malladi and Arora's paper on SGD and its SDE, by name: a table, and a page with a figure each.

    python examples/svag_paper.py width                              # small, on scikit-learn's digits, seconds
    python examples/svag_paper.py all --out svag_paper.html          # all nine, some minutes
    python examples/svag_paper.py svag-large-batch --size paper --data cifar.npz --model conv

The paper's size (rate .8, batch 128, decay 5e-4, 160 epochs) needs data of at least 50,000 training examples: FILE.npz with
x_train, y_train, x_test, y_test, and a stock model; experiments on several networks take their options from the small size.
docs/experiments.md has the numbers.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from gradnoise import testbeds
from gradnoise.experiment.svag_paper import CONFIGURATIONS, run_configuration
from gradnoise.problem import Problem
from gradnoise.report import figure as fig
from gradnoise.report.html import Html, element, escape, section, table
from gradnoise.report.page import filled
from gradnoise.report.words import number, with_error

COLOURS = ("@ink", "@order1", "@order2", "@order3", "@order4", "@order5", "@start", "@order0")
NAMES = {
    "train_loss": "training loss",
    "test_loss": "test loss",
    "squared_norm": "|weights|²",
    "test_accuracy": "test accuracy",
}


def observables(found: xr.Dataset) -> list[str]:
    """What is drawn, the experiment's own observable first."""
    own = str(found.attrs["observable"])
    return [own, *(name for name in NAMES if name in found and name != own)]


def rows(found: xr.Dataset) -> list[list[str]]:
    """Process by process, each observable at the last step with its standard error."""
    return [
        [str(process)]
        + [
            with_error(found[name].sel(process=process)[-1], found[f"{name}_se"].sel(process=process)[-1])
            for name in observables(found)
        ]
        for process in found["process"].values
    ]


def printed(name: str, found: xr.Dataset) -> str:
    """The table and the sentence, as text."""
    head = ["process", *observables(found)]
    lines = [head, *rows(found)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    step = f"means after {int(found['step'][-1])} steps, ± standard error"
    return "\n".join([f"== {name}: {found.attrs['question']} ({step})", *text, str(found.attrs["sentence"]), ""])


def means(found: xr.Dataset, name: str) -> fig.Variant:
    """Curves of one observable with 95 % bands, one a process."""
    twins = all("[" in process for process in map(str, found["process"].values))
    data: list[fig.Trace] = []
    for place, process in enumerate(found["process"].values):
        paint = COLOURS[(place // 2 if twins else place) % len(COLOURS)]
        style = "dash" if twins and place % 2 else "solid"
        data += curve(found, name, {"process": process}, paint, fig.NORMAL_95, style)
    positive = np.nanmin(found[name].values) > 0 and name.endswith("loss")
    span = fig.decades(float(np.nanmin(found[name])), float(np.nanmax(found[name]))) if positive else {}
    y = fig.axis(NAMES[name], "log" if positive else "linear", **span)
    return fig.variant(data, fig.axis("effective step", rangemode="tozero"), y)


def differences(found: xr.Dataset, name: str) -> fig.Variant:
    """The differences of the pairs, with the simultaneous 95 % band."""
    data: list[fig.Trace] = []
    for place, pair in enumerate(found["pair"].values):
        reach = float(found[f"{name}_band"])
        data += curve(found, f"{name}_difference", {"pair": pair}, COLOURS[1 + place % (len(COLOURS) - 1)], reach)
    note = (
        "A difference is seen where its band leaves out zero: bands hold at all steps and for all pairs at once, 95 %."
    )
    y = fig.axis(f"difference in {NAMES[name]}")
    return fig.variant(data, fig.axis("effective step", rangemode="tozero"), y, [note])


def curve(
    found: xr.Dataset, name: str, place: Mapping[str, str], paint: str, reach: float, style: str = "solid"
) -> list[fig.Trace]:
    """One curve, and `reach` standard errors around it."""
    (label,) = place.values()
    steps, mean = found["step"].values, found[name].sel(place).values
    around = reach * found[f"{name}_se"].sel(place).values
    return [
        fig.band(steps, mean - around, mean + around, paint, str(label)),
        fig.line(steps, mean, str(label), paint, dash=style, legendgroup=str(label)),
    ]


def part(name: str, found: xr.Dataset) -> Html:
    """The section of one experiment."""
    shown = observables(found)
    settings = ("problem", "learning_rate", "batch_size", "num_examples", "num_steps", "weight_decay", "num_replicas")
    facts = [f"{key.replace('_', ' ')}: {_told(found.attrs[key])}" for key in settings if key in found.attrs]
    views = {"means": means, **({"differences": differences} if "pair" in found.dims else {})}
    buttons = [
        ("observable", "Show", [(each, NAMES[each]) for each in shown], shown[0]),
        ("view", "As", [(view, view) for view in views], "means"),
    ]
    drawn = {f"{each}|{view}": draw(found, each) for each in shown for view, draw in views.items()}
    caption = "Means over replicas with 95 % bands, one step at a time. " + " · ".join(facts) + "."
    return section(
        name,
        f"{name}: {found.attrs['question']}",
        element("p", found.attrs["sentence"]),
        fig.figure(name, caption, f"Curves of {name}", drawn, 420, buttons),
        table(["process", *(NAMES[each] for each in shown)], rows(found), range(1, len(shown) + 1)),
    )


def page(results: Mapping[str, xr.Dataset]) -> str:
    """One self-contained page: no network, no script but its own two."""
    title, first = "SGD, SVAG, noisy GD", next(iter(results.values()))
    head = element("header", element("p", "gradnoise", class_="brand"), element("h1", title))
    made = element("p", f"gradnoise {first.attrs['gradnoise_version']}, {first.attrs['created']}")
    return filled(title, head, escape([part(name, found) for name, found in results.items()]), made)


def problems(name: str, data: str | None, model: str) -> Problem | dict[str, Problem] | None:
    """The caller's data with a stock model, or with each of the experiment's own networks; None: the digits."""
    if data is None:
        return None
    models = CONFIGURATIONS[name].models
    if len(models) == 1:
        return testbeds.problem_from_data(data, model)
    return {label: testbeds.problem_from_data(data, each.name, **each.options) for label, each in models.items()}


def _told(value: object) -> str:
    return number(value, 7) if isinstance(value, (int, float, np.number)) else str(value)


def main(arguments: list[str] | None = None) -> None:
    """Run what is named, print the tables, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[*CONFIGURATIONS, "all"])
    parser.add_argument("--size", choices=("small", "paper"), default="small")
    parser.add_argument("--data", help="FILE.npz instead of the digits")
    parser.add_argument("--model", default="mlp", help="stock model on --data (default mlp)")
    parser.add_argument("--num-replicas", type=int, help="runs of each process")
    parser.add_argument("--store", help="folder that keeps the runs, from which a killed call goes on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="FILE.html")
    options = parser.parse_args(arguments)
    results = {}
    for name in CONFIGURATIONS if options.name == "all" else [options.name]:
        try:
            problem = problems(name, options.data, options.model)
            results[name] = run_configuration(
                name, options.size, problem, options.seed, options.store, num_replicas=options.num_replicas
            )
        except (OSError, TypeError, ValueError) as error:
            parser.error(str(error))
        print(printed(name, results[name]), flush=True)
    if options.out:
        Path(options.out).write_text(page(results), encoding="utf-8")
        print(options.out, file=sys.stderr)


if __name__ == "__main__":
    main()
