"""Commands that run an engine of their own, beside the main job's."""

import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from gradnoise.cli.environment import prepare
from gradnoise.cli.job import Asked, foretell, named, place_for, tell, tell_plan, watched
from gradnoise.cli.problems import Source

if TYPE_CHECKING:
    import xarray as xr


class Command(NamedTuple):
    """A command: its name, the module with Config, estimate and run, where its findings are made, its default problem.

    `cards` is "module:function" of a Source of the report. Modules are loaded when they are needed.
    """

    name: str
    engine: str
    cards: str
    default_problem: str


def run_alone(
    command: Command,
    source: Source,
    settings: Mapping[str, Any],
    asked: Asked,
    prepared: Callable[[Any, Any], Any] = lambda problem, config: problem,
) -> None:
    """Do `command` on the problem of `source`, after `prepared(problem, config)` has had its way with it.

    `settings` are fields of the engine's Config, None where not given. All that can be wrong is found before anything is
    written. What the user's own code prints goes to stderr.
    """
    if source.problem is None and source.data is None:
        source = source._replace(problem=command.default_problem)
    place = place_for(source, asked)
    prepare(asked.device)
    engine = import_module(command.engine)
    with named(source), redirect_stdout(sys.stderr):
        config = engine.Config(**{name: value for name, value in settings.items() if value is not None})
        problem = prepared(source.load(), config)
        if problem.num_pool is not None:
            config.spacetime(problem.num_pool)
    if asked.dry_run:
        with redirect_stdout(sys.stderr):
            cost = engine.estimate(problem, config)
        tell_plan(command.name, cost, cost.notes, asked.json)
        return
    with watched(place, asked) as hear:
        foretell(hear, asked, lambda: engine.estimate(problem, config).seconds)
        tree = engine.run(problem, config, store=None if place is None else place.stages, progress=hear)
        paths = {} if place is None else place.write(tree, True)
    tell(command.name, tree, paths, [], asked.json, lambda: findings(command, tree))


def findings(command: Command, tree: "xr.DataTree") -> list[str]:
    """What the page finds in the results of `command`, in lines."""
    from gradnoise.report.source import Source as Reading

    module, _, function = command.cards.partition(":")
    cards = getattr(import_module(module), function)(Reading(tree))
    return [line for _, finding, more, _ in cards for line in (finding, *more)]
