"""The sentences on linear scaling from a run at equilibrium: the certificate, what stands beside it, what did not hold."""

import math

from gradnoise.report.source import Source
from gradnoise.report.words import interval, listed, number, percent, with_error

GROUP = "scaling"
TOO_FAST = 0.1
"""learning rate times weight decay above this is not small, as the theorems ask."""


def factors(source: Source) -> list[int]:
    """What learning rate and batch size of the runs were multiplied by; none if nothing was run."""
    found = source.array(GROUP, "average")
    return [] if found is None else [int(factor) for factor in source.labels(GROUP, "factor")]


def batch(source: Source, factor: int = 1) -> int:
    """The batch size of the run at `factor`."""
    return int(factor * source.attr_number("batch_size", GROUP))


def reasons(source: Source) -> list[str]:
    """Why there is no certificate; none if there is one."""
    found = []
    if not source.attr("invariant_groups", GROUP, ""):
        found.append("the loss is not scale-invariant in any parameter group")
    conclusion = str(source.attr("conclusion", GROUP, "the run was not judged")).rstrip(".")
    if conclusion != "equilibrium":
        found.append(f"the run is not known to be at equilibrium ({conclusion})")
    if not math.isfinite(_critical(source, "sharp")[0]):
        found.append("G and N are not known with errors, or G is not told from zero")
    return found


def _critical(source: Source, form: str) -> tuple[float, float, float]:
    value, low, high = (source.number(GROUP, f"critical_batch{end}", form=form) for end in ("", "_low", "_high"))
    return value, low, high


def certificate(source: Source) -> str:
    """The batch size above which linear scaling must fail, or why none is known."""
    start = batch(source)
    if why := reasons(source):
        return f"No certificate for linear scaling from batch size {start}: {listed(why)}. Nothing is promised."
    value, low, high = _critical(source, "sharp")
    closeness = source.attr_number("closeness", GROUP)
    return (
        f"Linear scaling from batch size {start} must fail above batch size {number(value)} (95%: {interval(low, high)}), "
        f"in the sense that R, G or N changes by a factor of more than C = {number(closeness)}."
    )


def beside(source: Source) -> list[str]:
    """What stands beside the certificate: its limits, the printed form, B_simple, the curvature."""
    if not factors(source):
        return []
    said = []
    if not reasons(source):
        said.append("Below that batch nothing is promised, and nothing is said about test error.")
        forms = {name: _critical(source, name) for name in ("printed", "approximate")}
        told = [f"{name} {number(value)} ({interval(*ends)})" for name, (value, *ends) in forms.items()]
        said.append(f"Other forms of the theorem: {' and '.join(told)}; the first is weaker than it need be.")
    simple, low, high = (source.number(GROUP, f"simple_noise_scale{end}") for end in ("", "_low", "_high"))
    if not math.isnan(simple):
        said.append(
            f"B_simple at equilibrium is {number(simple)} examples (95%: {interval(low, high)}): a rule of thumb for steps "
            "against examples, not a limit on scaling."
        )
    return [*said, *_curvature(source)]


def _curvature(source: Source) -> list[str]:
    curvature, rate = source.number(GROUP, "hessian_max"), source.attr_number("learning_rate", GROUP)
    if not (curvature > 0 and rate > 0):
        return []
    limit = 2 / curvature
    return [
        f"The curvature limit 2/λmax at the end is {number(limit)}; linear scaling takes the learning rate past it above "
        f"batch size {number(batch(source) * limit / rate)} (full-batch descent on a bowl diverges there; a run with weight "
        "decay that shrinks its weights may settle elsewhere)."
    ]


def sde(source: Source) -> list[str]:
    """Whether the SDE describes SGD for each observable, by SVAG; with what would have been seen."""
    told = [str(source.attr(f"sde_{name}", GROUP)) for name in source.labels(GROUP, "observable")]
    steps = source.attr_number("sde_steps", GROUP)
    if not told or not steps > 0:
        return told
    return [f"Over the first {number(steps, 7)} steps from the start, each observable for itself:", *told]


def not_held(source: Source) -> list[str]:
    """The assumptions of the theorems that did not hold, or were not shown to."""
    if not factors(source):
        return []
    found = []
    if others := str(source.attr("other_groups", GROUP, "")):
        some = source.attr("invariant_groups", GROUP, "")
        rest = "R, G and N are of the others only" if some else "there is none, and R, G and N are of all weights"
        found.append(f"Not scale-invariant: {others}; {rest}.")
    conclusion = str(source.attr("conclusion", GROUP, ""))
    if conclusion != "equilibrium":
        found.append(f"Equilibrium: {conclusion}")
    for factor in factors(source):
        low, high = (source.number(GROUP, f"balance_{end}", factor=factor) for end in ("low", "high"))
        if low > 1 or high < 1:
            found.append(
                f"At batch size {batch(source, factor)} the balance of decay against gradients is "
                f"{interval(low, high)} where 1 is exact for a scale-invariant loss."
            )
        speed = factor * source.attr_number("learning_rate", GROUP) * source.attr_number("weight_decay", GROUP)
        if speed > TOO_FAST:
            found.append(
                f"At batch size {batch(source, factor)} learning rate × weight decay is {number(speed)}, not small as the "
                "theorems ask."
            )
        if source.number(GROUP, "num_diverged", factor=factor) > 0:
            found.append(f"At batch size {batch(source, factor)} replicas diverged; nothing is said of it.")
    return [*found, *_too_large(source)]


