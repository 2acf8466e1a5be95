"""From what the engines give back to labelled arrays in the schema's names."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import xarray as xr

from gradnoise.diagrams import Diagram
from gradnoise.diagrams.forests import NUM_FORMAL_EDGES
from gradnoise.dynamics.simulation import Simulation
from gradnoise.estimate import Estimate
from gradnoise.measure.diagram_values import DiagramValues
from gradnoise.measure.noise_interval import noise_scale_interval
from gradnoise.measure.noise_scale import NoiseScale
from gradnoise.predict.path import PathCurve
from gradnoise.predict.series import Curve
from gradnoise.results.meaning import meaning
from gradnoise.results.schema import clean_attributes, with_units

ACCEPTED = (
    "DiagramValues, a predicted curve, a Simulation, a comparison, an Estimate, what the functions of "
    "gradnoise.measure return, an xarray Dataset or DataTree"
)
_AXES = {
    "eigenvalues": "eigen",
    "eigenvalue_bounds": "eigen",
    "grid": "grid",
    "density": "grid",
    "largest_vector": "parameter",
    "smallest_vector": "parameter",
}
_NAMES = {
    "eigenvalues": "eigenvalue",
    "eigenvalue_bounds": "eigenvalue_bound",
    "largest": "hessian_max",
    "smallest": "hessian_min",
}
_TARGETS = {"test": "test_loss", "train": "train_loss", "gap": "gap"}


@runtime_checkable
class Labelled(Protocol):
    """Anything that can say itself as a Dataset: a comparison, say."""

    def to_dataset(self) -> xr.Dataset: ...


def to_results(x: Any) -> xr.Dataset | xr.DataTree:
    """`x` as labelled arrays in the names of the results tree (docs/architecture.md); an error of `y` is `y_se`.

    Accepted: diagram values (group "measured"), a predicted curve ("predicted"; of a path the order counts loops, the
    attribute `expansion` is "noise", and loops are NaN outside the domain), a simulation ("simulated"), a
    comparison (anything with `to_dataset()`), an Estimate, and the named tuples of `noise_scale`, `noise_spectrum` and
    kin, whose parameter groups become variables `group_...`. Datasets and trees pass unchanged. The attribute `group`
    says where in a tree the piece belongs; `save` puts it there. A mean over diverged replicas is NaN from the first
    divergence on.

    >>> to_results(Estimate(2.0, 0.1, 50))["value_se"].item()
    0.1

    Raises TypeError, with the list of what is accepted, for anything else; ValueError for a learning rate that is a
    tree (one number labels a curve).
    """
    if isinstance(x, (xr.Dataset, xr.DataTree)):
        return x
    if isinstance(x, DiagramValues):
        return with_units(_from_values(x))
    if isinstance(x, Curve):
        return with_units(_from_curve(x))
    if isinstance(x, Simulation):
        return with_units(_from_simulation(x))
    if isinstance(x, PathCurve) and x.target in _TARGETS:
        return with_units(_from_path(x))
    if isinstance(x, Estimate):
        return _from_estimate(x)
    if _is_named_tuple(x) and any(isinstance(field, Estimate) for field in x):
        return with_units(_from_named_tuple(x))
    if isinstance(x, Labelled) and not isinstance(x, type):
        return with_units(x.to_dataset())
    raise TypeError(f"x is {type(x).__name__}, which has no place among results. Give {ACCEPTED}.")


def _from_values(values: DiagramValues) -> xr.Dataset:
    diagrams, roots = zip(*values.entries, strict=True)
    held_out = "test" in roots
    words = [_meaning(d, r, held_out) for d, r in values.entries]
    coords = {
        "diagram": ("entry", [str(d) for d in diagrams]),
        "root": ("entry", list(roots)),
        "order": ("entry", [d.order - NUM_FORMAL_EDGES * (r == "variance") for d, r in values.entries]),
        "meaning": ("entry", words),
    }
    variables = {"value": ("entry", values.table.value), "value_se": ("entry", values.table.stderr)}
    attrs = {
        "group": "measured",
        "problem": values.problem_name,
        "setting": values.setting,
        "method": values.method,
        "num_samples": values.table.num_samples,
        "max_order": values.max_order,
        "licensed_order": values.licensed_order,
        "num_parameters": values.num_parameters,
        "kinks": values.kinks,
    }
    return xr.Dataset(variables, coords, clean_attributes(attrs))


def _meaning(diagram: Diagram, root: str, held_out: bool) -> str:
    if root == "variance":
        return "in the variance of the loss"
    return meaning(diagram) + (f" (root over the {root} examples)" if held_out else "")


def _from_curve(curve: Curve) -> xr.Dataset:
    steps, orders = np.shape(curve.value)
    coords = {
        "target": [curve.target],
        "learning_rate": [_one_rate(curve.learning_rate)],
        "step": np.arange(steps),
        "order": np.arange(orders),
    }
    dims = tuple(coords)
    variables = {"loss": (dims, curve.value[None, None]), "loss_se": (dims, curve.stderr[None, None])}
    attrs = {
        "group": "predicted",
        "problem": curve.problem_name,
        "setting": curve.setting,
        "licensed_order": curve.licensed_order,
        **_grid(curve.spacetime),
    }
    return xr.Dataset(variables, coords, clean_attributes(attrs))


def _from_path(curve: PathCurve) -> xr.Dataset:
    """Partial sums by loops; beyond the domain the path alone."""
    assert curve.partial_sums is not None
    assert curve.domain is not None
    sums, end = curve.partial_sums, curve.domain.end
    steps, loops = np.shape(sums.value)
    outside = np.arange(steps)[:, None] >= (steps if end is None else end)
    unknown = outside & (np.arange(loops) > 0)
    coords = {
        "target": [curve.target],
        "learning_rate": [_one_rate(curve.learning_rate)],
        "step": np.arange(steps),
        "order": np.arange(loops),
    }
    values, errors = (np.where(unknown, np.nan, each)[None, None] for each in (sums.value, sums.stderr))
    attrs = {
        "group": "predicted",
        "expansion": "noise",
        "problem": curve.problem_name,
        "setting": curve.setting,
        "training_set": curve.training_set,
        "licensed_order": curve.licensed_loops,
        "domain_end": end,
        **_grid(curve.spacetime),
    }
    dims = tuple(coords)
    return xr.Dataset({"loss": (dims, values), "loss_se": (dims, errors)}, coords, clean_attributes(attrs))


def _from_simulation(run: Simulation) -> xr.Dataset:
    rate, steps = _one_rate(run.learning_rate), np.asarray(run.steps)
    means = {name: _mean(run, name) for name in run.observables}
    coords = {
        "process": [run.process_name],
        "target": list(_TARGETS),
        "learning_rate": [rate],
        "step": steps,
    }
    stacked = [np.stack([means[name][part] for name in _TARGETS.values()])[None, :, None] for part in (0, 1)]
    variables: dict[str, Any] = {
        "loss": (tuple(coords), stacked[0]),
        "loss_se": (tuple(coords), stacked[1]),
        "num_replicas": (("process", "learning_rate"), [[run.num_replicas]]),
        "num_diverged": (("process", "learning_rate"), [[int((run.diverged_at >= 0).sum())]]),
    }
    for name, (mean, error) in means.items():
        if name not in _TARGETS.values() and mean.ndim == 1:
            dims = ("process", "learning_rate", "step")
            variables |= {name: (dims, mean[None, None]), f"{name}_se": (dims, error[None, None])}
    attrs = {
        "group": "simulated",
        "problem": run.problem_name,
        "setting": run.setting,
        "training_set": run.training_set,
        "dtype": run.dtype,
        "device": run.device,
        "num_devices": run.num_devices,
        "chunk_width": run.chunk_width,
        **_grid(run.spacetime),
    }
    return xr.Dataset(variables, coords, clean_attributes(attrs))


def _mean(run: Simulation, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean over replicas and its standard error, NaN where a replica is; adjusted by controls where no replica is."""
    if name in run.controls and not np.any(run.diverged_at >= 0):
        found = run.mean(name)
        return np.asarray(found.value), np.asarray(found.stderr)
    samples = np.asarray(run.observables[name], dtype=float)
    spread = samples.std(axis=0, ddof=1) if len(samples) > 1 else np.full(samples.shape[1:], np.nan)
    return samples.mean(axis=0), spread / np.sqrt(len(samples))


