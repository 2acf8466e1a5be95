"""What batch size trades for what, by McCandlish's rule of thumb."""

import math

import numpy as np

from gradnoise.report import figure as fig
from gradnoise.report.html import Html, absent, section
from gradnoise.report.scaling import examples_factor, steps_factor
from gradnoise.report.source import Source
from gradnoise.report.words import number

FARTHEST = 1000.0
"""An end of an interval farther off than this factor leaves the figure."""


def trade_off(source: Source) -> Html:
    """The section of steps and examples against batch size, a choice of checkpoint."""
    title = "Steps against examples"
    batch = source.attr_number("baseline_batch_size", "measured")
    if not batch > 0:
        batch = source.attr_number("batch_size")
    scales = {point: source.number("measured", "simple_noise_scale", checkpoint=point) for point in source.checkpoints}
    scales = {point: scale for point, scale in scales.items() if 0 < scale < math.inf}
    if not scales:
        return section(
            "trade-off", title, absent("Trade-off", "it needs a finite noise scale, and the results hold none.")
        )
    variants = {point: _trade_variant(source, point, scale, batch) for point, scale in scales.items()}
    caption = (
        "McCandlish's rule of thumb: at batch size B training takes 1 + B_simple/B times the fewest possible steps "
        "and 1 + B/B_simple times the fewest possible examples. The curves cross at B = B_simple, where both double. "
        "Bands: the 95% interval of B_simple."
    )
    buttons = [("point", "Noise measured at", [(p, p) for p in scales], list(scales)[-1])]
    return section(
        "trade-off",
        title,
        fig.figure("trade", caption, "Steps and examples needed against batch size", variants, 400, buttons),
    )


def _trade_variant(source: Source, point: str, scale: float, batch: float) -> fig.Variant:
    middle = [each for each in (scale, batch) if each > 0]
    batches = np.geomspace(max(min(middle) / 8, 1), max(middle) * 8, 160)
    ends = [source.number("measured", f"simple_noise_scale_{end}", checkpoint=point) for end in ("low", "high")]
    data = []
    for name, factor, paint in (("steps", steps_factor, "@order2"), ("examples", examples_factor, "@order1")):
        curve = np.array([factor(scale, b) for b in batches])
        if ends[0] < ends[1]:
            within = max(ends[0], scale / FARTHEST), min(ends[1], scale * FARTHEST)
            low, high = (np.array([factor(end, b) for b in batches]) for end in within)
            data.append(fig.band(batches, np.minimum(low, high), np.maximum(low, high), paint, name))
        data.append(fig.line(batches, curve, f"{name}, times the fewest", paint, legendgroup=name, width=2.5))
    top = max(max(t["y"]) for t in data if t.get("showlegend", True))
    if batch > 0:
        data.append(
            fig.line(
                [batch, batch],
                [1, top],
                f"batch of the baseline, {number(batch)}",
                "@ink",
                dash="dot",
                width=1.5,
                hoverinfo="name",
            )
        )
    x = fig.axis("batch size", "log", **fig.decades(batches[0], batches[-1]))
    return fig.variant(data, x, fig.axis("times the fewest possible", "log", **fig.decades(1, top)))
