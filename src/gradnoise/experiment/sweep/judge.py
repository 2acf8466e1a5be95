"""From the runs of a sweep to statements on temperature: the gap's fit, three predictions, collapse, the optimum."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from gradnoise.averaging import (
    Collapse,
    FittedOptimum,
    GapFit,
    Trend,
    collapse_in_temperature,
    fit_gap,
    fit_optimum,
    gap_trend,
    optimum_trend,
    train_loss_trend,
)
from gradnoise.averaging.gap_fit import NAMES
from gradnoise.averaging.seed_table import one_row_a_temperature
from gradnoise.experiment.sweep.settled import settled

GROUP = "temperature"
FITTED = ("gap", "test_loss", "accuracy_gap")
"""What (a/T + b) exp(-T/c) is fitted to; the test loss is, as published, though nothing says that it should follow."""
LOWEST = ("test_loss", "test_accuracy")
PREDICTIONS: dict[str, tuple[Callable[..., Trend], str]] = {
    "gap": (gap_trend, "gap"),
    "optimum": (optimum_trend, "test_loss"),
    "train_loss": (train_loss_trend, "train_loss"),
    "accuracy_gap": (gap_trend, "accuracy_gap"),
    "accuracy_optimum": (optimum_trend, "test_accuracy"),
    "train_accuracy": (train_loss_trend, "train_accuracy"),
}
"""Predictions A, B and C for the loss and, as errors 1 - accuracy, for the accuracy."""
ENOUGH = 4
"""Temperatures that must have settled for the others to be left out."""
OF_ERRORS = {"the gap": "the gap of accuracies", "test loss": "test error", "train loss": "train error"}
BY_METRIC = ("series", "metric")
NUMBERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "fit": (("fit", "fit_se", "fit_low", "fit_high"), (*BY_METRIC, "parameter")),
    "optimum": (("optimum", "optimum_se", "optimum_low", "optimum_high", "lowest", "lowest_se"), BY_METRIC),
    "collapse": (("collapse", "collapse_low", "collapse_high", "collapse_F", "collapse_p"), BY_METRIC),
    "trend": (("p_for", "p_against", "verdict"), ("series", "prediction")),
}
"""Kind of finding -> its variables, and their dimensions."""


def judge(tree: xr.DataTree) -> xr.DataTree:
    """`tree`, the results of a sweep, with a group "temperature" of all that follows from its runs; nothing is run.

    Each series (variant, N, width) is judged by itself, over cells without a failed run that have settled (`judged`); where
    fewer than 4 temperatures have, over all without a failed run. Errors come from differences between seeds. What cannot
    be judged (too few temperatures, seeds or cells) is NaN, with a sentence for it in the attributes: `fit_gap_0`,
    `optimum_test_loss_0`, `collapse_test_loss_0`, `trend_gap_0` and so on, of series 0. The variables are those of
    docs/architecture.md. Distinct training examples that are part of the pool are taken out of the test figures.

    >>> from gradnoise.experiment.sweep import sweep
    >>> plan = {"problem": "mean-estimation", "learning_rates": [0.1, 0.2], "num_examples": 16, "seeds": 3}
    >>> judge(sweep(plan))["temperature"].attrs["optimum_test_loss_0"]
    'test_loss has 2 rows and 3 seeds, expected at least 3 and 2. Add runs.'

    Raises ValueError for a tree without a sweep.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging"; docs/theory/temperature_protocol.md.
    """
    if "sweep" not in tree.children:
        raise ValueError("results has no group 'sweep', expected those of gn.sweep. Run a sweep first.")
    runs = tree["sweep"].to_dataset()
    within = runs.attrs.get("training_set") == "distinct" and tree.attrs.get("setting") == "population"
    num_pool = int(tree.attrs["num_pool"]) if within else None
    try:
        table = settled(runs, num_pool)
    except ValueError as error:
        found = xr.Dataset(attrs={"absent": str(error)})
    else:
        found = statements(table).assign_attrs(unseen=int(within), momentum=runs.attrs.get("momentum", 0.0))
    joined = tree.copy()
    joined[GROUP] = xr.DataTree(found)
    return joined


def statements(table: xr.Dataset) -> xr.Dataset:
    """What `judge` says of runs settled to `table`: a dataset for its group."""
    names = list(dict.fromkeys(table["series"].values.tolist()))
    metrics = [str(name) for name in table["metric"].values]
    predictions = [name for name, (_, metric) in PREDICTIONS.items() if metric in metrics]
    numbers: list[dict[str, dict[str, Any]]] = []
    levels: list[xr.Dataset] = []
    attrs: dict[str, str] = {}
    judged = np.zeros(table.sizes["cell"], dtype=int)
    for place, name in enumerate(names):
        rows = _judged(table, name)
        judged[rows] = 1
        own = table.isel(cell=rows)
        found = _findings(own)
        attrs |= {f"{what}_{place}": _sentence(what, each) for what, each in found.items()}
        numbers.append({what: _numbers(each) for what, each in found.items()})
        levels.append(_levels(own, name))
    columns: dict[str, Any] = {}
    for what, (names_of, dims) in NUMBERS.items():
        keys = predictions if dims[1] == "prediction" else metrics
        for column in names_of:
            unknown = "unknown" if column == "verdict" else [np.nan] * len(NAMES) if len(dims) > 2 else np.nan
            rows = [[each.get(f"{what}_{key}", {}).get(column, unknown) for key in keys] for each in numbers]
            columns[column] = (dims, np.array(rows))
    coords = {"series": names, "parameter": list(NAMES), "prediction": predictions}
    base = table.rename(series="cell_series").assign(judged=("cell", judged))
    together = xr.concat(levels, "level")
    return xr.merge([base, xr.Dataset(columns, coords), together]).assign_attrs(attrs)


def _judged(table: xr.Dataset, series: str) -> np.ndarray:
    """The cells of a series that are judged: without a failed run, and settled where enough temperatures are."""
    good = (table["series"].values == series) & (table["failed"].values == 0)
    settled_cells = good & (table["flat"].values == 1).all(axis=1)
    enough = len(np.unique(table["temperature"].values[settled_cells])) >= ENOUGH
    return np.flatnonzero(settled_cells if enough else good)


def _findings(own: xr.Dataset) -> dict[str, Any]:
    """What was found of one series, or the sentence on why it was not, by kind and metric or prediction."""
    temperature = own["temperature"].values
    values = {str(name): own["steady"].sel(metric=name).values for name in own["metric"].values}
    errors = {name: 1 - table if name.endswith("_accuracy") else table for name, table in values.items()}
    asked = {f"fit_{name}": (fit_gap, name) for name in FITTED}
    asked |= {f"optimum_{name}": (fit_optimum, name) for name in LOWEST}
    asked |= {f"collapse_{name}": (collapse_in_temperature, name) for name in values}
    asked |= {f"trend_{name}": each for name, each in PREDICTIONS.items()}
    found: dict[str, Any] = {}
    for what, (function, name) in asked.items():
        if name in errors:
            try:
                found[what] = function(temperature, errors[name])
            except ValueError as error:
                found[what] = str(error)
    return found


def _levels(own: xr.Dataset, series: str) -> xr.Dataset:
    """Means over seeds and over the cells of one temperature, with the seeds' standard error (NaN for one seed)."""
    order = np.argsort(own["temperature"].values, kind="stable")
    rows, seeds = own["temperature"].values[order], own.sizes["seed"]
    tables = np.array([one_row_a_temperature(rows, values[order])[1] for values in own["steady"].values])
    error = tables.std(axis=2, ddof=1) / seeds**0.5 if seeds > 1 else np.full(tables.shape[:2], np.nan)
    pair = {"average": (("metric", "level"), tables.mean(axis=2)), "average_se": (("metric", "level"), error)}
    levels = np.unique(rows)
    labels = {"level_temperature": ("level", levels), "level_series": ("level", [series] * len(levels))}
    return xr.Dataset(pair, {"metric": own["metric"].values, **labels})


