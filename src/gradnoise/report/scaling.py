"""What the noise and the curvature say about batch size and learning rate: rules of thumb, called so."""

import math

from gradnoise.report.source import Source
from gradnoise.report.words import interval, listed, number, percent

Finding = tuple[str, str, list[str], str]
"""A heading, the finding in one line, what it means, and its tone: "good", "caution" or "plain"."""

CLOSENESS_SQUARED = 2.0
"""C^2 of the linear-scaling certificate, its usual choice."""


def steps_factor(noise_scale: float, batch_size: float) -> float:
    """Steps to a given loss over the fewest possible, 1 + B_simple / B (McCandlish et al. 2018).

    >>> steps_factor(30.0, 10.0)
    4.0
    """
    return 1 + noise_scale / batch_size


def examples_factor(noise_scale: float, batch_size: float) -> float:
    """Examples to a given loss over the fewest possible, 1 + B / B_simple (McCandlish et al. 2018).

    >>> examples_factor(30.0, 15.0)
    1.5
    """
    return 1 + batch_size / noise_scale if noise_scale else math.inf


def doubling(noise_scale: float, batch_size: float) -> tuple[float, float]:
    """(share of steps saved, share of examples added) when the batch is doubled; with r = B_simple / B:

        saved = (r / 2) / (1 + r),        added = 1 / (1 + r)

    >>> doubling(10.0, 10.0)
    (0.25, 0.5)
    """
    if math.isinf(noise_scale):
        return 0.5, 0.0
    ratio = noise_scale / batch_size
    return ratio / 2 / (1 + ratio), 1 / (1 + ratio)


def noise_card(source: Source) -> Finding:
    """B_simple at the checkpoints of the baseline run, and what it means for steps against examples."""
    title, checkpoints = "Noise scale: how large a batch pays", source.checkpoints
    scales = {point: source.number("measured", "simple_noise_scale", checkpoint=point) for point in checkpoints}
    if not scales or all(map(math.isnan, scales.values())):
        return title, "The noise scale was not measured.", ["These results hold no simple_noise_scale."], "plain"
    finding = "B_simple is " + listed([f"{_examples(scale)} {_at(point)}" for point, scale in scales.items()]) + "."
    meaning = [" ".join(_interval_in_words(source, point, scale) for point, scale in scales.items())]
    point, scale = list(scales.items())[-1]
    batch = source.attr_number("baseline_batch_size", "measured")
    if not batch > 0:
        batch = source.attr_number("batch_size")
    if batch > 0 and not math.isnan(scale):
        low = source.number("measured", "simple_noise_scale_low", checkpoint=point)
        if math.isinf(scale):
            meaning.append(_at_least(low, batch, point))
        else:
            meaning += [_trade(scale, batch, point), _doubling_in_words(source, scale, batch, point)]
    meaning.append(
        "A rule of thumb (McCandlish et al. 2018), derived for the best learning rate at each batch size; not a "
        "guarantee."
    )
    return title, finding, meaning, "plain"


def _examples(scale: float) -> str:
    return "not bounded" if math.isinf(scale) else f"{number(scale)} examples" if not math.isnan(scale) else "unknown"


def _at(point: str) -> str:
    return {"start": "at the start of the baseline run", "end": "at its end"}.get(point, f"at {point}")


def _interval_in_words(source: Source, point: str, scale: float) -> str:
    low = source.number("measured", "simple_noise_scale_low", checkpoint=point)
    high = source.number("measured", "simple_noise_scale_high", checkpoint=point)
    place = _at(point).replace("its end", "the end").removesuffix(" of the baseline run").capitalize()
    if math.isnan(low) or math.isnan(high):
        return f"{place}: no interval is known."
    if low == high == scale:
        return f"{place}: exact for this pool of examples."
    if math.isinf(high):
        return (
            f"{place}: 95% interval {interval(low, high)}; with this many examples the mean gradient cannot be told "
            "from zero, so any larger noise scale is possible."
        )
    return f"{place}: 95% interval {interval(low, high)}."


def _when(point: str) -> str:
    return {"start": "At the start", "end": "By the end"}.get(point, f"At {point}")


def _at_least(low: float, batch: float, point: str) -> str:
    """What an unbounded estimate still says, by the lower end of its interval."""
    if not 0 < low < math.inf:
        return f"{_when(point)} the measurement does not say what a larger batch would save."
    saved, added = doubling(low, batch)
    return (
        f"{_when(point)} the noise scale may be anything above {number(low)}: doubling the batch from {number(batch)} to "
        f"{number(2 * batch)} then saves at least {percent(saved)} of the steps and takes at most {percent(added)} more "
        "examples."
    )


def _trade(scale: float, batch: float, point: str) -> str:
    return (
        f"{_when(point)}, at batch {number(batch)}: training takes {number(steps_factor(scale, batch))} times the fewest "
        f"possible steps and {number(examples_factor(scale, batch))} times the fewest possible examples."
    )


