"""From simulations to the table of an experiment, and to its sentence."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from gradnoise.dynamics import Simulation
from gradnoise.estimate import Estimate
from gradnoise.experiment.svag_paper.configuration import Configuration
from gradnoise.experiment.svag_paper.contrasts import contrasts, shrinks
from gradnoise.experiment.weak_order import weak_order_of
from gradnoise.experiment.weak_record import WeakOrder

Variables = dict[str, Any]


def curves_table(configuration: Configuration, runs: Mapping[str, Simulation]) -> xr.Dataset:
    """Means, differences and for a family of SVAG the fit, of every observable; variables as `run_configuration` says."""
    first = next(iter(runs.values()))
    table: Variables = {}
    for name in first.observables:
        means = [simulation.mean(name) for simulation in runs.values()]
        found = contrasts(runs, configuration.pairs, name)
        table |= with_error(name, ("process", "step"), _stacked(means))
        table |= with_error(f"{name}_difference", ("pair", "step"), found.differences)
        table[f"{name}_band"] = found.band
        if configuration.l_values:
            table |= fit_table(name, weak_order_of(family(configuration, runs), name))
    coordinates = {
        "process": list(runs), "step": np.asarray(first.steps),
        "pair": [f"{other} - {base}" for other, base in configuration.pairs],
    }  # fmt: skip
    return xr.Dataset(table, coordinates)


def sentence(configuration: Configuration, runs: Mapping[str, Simulation]) -> str:
    """What was found about the experiment's observable."""
    name = configuration.observable
    if configuration.l_values:
        return fitted(weak_order_of(family(configuration, runs), name))
    found = contrasts(runs, configuration.pairs, name)
    if set(configuration.models) == {"network"} or "width" not in next(iter(configuration.models)):
        return found.sentence
    samples = [runs[other].observables[name] - runs[base].observables[name] for other, base in configuration.pairs]
    return f"{found.sentence} {shrinks(found, np.stack(samples, axis=1))}"


def fitted(found: WeakOrder) -> str:
    """The verdict on a family of SVAG and, where SVAG leaves SGD, the fit of its means at the last step."""
    if found.holds != "differs":
        return found.sentence
    limit, coefficient, (slope, low, high) = found.limit[-1], found.coefficient[-1], found.slope[:3]
    return (
        f"{found.sentence} From l = 2 on the means at step {found.steps[-1]} are fitted by {limit.value:.4g} +- "
        f"{limit.stderr:.1g} plus ({coefficient.value:.3g} +- {coefficient.stderr:.1g})/l; the exponent of 1/l at step "
        f"{found.slope_step} is {slope:.2g} ({low:.2g} to {high:.2g})."
    )


def family(configuration: Configuration, runs: Mapping[str, Simulation]) -> dict[int, Simulation]:
    """The runs of SVAG by l."""
    return dict(zip(configuration.l_values, runs.values(), strict=True))


def fit_table(name: str, found: WeakOrder) -> Variables:
    """limit + C/l at every step, and the exponent of 1/l."""
    slope = {f"{name}_slope{end}": value for end, value in zip(("", "_low", "_high"), found.slope[:3], strict=True)}
    return {
        **with_error(f"{name}_limit", ("step",), found.limit),
        **with_error(f"{name}_coefficient", ("step",), found.coefficient),
        **slope,
    }


def with_error(name: str, dims: tuple[str, ...], estimate: Estimate) -> Variables:
    """The variable and its `_se`."""
    return {name: (dims, np.asarray(estimate.value)), f"{name}_se": (dims, np.asarray(estimate.stderr))}


def _stacked(estimates: list[Estimate]) -> Estimate:
    values, errors = (np.stack([getattr(each, part) for each in estimates]) for part in ("value", "stderr"))
    return Estimate(values, errors, estimates[0].num_samples)
