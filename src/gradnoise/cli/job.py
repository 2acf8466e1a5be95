"""What report, measure, predict and simulate have in common (and, in parts, all that run): from options to files, lines."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any, NamedTuple

from gradnoise.cli.environment import prepare
from gradnoise.cli.errors import WRONG_USE, Interrupted, explain
from gradnoise.cli.expected import WrongUse
from gradnoise.cli.output import duration, to_json, tree_to_dict
from gradnoise.cli.place import Place
from gradnoise.cli.problems import Source
from gradnoise.cli.progress import Hear, one_line_warnings, progress, say
from gradnoise.cli.summary import summary

if TYPE_CHECKING:
    import xarray as xr

    from gradnoise.experiment.config import Config
    from gradnoise.experiment.pipeline import Estimation
    from gradnoise.problem import Problem


class Task(NamedTuple):
    """A command: its name, the stages of the main job that it needs, and whether it writes the page."""

    name: str
    stages: tuple[str, ...]
    page: bool = False


class Asked(NamedTuple):
    """Options of every command that runs the main job."""

    out: str | None
    json: bool
    dry_run: bool
    resume: bool
    device: str | None
    error: float | None = None


def run(task: Task, source: Source, settings: Mapping[str, Any], asked: Asked) -> None:
    """Do `task` on the problem of `source`; `settings` are fields of Config, None where not given.

    All that can be wrong is found before anything is written. What the user's own code prints goes to stderr.
    """
    place = place_for(source, asked)
    if asked.error is not None and not asked.dry_run:
        raise WrongUse(
            f"--error={asked.error:g} came without --dry-run, expected with it. Give --dry-run, or leave it out."
        )
    prepare(asked.device)
    with named(source):
        with redirect_stdout(sys.stderr):
            config, problem, notes = settle(source, settings)
        if asked.dry_run:
            _dry_run(task, problem, config, asked, notes)
        else:
            _run(task, problem, config, asked, notes, place)


def place_for(source: Source, asked: Asked) -> Place | None:
    """The folder asked for, made sure that it can be written; raises for options that exclude each other."""
    source.check()
    place = Place.of(asked.out)
    if asked.resume and place is None:
        raise WrongUse("--resume came without --out, expected the folder of the interrupted run. Give --out DIR.")
    return place


@contextmanager
def named(source: Source) -> Iterator[None]:
    """A sentence about the problem that names no option gets the one that chose the problem."""
    try:
        yield
    except (ValueError, TypeError) as error:
        sentence, code = explain(error)
        if code == WRONG_USE and "--" not in sentence:
            raise WrongUse(f"{source}: {sentence}") from error
        raise


def settle(source: Source, settings: Mapping[str, Any]) -> tuple["Config", "Problem", list[str]]:
    """The job's settings, checked, the problem, and what the user should be told about both."""
    from gradnoise.experiment.config import Config

    given = {name: value for name, value in settings.items() if value is not None}
    config, notes = Config(**given), []
    problem = source.load()
    size = problem.num_pool
    if source.data is not None and "num_examples" in settings and config.num_examples is None and size is not None:
        config, notes = _full_batches(config, size)
    _check_grid(config, size)
    return config, problem, notes


