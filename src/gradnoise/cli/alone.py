"""What commands that run an engine of their own have in common: problem, plan, run, files, lines."""

import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from gradnoise.cli.environment import prepare
from gradnoise.cli.expected import WrongUse
from gradnoise.cli.job import Asked, cost_lines, kept, named
from gradnoise.cli.output import duration, to_json, tree_to_dict
from gradnoise.cli.place import Place
from gradnoise.cli.problems import Source
from gradnoise.cli.progress import one_line_warnings, progress, say

if TYPE_CHECKING:
    import xarray as xr

    from gradnoise.problem import Problem


class Command(NamedTuple):
    """A command: its name, the module with Config, estimate and run, and where the page's findings for it are made.

    `cards` is "module:function" of a Source of the report. Modules are loaded when they are needed.
    """

    name: str
    engine: str
    cards: str


def run_alone(
    command: Command,
    source: Source,
    settings: Mapping[str, Any],
    asked: Asked,
    prepared: Callable[[Any, Any], Any] = lambda problem, config: problem,
) -> None:
    """Do `command` on the problem of `source`, after `prepared(problem, config)` has had its way with it.

    All that can be wrong is found before anything is written. What the user's own code prints goes to stderr.
    """
    source.check()
    place = Place.of(asked.out)
    if asked.resume and place is None:
        raise WrongUse("--resume came without --out, expected the folder of the interrupted run. Give --out DIR.")
    prepare(asked.device)
    engine = import_module(command.engine)
    with named(source), redirect_stdout(sys.stderr):
        config = engine.Config(**settings)
        problem = prepared(source.load(), config)
        if problem.num_pool is not None:
            config.spacetime(problem.num_pool)
    if asked.dry_run:
        _dry_run(command, engine, problem, config, asked)
        return
    shown = not asked.json
    with redirect_stdout(sys.stderr), one_line_warnings(), kept(place, asked.resume), progress(shown) as hear:
        if shown and sys.stderr.isatty():
            hear("estimating the time", None)
            say(f"This takes about {duration(engine.estimate(problem, config).seconds)}.")
        tree = engine.run(problem, config, store=None if place is None else place.stages, progress=hear)
        paths = {} if place is None else place.write(tree, True)
    tell(command, tree, paths, asked.json)


def _dry_run(command: Command, engine: Any, problem: "Problem", config: Any, asked: Asked) -> None:
    with redirect_stdout(sys.stderr):
        cost = engine.estimate(problem, config)
    if asked.json:
        told = {"seconds": cost.seconds, "memory_bytes": cost.memory_bytes, "notes": cost.notes}
        print(to_json({"command": command.name, "dry_run": True, **told}))
        return
    print("\n".join([*cost_lines(cost, None), *cost.notes, "Nothing was written."]))


def tell(command: Command, tree: "xr.DataTree", paths: Mapping[str, str], as_json: bool) -> None:
    """The findings in lines, or everything as JSON."""
    if as_json:
        print(to_json({"command": command.name, "files": paths, "notes": [], **tree_to_dict(tree)}))
        return
    from gradnoise.report.source import Source as Reading

    module, _, function = command.cards.partition(":")
    cards = getattr(import_module(module), function)(Reading(tree))
    print("\n".join([*(line for _, finding, more, _ in cards for line in (finding, *more)), *paths.values()]))