def _too_large(source: Source) -> list[str]:
    """Where the critical batch is not far below the training set."""
    value, size = _critical(source, "sharp")[0], source.attr_number("num_examples", GROUP)
    if source.attr("sampling", GROUP) == "with_replacement" or not value > size / 4:
        return []
    return [
        f"The critical batch is above a quarter of the {number(size, 7)} training examples, where batches without "
        "replacement have less noise than N/G says; use sampling with replacement."
    ]


def observed(source: Source) -> str:
    """What the scaled runs showed beside the prediction; "" if there were none."""
    tried = [factor for factor in factors(source) if factor > 1]
    if not tried:
        return ""
    level = source.attr_number("closeness", GROUP)
    ends = {f: [source.number(GROUP, f"closeness_{end}", factor=f) for end in ("low", "high")] for f in tried}
    broken = [f for f in tried if ends[f][0] > level]
    kept = [f for f in tried if ends[f][1] <= level]
    names = lambda some: listed([str(batch(source, f)) for f in some])  # noqa: E731
    said = [
        f"the invariance is surely broken at batch size {names(broken)}"
        if broken
        else "it is broken at none of the batch sizes tried, as far as the intervals say"
    ]
    if kept:
        said.append(f"it holds at batch size {names(kept)}")
    value = _critical(source, "sharp")[0]
    predicted = f"Predicted: above {number(value)}. " if not reasons(source) else ""
    return f"{predicted}Observed: {', and '.join(said)}. {_failed_error(source, tried)}"


def _failed_error(source: Source, tried: list[int]) -> str:
    errors = {f: source.number(GROUP, "final_error", factor=f) for f in [1, *tried]}
    known = {f: error for f, error in errors.items() if not math.isnan(error)}
    if len(known) < 2:
        return ""
    what = "test error" if source.array(GROUP, "test_error") is not None else "test loss"
    best, worse = min(known.values()), source.attr_number("worse", GROUP)
    bad = [f for f in known if known[f] > worse * best]
    rule = f"the {what} averaged over the window is more than {percent(worse - 1)} above the best"
    if not bad:
        return f"Nowhere is it so that {rule}."
    return f"At batch size {listed([str(batch(source, f)) for f in bad])} {rule}."


def contradiction(source: Source) -> str:
    """The one thing that must not happen: a scaled run beyond the certificate whose invariance holds."""
    level = source.attr_number("closeness", GROUP)
    wrong = [
        f
        for f in factors(source)
        if source.number(GROUP, "must_fail", factor=f) > 0 and source.number(GROUP, "closeness_high", factor=f) <= level
    ]
    if not wrong or reasons(source):
        return ""
    return (
        f"At batch size {batch(source, wrong[0])} the certificate says that the invariance must fail, and it was measured "
        "to hold: an assumption is broken that this page did not see."
    )


def balance(source: Source, factor: int) -> str:
    """Both sides of the equilibrium's balance, as a ratio with its interval."""
    value, low, high = (source.number(GROUP, f"balance{end}", factor=factor) for end in ("", "_low", "_high"))
    return "unknown" if math.isnan(value) else f"{number(value)} ({interval(low, high)})"


def adaptive(source: Source) -> list[str]:
    """What is said of a run of Adam; none for SGD."""
    if source.attr("optimizer", GROUP) != "adam":
        return []
    told = []
    for name, words in {"metric_noise_scale": "in Adam's own metric", "simple_noise_scale": "in the plain one"}.items():
        value, low, high = (source.number(GROUP, f"{name}{end}") for end in ("", "_low", "_high"))
        told.append(f"{words} {number(value)} examples (95%: {interval(low, high)})")
    return [
        f"No certificate for Adam. The noise scale at the end of the run is {listed(told)}.",
        "The first is what a step of Adam meets: a batch far above it gains little on the step. It is a rule of thumb.",
        str(source.attr("rule", GROUP, "")),
    ]


def average(source: Source, quantity: str, factor: int) -> str:
    """A time average with its error."""
    pair = (source.number(GROUP, f"average{end}", factor=factor, quantity=quantity) for end in ("", "_se"))
    return with_error(*pair)
