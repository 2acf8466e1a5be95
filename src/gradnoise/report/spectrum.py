"""The spectrum of the gradient noise at the checkpoints of the baseline run."""

import math

import numpy as np
import xarray as xr

from gradnoise.report import figure as fig
from gradnoise.report.html import Html, absent, section, table
from gradnoise.report.source import Source
from gradnoise.report.words import number, with_error


def spectrum(source: Source) -> Html:
    """The section of eigenvalues, with rank and participation ratio."""
    title, found = "Spectrum of the gradient noise", source.array("measured", "eigenvalue")
    data, drawn = ([], []) if found is None else _lines(source, found)
    if not data:
        return section("spectrum", title, absent("Spectrum", "the results hold no eigenvalues."))
    x = fig.axis("eigenvalue number", "log", **fig.decades(1, max(2, max(max(t["x"]) for t in data))))
    y = fig.axis("eigenvalue", "log", **fig.decades(max(min(drawn), max(drawn) * 1e-16), max(drawn)))
    caption = (
        "Eigenvalues of the covariance of one example's gradient, largest first, up to the rank. A straight drop "
        "over decades means that few directions carry the noise. Diamond: participation ratio, the number of equally "
        "strong directions that would be as uneven."
    )
    described = "Eigenvalues of the gradient noise at each checkpoint"
    return section(
        "spectrum",
        title,
        fig.figure("noise-spectrum", caption, described, {"all": fig.variant(data, x, y)}, 400),
        _spectrum_table(source),
    )


def _lines(source: Source, found: xr.DataArray) -> tuple[list[fig.Trace], list[float]]:
    """A line and a diamond for every checkpoint; the largest and smallest eigenvalues drawn."""
    data: list[fig.Trace] = []
    drawn: list[float] = []
    for point, paint in zip(source.checkpoints, fig.CHECKPOINT_COLOURS, strict=False):
        values = found.sel(checkpoint=point).values
        rank = source.number("measured", "rank", checkpoint=point)
        kept = values[np.isfinite(values) & (values > 0)]
        kept = kept[: int(rank)] if rank > 0 else kept
        if not kept.size:
            continue
        keep = np.unique(np.geomspace(1, kept.size, min(kept.size, fig.MOST_POINTS)).round().astype(int)) - 1
        drawn += [float(kept[0]), float(kept[-1])]
        mode = {"mode": "lines+markers", "marker": {"size": 4}} if kept.size < 60 else {}
        ratio = source.number("measured", "participation_ratio", checkpoint=point)
        told = [
            point + (f": rank {number(rank, 7)}" if rank > 0 else ""),
            *([f"participation ratio {number(ratio)}"] if ratio >= 1 else []),
        ]
        data.append(fig.line(keep + 1, kept[keep], ", ".join(told), paint, legendgroup=point) | mode)
        if ratio >= 1:
            height = float(np.exp(np.interp(math.log(ratio), np.log(np.arange(1, kept.size + 1)), np.log(kept))))
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "x": [ratio],
                    "y": fig.rounded([height]),
                    "legendgroup": point,
                    "name": f"participation ratio, {point}: {number(ratio)}",
                    "showlegend": False,
                    "marker": {
                        "symbol": "diamond",
                        "size": 13,
                        "color": paint,
                        "line": {"color": "@paper", "width": 1.5},
                    },
                }
            )
    return data, drawn


def _spectrum_table(source: Source) -> Html:
    names = ("noise_trace", "rank", "participation_ratio", "stable_rank", "hessian_max")
    rows = []
    for point in source.checkpoints:
        step = source.number("measured", "baseline_step", checkpoint=point)
        told = [source.number("measured", name, checkpoint=point) for name in names]
        rows.append(
            [
                f"{point} (step {number(step, 7)})" if step >= 0 else point,
                with_error(told[0], source.number("measured", "noise_trace_se", checkpoint=point)),
                *(number(each, 4) for each in told[1:4]),
                with_error(told[4], source.number("measured", "hessian_max_se", checkpoint=point)),
            ]
        )
    head = ["Point", "Noise trace tr D", "Rank", "Participation ratio", "Stable rank", "Largest curvature λmax"]
    return table(head, rows, numeric=range(1, 6))
