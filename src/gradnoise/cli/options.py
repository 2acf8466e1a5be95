"""Every option once: its name, its help, and what it expects."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from gradnoise.cli.expected import WrongUse, option, wrong_value


def _read(name: str, kind: Callable[[str], Any]) -> Callable[[Any], Any]:
    """A reader of the option's text that answers a wrong one with our own sentence."""

    def read(text: Any) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise WrongUse(wrong_value(name, text)) from None

    return read


def _choice(*choices: str) -> Callable[[str], str]:
    def choose(text: str) -> str:
        if text not in choices:
            raise ValueError
        return text

    return choose


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise ValueError
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _option(name: str, kind: Callable[[str], Any], metavar: str, help: str) -> Any:
    return typer.Option(option(name), parser=_read(name, kind), metavar=metavar, help=help, show_default=False)


def _part(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise ValueError
    return value


def _counts(text: str) -> tuple[int, ...]:
    return tuple(_count(part) for part in text.split(","))


def _text(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise ValueError
    return text


Problem = Annotated[
    str | None,
    _option(
        "problem",
        _text,
        "NAME|MODULE:FUNCTION",
        "A stock problem (default digits-mlp; also digits-logistic, digits-normalized-mlp, mean-estimation, gauss, helix, "
        "helix-ring, ring-engine, double-well, angle-toy, rayleigh-toy), or a function that returns a gradnoise Problem, "
        "looked for in the current folder first. This runs that module's code: name only what you trust.",
    ),
]
Data = Annotated[
    str | None,
    _option(
        "data",
        _text,
        "FILE.npz",
        "Your data, in place of a problem: x and y, or x_train, y_train, x_test, y_test (held out). y of integers is "
        "classification, floating y regression; x is standardized. Each run then trains on all full batches.",
    ),
]
Model = Annotated[
    str | None,
    _option(
        "model",
        _text,
        "NAME",
        "The model for --data: logistic, mlp, conv, normalized-mlp or normalized-conv (default mlp).",
    ),
]
Hidden = Annotated[int | None, _option("hidden", _count, "H", "Width of the mlp's hidden layer (default 32).")]

LearningRate = Annotated[
    float | None,
    _option("learning_rate", float, "RATE", "Default: from the curvature at the start, inside the series' reach."),
]
BatchSize = Annotated[int | None, _option("batch_size", int, "B", "Examples a step (default 8).")]
NumExamples = Annotated[
    int | None,
    _option("num_examples", int, "N", "Training examples of each run (default 8 batches; with --data all full ones)."),
]
Epochs = Annotated[int | None, _option("epochs", int, "E", "Passes over the training examples (default 2).")]
Sampling = Annotated[
    str | None,
    _option(
        "sampling",
        _choice("fixed", "reshuffle", "subset", "with_replacement"),
        "KIND",
        "fixed (one order, the default), reshuffle (a fresh order each epoch), subset or with_replacement.",
    ),
]
Momentum = Annotated[float | None, _option("momentum", float, "M", "As in PyTorch's SGD (default 0).")]
WeightDecay = Annotated[float | None, _option("weight_decay", float, "W", "Coupled, as in PyTorch's SGD (default 0).")]
NumReplicas = Annotated[
    int | None, _option("num_replicas", int, "R", "Simulated runs at each learning rate (default 500).")
]
MaxOrder = Annotated[
    int | None, _option("max_order", int, "D", "Highest order of the series in the learning rate (default 3).")
]
BaselineSteps = Annotated[
    int | None,
    _option(
        "baseline_steps", int, "T", "Steps of the baseline run, after which the noise is measured again (default 1000)."
    ),
]
PathLearningRate = Annotated[
    float | None,
    _option(
        "path_learning_rate",
        float,
        "RATE",
        "Of the whole training run (default: --learning-rate, or else from the curvature at the start).",
    ),
]
PathSteps = Annotated[
    int | None, _option("path_steps", int, "T", "Steps of the whole training run (default 64 or 96).")
]
NumProbes = Annotated[
    int | None,
    _option("num_probes", int, "R", "Probes of the noise along the whole run (default 50 to 200); 0 leaves it out."),
]
Memory = Annotated[
    str | None, _option("memory", _text, "AMOUNT", "Memory to stay within, such as 500MB or 2GiB (default 2GiB).")
]
Seed = Annotated[int | None, _option("seed", int, "S", "Of all random draws (default 0).")]
Device = Annotated[
    str | None,
    _option("device", _choice("cpu", "gpu"), "cpu|gpu", "Default: what JAX_PLATFORMS says, otherwise cpu."),
]
ReportOut = Annotated[
    str | None,
    _option("out", _text, "DIR", "Folder for results.nc and report.html (default gradnoise-report), made if absent."),
]
ScalingOut = Annotated[
    str | None,
    _option(
        "out", _text, "DIR", "Folder for results.nc and report.html, made if absent. Without it nothing is written."
    ),
]
Out = Annotated[
    str | None, _option("out", _text, "DIR", "Folder for results.nc, made if absent. Without it nothing is written.")
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object and nothing else (NaN as null, infinity as 'Infinity')."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say how long it takes and how much memory; compute and write nothing.")
]
Error = Annotated[
    float | None,
    _option(
        "error",
        _share,
        "SHARE",
        "For --dry-run: relative error wanted of the mean change of the test loss (default 0.01).",
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Take up the stages that an interrupted run of the same command finished.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback if something fails.")]

Order = Annotated[int | None, _option("order", int, "D", "List all diagrams with this many edges, 0 to 4 (default 2).")]
GridExamples = Annotated[
    int | None, _option("num_examples", int, "N", "With --batch-size: give numbers beside the formulas.")
]
GridBatch = Annotated[int | None, _option("batch_size", int, "B", "Examples a step, for the numbers.")]
GridEpochs = Annotated[int | None, _option("epochs", int, "E", "Passes over the N examples (default 1).")]
GridMomentum = Annotated[float | None, _option("momentum", float, "M", "As in PyTorch's SGD; in the numbers only.")]
Svg = Annotated[str | None, _option("svg", _text, "FILE", "Draw the diagrams into this SVG file as well.")]
Written = Annotated[
    str | None,
    typer.Argument(metavar="DIAGRAM", help='One diagram instead, such as "(01-2)(02-12)".', show_default=False),
]

LabelNoise = Annotated[
    float | None,
    _option(
        "label_noise", _part, "SHARE", "Share of the training labels drawn at random, fixed by --seed (default 0)."
    ),
]
EquilibriumRate = Annotated[
    float | None, _option("learning_rate", float, "RATE", "Of the baseline run, without a schedule (default 0.5).")
]
EquilibriumBatch = Annotated[
    int | None, _option("batch_size", _count, "B", "Examples a step of the baseline run (default 16).")
]
EquilibriumDecay = Annotated[
    float | None,
    _option(
        "weight_decay",
        float,
        "W",
        "Coupled, as in PyTorch's SGD (default 0.005); equilibrium takes a few times 1/(learning rate * W) steps.",
    ),
]
EquilibriumExamples = Annotated[
    int | None,
    _option("num_examples", int, "N", "Training examples each run draws (default: all runs share the pool)."),
]
EquilibriumSampling = Annotated[
    str | None,
    _option(
        "sampling",
        _choice("with_replacement", "subset"),
        "KIND",
        "with_replacement (the default), or subset: distinct examples, drawn anew at each step.",
    ),
]
EquilibriumSteps = Annotated[
    int | None,
    _option("num_steps", _count, "T", "Steps of the baseline (default 23 / (learning rate * weight decay))."),
]
EquilibriumReplicas = Annotated[
    int | None, _option("num_replicas", _count, "R", "Runs at each batch size (default 8).")
]
Closeness = Annotated[
    float | None, _option("closeness", float, "C", "Factor by which R, G, N may differ (default the root of 2).")
]
Optimizer = Annotated[
    str | None,
    _option(
        "optimizer",
        _choice("sgd", "adam"),
        "sgd|adam",
        "adam: the noise in its own metric, no certificate (default sgd).",
    ),
]
Verify = Annotated[bool, typer.Option("--verify", help="Also run the scaled batches, and show where the rule fails.")]
Factors = Annotated[
    Any,
    _option("factors", _counts, "2,4,8", "What --verify multiplies learning rate and batch by (default 2,4,8,16,32)."),
]
SvagReplicas = Annotated[
    int | None,
    _option("svag_replicas", int, "R", "Runs of SVAG that tell whether the SDE holds (default 64); 0 leaves it out."),
]
Read = Annotated[
    str | None,
    _option("read", _text, "FILE", "Judge the runs of an earlier gradnoise scaling anew; nothing is run."),
]
StationaryRate = Annotated[
    float | None, _option("learning_rate", float, "RATE", "Constant through the run (default 0.1).")
]
StationaryDecay = Annotated[
    float | None, _option("weight_decay", float, "W", "Coupled, as in PyTorch's SGD (default 0.01).")
]
StationarySteps = Annotated[
    int | None, _option("num_steps", _count, "T", "Steps of each run, the first quarter left out (default 20000).")
]
StationaryReplicas = Annotated[int | None, _option("num_replicas", _count, "R", "Runs (default 4).")]
