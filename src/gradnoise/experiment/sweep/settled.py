"""What the runs of a sweep settle to, cell by cell: the median of the last records of each, and whether it has settled."""

import math
from collections.abc import Mapping

import numpy as np
import xarray as xr

from gradnoise.averaging import converged, overlap_factor, steady_median, trim_spikes
from gradnoise.averaging.steady_state import LONG, WINDOW

METRICS = ("gap", "test_loss", "train_loss", "accuracy_gap", "test_accuracy", "train_accuracy")
CELL = ("learning_rate", "batch_size", "num_examples", "width", "variant", "temperature", "epochs")
FEWEST, CALM = 8, 16
"""Records after the start below which nothing is judged; the fewest of a window, where half a run has so many."""
SMALL = 0.05
"""A loss has settled, though its slope be seen, if it changes by less of itself and of its way from the start."""


def settled(runs: xr.Dataset, num_pool: int | None = None) -> xr.Dataset:
    """`steady` (metric, cell, seed): the median of each run over its last 50 epochs, spikes at its end cut off.

    `runs` is the group "sweep" of a sweep's results. The window holds the records of the last 50 epochs, at least 16 of them
    and at most half of the run's; spikes are looked for where a run has 25 records more than its window. With `num_pool` M
    the test loss is that of a pool that holds the N distinct training examples; test figures are then those of the other
    M - N examples, to the last digit: train + (pool - train) M/(M - N).

    `flat` (cell, seed): 1 where train and test loss show no slope over the window, or change by less than 5 % of themselves
    and of their way from the start, 0 where one does more, NaN where a larger change cannot be told from noise. `failed`
    (cell): runs that diverged, or ended no better than they began. What a cell is stands in its coordinates; `series` names
    what it belongs to: variant, width and N, as far as they vary.

    >>> from gradnoise.experiment.sweep import sweep
    >>> plan = {"problem": "mean-estimation", "learning_rates": [0.1, 0.2], "num_examples": 16, "seeds": 3}
    >>> dict(settled(sweep(plan)["sweep"].to_dataset())["steady"].sizes)
    {'metric': 3, 'cell': 2, 'seed': 3}

    Raises ValueError for fewer than 8 records.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", experiments; docs/theory/temperature_protocol.md.
    """
    records = runs.sizes["record"] - 1
    if records < FEWEST:
        raise ValueError(
            f"num_records={records} is too few to say what a run settles to, expected at least {FEWEST}. Give more records."
        )
    labels = list(zip(*(runs[name].values.tolist() for name in CELL), strict=True))
    cells = list(dict.fromkeys(labels))
    order = np.argsort([cells.index(label) for label in labels], kind="stable").reshape(len(cells), -1)
    series = _metrics(runs, num_pool)
    steady = np.full((len(series), *order.shape), math.nan)
    flat, failed = np.full(order.shape, math.nan), np.zeros(len(cells), dtype=int)
    for rows in _alike(runs, cells, order):
        own = order[rows]
        lost = _lost({name: table[own] for name, table in series.items()})
        failed[rows] = lost.sum(axis=1)
        good = np.flatnonzero(~lost.any(axis=1))
        if len(good):
            window = _window(runs["epoch"].values[own[0, 0]])
            values, still = _ends({name: table[own[good]] for name, table in series.items()}, window)
            steady[:, rows[good]], flat[rows[good]] = values, still
    coords = {name: ("cell", list(column)) for name, column in zip(CELL, zip(*cells, strict=True), strict=True)}
    return xr.Dataset(
        {
            "steady": (("metric", "cell", "seed"), steady),
            "flat": (("cell", "seed"), flat),
            "failed": ("cell", failed),
        },
        {**coords, "series": ("cell", _series(cells)), "metric": list(series), "seed": runs["seed"].values[order[0]]},
    )