def _from_estimate(estimate: Estimate) -> xr.Dataset:
    dims = tuple(f"axis_{axis}" for axis in range(np.ndim(estimate.value)))
    variables = {"value": (dims, estimate.value), "value_se": (dims, estimate.stderr)}
    return xr.Dataset(variables, attrs={"num_samples": estimate.num_samples})


def _from_named_tuple(record: Any) -> xr.Dataset:
    variables: dict[str, Any] = {}
    coords: dict[str, Any] = {}
    attrs: dict[str, Any] = {"group": "measured"}
    for name, field in zip(record._fields, record, strict=True):
        if isinstance(field, Mapping):
            if field:
                variables |= _grouped(field)
                coords["group"] = list(field)
        elif isinstance(field, str):
            attrs[name] = field
        elif isinstance(field, (Estimate, int, float, np.ndarray, np.generic)):
            variables |= _field(name, field)
    if isinstance(record, NoiseScale):
        variables |= _interval(record)
    for dims, values in variables.values():
        if dims == ("eigen",):
            coords["eigen"] = np.arange(1, len(values) + 1)
    return xr.Dataset(variables, coords, clean_attributes(attrs))


def _interval(scale: NoiseScale) -> dict[str, Any]:
    """The 95 % interval of B_simple; NaN where too few draws give none."""
    try:
        ends = noise_scale_interval(scale)
    except ValueError:
        ends = (np.nan, np.nan)
    return {f"simple_noise_scale_{end}": ((), value) for end, value in zip(("low", "high"), ends, strict=True)}


