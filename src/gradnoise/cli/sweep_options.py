"""The options of `gradnoise sweep` that no other command has: most take several values, with commas or by repetition."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from gradnoise.cli.kinds import choice, count, declared, text


def _positive(given: str) -> float:
    value = float(given)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


def _several(kind: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    return lambda text: tuple(kind(part) for part in text.split(","))


Plan = Annotated[
    str | None,
    typer.Argument(
        metavar="PLAN.toml", help="Settings of the sweep in a file; options given beside it count.", show_default=False
    ),
]
Rates = Annotated[
    list[Any] | None,
    declared("learning_rate", _several(float), "0.1,0.2", "Learning rates; may be given several times."),
]
Temperatures = Annotated[
    list[Any] | None,
    declared("temperature", _several(float), "0.01,0.1", "In place of rates: learning rate = T times batch size."),
]
Batches = Annotated[list[Any] | None, declared("batch_size", _several(count), "8,16", "Batch sizes (default 8).")]
Examples = Annotated[
    list[Any] | None,
    declared(
        "num_examples",
        _several(count),
        "100,200",
        "Training examples of each run (default: as many as the pool; half of it for distinct sets without held-out data).",
    ),
]
Widths = Annotated[list[Any] | None, declared("width", _several(count), "16,32", "Widths of the hidden layers.")]
Variants = Annotated[
    list[Any] | None,
    declared(
        "variant",
        _several(choice("plain", "momentum", "cosine", "momentum-cosine")),
        "plain,cosine",
        "plain (the default), momentum (0.9), cosine (a quarter cosine to zero), momentum-cosine.",
    ),
]
Seeds = Annotated[int | None, declared("seeds", count, "S", "Runs of each cell (default 4).")]
ReferenceEpochs = Annotated[
    int | None, declared("reference_epochs", count, "E", "Passes over the training examples (default 100).")
]
Sampling = Annotated[
    str | None,
    declared(
        "sampling",
        choice("with_replacement", "subset", "reshuffle"),
        "KIND",
        "with_replacement (the default), subset (distinct examples a step) or reshuffle (a fresh order each epoch).",
    ),
]
TrainingSet = Annotated[
    str | None,
    declared("training_set", choice("drawn", "distinct"), "KIND", "drawn i.i.d. (the default), or distinct examples."),
]
Cluster = Annotated[
    str | None,
    declared("cluster", text, "local|ADDRESS", "Run on this machine's cores, or on the Dask cluster at an address."),
]
Advise = Annotated[
    bool,
    typer.Option(
        "--advise", help="Drop bad temperatures early, then propose temperature, batch size and learning rate."
    ),
]
Hours = Annotated[float | None, declared("hours", _positive, "H", "Time for --advise: it sets the seeds.")]
Out = Annotated[
    str | None,
    declared(
        "out", text, "DIR", "Folder for results.nc and the finished runs, made if absent. Without it nothing is kept."
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Only go on with the sweep in --out; one that is not there is not begun.")
]