def _sentence(what: str, found: Any) -> str:
    """A finding in words; of accuracies the errors are meant."""
    if isinstance(found, str):
        return found
    told = found.warning if isinstance(found, GapFit) else found.sentence
    for loss, error in OF_ERRORS.items() if "accuracy" in what else ():
        told = told.replace(loss, error)
    return told


def _numbers(found: Any) -> dict[str, Any]:
    """Variable -> number, or one for each parameter, of one finding; none of a sentence."""
    if isinstance(found, GapFit):
        ends = np.array([found.interval(name) for name in NAMES])
        pairs = np.array([(each.value, each.stderr) for each in (found.a, found.b, found.c)])
        return {"fit": pairs[:, 0], "fit_se": pairs[:, 1], "fit_low": ends[:, 0], "fit_high": ends[:, 1]}
    if isinstance(found, FittedOptimum):
        place, height = found.temperature, found.loss
        return {
            "optimum": place.value, "optimum_se": place.stderr, "optimum_low": found.low, "optimum_high": found.high,
            "lowest": height.value, "lowest_se": height.stderr,
        }  # fmt: skip
    if isinstance(found, Collapse):
        spread = {"collapse": found.ratio, "collapse_low": found.ratio_low, "collapse_high": found.ratio_high}
        return {**spread, "collapse_F": found.F, "collapse_p": found.p}
    if isinstance(found, Trend):
        return {"p_for": found.p_for, "p_against": found.p_against, "verdict": found.verdict}
    return {}
