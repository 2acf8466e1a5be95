"""Where the prediction holds and where it stops, in plain words and as a grid of verdicts."""

import math

from gradnoise.report.html import Html, element, table
from gradnoise.report.scaling import Finding
from gradnoise.report.source import CURVATURE_RULE, Reach, Source
from gradnoise.report.words import listed, number, percent

VERDICTS = ("agrees", "statistical", "truncation", "disagrees")
AGREES_MEANS = (
    "“Agrees” means that no difference was found beyond a 99% band over all steps at once; it is no proof, and more "
    "runs could still find one."
)


def verdict_grid(source: Source) -> Html | None:
    """The verdicts on the test loss: a row a learning rate, a column an order."""
    targets = [str(target) for target in source.labels("compared", "target")]
    if source.array("compared", "verdict") is None or not targets or source.licensed_order < 1:
        return None
    main, orders = _main_target(targets), range(1, source.licensed_order + 1)
    rows = []
    for rate in source.learning_rates:
        words = [source.verdict(main, rate, order) or "–" for order in orders]
        rows.append(
            [
                number(rate),
                *(element("span", word, class_=f"verdict {word}" if word in VERDICTS else None) for word in words),
            ]
        )
    caption = element(
        "p", f"Verdict on the {_name(main)} at each learning rate, by order of the series", class_="grid-title"
    )
    return element("div", caption, table(["Rate", *(f"Order {order}" for order in orders)], rows, class_="grid"))


def _main_target(targets: list[str]) -> str:
    return "test" if "test" in targets else targets[0]


def theory_card(source: Source) -> Finding:
    """Up to which learning rate the highest licensed order agrees with the simulation, and what happens beyond."""
    title, order = "Where the theory holds", source.licensed_order
    targets = [str(target) for target in source.labels("compared", "target")]
    if source.array("compared", "verdict") is None or not targets:
        finding = "Theory and simulation were not compared."
        return (
            title,
            finding,
            [
                "These results hold no comparison, so the page cannot say where the prediction stops.",
                *curvature_rule(source),
            ],
            "plain",
        )
    main = _main_target(targets)
    reach = source.reach(main, order)
    finding, tone = _reach_in_words(f"The order-{order} prediction of the {_name(main)}", reach)
    meaning = [_untested(reach), _stop_in_words(source, reach), _size_in_words(source, main, order, reach)]
    meaning.append(
        " ".join(filter(None, (_other_target(source, target, order) for target in targets if target != main)))
    )
    if source.array("predicted", "loss") is not None and order >= 1:
        meaning.append(_lower_orders(source, main, order))
    return title, finding, [*filter(None, meaning), *curvature_rule(source), AGREES_MEANS], tone


def _reach_in_words(subject: str, reach: Reach) -> tuple[str, str]:
    if math.isnan(reach.consistent) and math.isnan(reach.stop):
        return f"{subject} was not compared with a simulation.", "plain"
    if math.isnan(reach.consistent):
        return f"{subject} fits at none of the learning rates tried, not even at {number(reach.stop)}.", "caution"
    end = f" and stops at {number(reach.stop)}" if not math.isnan(reach.stop) else ""
    if math.isnan(reach.agrees):
        return (
            f"{subject} was not put to the test: the simulation is too noisy to tell, up to learning rate "
            f"{number(reach.consistent)}{end}.",
            "caution",
        )
    return f"{subject} agrees with the simulation up to learning rate {number(reach.agrees)}{end}.", "good"


def _untested(reach: Reach) -> str:
    if math.isnan(reach.consistent) or reach.agrees == reach.consistent:
        return ""
    return (
        f"At {number(reach.consistent)} nothing contradicts the prediction, but the simulation's error is as large as "
        "the last term of the series (“statistical”): more runs could tell."
    )