def _metrics(runs: xr.Dataset, num_pool: int | None) -> dict[str, np.ndarray]:
    """Name -> (run, record): gap, test and train, of the loss and of the accuracy."""
    factor = np.ones((runs.sizes["run"], 1))
    if num_pool is not None:
        factor = 1 / np.array([[overlap_factor(int(n), num_pool)] for n in runs["num_examples"].values])
    found = {}
    for kind, sign in (("loss", 1), ("accuracy", -1)):
        if f"test_{kind}" in runs:
            train, test = (runs[f"{where}_{kind}"].values.astype(float) for where in ("train", "test"))
            apart = (test - train) * factor
            found["gap" if kind == "loss" else "accuracy_gap"] = sign * apart
            found |= {f"test_{kind}": train + apart, f"train_{kind}": train}
    return {name: found[name] for name in METRICS if name in found}


def _alike(runs: xr.Dataset, cells: list[tuple], order: np.ndarray) -> list[np.ndarray]:
    """Cells of one series and temperature: their runs have the same times, and one correlation."""
    names = [(*_rest(cell), cell[CELL.index("temperature")], round(float(cell[-1]))) for cell in cells]
    return [np.array([k for k, other in enumerate(names) if other == name]) for name in dict.fromkeys(names)]


def _rest(cell: tuple) -> tuple:
    return tuple(cell[CELL.index(name)] for name in ("variant", "num_examples", "width"))


def _series(cells: list[tuple]) -> list[str]:
    """A name for what cells share but rate and batch: the variant, and N and width where there are several."""
    rest = [_rest(cell) for cell in cells]
    several = [len({each[k] for each in rest}) > 1 for k in range(3)]
    words = ("{}", "N = {}", "width {}")
    return [
        ", ".join(w.format(v) for w, v, s in zip(words, each, (True, *several[1:]), strict=True) if s) for each in rest
    ]


def _lost(series: Mapping[str, np.ndarray]) -> np.ndarray:
    """(cell, seed): the run diverged, or its train loss ends no better than it began."""
    loss = series["train_loss"]
    ended = loss[..., -(loss.shape[-1] // 4) :].mean(axis=-1)
    return ~(np.isfinite(series["test_loss"]).all(axis=-1) & (ended < loss[..., 0]))


def _window(epoch: np.ndarray) -> int:
    """Records in the last 50 epochs, at least 16 and at most half of all."""
    records = len(epoch) - 1
    return int(min(records // 2, max(CALM, np.sum(epoch > epoch[-1] - WINDOW))))


def _ends(series: Mapping[str, np.ndarray], window: int) -> tuple[np.ndarray, np.ndarray]:
    """Steady values (metric, cell, seed), and 1 where both losses are flat, 0 where one is not, NaN if untold."""
    shape = next(iter(series.values())).shape[:2]
    runs = {name: table[..., 1:].reshape(-1, table.shape[-1] - 1) for name, table in series.items()}
    kept = None
    if runs["train_loss"].shape[1] >= LONG + window:
        kept = trim_spikes(runs["train_loss"], window).kept
    values = [np.asarray(steady_median(table, kept, window).value).reshape(shape) for table in runs.values()]
    places = [list(runs).index(name) for name in ("train_loss", "test_loss")]
    scales = [np.minimum(np.abs(values[k]), np.abs(list(series.values())[k][..., 0] - values[k])) for k in places]
    still = [_still(list(runs.values())[k], s.ravel(), kept, window) for k, s in zip(places, scales, strict=True)]
    flat = np.min(still, axis=0)
    return np.stack(values), flat.reshape(shape)


def _still(runs: np.ndarray, scale: np.ndarray, kept: np.ndarray | None, window: int) -> np.ndarray:
    """1, 0 or NaN for each run: see `flat` of `settled`."""
    found = converged(runs, kept, window)
    small = np.abs(found.change.value) < SMALL * scale
    return np.where(small, 1.0, np.where(np.isfinite(found.p), found.flat.astype(float), math.nan))
