"""`gradnoise scaling`: how far the batch can grow by the linear scaling rule."""

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from gradnoise.cli import options as given
from gradnoise.cli.environment import prepare
from gradnoise.cli.expected import WrongUse
from gradnoise.cli.job import Asked, cost_lines, kept, named
from gradnoise.cli.output import duration, to_json, tree_to_dict
from gradnoise.cli.place import Place
from gradnoise.cli.problems import Source
from gradnoise.cli.progress import one_line_warnings, progress, say

if TYPE_CHECKING:
    import xarray as xr

    from gradnoise.experiment.scaling import Config
    from gradnoise.problem import Problem

DEFAULT_PROBLEM = "digits-normalized-mlp"


def scaling(
    problem: given.Problem = None,
    data: given.Data = None,
    model: given.Model = None,
    label_noise: given.LabelNoise = None,
    learning_rate: given.EquilibriumRate = None,
    batch_size: given.EquilibriumBatch = None,
    weight_decay: given.EquilibriumDecay = None,
    num_examples: given.EquilibriumExamples = None,
    sampling: given.EquilibriumSampling = None,
    num_steps: given.EquilibriumSteps = None,
    num_replicas: given.EquilibriumReplicas = None,
    closeness: given.Closeness = None,
    optimizer: given.Optimizer = None,
    verify: given.Verify = False,
    factors: given.Factors = None,
    svag_replicas: given.SvagReplicas = None,
    read: given.Read = None,
    memory: given.Memory = None,
    seed: given.Seed = None,
    out: given.ScalingOut = None,
    as_json: given.Json = False,
    dry_run: given.DryRun = False,
    resume: given.Resume = False,
    device: given.Device = None,
    debug: given.Debug = False,
) -> None:
    """Say how far the batch can grow by linear scaling, and whether the SDE holds.

    Run SGD with weight decay to equilibrium, and give the batch size above which the rule must fail for a scale-invariant
    loss, with its interval; with --verify run the scaled batches too. Default problem: digits-normalized-mlp.
    """
    settings = {
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "weight_decay": weight_decay,
        "num_examples": num_examples,
        "sampling": sampling,
        "num_steps": num_steps,
        "num_replicas": num_replicas,
        "closeness": closeness,
        "optimizer": optimizer,
        "verify": verify or factors is not None or None,
        "factors": factors,
        "svag_replicas": svag_replicas,
        "memory": memory,
        "seed": seed,
    }
    asked = Asked(out, as_json, dry_run, resume, device)
    known = {name: value for name, value in settings.items() if value is not None}
    if read is not None:
        _read_again(read, known, asked)
        return
    name = problem if problem is not None or data is not None else DEFAULT_PROBLEM
    _run(Source(name, data, model, None), label_noise or 0.0, known, asked)


def _run(source: Source, label_noise: float, settings: dict[str, Any], asked: Asked) -> None:
    source.check()
    place = Place.of(asked.out)
    if asked.resume and place is None:
        raise WrongUse("--resume came without --out, expected the folder of the interrupted run. Give --out DIR.")
    prepare(asked.device)
    with named(source), redirect_stdout(sys.stderr):
        config, problem = _settle(source, label_noise, settings)
    if asked.dry_run:
        _dry_run(problem, config, asked)
        return
    from gradnoise.experiment import scaling as engine

    shown = not asked.json
    with redirect_stdout(sys.stderr), one_line_warnings(), kept(place, asked.resume), progress(shown) as hear:
        if shown and sys.stderr.isatty():
            hear("estimating the time", None)
            say(f"This takes about {duration(engine.estimate(problem, config).seconds)}.")
        tree = engine.run(problem, config, store=None if place is None else place.stages, progress=hear)
        paths = {} if place is None else place.write(tree, True)
    _print(tree, paths, asked.json)


def _settle(source: Source, label_noise: float, settings: dict[str, Any]) -> tuple["Config", "Problem"]:
    from gradnoise.experiment.scaling import Config
    from gradnoise.testbeds.label_noise import with_label_noise

    config = Config(**settings)
    problem = source.load()
    if label_noise:
        problem = with_label_noise(problem, label_noise, config.seed)
    if problem.num_pool is not None:
        for factor in config.run_factors:
            config.spacetime(problem.num_pool, factor)
    return config, problem


def _dry_run(problem: "Problem", config: "Config", asked: Asked) -> None:
    from gradnoise.experiment import scaling as engine

    with redirect_stdout(sys.stderr):
        cost = engine.estimate(problem, config)
    if asked.json:
        told = {"seconds": cost.seconds, "memory_bytes": cost.memory_bytes, "notes": cost.notes}
        print(to_json({"command": "scaling", "dry_run": True, **told}))
        return
    print("\n".join([*cost_lines(cost, None), *cost.notes, "Nothing was written."]))


def _read_again(path: str, settings: dict[str, Any], asked: Asked) -> None:
    """Judge the runs in a results file with another closeness."""
    other = set(settings) - {"closeness"}
    if other:
        raise WrongUse(
            f"--read={path!r} came with {', '.join('--' + name.replace('_', '-') for name in sorted(other))}, expected with "
            "--closeness at most: its runs are done. Leave the others out, or --read."
        )
    place = Place.of(asked.out)
    prepare(asked.device)
    from gradnoise.experiment.scaling import judge
    from gradnoise.results import build_tree, load

    tree = load(path)
    if "scaling" not in tree.children:
        raise WrongUse(f"--read={path!r} holds no runs of gradnoise scaling, expected its results.nc. Give that file.")
    closeness = settings.get("closeness")
    if closeness is not None and not closeness > 1:
        raise WrongUse(f"--closeness={closeness:g} is not above 1, expected a factor. Give --closeness 1.4142, say.")
    judged = build_tree(
        {"scaling": judge(tree["scaling"].to_dataset(), closeness)},
        {str(name): value for name, value in tree.attrs.items()},
    )
    _print(judged, {} if place is None else place.write(judged, True), asked.json)


def _print(tree: "xr.DataTree", paths: dict[str, str], as_json: bool) -> None:
    if as_json:
        print(to_json({"command": "scaling", "files": paths, "notes": [], **tree_to_dict(tree)}))
        return
    from gradnoise.report.equilibrium import linear_scaling_cards
    from gradnoise.report.source import Source as Reading

    lines = [line for _, finding, more, _ in linear_scaling_cards(Reading(tree)) for line in (finding, *more)]
    print("\n".join([*lines, *paths.values()]))
