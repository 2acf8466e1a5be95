"""The group "path" of a results tree: a whole run by batch size, predicted and simulated, and what follows from it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy import stats

from gradnoise.dynamics import Simulation
from gradnoise.experiment.observables import OBSERVABLES
from gradnoise.predict import PathPrediction
from gradnoise.predict.path import batch_choice
from gradnoise.predict.path.cost import PathCost

TARGETS = ("test", "gap")
SHARE = 0.01
"""A doubling of the batch that changes the loss by less no longer pays."""


class Flatness(NamedTuple):
    """The level of residual * B^2, and how likely points as uneven as these are if it is the same at all B."""

    value: float
    stderr: float
    p_value: float


def path_table(
    prediction: PathPrediction, batch_sizes: Sequence[int], runs: Mapping[int, Simulation], cost: PathCost
) -> xr.Dataset:
    """Curves at every batch size, with the runs that were simulated (none: NaN), and the coefficient of 1/B."""
    steps, sizes = np.arange(prediction.spacetime.num_steps + 1), list(batch_sizes)
    curves = {(b, t): prediction.curve(t, batch_size=b) for b in sizes for t in TARGETS}
    ends = [curves[b, "test"].domain.end for b in sizes]  # type: ignore[union-attr]
    means, errors = _simulated(sizes, runs, steps)
    values, spreads = (
        np.array([[getattr(curves[b, t].partial_sums, part) for t in TARGETS] for b in sizes])
        for part in ("value", "stderr")
    )
    outside = ~np.array([[curves[b, t].domain.inside for t in TARGETS] for b in sizes])  # type: ignore[union-attr]
    values[:, list(TARGETS).index("gap"), :, 1:][outside[:, -1]] = np.nan  # a domain of its own
    curve = ("batch_size", "target", "step")
    variables = {
        "predicted": ((*curve, "loops"), values),
        "predicted_se": ((*curve, "loops"), np.broadcast_to(spreads, values.shape)),
        "simulated": (curve, means),
        "simulated_se": (curve, errors),
        "path_loss": (("step",), np.asarray(prediction.path_loss.value)),
        "in_domain": (("batch_size", "step"), np.array([steps < (np.inf if e is None else e) for e in ends]).astype(int)),
        "test_coefficient": (("step",), np.asarray(prediction.test_coefficient.value)),
        "test_coefficient_se": (("step",), np.broadcast_to(prediction.test_coefficient.stderr, steps.shape)),
        "num_replicas": (("batch_size",), [runs[b].num_replicas if b in runs else 0 for b in sizes]),
        "num_diverged": (("batch_size",), [int((runs[b].diverged_at >= 0).sum()) if b in runs else 0 for b in sizes]),
    }  # fmt: skip
    coords = {"batch_size": sizes, "target": list(TARGETS), "step": steps, "loops": np.arange(values.shape[-1])}
    table = xr.Dataset({**variables, **_choice(prediction, sizes)}, coords, _attributes(prediction))
    table = table.assign(_residuals(table))
    return table.assign_attrs(_cost(table, prediction, cost))


def _simulated(
    sizes: Sequence[int], runs: Mapping[int, Simulation], steps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Means over replicas and their errors at the recorded steps; NaN between them, and from the first divergence on."""
    means = np.full((len(sizes), len(TARGETS), len(steps)), np.nan)
    errors = means.copy()
    for i, batch in enumerate(sizes):
        for j, target in enumerate(TARGETS):
            if batch in runs:
                samples = np.asarray(runs[batch].observables[OBSERVABLES[target]], dtype=float)
                means[i, j, runs[batch].steps] = samples.mean(axis=0)
                errors[i, j, runs[batch].steps] = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    return means, errors


def _choice(prediction: PathPrediction, sizes: Sequence[int]) -> dict[str, tuple]:
    """The batch size at which one more doubling changes the final test loss by SHARE, with its 95 % interval."""
    chosen = batch_choice(prediction, sizes, SHARE)
    low, high = chosen.interval
    values = {"": float(chosen.batch_size.value), "_se": float(chosen.batch_size.stderr), "_low": low, "_high": high}
    return {f"doubling_batch_size{end}": ((), value) for end, value in values.items()}


