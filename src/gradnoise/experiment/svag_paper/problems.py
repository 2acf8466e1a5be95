"""The problems a configuration runs on: stock models on the digits, or the caller's."""

from collections.abc import Mapping

from gradnoise.experiment.svag_paper.configuration import Configuration, Model, Setting
from gradnoise.problem import Problem, from_arrays, require_pool
from gradnoise.testbeds.catalogue import MODELS
from gradnoise.testbeds.datasets import digits

PAPER_EXAMPLES = 50_000
"""Training examples of CIFAR-10, on which the paper's settings count their epochs."""
NUM_POOL, NUM_TEST = 1024, 297

BATCH_NORM = (
    "Batch normalization is not offered: it couples the examples of a batch, and losses here are of one example"
)


def problems_of(
    name: str, configuration: Configuration, size: str, problem: Problem | Mapping[str, Problem] | None
) -> dict[str, Problem]:
    """Label of each model -> its problem, checked against the settings; the digits if None was given at the small size.

    Raises ValueError if the paper's size came without a problem, labels that do not fit, or a pool that is too small;
    TypeError for what is no problem.
    """
    labels = list(configuration.models)
    if problem is None:
        if size == "paper":
            raise ValueError(
                f'size="paper" came without a problem, expected {_wanted(labels)} with at least {PAPER_EXAMPLES} training '
                'examples. Give problem=, or use size="small".'
            )
        return {label: digits_problem(model, label) for label, model in configuration.models.items()}
    given = dict(problem) if isinstance(problem, Mapping) else dict.fromkeys(labels[:1], problem)
    if list(given) != labels and set(given) != set(labels):
        raise ValueError(
            f"problem of {name!r} is for {', '.join(map(repr, given))}, expected {_wanted(labels)}. Give one problem for "
            f"each. {BATCH_NORM}."
        )
    least = required_examples(configuration, size)
    for label, each in given.items():
        if not isinstance(each, Problem):
            raise TypeError(
                f"problem is {type(each).__name__}, expected {_wanted(labels)}. Give gn.from_arrays(...), say."
            )
        _require_examples(each, label, name, size, least)
    return {label: given[label] for label in labels}


def required_examples(configuration: Configuration, size: str) -> int:
    """The least size of a pool that the settings fit."""
    setting = configuration.at(size)
    if isinstance(setting, Setting):
        return setting.num_examples
    return PAPER_EXAMPLES if size == "paper" else 2


def digits_problem(model: Model, label: str) -> Problem:
    """A stock model on the first 1024 digits, the last 297 held out."""
    data = digits(NUM_POOL, NUM_TEST)
    built = MODELS[model.name](data.num_features, data.num_outputs, task=data.task, **model.options)
    return from_arrays(
        built.loss, built.init, data.pool, f"digits, {model.name}" if label == "network" else f"digits, {label}",
        measured=built.measured, test_pool=data.test_pool, metrics=built.metrics,
    )  # fmt: skip


def _require_examples(problem: Problem, label: str, name: str, size: str, least: int) -> None:
    require_pool(problem, name)
    if (problem.num_pool or 0) < least:
        raise ValueError(
            f"problem {label!r} has a pool of {problem.num_pool} examples, and {name!r} at size={size!r} is of {least}: its "
            f"steps, milestones and noise would mean something else. Give a pool of at least {least}"
            + (', or use size="small".' if size == "paper" else ".")
        )


def _wanted(labels: list[str]) -> str:
    return "a Problem" if len(labels) == 1 else f"a mapping of {', '.join(map(repr, labels))} to problems"
