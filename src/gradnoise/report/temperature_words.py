"""What a sweep says on temperature, in sentences: for the page and the command line."""

import math

import numpy as np

from gradnoise.report.scaling import Finding
from gradnoise.report.source import Source
from gradnoise.report.words import interval, listed, number, percent, with_error

GROUP = "temperature"
NAMES = {
    "gap": "Gap of losses",
    "test_loss": "Test loss",
    "train_loss": "Train loss",
    "accuracy_gap": "Gap of accuracies",
    "test_accuracy": "Test accuracy",
    "train_accuracy": "Train accuracy",
}
MARKS = {"pass": "seen", "fail": "contradicted", "undecided": "undecided", "unknown": "not judged"}
PREDICTIONS = {
    "gap": "A: the gap falls with T as (a/T + b) exp(−T/c)",
    "optimum": "B: the test loss is lowest inside",
    "train_loss": "C: the train loss rises with T",
    "accuracy_gap": "A, accuracies",
    "accuracy_optimum": "B, accuracies",
    "train_accuracy": "C, accuracies",
}


def series(source: Source) -> list[str]:
    """What was judged by itself: variants, N and widths; none where no sweep was judged."""
    return [] if source.array(GROUP, "steady") is None else [str(name) for name in source.labels(GROUP, "series")]


def cells(source: Source, name: str | None = None) -> np.ndarray:
    """The places of the cells of a series (None: of all)."""
    own = np.array(source.labels(GROUP, "cell_series"))
    return np.arange(len(own)) if name is None else np.flatnonzero(own == name)


def column(source: Source, name: str) -> np.ndarray:
    """A coordinate or variable of the cells."""
    return source.groups[GROUP][name].values


def best(source: Source, name: str, metric: str = "test_loss") -> str:
    """The optimum temperature of a series with its interval, or why there is none."""
    value, low, high = optimum(source, name, metric)
    if math.isnan(value):
        return f"No best temperature: {_told(source, f'optimum_{metric}', name)}"
    what = "test loss" if metric == "test_loss" else "test error"
    if low > 0 and high < math.inf:
        return f"The {what} is lowest at T = {number(value)} (95%: {interval(low, high)})."
    ends = {"lowest": low == 0, "highest": high == math.inf}
    reached = listed([end for end, holds in ends.items() if holds])
    return (
        f"The {what} is lowest at T = {number(value)}, but its interval reaches the {reached} temperature that was judged: "
        "the best one may lie beyond. Add temperatures there."
    )


def optimum(source: Source, name: str, metric: str = "test_loss") -> tuple[float, float, float]:
    """The optimum temperature and the ends of its interval."""
    value, low, high = (
        source.number(GROUP, f"optimum{end}", series=name, metric=metric) for end in ("", "_low", "_high")
    )
    return value, low, high


def choice(source: Source, name: str) -> str:
    """What learning rates the optimum means; "" where there is none, or T is not known to be all that matters."""
    value, *_ = optimum(source, name)
    if math.isnan(value):
        return ""
    batches = sorted({int(b) for b in column(source, "batch_size")[cells(source, name)]})
    rates = [f"{number(value * b)} at batch size {b}" for b in batches]
    told = f"As learning rates: {listed(rates)}."
    if not source.number(GROUP, "collapse_high", series=name, metric="test_loss") < 0.25:
        return f"{told} That the ratio alone matters was not shown here, so keep to batch sizes that were run."
    return f"{told} The runs depend on rate and batch size through their ratio, as far as these cells tell."


def advice(source: Source) -> list[str]:
    """What an advisor's sweep proposes, what an hour more would tell, and how it went; [] for another's."""
    told = (str(source.attr(name, GROUP, "")) for name in ("proposal", "next_hour", "rounds"))
    return [sentence for sentence in told if sentence]


def collapse(source: Source, name: str, metric: str = "test_loss") -> str:
    """Whether cells of one temperature agree."""
    return f"Collapse of the {NAMES[metric].lower()}: {_told(source, f'collapse_{metric}', name)}"


