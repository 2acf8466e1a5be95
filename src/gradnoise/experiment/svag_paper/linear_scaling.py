"""The linear-scaling entry: `experiment.scaling` with the settings of this list, its series as curves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from gradnoise.estimate import from_samples
from gradnoise.experiment import scaling
from gradnoise.experiment.svag_paper.table import with_error
from gradnoise.problem import Problem


def linear_scaling(
    problem: Problem, config: scaling.Config, store: Path | None, progress: Callable[[str, float | None], None]
) -> xr.Dataset:
    """The group "scaling" of `scaling.run` by process (a batch size) instead of factor, replicas averaged.

    Record k of a run at batch size kappa B stands at the baseline's step: its own step times kappa.
    """
    found = scaling.run(problem, config, store=store, progress=progress)["scaling"].to_dataset()
    processes = [f"SGD, batch size {config.batch_size * int(factor)}" for factor in found["factor"].values]
    series: dict[str, Any] = {}
    for name, values in found.data_vars.items():
        if values.dims == ("factor", "replica", "record"):
            series |= with_error(str(name), ("process", "step"), from_samples(np.moveaxis(values.values, 1, 0)))
    rest = found.drop_dims(["replica", "record"]).rename({"factor": "process"})
    table = rest.assign_coords(process=processes, factor=("process", found["factor"].values))
    table = table.assign_coords(step=found["step"].values).assign(series)
    return table.assign_attrs(sentence=sentence(table))


def sentence(table: xr.Dataset) -> str:
    """The critical batch, and where the scaled runs left the invariance."""
    closeness, base = float(table.attrs["closeness"]), int(table.attrs["batch_size"])
    sharp = {end: float(table[f"critical_batch{end}"].sel(form="sharp")) for end in ("", "_low", "_high")}
    told = []
    for place, factor in enumerate(table["factor"].values):
        if factor > 1:
            at = {end: float(table[f"closeness{end}"][place]) for end in ("", "_low", "_high")}
            must = "must fail" if float(table["must_fail"][place]) == 1 else "is not excluded"
            told.append(
                f"at batch size {base * int(factor)} the invariance within {closeness:.3g} {must}, and the runs are within "
                f"{at['']:.3g} ({at['_low']:.3g} to {at['_high']:.3g})"
            )
    return (
        f"From batch size {sharp['']:.3g} on ({sharp['_low']:.3g} to {sharp['_high']:.3g}, 95 %) R, G and N must change "
        f"by more than {closeness:.3g} along linear scaling if the loss is scale-invariant and the run stationary; "
        f"{'; '.join(told)} ({table.attrs['num_replicas']} replicas)."
    )
