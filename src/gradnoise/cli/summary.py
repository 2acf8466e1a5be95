"""A results tree in a few plain lines."""

from typing import TYPE_CHECKING

from gradnoise.cli.output import table

if TYPE_CHECKING:
    import xarray as xr


def summary(tree: "xr.DataTree", command: str) -> list[str]:
    """What `command` found, in lines."""
    return {"report": _report, "measure": _measured, "predict": _predicted, "simulate": _simulated}[command](tree)


def _report(tree: "xr.DataTree") -> list[str]:
    from gradnoise.report.path import path_cards
    from gradnoise.report.scaling import curvature_card, noise_card, scaling_card
    from gradnoise.report.source import Source
    from gradnoise.report.verdict import theory_card

    source = Source(tree)
    cards = [theory_card(source), noise_card(source), *path_cards(source), curvature_card(source), scaling_card(source)]
    return [finding for _, finding, *_ in cards]


def _measured(tree: "xr.DataTree") -> list[str]:
    from gradnoise.report.words import interval, number, with_error

    found, names = tree["measured"].to_dataset(), ["start", "end"]
    checkpoints = [str(name) for name in found["checkpoint"].values] if "checkpoint" in found.coords else names
    rows = [["", *(f"at the {name}" for name in checkpoints)]]
    for name, words in {
        "test_loss": "test loss",
        "simple_noise_scale": "B_simple = tr D / |G|^2 (examples)",
        "gradient_norm_squared": "squared gradient |G|^2",
        "noise_trace": "gradient noise tr D",
        "hessian_max": "largest curvature",
        "curvature_limit": "2 / largest curvature",
        "rank": "rank of the noise",
    }.items():
        if name in found:
            errors = found[f"{name}_se"].values if f"{name}_se" in found else [0.0] * len(checkpoints)
            rows.append([words, *map(with_error, found[name].values, errors)])
        if name == "simple_noise_scale" and "simple_noise_scale_low" in found:
            ends = found["simple_noise_scale_low"].values, found["simple_noise_scale_high"].values
            rows.append(
                ["  95% interval", *("exact" if a == b else interval(a, b) for a, b in zip(*ends, strict=True))]
            )
    steps = number(found.attrs.get("baseline_steps", float("nan")), 7)
    rate = number(found.attrs.get("baseline_learning_rate", float("nan")))
    lines = table(rows).splitlines()
    return [*lines, f"The end is that of {steps} steps of plain SGD at learning rate {rate}."]


def _predicted(tree: "xr.DataTree") -> list[str]:
    from gradnoise.report.words import number, with_error

    found = tree["predicted"].to_dataset()
    last = found.sel(target="test").isel(step=-1)
    orders = [int(order) for order in found["order"].values]
    rows = [["learning rate", *(f"order {order}" for order in orders)]]
    for rate in found["learning_rate"].values:
        at = last.sel(learning_rate=rate)
        pairs = zip(at["loss"].values, at["loss_se"].values, strict=True)
        rows.append([number(rate), *(with_error(*pair) for pair in pairs)])
    step = number(found["step"].values[-1], 7)
    lines = [f"Test loss after {step} steps, predicted to each order of the learning rate:", *table(rows).splitlines()]
    return [*lines, *_whole_run(tree)]


def _whole_run(tree: "xr.DataTree") -> list[str]:
    """What the batch size buys over a whole run, in one line; why there is none, where there is none."""
    from gradnoise.report.path import path_cards
    from gradnoise.report.path_words import what_batch_buys
    from gradnoise.report.source import Source

    source = Source(tree)
    found = [
        " ".join([*([what_batch_buys(source)] * (tone == "plain")), said]) for _, said, _, tone in path_cards(source)
    ]
    why = source.attr("absent", "path")
    return found or ([] if why is None else [f"No whole run: {str(why).rstrip('.')}."])


def _simulated(tree: "xr.DataTree") -> list[str]:
    from gradnoise.report.words import number, with_error

    found = tree["simulated"].to_dataset()
    last = found.isel(step=-1)
    targets = [str(target) for target in found["target"].values]
    rows = [["learning rate", *targets, "replicas", "diverged"]]
    for process in found["process"].values:
        for rate in found["learning_rate"].values:
            at = last.sel(process=process, learning_rate=rate)
            means = (with_error(at["loss"].sel(target=t), at["loss_se"].sel(target=t)) for t in targets)
            rows.append([number(rate), *means, *(str(int(at[n])) for n in ("num_replicas", "num_diverged"))])
    step = number(found["step"].values[-1], 7)
    return [f"Mean losses after {step} steps, with standard errors:", *table(rows).splitlines()]
