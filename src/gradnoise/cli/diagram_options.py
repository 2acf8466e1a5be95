"""The options of `gradnoise diagrams`."""

from typing import Annotated

import typer

from gradnoise.cli.kinds import choice, declared, read, text

Order = Annotated[
    int | None, declared("order", int, "D", "List all diagrams with this many edges, 0 to 4 (default 2).")
]
DiagramTarget = Annotated[
    str | None,
    declared(
        "target",
        choice("test", "train", "gap", "displacement"),
        "TARGET",
        "test, train, gap or displacement: the diagrams it sees and their factors in it (default test and gap).",
    ),
]
GridExamples = Annotated[
    int | None, declared("num_examples", int, "N", "With --batch-size: give numbers beside the formulas.", "-N")
]
GridBatch = Annotated[int | None, declared("batch_size", int, "B", "Examples a step, for the numbers.", "-B")]
GridEpochs = Annotated[int | None, declared("epochs", int, "E", "Passes over the N examples (default 1).", "-E")]
GridMomentum = Annotated[float | None, declared("momentum", float, "M", "As in PyTorch's SGD; in the numbers only.")]
Svg = Annotated[str | None, declared("svg", text, "FILE", "Draw the diagrams into this SVG file as well.")]
Gallery = Annotated[
    str | None,
    typer.Option(
        "--gallery",
        parser=read("gallery", text),
        metavar="FILE.html",
        help="Write a page of all diagrams through --order (default 4) instead, drawn, with their formulas.",
        show_default=False,
    ),
]
Written = Annotated[
    str | None,
    typer.Argument(metavar="DIAGRAM", help='One diagram instead, such as "(01-2)(02-12)".', show_default=False),
]
