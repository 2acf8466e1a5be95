"""The sentences on a whole run: what the batch size buys, where theory stops, what it leaves out, what it cost."""

import math

from gradnoise.report.source import Source
from gradnoise.report.words import interval, listed, number, percent, with_error

COUNTED = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five"}
SHORT_RUN = 3.0
"""A run whose learning rate * steps * largest curvature is below this is one that a series reaches too."""
FLAT = 0.01
"""Points as uneven as these at a probability below this are not called level."""


def counted(sizes: list[int]) -> str:
    """How many, as a word."""
    return COUNTED.get(len(sizes), str(len(sizes)))


def batch_sizes(source: Source) -> list[int]:
    """The batch sizes of the whole run; none if there is no prediction."""
    found = source.array("path", "predicted")
    return [] if found is None else [int(b) for b in source.labels("path", "batch_size")]


def licensed(source: Source) -> bool:
    """Whether the noise around the path may be predicted: not for a loss with kinks."""
    return not source.kinks and source.attr_number("licensed_loops", "path") != 0


def domain_end(source: Source, batch_size: int) -> int | None:
    """The first step at which the prediction for this batch size has left its domain; None: nowhere."""
    found = source.array("path", "in_domain")
    if found is None:
        return None
    inside = found.sel(batch_size=batch_size)
    outside = inside["step"].values[inside.values <= 0]
    return int(outside[0]) if outside.size else None


def what_batch_buys(source: Source) -> str:
    """The loss without noise, and what noise adds at each batch size."""
    steps, rate = (source.attr_number(name, "path") for name in ("num_steps", "learning_rate"))
    quiet = source.number("path", "path_loss", step=steps)
    slope, error = (source.number("path", f"test_coefficient{end}", step=steps) for end in ("", "_se"))
    if math.isnan(slope):
        return ""
    parts = [
        f"{number(abs(slope) / b, 2)} at batch size {b}" for b in batch_sizes(source) if domain_end(source, b) is None
    ]
    told = f" ({listed(parts)})" if parts else ""
    return (
        f"After {number(steps, 7)} steps at learning rate {number(rate)}, gradient descent without noise has test loss "
        f"{number(quiet)}; the noise of batch size B {'adds' if slope >= 0 else 'takes off'} "
        f"{_over(with_error(abs(slope), error))}/B{told}."
    )


def _over(value: str) -> str:
    return f"({value})" if "±" in value else value


def doubling(source: Source) -> str:
    """Where one more doubling of the batch stops paying, with its interval."""
    size, low, high = (source.number("path", f"doubling_batch_size{end}") for end in ("", "_low", "_high"))
    share, steps, rate = (source.attr_number(name, "path") for name in ("doubling_share", "num_steps", "learning_rate"))
    if math.isnan(size):
        return ""
    verb = "lowers" if source.number("path", "test_coefficient", step=steps) >= 0 else "raises"
    if high < 1:
        return f"No doubling of the batch {verb} the test loss by {_share(share)}, not even that from 1 to 2."
    exact = low == high
    ends = f"below {number(_whole(high))}" if low < 1 else interval(_whole(low), _whole(high))
    span = "" if exact else f" (95%: {ends})"
    return (
        f"Doubling the batch stops paying at about batch size {number(_whole(size))}{span}: there one more doubling, at the "
        f"same {number(steps, 7)} steps and learning rate {number(rate)}, {verb} the test loss by {_share(share)}, and "
        "above by less."
    )


def _whole(size: float) -> float:
    return round(size) if 10 <= size < math.inf else size


def _share(share: float) -> str:
    return "1%" if math.isnan(share) else f"{number(100 * share, 2)}%"


def where_it_stops(source: Source) -> str:
    """At which step each batch size leaves the domain."""
    bound = percent(source.attr_number("domain_bound", "path"))
    ends = {b: domain_end(source, b) for b in batch_sizes(source)}
    parts = [f"step {end} at batch size {b}" for b, end in ends.items() if end is not None]
    if not parts:
        every = counted(list(ends))
        return f"Theory covers the whole run at all {every} batch sizes: noise stays below {bound} of the loss."
    rest = "" if len(parts) == len(ends) else "; at the others it covers the whole run"
    return (
        f"Theory stops at {listed(parts)}: from there on the noise is more than {bound} of the loss, too much for its first "
        f"order, and nothing is drawn{rest}."
    )


def kinked(source: Source) -> str:
    """What a loss with kinks takes from the section."""
    return (
        f"The loss has kinks ({source.kinks or 'see above'}): the path of gradient descent stands, but the curvature along "
        "it is not licensed, so no effect of the batch size is predicted. Path and simulated runs are drawn."
    )


def short(source: Source) -> list[str]:
    """A sentence where the run is within the reach of a series."""
    rate, steps, curvature = (source.attr_number(name, "path") for name in ("learning_rate", "num_steps", "curvature"))
    product = rate * steps * curvature
    if not product < SHORT_RUN:
        return []
    return [
        f"This is a short run: learning rate × steps × largest curvature is {number(product, 2)}, where the series above "
        "reaches too. For a whole one give --path-learning-rate or --path-steps."
    ]


def cost(source: Source) -> str:
    """The prediction's cost against plain simulation as accurate, both counted in gradients over the pool."""
    names = ("gradient_equivalents", "simulation_equivalents", "simulation_runs", "simulation_equivalents_all")
    own, plain, runs, every = (source.attr_number(name, "path") for name in names)
    if not (own > 0 and plain > 0):
        return ""
    batch, pool = source.attr_number("batch_size", "path"), source.attr_number("num_pool")
    size = f" of {number(pool, 7)} examples" if pool > 0 else ""
    accurate = "as accurate" if source.attr_number("num_probes", "path") > 0 else "with the error bars drawn here"
    ratio = own / plain
    verdict = (
        f"for one batch size plain simulation is cheaper, {number(ratio, 2)} times"
        if ratio > 1
        else f"on a pool this small the prediction is cheaper, {number(1 / ratio, 2)} times"
    )
    return (
        f"What it costs: {number(own)} gradient equivalents (gradients over the whole pool{size}) for the prediction; "
        f"{number(plain)} for {number(runs, 7)} plain runs at batch size {number(batch)}, {accurate}: {verdict}. The "
        f"prediction serves all batch sizes at once (plain runs at those drawn: {number(every)}), and says how the loss "
        "depends on them."
    )


def level(source: Source) -> str:
    """Whether residual * B^2 is the same at all batch sizes inside the domain."""
    value, error, chance = (source.number("path", f"residual_level{end}") for end in ("", "_se", "_p"))
    if math.isnan(chance):
        return "Fewer than two batch sizes stay inside the domain, so the missing part cannot be compared."
    told = f"simulation − prediction is {_over(with_error(value, error))}/B²"
    if chance >= FLAT:
        return (
            f"Within the errors the missing part falls as it should: {told} at every batch size inside the domain, as the "
            "next order of the noise (two loops) would leave."
        )
    return (
        f"The missing part is not the next order of the noise alone: fitted, {told}, but the points are more uneven than "
        f"chance (probability {number(chance, 2)}). Orders beyond it, or a probe error larger than told, are left."
    )
