"""`gradnoise sweep`: SGD over a grid of settings, resumable."""

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradnoise.cli import options as given
from gradnoise.cli import sweep_options as own
from gradnoise.cli.environment import prepare
from gradnoise.cli.errors import WRONG_USE, Interrupted, explain
from gradnoise.cli.expected import WrongUse, option
from gradnoise.cli.job import Asked, foretell, place_for, tell, tell_plan
from gradnoise.cli.output import table
from gradnoise.cli.place import Place
from gradnoise.cli.problems import Source, from_module
from gradnoise.cli.progress import Hear, one_line_warnings, progress, say

if TYPE_CHECKING:
    import xarray as xr

STORE = "runs"
"""The folder of finished runs in that of the results."""
LISTS = ("learning_rate", "temperature", "batch_size", "num_examples", "width", "variant")
"""Options that may come several times, each a list; in a plan their names are plural."""
SHOWN = ("learning_rate", "batch_size", "temperature", "num_examples", "width", "variant", "epochs")
"""What a cell is told by, where it differs between cells."""


def sweep(
    plan: own.Plan = None,
    problem: given.Problem = None,
    data: given.Data = None,
    model: given.Model = None,
    learning_rate: own.Rates = None,
    temperature: own.Temperatures = None,
    batch_size: own.Batches = None,
    num_examples: own.Examples = None,
    width: own.Widths = None,
    variant: own.Variants = None,
    seeds: own.Seeds = None,
    reference_epochs: own.ReferenceEpochs = None,
    weight_decay: given.WeightDecay = None,
    sampling: own.Sampling = None,
    training_set: own.TrainingSet = None,
    memory: given.Memory = None,
    seed: given.Seed = None,
    cluster: own.Cluster = None,
    advise: own.Advise = False,
    hours: own.Hours = None,
    out: own.Out = None,
    as_json: given.Json = False,
    dry_run: given.DryRun = False,
    resume: own.Resume = False,
    device: given.Device = None,
    debug: given.Debug = False,
) -> None:
    """Run SGD over a grid of learning rates, batch sizes, N, widths and variants, and say which temperature is best.

    Several seeds each. Every run that finishes is kept in --out: the same command goes on where it was stopped, and costs
    nothing when all is done. Without problem and rates: a sweep of digits-mlp over 8 temperatures, some minutes.
    PLAN.toml may hold further settings.
    """
    if hours is not None and not advise:
        raise WrongUse(f"--hours={hours:g} came without --advise, expected with it. Add --advise, or leave it out.")
    lists = dict(zip(LISTS, (learning_rate, temperature, batch_size, num_examples, width, variant), strict=True))
    settings = {_plural(name): [value for part in parts for value in part] for name, parts in lists.items() if parts}
    settings |= {
        "problem": problem, "data": data, "model": model, "seeds": seeds, "reference_epochs": reference_epochs,
        "weight_decay": weight_decay, "sampling": sampling, "training_set": training_set, "memory": memory, "seed": seed,
    }  # fmt: skip
    asked = Asked(out, as_json, dry_run, resume, device)
    place = place_for(Source(problem, data, model if plan is None else None, None), asked)
    prepare(device)
    with _said_in_options(), redirect_stdout(sys.stderr):
        settled = _settle(plan, {name: value for name, value in settings.items() if value is not None}, advise)
    store = None if place is None else place.folder / STORE
    if resume and store is not None and not store.is_dir():
        raise WrongUse(
            f"--resume found no sweep in --out={out!r}, expected that of an earlier one. Leave --resume out."
        )
    with _said_in_options():
        if advise and not dry_run:
            _advise(settled, store, place, asked, cluster, hours)
        else:
            _do(settled, store, place, asked, cluster)


def _plural(name: str) -> str:
    return name if name.endswith("s") else f"{name}s"


def _settle(path: str | None, settings: Mapping[str, Any], advise: bool) -> Any:
    """The plan of a file and of options, which come before it; a problem of the user's own is imported.

    Where nothing is said of problem and rates it is the default plan; for advice temperatures may be left to the curvature.
    """
    from gradnoise.experiment.sweep.advise import coarse_grid
    from gradnoise.experiment.sweep.config import DEFAULT, read_plan, read_toml

    asked = {**({} if path is None else read_toml(Path(path))), **settings}
    open_rates = not asked.keys() & {"learning_rates", "temperatures"}
    if open_rates and path is None and not asked.keys() & {"problem", "data", "model", "variants", "widths"}:
        asked, open_rates = {**DEFAULT, **asked}, False
    plan = read_plan({**asked, "temperatures": 1.0} if open_rates and advise else asked)
    if isinstance(plan.problem, str) and ":" in plan.problem and plan.widths is None:
        from_module(plan.problem)
    return coarse_grid(plan) if open_rates and advise else plan


