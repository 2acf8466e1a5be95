"""Results of the engines as the groups of a results tree."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from gradnoise.estimate import Estimate
from gradnoise.experiment.comparison import Comparison
from gradnoise.experiment.residuals import Slope
from gradnoise.measure import DiagramValues
from gradnoise.measure.curvature import HessianExtremes
from gradnoise.measure.noise_interval import noise_scale_interval
from gradnoise.measure.noise_scale import NoiseScale
from gradnoise.measure.spectrum import NoiseSpectrum
from gradnoise.predict import Curve, entry_weights
from gradnoise.results import to_results

CHECKPOINTS = ("start", "end")
NOISE = ("noise_trace", "gradient_norm_squared", "simple_noise_scale")


def measured_table(
    values: DiagramValues,
    noise: Sequence[NoiseScale],
    spectra: Sequence[NoiseSpectrum],
    hessians: Sequence[HessianExtremes],
    losses: Sequence[float],
    steps: Sequence[int],
) -> xr.Dataset:
    """The group "measured": diagram values at the start, noise, spectrum and curvature at both ends of the baseline."""
    table = to_results(values)
    assert isinstance(table, xr.Dataset)
    at = ("checkpoint",)
    variables: dict[str, tuple] = {"test_loss": (at, list(losses)), "baseline_step": (at, list(steps))}
    for name in NOISE:
        variables |= _column(name, at, [getattr(n, name) for n in noise])
        by_group = [[getattr(group, name) for group in n.groups.values()] for n in noise]
        variables |= _column(f"group_{name}", ("checkpoint", "group"), by_group)
    ends = np.array([noise_scale_interval(n) for n in noise])
    variables["simple_noise_scale_low"], variables["simple_noise_scale_high"] = (at, ends[:, 0]), (at, ends[:, 1])
    width = min(len(s.eigenvalues) for s in spectra)
    variables["eigenvalue"] = (("checkpoint", "eigen"), np.stack([s.eigenvalues[:width] for s in spectra]))
    variables["rank"] = (at, [s.rank for s in spectra])
    for name in ("participation_ratio", "stable_rank"):
        variables |= _column(name, at, [getattr(s, name) for s in spectra])
    variables |= _column("hessian_max", at, [h.largest for h in hessians])
    variables |= _column("curvature_limit", at, [h.curvature_limit for h in hessians])
    coords = {"checkpoint": list(CHECKPOINTS), "group": list(noise[0].groups), "eigen": np.arange(1, width + 1)}
    return table.assign_coords(coords).assign(variables).assign_attrs(rank_threshold=spectra[0].rank_threshold)


def _column(name: str, dims: tuple[str, ...], estimates: Sequence) -> dict[str, tuple]:
    def part(field: str, of: Sequence | Estimate) -> np.ndarray | list:
        return np.asarray(getattr(of, field)) if isinstance(of, Estimate) else [part(field, each) for each in of]

    return {name: (dims, part("value", estimates)), f"{name}_se": (dims, part("stderr", estimates))}


def predicted_table(
    values: DiagramValues, curves: Sequence[Curve], series: Mapping[str, Estimate], momentum: float
) -> xr.Dataset:
    """The group "predicted": curves by target, learning rate, step and order; coefficients; factors of the diagrams."""
    tables = [to_results(curve) for curve in curves]
    table = xr.combine_by_coords([t for t in tables if isinstance(t, xr.Dataset)], combine_attrs="drop_conflicts")
    assert isinstance(table, xr.Dataset)
    targets, spacetime = list(series), curves[0].spacetime
    assert spacetime is not None
    factors = [entry_weights(values, spacetime, target, momentum).sum(axis=0) for target in targets]
    dims = ("target", "order")
    return table.sel(target=targets).assign(
        coefficient=(dims, np.stack([np.asarray(s.value) for s in series.values()])),
        coefficient_se=(dims, np.stack([np.asarray(s.stderr) for s in series.values()])),
        factor=(("target", "entry"), np.array(factors)),
    )


def compared_table(comparisons: Sequence[Comparison], slopes: Mapping[str, Sequence[Slope]]) -> xr.Dataset:
    """The group "compared": one comparison a target and learning rate, residuals and their slopes by order."""
    tables = [c.to_dataset() for c in comparisons]
    table = xr.combine_by_coords(tables, combine_attrs="drop_conflicts")
    assert isinstance(table, xr.Dataset)
    targets = list(slopes)
    fits = {
        name: [[getattr(s, name) for s in slopes[t]] for t in targets] for name in ("value", "low", "high", "expected")
    }
    dims = ("target", "order")
    return table.sel(target=targets).assign(
        slope=(dims, fits["value"]),
        slope_low=(dims, fits["low"]),
        slope_high=(dims, fits["high"]),
        expected_slope=(dims, fits["expected"]),
    )
