"""From recorded series of R, G and N to averages, critical batch sizes and what the scaled runs show; nothing is run."""

import math
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from gradnoise._signal_noise import noise_fraction
from gradnoise.bootstrap import time_average
from gradnoise.estimate import Estimate
from gradnoise.stationary.averages import StationaryAverages, stationary_averages
from gradnoise.stationary.closeness import linear_scaling_invariance
from gradnoise.stationary.equilibrium import EquilibriumIdentity, equilibrium_identity
from gradnoise.stationary.linear_scaling import NAMES, CriticalBatch, critical_batch
from gradnoise.stationary.scaling_theorems import scaled_run_must_differ, scaling_up_must_fail

QUANTITIES = ("squared_norm", "gradient_norm_squared", "batch_noise_trace")
WORSE = 1.2
"""The final error over the best one from which a batch size is said to have failed (the papers' figure)."""


class _Run(NamedTuple):
    """A run at one factor: NaN and None where replicas diverged or the window is too short for errors."""

    averages: StationaryAverages | None
    identity: EquilibriumIdentity | None
    error: Estimate


def judge(series: xr.Dataset, closeness: float | None = None) -> xr.Dataset:
    """`series` (group "scaling") with everything that follows from it; what it already said is replaced.

    `closeness`: another C than the one recorded. Averages are over the records after `burn_in`; a run with a diverged
    replica has none.
    """
    attrs = {**series.attrs, "closeness": series.attrs["closeness"] if closeness is None else closeness}
    table = series.assign_attrs(attrs)
    factors = [int(factor) for factor in table["factor"].values]
    runs = {factor: _read(table, factor) for factor in factors}
    columns = [_columns(attrs, factor, runs[factor], runs[factors[0]]) for factor in factors]
    table = table.assign({name: ("factor", [column[name] for column in columns]) for name in columns[0]})
    averages = np.full((len(factors), len(QUANTITIES), 2), math.nan)
    for row, run in zip(averages, runs.values(), strict=True):
        if run.averages is not None:
            row[:] = [(each.value, each.stderr) for each in run.averages[:3]]
    table = table.assign_coords(quantity=list(QUANTITIES))
    table["average"] = (("factor", "quantity"), averages[..., 0])
    table["average_se"] = (("factor", "quantity"), averages[..., 1])
    first = runs[factors[0]]
    told = "a replica diverged" if first.identity is None else first.identity.conclusion
    return _with_critical_batch(table, first).assign_attrs(conclusion=told, worse=WORSE)


def _read(table: xr.Dataset, factor: int) -> _Run:
    """Averages and identity of one run over its window; the balances of all runs together alarm falsely at 5 %."""
    level = 1 - 0.05 / table.sizes["factor"]
    attrs, own = table.attrs, table.sel(factor=factor)
    if int(own["num_diverged"]):
        return _Run(None, None, Estimate(math.nan, math.nan, 1))
    every = attrs["every"] // factor
    window = attrs["burn_in"] // factor, attrs["num_steps"] // factor
    R, G, N = (np.asarray(own[name].values, dtype=float) for name in QUANTITIES)
    rate, decay = factor * attrs["learning_rate"], attrs["weight_decay"]
    identity = equilibrium_identity(R, G, N, rate, decay, window, every, level=level)
    name = "test_error" if "test_error" in table else "test_loss"
    error = time_average(np.asarray(own[name].values, dtype=float)[:, attrs["burn_in"] // attrs["every"] :])
    return _Run(stationary_averages(R, G, N, window, every), identity, error)


def _columns(attrs: dict[str, Any], factor: int, run: _Run, baseline: _Run) -> dict[str, float]:
    """What is said of one run, by name."""
    nan = math.nan
    found = {"final_error": float(run.error.value), "final_error_se": float(run.error.stderr)}
    found |= dict.fromkeys(("balance", "balance_low", "balance_high", "drift_share", "drift_share_se"), nan)
    found |= dict.fromkeys(("closeness", "closeness_low", "closeness_high", "must_fail", "own_must_fail"), nan)
    if run.identity is not None:
        ratio, share = run.identity.ratio, run.identity.drift_share
        found |= {"balance": float(ratio.estimate.value), "balance_low": ratio.low, "balance_high": ratio.high}
        found |= {"drift_share": float(share.value), "drift_share_se": float(share.stderr)}
    if factor == 1 or not (_known(run) and _known(baseline)):
        return found
    assert run.averages is not None
    assert baseline.averages is not None
    near = linear_scaling_invariance(baseline.averages, run.averages, factor).smallest
    found |= {"closeness": near.value, "closeness_low": near.low, "closeness_high": near.high}
    for name, theorem, averages in (
        ("must_fail", scaling_up_must_fail, baseline.averages),
        ("own_must_fail", scaled_run_must_differ, run.averages),
    ):
        said = theorem(averages.signal, averages.noise, factor, attrs["closeness"], covariance=_cross(averages))
        found[name] = float(said.must_fail)
    return found


def _known(run: _Run) -> bool:
    """Whether all three averages have errors and are above zero: an unbiased estimate of a small G need not be."""
    return run.averages is not None and all(math.isfinite(each.stderr) and each.value > 0 for each in run.averages[:3])


def _cross(averages: StationaryAverages) -> float:
    """The covariance of the averages of G and N."""
    return 0.0 if averages.covariance is None else float(averages.covariance[1, 2])


def _with_critical_batch(table: xr.Dataset, baseline: _Run) -> xr.Dataset:
    """Critical batch sizes by form, and B_simple of the equilibrium, with intervals; NaN where errors are not known."""
    table = table.assign_coords(form=list(NAMES))
    rows = np.full((len(NAMES), 4), math.nan)
    simple = np.full(4, math.nan)
    if _known(baseline):
        assert baseline.averages is not None
        averages, attrs = baseline.averages, table.attrs
        critical = critical_batch(
            averages.signal, averages.noise, attrs["batch_size"], attrs["closeness"],
            covariance=_cross(averages),
        )  # fmt: skip
        rows = np.array([_row(critical, name) for name in NAMES])
        whole = attrs["num_examples"]
        fraction = noise_fraction(whole, attrs["batch_size"], attrs["sampling"] == "with_replacement")
        simple = _row(critical, "approximate") / (fraction or math.nan) / attrs["closeness"] ** 2
    for k, end in enumerate(("", "_se", "_low", "_high")):
        table[f"critical_batch{end}"] = ("form", rows[:, k])
        table[f"simple_noise_scale{end}"] = float(simple[k])
    return table


def _row(critical: CriticalBatch, name: str) -> np.ndarray:
    form: Estimate = getattr(critical, name)
    return np.array([form.value, form.stderr, *critical.interval(name)])