def fitted(source: Source, name: str, metric: str = "gap") -> str:
    """The fitted curve's numbers, with what the temperatures do not tell."""
    found = [[source.number(GROUP, f"fit{end}", series=name, metric=metric, parameter=p) for end in ("", "_low", "_high")]
             for p in "abc"]  # fmt: skip
    if math.isnan(found[0][0]):
        return f"No fit to the {NAMES[metric].lower()}: {_told(source, f'fit_{metric}', name)}"
    told = [f"{p} = {number(v)} ({interval(low, high)})" for p, (v, low, high) in zip("abc", found, strict=True)]
    return f"{NAMES[metric]}, (a/T + b) exp(−T/c): {listed(told)}. {_told(source, f'fit_{metric}', name)}".strip()


def prediction(source: Source, name: str, which: str) -> tuple[str, str]:
    """The verdict's word and the sentence of one prediction."""
    found = source.array(GROUP, "verdict")
    verdict = "unknown" if found is None else str(found.sel(series=name, prediction=which).values)
    return MARKS.get(verdict, verdict), _told(source, f"trend_{which}", name)


def left_out(source: Source, name: str) -> list[str]:
    """Cells that the statements are not about, and why; what they are about though it has not settled."""
    own, told = cells(source, name), []
    T, batch, failed, judged = (column(source, each)[own] for each in ("temperature", "batch_size", "failed", "judged"))
    temperatures = lambda where: listed([number(t) for t in np.unique(T[where])])  # noqa: E731
    still = (column(source, "flat")[own] == 1).all(axis=1)
    if failed.any():
        which = zip(T[failed > 0], batch[failed > 0], strict=True)
        named = listed([f"T = {number(t)} at batch size {b}" for t, b in sorted(set(which))])
        told.append(f"Left out, for a run diverged or ended no better than it began: {named}.")
    if np.any(out := (failed == 0) & (judged == 0)):
        told.append(f"Left out, for runs were not seen to have settled: T = {temperatures(out)}.")
    if np.any(moving := (judged == 1) & ~still):
        told.append(
            f"Not seen to have settled at T = {temperatures(moving)}: what is said there is of the runs' length as much "
            "as of temperature. Train longer, or run more seeds."
        )
    return told


def split(source: Source) -> str:
    """Which test examples the figures are about."""
    if source.attr_number("unseen", GROUP) > 0:
        return (
            "The pool is training and test set in one; training examples are taken out of all test figures, so that the gap "
            "is that to unseen examples."
        )
    setting = str(source.attr("setting", default="unknown"))
    return (
        "" if setting == "held out" else "Test figures are means over the pool that training examples were drawn from."
    )


def temperature_cards(source: Source) -> list[Finding]:
    """The findings, for the command line; none where no sweep was judged."""
    if why := str(source.attr("absent", GROUP, "")):
        return [("Temperature", f"Nothing is said on temperature: {why}", [], "caution")]
    cards: list[Finding] = []
    for name in series(source):
        title = f"Temperature, {name}" if len(series(source)) > 1 else "Temperature"
        verdicts = [prediction(source, name, each)[1] for each in ("gap", "optimum", "train_loss")]
        more = [*left_out(source, name), *advice(source), choice(source, name)]
        more += [collapse(source, name), fitted(source, name), *verdicts]
        cards.append((title, best(source, name), [each for each in more if each], "plain"))
    return cards


def cell_rows(source: Source) -> list[list[str]]:
    """The table of cells: what each is, its loss, gap and accuracy with errors over seeds, and whether it settled."""
    steady = source.array(GROUP, "steady")
    metrics = [m for m in ("train_loss", "test_loss", "gap", "test_accuracy") if m in source.labels(GROUP, "metric")]
    rows = [["T", "learning rate", "batch size", "series", *(NAMES[m] for m in metrics), "settled"]]
    if steady is None:
        return rows
    for k in cells(source):
        told = [number(column(source, each)[k]) for each in ("temperature", "learning_rate", "batch_size")]
        for m in metrics:
            runs = steady.sel(metric=m).values[k]
            error = runs.std(ddof=1) / len(runs) ** 0.5 if len(runs) > 1 else math.nan
            told.insert(len(told), with_error(runs.mean(), error))
        told.insert(3, str(source.labels(GROUP, "cell_series")[k]))
        flat = column(source, "flat")[k]
        failed = int(column(source, "failed")[k])
        share = "untold" if np.isnan(flat).any() else "yes" if flat.all() else percent(flat.mean())
        rows.append([*told, f"{failed} failed" if failed else share])
    return rows


def _told(source: Source, what: str, name: str) -> str:
    return str(source.attr(f"{what}_{series(source).index(name)}", GROUP, "not among these results."))