def _full_batches(config: "Config", size: int) -> tuple["Config", list[str]]:
    """N = B * floor(n / B) of n examples."""
    batch = config.batch_size
    if batch > size:
        raise WrongUse(
            f"--batch-size={batch} exceeds the {size} examples in --data, expected at most {size}. Give a smaller batch, "
            "or --num-examples."
        )
    full = batch * (size // batch)
    left = f"{size - full} left out, for batches are not padded" if size > full else "all"
    return config.model_copy(update={"num_examples": full}), [
        f"Each run trains on {full} examples drawn from the {size} in the data ({left})."
    ]


def _check_grid(config: "Config", size: int | None) -> None:
    """Raise for batch, examples, epochs that do not fit together."""
    used = config.epochs * (config.num_examples or config.batch_size)
    if config.sampling in ("subset", "with_replacement") and used % config.batch_size:
        raise WrongUse(
            f"--epochs={config.epochs} of --num-examples={config.num_examples} in batches of --batch-size="
            f"{config.batch_size} are no whole number of steps, expected one. Change one of the three."
        )
    config.spacetime(size)


def _dry_run(task: Task, problem: "Problem", config: "Config", asked: Asked, notes: list[str]) -> None:
    from gradnoise.experiment.pipeline import estimate

    error = 0.01 if asked.error is None else asked.error
    with redirect_stdout(sys.stderr):
        cost = estimate(problem, config, error=error, stages=task.stages)
    simulates = "simulated" in task.stages
    tell_plan(task.name, cost, [*notes, *cost.notes], asked.json, error if simulates else None)


def tell_plan(command: str, cost: "Estimation", notes: list[str], as_json: bool, error: float | None = None) -> None:
    """What --dry-run prints; with `error`, also the replicas that this error asks for."""
    from gradnoise._memory import format_memory

    if as_json:
        replicas = {} if error is None else {"error": error, "num_replicas_needed": cost.num_replicas_needed}
        told = {"command": command, "dry_run": True, "seconds": cost.seconds, "memory_bytes": cost.memory_bytes}
        print(to_json({**told, **replicas, "notes": notes}))
        return
    lines = [f"time      about {duration(cost.seconds)}", f"memory    about {format_memory(cost.memory_bytes)}"]
    if error is not None:
        needed = f"{cost.num_replicas_needed} needed"
        lines.append(f"replicas  {needed} for an error of {100 * error:g}% of the test loss's mean change")
    print("\n".join([*lines, *notes, "Nothing was written."]))


def _run(task: Task, problem: "Problem", config: "Config", asked: Asked, notes: list[str], place: Place | None) -> None:
    from gradnoise.experiment import pipeline

    with watched(place, asked) as hear:
        if task.page:
            foretell(hear, asked, lambda: pipeline.estimate(problem, config, stages=task.stages).seconds)
        store = None if place is None else place.stages
        tree = pipeline.run(problem, config, stages=task.stages, store=store, progress=hear)
        paths = {} if place is None else place.write(tree, task.page)
    tell(task.name, tree, paths, notes, asked.json, lambda: summary(tree, task.name))


@contextmanager
def watched(place: Place | None, asked: Asked) -> Iterator[Hear]:
    """Around a run: progress on stderr (what the user's code prints, too), and what is kept if it is stopped."""
    with redirect_stdout(sys.stderr), one_line_warnings(), kept(place, asked.resume), progress(not asked.json) as hear:
        yield hear


def foretell(hear: Hear, asked: Asked, seconds: Callable[[], float]) -> None:
    """Tell who watches how long it will take; `seconds` takes some itself."""
    if not asked.json and sys.stderr.isatty():
        hear("estimating the time", None)
        say(f"This takes about {duration(seconds())}.")


@contextmanager
def kept(place: Place | None, resume: bool) -> Iterator[None]:
    """Around a run: wrong use leaves nothing behind but what was simulated; one that is stopped says how to go on."""
    earlier = set() if place is None else place.prepare(resume)
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; {_how_to_go_on(place)}") from None
    except (ValueError, TypeError):
        if place is not None:
            place.forget(but=earlier | place.simulated())
        raise
    finally:
        if place is not None:
            place.tidy()


def _how_to_go_on(place: Place | None) -> str:
    if place is None:
        return "nothing was kept. Give --out DIR to be able to go on with --resume."
    if not place.kept():
        return "no stage was finished yet. Run the same command again."
    return f"what was done is kept in {place.stages}. Run the same command with --resume to go on."


def tell(
    command: str,
    tree: "xr.DataTree",
    paths: Mapping[str, str],
    notes: list[str],
    as_json: bool,
    lines: Callable[[], list[str]],
) -> None:
    """What a finished command prints: everything as JSON, or `notes`, `lines()` and where the files are."""
    if as_json:
        print(to_json({"command": command, "files": paths, "notes": notes, **tree_to_dict(tree)}))
        return
    print("\n".join([*notes, *lines(), *paths.values()]))
