"""The program `gradnoise`: its commands, and what becomes of everything that is raised."""

import io
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import gradnoise
from gradnoise.cli import errors
from gradnoise.cli.cite import cite
from gradnoise.cli.diagrams import diagrams
from gradnoise.cli.expected import WrongUse
from gradnoise.cli.measure import measure
from gradnoise.cli.predict import predict
from gradnoise.cli.report import report
from gradnoise.cli.scaling import scaling
from gradnoise.cli.simulate import simulate
from gradnoise.cli.stationary import stationary
from gradnoise.cli.sweep import sweep

COMMANDS = (report, measure, predict, simulate, scaling, stationary, sweep, diagrams, cite)


class Commands(TyperGroup):
    """The commands; an unknown one is answered with the nearest."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        names = list(self.commands)
        if args and args[0] not in names and not args[0].startswith("-"):
            near = get_close_matches(args[0], names, n=1)
            hint = f"Did you mean {near[0]}?" if near else "See gradnoise --help."
            raise WrongUse(f"{args[0]!r} is no command, expected one of {', '.join(names)}. {hint}")
        return super().resolve_command(ctx, args)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"gradnoise {gradnoise.__version__}")
        raise typer.Exit


def _gradnoise(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Measure the noise in a model's gradients, predict what SGD will do, simulate it, see where the two agree."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def application() -> typer.Typer:
    """The commands as a typer application."""
    made = typer.Typer(
        cls=Commands,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback(invoke_without_command=True)(_gradnoise)
    for command in COMMANDS:
        made.command()(command)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0; 2 for wrong use; 1 for a bug; 130 if interrupted.

    Whatever is wrong is said in one sentence on stderr; `--debug` adds the traceback.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = typer.main.get_command(application())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a letter gets a question mark
    try:
        with command.make_context("gradnoise", list(given)) as context:
            command.invoke(context)
        sys.stdout.flush()
        return 0
    except typer.Exit as exit:
        return exit.exit_code
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:
        return errors.tell(error, debug="--debug" in given)
