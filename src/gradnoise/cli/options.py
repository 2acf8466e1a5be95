"""The options that several commands share: name, help, what is expected."""

from typing import Annotated

import typer

from gradnoise.cli.kinds import choice, count, declared, share, text

Problem = Annotated[
    str | None,
    declared(
        "problem",
        text,
        "NAME|MODULE:FUNCTION",
        "A stock problem (default digits-mlp; also digits-logistic, digits-normalized-mlp, mean-estimation, gauss, helix, "
        "helix-ring, ring-engine, double-well, angle-toy, rayleigh-toy), or a function that returns a gradnoise Problem, "
        "looked for in the current folder first. This runs that module's code: name only what you trust.",
    ),
]
Data = Annotated[
    str | None,
    declared(
        "data",
        text,
        "PATH",
        "Your data, in place of a problem: a FILE.npz with x and y, or x_train, y_train, x_test, y_test (held out); or a "
        "folder of MNIST's IDX files, of CIFAR, or of Hugging Face's save_to_disk. y of integers is classification, "
        "floating y regression; x is standardized. Each run then trains on all full batches.",
    ),
]
Model = Annotated[
    str | None,
    declared(
        "model",
        text,
        "NAME",
        "The model for --data: logistic, mlp, conv, normalized-mlp, normalized-conv, resnet, preresnet or vgg (default "
        "mlp).",
    ),
]
Hidden = Annotated[int | None, declared("hidden", count, "H", "Width of the mlp's hidden layer (default 32).")]

LearningRate = Annotated[
    float | None,
    declared("learning_rate", float, "RATE", "Default: from the curvature at the start, inside the series' reach."),
]
BatchSize = Annotated[int | None, declared("batch_size", int, "B", "Examples a step (default 8).")]
NumExamples = Annotated[
    int | None,
    declared("num_examples", int, "N", "Training examples of each run (default 8 batches; with --data all full ones)."),
]
Epochs = Annotated[int | None, declared("epochs", int, "E", "Passes over the training examples (default 2).")]
Sampling = Annotated[
    str | None,
    declared(
        "sampling",
        choice("fixed", "reshuffle", "subset", "with_replacement"),
        "KIND",
        "fixed (one order, the default), reshuffle (a fresh order each epoch), subset or with_replacement.",
    ),
]
Momentum = Annotated[float | None, declared("momentum", float, "M", "As in PyTorch's SGD (default 0).")]
WeightDecay = Annotated[float | None, declared("weight_decay", float, "W", "Coupled, as in PyTorch's SGD (default 0).")]
NumReplicas = Annotated[
    int | None, declared("num_replicas", int, "R", "Simulated runs at each learning rate (default 500).")
]
MaxOrder = Annotated[
    int | None, declared("max_order", int, "D", "Highest order of the series in the learning rate (default 3).")
]
BaselineSteps = Annotated[
    int | None,
    declared(
        "baseline_steps", int, "T", "Steps of the baseline run, after which the noise is measured again (default 1000)."
    ),
]
PathLearningRate = Annotated[
    float | None,
    declared(
        "path_learning_rate",
        float,
        "RATE",
        "Of the whole training run (default: --learning-rate, or else from the curvature at the start).",
    ),
]
PathSteps = Annotated[
    int | None, declared("path_steps", int, "T", "Steps of the whole training run (default 64 or 96).")
]
NumProbes = Annotated[
    int | None,
    declared("num_probes", int, "R", "Probes of the noise along the whole run (default 50 to 200); 0 leaves it out."),
]
Memory = Annotated[
    str | None, declared("memory", text, "AMOUNT", "Memory to stay within, such as 500MB or 2GiB (default 2GiB).")
]
Seed = Annotated[int | None, declared("seed", int, "S", "Of all random draws (default 0).")]
Device = Annotated[
    str | None,
    declared("device", choice("cpu", "gpu"), "cpu|gpu", "Default: what JAX_PLATFORMS says, otherwise cpu."),
]
ReportOut = Annotated[
    str | None,
    declared("out", text, "DIR", "Folder for results.nc and report.html (default gradnoise-report), made if absent."),
]
ScalingOut = Annotated[
    str | None,
    declared(
        "out", text, "DIR", "Folder for results.nc and report.html, made if absent. Without it nothing is written."
    ),
]
Out = Annotated[
    str | None, declared("out", text, "DIR", "Folder for results.nc, made if absent. Without it nothing is written.")
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
    declared(
        "error",
        share,
        "SHARE",
        "For --dry-run: relative error wanted of the mean change of the test loss (default 0.01).",
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Take up the stages that an interrupted run of the same command finished.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback if something fails.")]
