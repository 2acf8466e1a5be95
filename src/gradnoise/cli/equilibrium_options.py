"""The options of `gradnoise scaling` and `gradnoise stationary` that no other command has."""

from typing import Annotated, Any

import typer

from gradnoise.cli.kinds import choice, count, counts, declared, part, text

LabelNoise = Annotated[
    float | None,
    declared(
        "label_noise", part, "SHARE", "Share of the training labels drawn at random, fixed by --seed (default 0)."
    ),
]
EquilibriumRate = Annotated[
    float | None, declared("learning_rate", float, "RATE", "Of the baseline run, without a schedule (default 0.5).")
]
EquilibriumBatch = Annotated[
    int | None, declared("batch_size", count, "B", "Examples a step of the baseline run (default 16).")
]
EquilibriumDecay = Annotated[
    float | None,
    declared(
        "weight_decay",
        float,
        "W",
        "Coupled, as in PyTorch's SGD (default 0.005); equilibrium takes a few times 1/(learning rate * W) steps.",
    ),
]
EquilibriumExamples = Annotated[
    int | None,
    declared("num_examples", int, "N", "Training examples each run draws (default: all runs share the pool)."),
]
EquilibriumSampling = Annotated[
    str | None,
    declared(
        "sampling",
        choice("with_replacement", "subset"),
        "KIND",
        "with_replacement (the default), or subset: distinct examples, drawn anew at each step.",
    ),
]
EquilibriumSteps = Annotated[
    int | None,
    declared("num_steps", count, "T", "Steps of the baseline (default 23 / (learning rate * weight decay))."),
]
EquilibriumReplicas = Annotated[
    int | None, declared("num_replicas", count, "R", "Runs at each batch size (default 8).")
]
Closeness = Annotated[
    float | None, declared("closeness", float, "C", "Factor by which R, G, N may differ (default the root of 2).")
]
Optimizer = Annotated[
    str | None,
    declared(
        "optimizer",
        choice("sgd", "adam"),
        "sgd|adam",
        "adam: the noise in its own metric, no certificate (default sgd).",
    ),
]
Verify = Annotated[bool, typer.Option("--verify", help="Also run the scaled batches, and show where the rule fails.")]
Factors = Annotated[
    Any,
    declared("factors", counts, "2,4,8", "What --verify multiplies learning rate and batch by (default 2,4,8,16,32)."),
]
SvagReplicas = Annotated[
    int | None,
    declared("svag_replicas", int, "R", "Runs of SVAG that tell whether the SDE holds (default 64); 0 leaves it out."),
]
Read = Annotated[
    str | None,
    declared("read", text, "FILE", "Judge the runs of an earlier gradnoise scaling anew; nothing is run."),
]
StationaryRate = Annotated[
    float | None, declared("learning_rate", float, "RATE", "Constant through the run (default 0.1).")
]
StationaryDecay = Annotated[
    float | None, declared("weight_decay", float, "W", "Coupled, as in PyTorch's SGD (default 0.01).")
]
StationarySteps = Annotated[
    int | None, declared("num_steps", count, "T", "Steps of each run, the first quarter left out (default 20000).")
]
StationaryReplicas = Annotated[int | None, declared("num_replicas", count, "R", "Runs (default 4).")]
