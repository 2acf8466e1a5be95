"""Reading a results tree for the page: what is there, and NaN or None where it is not."""

import math
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from gradnoise.results.variables import GROUPS

BAD = ("truncation", "disagrees")
CURVATURE_RULE = 1.0
"""The series is a prediction while learning_rate * num_steps * lambda_max is below about this."""


class Reach(NamedTuple):
    """How far one order of the series goes, in learning rates; NaN where there is none.

    `agrees`: the largest rate with the verdict agrees below `stop`. `consistent`: the same with agrees or statistical.
    `stop`: the smallest rate with the verdict `how`, truncation or disagrees.
    """

    agrees: float
    consistent: float
    stop: float
    how: str


class Source:
    """A results tree, read forgivingly: a page says what is absent instead of failing."""

    def __init__(self, tree: xr.DataTree) -> None:
        self.attrs = {str(name): value for name, value in tree.attrs.items()}
        self.groups = {name: tree[name].to_dataset() for name in GROUPS if name in tree.children}

    def array(self, group: str, name: str) -> xr.DataArray | None:
        """The variable, with its dimensions in the schema's order; None if it is absent or empty."""
        dataset = self.groups.get(group)
        if dataset is None or name not in dataset or dataset[name].size == 0:
            return None
        found = dataset[name]
        return found.transpose(*(dim for dim in GROUPS[group][name] if dim in found.dims))

    def number(self, group: str, name: str, /, **place: Any) -> float:
        """One number at a labelled place; NaN where there is none."""
        found = self.array(group, name)
        if found is None:
            return math.nan
        try:
            return float(found.sel(place).values)
        except (KeyError, IndexError, TypeError, ValueError):
            return math.nan

    def attr(self, name: str, group: str | None = None, default: Any = None) -> Any:
        """An attribute of a group, or of the root."""
        attrs = self.attrs if group is None else self.groups[group].attrs if group in self.groups else {}
        return attrs.get(name, default)

    def attr_number(self, name: str, group: str | None = None) -> float:
        """An attribute that is a number; NaN where it is absent or something else."""
        value = self.attr(name, group)
        return float(value) if isinstance(value, (int, float, np.number)) and not isinstance(value, bool) else math.nan

    def labels(self, group: str, dim: str) -> list[Any]:
        """The labels along a dimension; [] if the group or the dimension is absent."""
        dataset = self.groups.get(group)
        return (
            []
            if dataset is None or dim not in dataset.coords or dataset[dim].ndim != 1
            else dataset[dim].values.tolist()
        )

    @property
    def checkpoints(self) -> list[str]:
        """Points of the baseline run at which the noise was measured, in its order."""
        return [str(label) for label in self.labels("measured", "checkpoint")]

    @property
    def kinks(self) -> str:
        """Names of the operations that are not smooth, with commas; "" for a smooth loss."""
        told = self.attr("kinks", default=self.attr("kinks", "measured", ""))
        return "" if isinstance(told, (bool, int, float)) or told is None else str(told)

    @property
    def licensed_order(self) -> int:
        """The highest order that is predicted and licensed: at most 1 for a loss with kinks."""
        orders = [int(order) for order in self.labels("predicted", "order") or self.labels("compared", "order")]
        told = self.attr_number("licensed_order", "predicted")
        highest = max(orders, default=0)
        if self.kinks:
            highest = min(highest, 1)
        return highest if math.isnan(told) else min(highest, int(told))

    @property
    def learning_rates(self) -> list[float]:
        """All learning rates of predictions and simulations, ascending."""
        found = {
            float(rate)
            for group in ("predicted", "simulated", "compared")
            for rate in self.labels(group, "learning_rate")
        }
        return sorted(found)

    def verdict(self, target: str, rate: float, order: int) -> str:
        """agrees, statistical, truncation or disagrees; "" where nothing was compared."""
        found = self.array("compared", "verdict")
        try:
            return "" if found is None else str(found.sel(target=target, learning_rate=rate, order=order).values)
        except (KeyError, ValueError):
            return ""

    def reach(self, target: str, order: int) -> Reach:
        """Up to which learning rate the order's prediction of `target` stands, and where it stops."""
        verdicts = [(rate, self.verdict(target, rate, order)) for rate in self.learning_rates]
        stop, how = next(((rate, verdict) for rate, verdict in verdicts if verdict in BAD), (math.nan, ""))
        below = [(rate, verdict) for rate, verdict in verdicts if not rate >= stop]
        agrees = max((rate for rate, verdict in below if verdict == "agrees"), default=math.nan)
        consistent = max((rate for rate, verdict in below if verdict), default=math.nan)
        return Reach(agrees, consistent, stop, how)

    @property
    def main_rate(self) -> float:
        """The learning rate the page talks about: the one asked for, the baseline's, or the largest that agrees."""
        rates = self.learning_rates
        asked, baseline = self.attr_number("learning_rate"), self.attr_number("baseline_learning_rate", "measured")
        near = [rate for wanted in (asked, baseline) for rate in rates if math.isclose(rate, wanted, rel_tol=1e-3)]
        if near or not rates:
            return near[0] if near else asked if asked > 0 else baseline
        good = self.reach("test", self.licensed_order).consistent
        return rates[0] if math.isnan(good) else good
