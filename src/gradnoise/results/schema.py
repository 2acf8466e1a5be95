"""A results tree: built, checked, and cleaned for a file."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

import gradnoise
from gradnoise.results.variables import GROUPS, LABELS, MAIN, units

FORMAT = 1
"""Raised when a variable changes its meaning; kept in the root attribute `results_format`."""


def build_tree(groups: Mapping[str, xr.Dataset], attrs: Mapping[str, Any] | None = None) -> xr.DataTree:
    """One results tree of `groups` (name -> Dataset) with root attributes `attrs`, checked by `validate`.

    Attributes become what a file can hold: None is left out, a list of strings is joined by commas. Variables of the
    schema get their units.

    >>> tree = build_tree({"measured": xr.Dataset({"value": ("entry", [1.0])})}, {"problem": "digits", "kinks": ()})
    >>> tree["measured"]["value"].attrs["units"], tree.attrs["kinks"]
    ('loss / learning_rate^order', '')

    Raises ValueError for a group that is not in the schema or a variable with other dimensions.
    """
    unknown = [name for name in groups if name not in GROUPS]
    if unknown:
        raise ValueError(f"groups has {unknown[0]!r}, which results do not know. Choose among {', '.join(GROUPS)}.")
    stamps = {"gradnoise_version": gradnoise.__version__, "results_format": FORMAT}
    parts = {"/": xr.Dataset(attrs={**clean_attributes(attrs or {}), **stamps})}
    for name, dataset in groups.items():
        if not isinstance(dataset, xr.Dataset):
            raise TypeError(
                f"groups[{name!r}] is {type(dataset).__name__}, expected an xarray Dataset. Use to_results."
            )
        parts[name] = with_units(dataset).assign_attrs(clean_attributes(dataset.attrs))
    tree = xr.DataTree.from_dict(parts)
    validate(tree)
    return tree


def with_units(dataset: xr.Dataset) -> xr.Dataset:
    """A copy whose variables of the schema say their units."""
    told = {name: units(str(name)) for name in dataset.data_vars}
    return dataset.assign({name: dataset[name].assign_attrs(units=unit) for name, unit in told.items() if unit})


def clean_attributes(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes as a results file holds them: str, bool, int, float or an array of numbers; None is left out.

    >>> clean_attributes({"kinks": ("max", "abs"), "seed": np.int32(3), "git_commit": None})
    {'kinks': 'max, abs', 'seed': 3}
    """
    return {str(name): _clean(str(name), value) for name, value in attrs.items() if value is not None}


def _clean(name: str, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    array = np.asarray(value) if isinstance(value, (list, tuple, np.ndarray)) else np.asarray(None)
    if array.dtype.kind in "iuf" and array.size:
        return array
    raise TypeError(
        f"attribute {name}={value!r} is no text, number, truth value or array of numbers. Convert it first."
    )


def validate(tree: xr.DataTree, complete: bool = False) -> xr.DataTree:
    """`tree`, if it is a results tree: marked as one, at least one group, every known variable with its dimensions.

    With `complete` every group of the main job and all its variables must be there; without, a report says what is absent.
    Raises TypeError for what is no tree, ValueError in one sentence for the first thing that is wrong.
    """
    if not isinstance(tree, xr.DataTree):
        raise TypeError(f"results is {type(tree).__name__}, expected an xarray DataTree. Use gn.load(path), say.")
    if "gradnoise_version" not in tree.attrs:
        raise ValueError(
            "results has no attribute gradnoise_version, expected a tree that gradnoise made. Use gn.load or "
            "build_tree."
        )
    if tree.attrs.get("results_format", FORMAT) > FORMAT:
        raise ValueError(
            f"results has format {tree.attrs['results_format']}, this gradnoise reads up to {FORMAT}. Upgrade "
            "gradnoise."
        )
    present = [name for name in GROUPS if name in tree.children]
    lacking = [name for name in MAIN if name not in present]
    if not present or (complete and lacking):
        raise ValueError(
            f"results has no group {lacking[0]!r} (it has {present or 'none'}). Expected {', '.join(GROUPS)}."
        )
    for group in present:
        _validate_group(group, tree[group].to_dataset(), complete)
    return tree


def _validate_group(group: str, dataset: xr.Dataset, complete: bool) -> None:
    for name, dims in GROUPS[group].items():
        if name not in dataset:
            if complete:
                raise ValueError(
                    f"results[{group!r}] has no variable {name!r}, expected it with dimensions {dims}. Measure it "
                    "again."
                )
            continue
        found = dataset[name]
        expected = set(dims)
        if set(found.dims) != expected and not (name == "band" and set(found.dims) < expected):
            raise ValueError(
                f"results[{group!r}][{name!r}] has dimensions {found.dims}, expected {dims}. Rename or reshape it."
            )
        for dim in expected.intersection(LABELS).intersection(found.dims):
            if dim not in found.coords:
                raise ValueError(
                    f"results[{group!r}][{name!r}] has no coordinate {dim!r}. Say what its {found.sizes[dim]} places "
                    "are."
                )
        if (found.dtype.kind not in "iuf") != (name == "verdict"):
            raise ValueError(
                f"results[{group!r}][{name!r}] has dtype {found.dtype}, expected "
                f"{'text' if name == 'verdict' else 'numbers'}."
            )