def _field(name: str, field: Any) -> dict[str, Any]:
    value = np.asarray(field.value if isinstance(field, Estimate) else field)
    axis = _AXES.get(name, f"{name}_axis")
    dims = tuple(f"{axis}_{i}" if i else axis for i in range(value.ndim))
    label = _NAMES.get(name, name)
    if not isinstance(field, Estimate):
        return {label: (dims, value)}
    return {label: (dims, value), f"{label}_se": (dims, np.asarray(field.stderr))}


def _grouped(records: Mapping[str, Any]) -> dict[str, Any]:
    """The Estimates of the same named tuple for every parameter group, along the dimension `group`."""
    first = next(iter(records.values()))
    columns: dict[str, Any] = {}
    for name in first._fields:
        if isinstance(getattr(first, name), Estimate):
            estimates = [getattr(record, name) for record in records.values()]
            columns[f"group_{name}"] = ("group", [float(estimate.value) for estimate in estimates])
            columns[f"group_{name}_se"] = ("group", [float(estimate.stderr) for estimate in estimates])
    return columns


def _is_named_tuple(x: Any) -> bool:
    return isinstance(x, tuple) and hasattr(x, "_fields")


def _one_rate(rate: Any) -> float:
    if np.ndim(rate) != 0 or (not isinstance(rate, (int, float, np.number)) and not hasattr(rate, "__array__")):
        raise ValueError(
            f"learning_rate is {type(rate).__name__}, expected one number to label a curve. Save curves with one "
            "learning rate for all parameters."
        )
    return float(rate)


def _grid(spacetime: Any) -> dict[str, Any]:
    if spacetime is None:
        return {}
    return {
        "num_examples": spacetime.num_examples,
        "batch_size": spacetime.batch_size,
        "epochs": float(spacetime.epochs),
        "num_steps": spacetime.num_steps,
        "sampling": spacetime.sampling,
    }