def _residuals(table: xr.Dataset) -> dict[str, tuple]:
    """B^2 (simulation - one loop) of the test loss at the last step: the two-loop term, if nothing else is missing."""
    last = table.sel(target="test").isel(step=-1)
    sizes = table["batch_size"].values.astype(float)
    own, shared = last["simulated_se"].values, last["predicted_se"].sel(loops=1).values
    residual = (last["simulated"] - last["predicted"].sel(loops=1)).values
    inside = np.isfinite(residual) & (last["in_domain"].values > 0)
    level = flatness(sizes[inside], residual[inside], own[inside], shared[inside])
    return {
        "residual_scaled": (("batch_size",), sizes**2 * residual),
        "residual_scaled_se": (("batch_size",), sizes**2 * np.hypot(own, shared)),
        "residual_level": ((), level.value),
        "residual_level_se": ((), level.stderr),
        "residual_level_p": ((), level.p_value),
    }


def flatness(sizes: np.ndarray, residuals: np.ndarray, own: np.ndarray, shared: np.ndarray) -> Flatness:
    """One level c fitted to residual * B^2 by generalized least squares, and the chi-square test that there is one.

    `own`: errors that differ from batch size to batch size (the simulations'). `shared`: what one error of the predicted
    coefficient makes of all residuals together; scaled by B^2 it tilts the points.

    >>> flatness(np.array([2.0, 4.0]), np.array([0.5, 0.125]), np.array([0.01, 0.01]), np.zeros(2)).value
    2.0
    """
    if len(sizes) < 2 or not np.all(own > 0):
        return Flatness(np.nan, np.nan, np.nan)
    scaled = sizes**2
    covariance = np.diag(own**2) + np.outer(shared, shared)
    inverse = np.linalg.inv(covariance * np.outer(scaled, scaled))
    weight = float(inverse.sum())
    level = float(inverse.sum(0) @ (scaled * residuals)) / weight
    rest = scaled * residuals - level
    return Flatness(level, weight**-0.5, float(stats.chi2.sf(rest @ inverse @ rest, len(sizes) - 1)))


def _attributes(prediction: PathPrediction) -> dict[str, object]:
    spacetime, domain = prediction.spacetime, prediction.domain
    drawn = prediction.method == "probes"
    return {
        "num_steps": spacetime.num_steps,
        "batch_size": spacetime.batch_size,
        "sampling": spacetime.sampling,
        "method": prediction.method,
        "num_probes": len(prediction.samples.tied) if drawn else 0,
        "licensed_loops": 0 if prediction.kinks else prediction.num_loops,
        "domain_bound": domain.bound,
        "doubling_share": SHARE,
    }


def _cost(table: xr.Dataset, prediction: PathPrediction, cost: PathCost) -> dict[str, float | int]:
    """Gradient equivalents of the prediction, and of so many plain runs at the grid's batch size that know as much.

    How many runs: from the measured spread and the prediction's error, where both are known; else as estimated before.
    """
    spacetime, last = prediction.spacetime, table.sel(target="test").isel(step=-1)
    each, own, runs = cost.simulation_equivalents / cost.num_runs, spacetime.batch_size, cost.num_runs
    if own in table["batch_size"].values:
        place = last.sel(batch_size=own)
        spread = float(place["simulated_se"]) * np.sqrt(float(place["num_replicas"]))
        error = float(place["predicted_se"].sel(loops=1))
        if error == 0 and float(place["num_replicas"]) > 0:
            runs = int(place["num_replicas"])
        elif np.isfinite(spread) and spread > 0 and error > 0:
            runs = max(2, int(np.ceil((spread / error) ** 2)))
    plain = {
        int(b): runs * (each + (int(b) - own) * spacetime.num_steps / prediction.num_pool) for b in table["batch_size"]
    }
    return {
        "gradient_equivalents": cost.gradient_equivalents,
        "simulation_equivalents": runs * each,
        "simulation_runs": runs,
        "simulation_equivalents_all": sum(plain.values()),
    }