def _doubling_in_words(source: Source, scale: float, batch: float, point: str) -> str:
    saved, added = doubling(scale, batch)
    ends = [source.number("measured", f"simple_noise_scale_{end}", checkpoint=point) for end in ("low", "high")]
    extra = ""
    if not any(map(math.isnan, ends)) and ends[0] < ends[1]:
        (least, most_added), (most, least_added) = doubling(ends[0], batch), doubling(ends[1], batch)
        extra = f" (over the interval of B_simple: {_span(least, most)} fewer, {_span(least_added, most_added)} more)"
    return (
        f"Doubling the batch from {number(batch)} to {number(2 * batch)} saves {percent(saved)} of the steps and "
        f"takes {percent(added)} more examples{extra}."
    )


def _span(low: float, high: float) -> str:
    told = percent(low), percent(high)
    return told[0] if told[0] == told[1] else f"{told[0]} to {told[1]}"


def curvature_card(source: Source) -> Finding:
    """2 / lambda_max(H) at the checkpoints, against the learning rate of the baseline run."""
    title, points = "Curvature limit on the learning rate", source.checkpoints
    limits = {point: source.number("measured", "curvature_limit", checkpoint=point) for point in points}
    limits = {point: limit for point, limit in limits.items() if not math.isnan(limit)}
    if not limits:
        return title, "The curvature was not measured.", ["These results hold no curvature_limit."], "plain"
    finding = "2/λmax is " + listed([f"{number(limit)} {_at(point)}" for point, limit in limits.items()]) + "."
    meaning = [
        "λmax is the largest curvature of the mean loss. Full-batch gradient descent on a bowl of that curvature "
        "diverges above 2/λmax; staying below it promises nothing about a run with noise."
    ]
    rate = source.attr_number("baseline_learning_rate", "measured")
    if not rate > 0:
        return title, finding, meaning, "plain"
    over = [point for point, limit in limits.items() if 0 < limit < rate]
    if over:
        meaning.insert(
            0,
            f"The baseline's learning rate {number(rate)} is above the limit {listed([_at(p) for p in over])}: expect "
            "oscillation along the steepest direction, and no help from a series in the learning rate.",
        )
        return title, finding, meaning, "caution"
    positive = [limit for limit in limits.values() if limit > 0]
    if positive and math.isfinite(min(positive)):
        meaning.insert(
            0, f"The baseline's learning rate {number(rate)} is {percent(rate / min(positive))} of the lowest limit."
        )
    return title, finding, meaning, "plain"


def scaling_card(source: Source) -> Finding:
    """Whether the certificate against linear scaling applies, and above which batch the rule must then fail."""
    title = "Scaling batch and learning rate together"
    what = (
        "The certificate is Theorem 5.6 of Li, Malladi and Arora (2021), here in a sharper form: it says above which "
        "batch the linear scaling rule must fail, only for a scale-invariant loss (one that does not change when all "
        "weights are multiplied by a positive number) and only at equilibrium."
    )
    invariant = source.attr("scale_invariant", "measured", source.attr("scale_invariant"))
    if invariant is None:
        return (
            title,
            "No certificate: nobody checked whether the loss is scale-invariant.",
            [what, "Nothing is promised."],
            "plain",
        )
    if not bool(invariant):
        return (
            title,
            "No certificate; nothing is promised.",
            [
                what,
                "This loss is not scale-invariant, so the theorem does not apply. It neither forbids nor allows any "
                "batch size here: use the noise scale above, as the rule of thumb it is.",
            ],
            "plain",
        )
    return title, *_certificate(source, what)


def _certificate(source: Source, what: str) -> tuple[str, list[str], str]:
    point = source.checkpoints[-1] if source.checkpoints else None
    scale, low, high = (
        source.number("measured", f"simple_noise_scale{end}", checkpoint=point) for end in ("", "_low", "_high")
    )
    batch = source.attr_number("baseline_batch_size", "measured")
    after = "Below that batch nothing is promised, and nothing is said about test error."
    equilibrium = source.attr("equilibrium", "measured", source.attr("equilibrium"))
    if equilibrium is not None and not bool(equilibrium):
        return (
            "No certificate: the run was not at equilibrium.",
            [what, "The loss is scale-invariant, but the run was still moving. Nothing is promised."],
            "plain",
        )
    if math.isnan(scale) or not batch > 0:
        return "No certificate: the noise at the end of the run is unknown.", [what, "Nothing is promised."], "plain"
    critical = [CLOSENESS_SQUARED * batch + (CLOSENESS_SQUARED - 1) * each for each in (scale, low, high)]
    span = "" if any(map(math.isnan, critical[1:])) else f" (95%: {interval(*critical[1:])})"
    sure = "at equilibrium" if equilibrium else "if the run was at equilibrium, which this page did not check"
    if math.isinf(critical[0]):
        finding = "No certificate: the mean gradient at the end of the run cannot be told from zero."
        return finding, [what, "The critical batch is then not bounded. Nothing is promised."], "plain"
    finding = f"Linear scaling from batch {number(batch)} must fail above batch {number(critical[0])}{span}, {sure}."
    how = (
        "It is 2 B + B_simple at the last checkpoint, for a closeness of √2 in squared weight norm, squared gradient "
        "and noise. The theorem asks for averages over time at equilibrium; one point of one run stands in for them "
        "here."
    )
    return finding, [what, how, after], "plain"
