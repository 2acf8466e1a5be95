"""The verdict in plain words: where theory holds and stops, what the noise means, and what was measured at all."""

from gradnoise.report.html import Html, element, section
from gradnoise.report.path import path_cards
from gradnoise.report.scaling import Finding, curvature_card, noise_card, scaling_card
from gradnoise.report.source import Source
from gradnoise.report.theory import theory_card, verdict_grid
from gradnoise.report.words import listed, number


def verdict(source: Source) -> Html:
    """The section that opens the page: a list of findings, the most asked first."""
    cards = [noise_card(source), *path_cards(source), curvature_card(source), scaling_card(source)]
    cards += [*smoothness_cards(source), setting_card(source), *replica_cards(source)]
    first = _drawn(*theory_card(source), grid=verdict_grid(source))
    return section("verdict", "The verdict", first, element("div", *(_drawn(*card) for card in cards), class_="cards"))


def _drawn(title: str, finding: str, meaning: list[str], tone: str, grid: Html | None = None) -> Html:
    text = [
        element("h3", title),
        element("p", finding, class_="finding"),
        *(element("p", sentence) for sentence in meaning),
    ]
    content = text if grid is None else [element("div", element("div", *text), grid, class_="beside")]
    return element("article", *content, class_=f"card {tone}")


def smoothness_cards(source: Source) -> list[Finding]:
    """A card if the loss has kinks; none for a smooth loss."""
    if not source.kinks:
        return []
    return [
        (
            "A loss with kinks",
            f"The loss is not smooth in the weights ({source.kinks}): orders from 2 on are not licensed.",
            [
                "The series uses second and third derivatives, which such a loss does not have everywhere. Orders 0 "
                "and 1 and all measured quantities stand; higher orders are neither drawn nor judged here. With "
                "tanh, GELU or softplus in place of relu all orders are licensed."
            ],
            "caution",
        )
    ]


def setting_card(source: Source) -> Finding:
    """What "test loss" means in these results."""
    title, setting = "What “test loss” means here", str(source.attr("setting", default=""))
    pool = source.attr_number("num_pool")
    size = f" of {number(pool, 7)} examples" if pool > 0 else ""
    if setting == "population":
        return (
            title,
            "The mean over the whole pool, not a held-out loss.",
            [
                f"Each simulated run draws its training examples from the pool{size}, and the test loss is the mean "
                "over that same pool. This is exact for the theory, but training examples are part of the pool: do "
                "not read the gap as the error on data the model has never seen."
            ],
            "caution",
        )
    if setting == "held out":
        return (
            title,
            "The mean over held-out examples.",
            [
                f"Training examples are drawn from the pool{size}; the test loss is the mean over a separate test "
                "pool, from which no training example comes. The gap then has a part that does not come from "
                "training: the two pools differ at the start."
            ],
            "plain",
        )
    if setting == "this training set":
        return (
            title,
            "All runs train on this one training set.",
            [
                "No training set is drawn: all runs share the given one, and differ in the order of examples only. "
                "The series is predicted for sampling with replacement; any other sampling is simulated, not "
                "predicted."
            ],
            "plain",
        )
    return (
        title,
        "The results do not say.",
        ["The attribute “setting” is absent, so the meaning of test loss is unknown."],
        "caution",
    )


def replica_cards(source: Source) -> list[Finding]:
    """How many runs were simulated; a warning if some diverged. None where nothing was simulated."""
    diverged, total = source.array("simulated", "num_diverged"), source.array("simulated", "num_replicas")
    if diverged is None or total is None:
        return []
    places = [(str(p), float(r)) for p in diverged["process"].values for r in diverged["learning_rate"].values]
    bad = [
        f"{number(diverged.sel(process=p, learning_rate=r), 7)} of {number(total.sel(process=p, learning_rate=r), 7)} "
        f"at learning rate {number(r)} ({p})"
        for p, r in places
        if float(diverged.sel(process=p, learning_rate=r)) > 0
    ]
    if bad:
        return [
            (
                "Diverged runs",
                f"Some simulated runs diverged: {listed(bad)}.",
                [
                    "Their loss became infinite or undefined. A mean over the runs that survived would be biased, so "
                    "no mean is given from the first divergence on."
                ],
                "caution",
            )
        ]
    smallest, largest = float(total.min()), float(total.max())
    count = number(largest, 7) if smallest == largest else f"{number(smallest, 7)} to {number(largest, 7)}"
    return [
        (
            "The simulation",
            f"{count} runs at each learning rate, none diverged.",
            [
                "The band around a simulated curve is 95% for its mean; it shrinks with the square root of the "
                "number of runs."
            ],
            "plain",
        )
    ]