@contextmanager
def _said_in_options() -> Iterator[None]:
    """A sentence about a setting of the plan names the option that sets it."""
    try:
        yield
    except (ValueError, TypeError, OSError) as error:
        sentence, code = explain(error)
        if code != WRONG_USE:
            raise
        for name in LISTS:
            sentence = re.sub(rf"(?<![\w-]){_plural(name)}(?=[= \[])", option(name), sentence)
        raise WrongUse(sentence.replace("store=", "--out=").replace("cluster=", "--cluster=")) from error
    except ModuleNotFoundError as missing:
        if missing.name is not None:  # not ours, which names the extra to install
            raise
        raise WrongUse(str(missing)) from missing


def _do(plan: Any, store: Path | None, place: Place | None, asked: Asked, cluster: str | None) -> None:
    """Say the plan and what it costs, run it, and tell what came out."""
    from gradnoise.experiment.sweep.cost import cost_of, estimate, outline
    from gradnoise.experiment.sweep.judge import judge
    from gradnoise.experiment.sweep.run import sweep as run

    if asked.dry_run:
        with redirect_stdout(sys.stderr):
            cost = estimate(plan, store)
        tell_plan("sweep", cost, cost.notes, asked.json)
        return
    with _watched(store, asked) as hear:
        todo, notes = outline(plan, store)
        if not asked.json:
            _say_plan(notes)
        foretell(hear, asked, lambda: cost_of(plan, todo).seconds)
        tree = judge(run(plan, store, cluster, progress=hear))
        paths = {} if place is None else place.write(tree, page=True)
    _tell(tree, paths, notes, asked)


def _advise(
    plan: Any, store: Path | None, place: Place | None, asked: Asked, cluster: str | None, hours: float | None
) -> None:
    """A coarse sweep and then a full one of what is left; what follows from them."""
    from gradnoise.experiment.sweep.advise import advise as run

    with _watched(store, asked) as hear:
        tree = run(plan, store, hours, hear, cluster)
        paths = {} if place is None else place.write(tree, page=True)
    _tell(tree, paths, [], asked)


def _tell(tree: "xr.DataTree", paths: Mapping[str, str], notes: list[str], asked: Asked) -> None:
    """What a finished sweep prints."""
    tell("sweep", tree, paths, notes, asked.json, lambda: [*cell_table(tree["sweep"].to_dataset()), *findings(tree)])


def findings(tree: "xr.DataTree") -> list[str]:
    """What the page says on temperature, in lines."""
    from gradnoise.report.source import Source as Reading
    from gradnoise.report.temperature_words import temperature_cards

    cards = temperature_cards(Reading(tree))
    return [line for title, finding, more, _ in cards for line in (f"{title}: {finding}", *more)]


def _say_plan(notes: list[str]) -> None:
    """The plan on stderr, for whoever watches."""
    if sys.stderr.isatty():
        for note in notes:
            say(note)


@contextmanager
def _watched(store: Path | None, asked: Asked) -> Iterator[Hear]:
    """Around a run: progress on stderr (what the user's code prints, too); one that is stopped says what is kept."""
    try:
        with redirect_stdout(sys.stderr), one_line_warnings(), progress(not asked.json) as hear:
            yield hear
    except KeyboardInterrupt:
        told = "nothing was kept. Give --out DIR to be able to go on."
        if store is not None:
            told = f"finished runs are kept in {store}. Run the same command to go on."
        raise Interrupted(f"interrupted; {told}") from None


def cell_table(runs: "xr.Dataset") -> list[str]:
    """Test loss and gap of each cell at the last record, the mean over its seeds with its standard error."""
    from gradnoise.estimate import from_samples
    from gradnoise.report.words import number, with_error

    labels = list(zip(*(runs[name].values.tolist() for name in SHOWN), strict=True))
    varying = [k for k, name in enumerate(SHOWN) if name == "learning_rate" or len({label[k] for label in labels}) > 1]
    rows = [[*(SHOWN[k].replace("_", " ") for k in varying), "test loss", "gap", "diverged"]]
    for label in dict.fromkeys(labels):
        places = [place for place, other in enumerate(labels) if other == label]
        shown = [label[k] if isinstance(label[k], str) else number(label[k]) for k in varying]
        ended = [from_samples(runs[name].values[places, -1].astype(float)) for name in ("test_loss", "gap")]
        diverged = int((runs["diverged_at"].values[places] >= 0).sum())
        rows.append([*shown, *(with_error(each.value, each.stderr) for each in ended), str(diverged)])
    return table(rows).splitlines()
