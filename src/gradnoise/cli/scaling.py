"""`gradnoise scaling`: how far the batch can grow by the linear scaling rule."""

from typing import Any

from gradnoise.cli import equilibrium_options as own
from gradnoise.cli import options as given
from gradnoise.cli.alone import Command, findings, run_alone
from gradnoise.cli.environment import prepare
from gradnoise.cli.expected import WrongUse
from gradnoise.cli.job import Asked, tell
from gradnoise.cli.place import Place
from gradnoise.cli.problems import Source

COMMAND = Command(
    "scaling",
    "gradnoise.experiment.scaling",
    "gradnoise.report.equilibrium:linear_scaling_cards",
    "digits-normalized-mlp",
)


def scaling(
    problem: given.Problem = None,
    data: given.Data = None,
    model: given.Model = None,
    label_noise: own.LabelNoise = None,
    learning_rate: own.EquilibriumRate = None,
    batch_size: own.EquilibriumBatch = None,
    weight_decay: own.EquilibriumDecay = None,
    num_examples: own.EquilibriumExamples = None,
    sampling: own.EquilibriumSampling = None,
    num_steps: own.EquilibriumSteps = None,
    num_replicas: own.EquilibriumReplicas = None,
    closeness: own.Closeness = None,
    optimizer: own.Optimizer = None,
    verify: own.Verify = False,
    factors: own.Factors = None,
    svag_replicas: own.SvagReplicas = None,
    read: own.Read = None,
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
    if read is not None:
        others = {"problem": problem, "data": data, "model": model, "label_noise": label_noise}
        flags = {"dry_run": dry_run or None, "resume": resume or None}
        _read_again(read, settings | others | flags, asked)
        return
    run_alone(COMMAND, Source(problem, data, model, None), settings, asked, _with_label_noise(label_noise or 0.0))


def _with_label_noise(share: float) -> Any:
    """What `run_alone` does with the problem before it runs."""

    def prepared(problem: Any, config: Any) -> Any:
        from gradnoise.testbeds.label_noise import with_label_noise

        noisy = with_label_noise(problem, share, config.seed) if share else problem
        if noisy.num_pool is not None:
            for factor in config.run_factors:
                config.spacetime(noisy.num_pool, factor)
        return noisy

    return prepared


def _read_again(path: str, settings: dict[str, Any], asked: Asked) -> None:
    """Judge the runs in a results file with another closeness."""
    other = {name for name, value in settings.items() if value is not None} - {"closeness"}
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
    if "scaling" not in tree.children or "squared_norm" not in tree["scaling"]:
        raise WrongUse(f"--read={path!r} holds no runs of gradnoise scaling, expected its results.nc. Give that file.")
    closeness = settings.get("closeness")
    if closeness is not None and not closeness > 1:
        raise WrongUse(f"--closeness={closeness:g} is not above 1, expected a factor. Give --closeness 1.4142, say.")
    judged = build_tree(
        {"scaling": judge(tree["scaling"].to_dataset(), closeness)},
        {str(name): value for name, value in tree.attrs.items()},
    )
    paths = {} if place is None else place.write(judged, True)
    tell(COMMAND.name, judged, paths, [], asked.json, lambda: findings(COMMAND, judged))