def _stop_in_words(source: Source, reach: Reach) -> str:
    if reach.how == "truncation":
        return (
            f"At {number(reach.stop)} the difference is more than chance, but no larger than the terms next to the "
            "cut of the series explain: from there on the missing orders show, by how much is said next."
        )
    if reach.how == "disagrees":
        return (
            f"At {number(reach.stop)} the difference is more than chance, and more than the terms next to the cut of "
            "the series explain: theory and simulation disagree. Either the series has left its domain altogether, "
            "or something is wrong."
        )
    if math.isnan(reach.consistent):
        return ""
    beyond = [number(rate) for rate in source.learning_rates if rate > reach.consistent]
    if beyond:
        return f"Runs at {listed(beyond)} could not be compared, so where the prediction stops is not known exactly."
    return "Larger learning rates were not tried, so this page does not know where the prediction stops."


def _size_in_words(source: Source, target: str, order: int, reach: Reach) -> str:
    """How far off the prediction is at the last step, in shares of the loss change: at the stop and at the largest rate."""
    shares = {rate: share_off(source, target, rate, order) for rate in source.learning_rates}
    known = [rate for rate, share in shares.items() if not math.isnan(share)]
    if not known:
        return ""
    rates = dict.fromkeys([reach.stop, known[-1]] if reach.stop in known else [known[-1]])
    told = listed([f"{percent(shares[rate])} at learning rate {number(rate)}" for rate in rates])
    return f"In size: at the last step the prediction is off by {told}, as a share of the simulated change."


def share_off(source: Source, target: str, rate: float, order: int) -> float:
    """|simulation - prediction| at the last step over |simulated change since the start|; NaN where one is unknown."""
    place = {"target": target, "learning_rate": rate}
    steps, processes = source.labels("simulated", "step"), source.labels("simulated", "process")
    if not steps or not processes:
        return math.nan
    first, last = (
        source.number("simulated", "loss", process=processes[0], step=s, **place) for s in (steps[0], steps[-1])
    )
    off = abs(source.number("compared", "residual", order=order, **place))
    return off / abs(last - first) if last != first else math.nan


def _other_target(source: Source, target: str, order: int) -> str:
    reach, name = source.reach(target, order), _name(target).capitalize()
    if math.isnan(reach.consistent):
        return "" if math.isnan(reach.stop) else f"{name}: fits at none of the rates tried."
    word, good = ("agrees", reach.agrees) if not math.isnan(reach.agrees) else ("not contradicted", reach.consistent)
    end = "" if math.isnan(reach.stop) else f", not at {number(reach.stop)}"
    return f"{name}: {word} up to {number(good)}{end}."


def _lower_orders(source: Source, target: str, order: int) -> str:
    """Up to which rate each lower order stands: what one gains by the next one."""
    told = []
    for lower in range(1, order):
        good = source.reach(target, lower).consistent
        told.append(f"order {lower} " + ("at none of the rates" if math.isnan(good) else f"up to {number(good)}"))
    return f"For comparison: {listed(told)}." if told else ""


def _name(target: str) -> str:
    return {"test": "test loss", "train": "training loss", "gap": "gap between test and training loss"}.get(
        target, target
    )


def curvature_rule(source: Source) -> list[str]:
    """learning_rate * num_steps * lambda_max against its bound, as a sentence; none where a part is unknown."""
    steps = source.attr_number("num_steps")
    start = next(iter(source.checkpoints), None)
    curvature = source.number("measured", "hessian_max", checkpoint=start)
    rate = source.main_rate
    if not (steps > 0 and curvature > 0):
        return []
    rule = (
        "Rule of thumb: a series in the learning rate can be trusted while learning rate × steps × largest curvature "
        f"is below about {CURVATURE_RULE:g}. With {number(steps)} steps and largest curvature {number(curvature)} at "
        f"the start, that is below a learning rate of about {number(CURVATURE_RULE / (steps * curvature), 2)}"
    )
    return [
        f"{rule}; at {number(rate)} the product is {number(rate * steps * curvature, 2)}." if rate > 0 else f"{rule}."
    ]
