"""Run a named experiment of the paper: means along effective steps, differences, and one sentence."""

from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import xarray as xr

from gradnoise import _checks, dynamics
from gradnoise._types import Examples, Params
from gradnoise.dynamics import Simulation, gradient_descent, noisy_gd, sgd, svag
from gradnoise.experiment.problem_job import Progress, silent
from gradnoise.experiment.svag_paper.configuration import Configuration, Run, Setting
from gradnoise.experiment.svag_paper.configurations import CONFIGURATIONS
from gradnoise.experiment.svag_paper.linear_scaling import linear_scaling
from gradnoise.experiment.svag_paper.problems import problems_of
from gradnoise.experiment.svag_paper.table import curves_table, sentence
from gradnoise.problem import Problem
from gradnoise.process import Process
from gradnoise.results import provenance
from gradnoise.results.checkpoint import CheckpointFolder
from gradnoise.results.schema import clean_attributes

PROCESSES = {"sgd": sgd, "noisy_gd": noisy_gd, "gradient_descent": gradient_descent}


def squared_norm(params: Params, examples: Examples) -> jax.Array:
    """|theta|^2 over all weights."""
    return sum((jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(params)), jnp.zeros(()))


OBSERVE = {"squared_norm": squared_norm}


def run_configuration(
    name: str,
    size: str = "small",
    problem: Problem | Mapping[str, Problem] | None = None,
    seed: int = 0,
    store: str | Path | None = None,
    progress: Progress | None = None,
    num_replicas: int | None = None,
) -> xr.Dataset:
    """The experiment `name` of CONFIGURATIONS: curves of its processes beside each other, and a sentence on what they show.

    `test_loss`, `train_loss`, `gap`, the metrics and `squared_norm` (|theta|^2) have the dimensions (process, step), means
    over replicas, each with its standard error `..._se`. Beside them `..._difference` and its `_se` (pair, step) of the
    pairs that the experiment compares, replica by replica (all runs have one key), and `..._band`: no true difference is
    further off than that many errors, over all pairs and steps, with the chance 95 %. A family of SVAG(l) also has
    `..._limit` and `..._coefficient` (step) of limit + C/l with errors, and `..._slope` with `_low`, `_high`: see
    `weak_order`. The entry "linear-scaling" runs `experiment.scaling` and gives its averages and critical batches as well.
    Steps are effective ones: SVAG(l) takes l substeps in each. Attributes are the settings; `sentence` says what was found
    about `observable`, with the strength of the statement.

    size "small" runs on scikit-learn's digits in seconds, or on a `problem` of yours; "paper" has the paper's learning rate,
    batch size, decay, length and milestones and needs your data and model: a mapping of problems for "normalization" and
    "width". (A batch-norm loss cannot be stated: losses are of one example each.) `store`: a folder where the runs are
    kept, from which a killed call goes on; `num_replicas`: other than the setting's.

    >>> import numpy as np
    >>> import gradnoise as gn
    >>> pool = np.linspace(-1, 1, 1024, dtype=np.float32)
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float32(1), pool)
    >>> found = run_configuration("sgd-noisygd-gd", problem=problem, num_replicas=8)
    >>> found["train_loss"].dims, found["process"].values.tolist()
    (('process', 'step'), ['SGD', 'noisy GD', 'GD'])

    Raises ValueError for an unknown name or size, the paper's size without a problem or with a pool below its 50,000
    examples, fewer than 8 replicas, and if a replica diverged; TypeError for other types.

    Source: Li, Malladi, Arora, "On the Validity of Modeling SGD with Stochastic Differential Equations"; settings as in
    docs/experiments.md.
    """
    configuration = CONFIGURATIONS[_checks.one_of("name", name, CONFIGURATIONS)]
    setting = configuration.at(size)
    problems = problems_of(name, configuration, size, problem)
    seed = _checks.integer("seed", seed, minimum=0)
    least = 8 if isinstance(setting, Setting) else 2
    replicas = _checks.integer("num_replicas", setting.num_replicas if num_replicas is None else num_replicas, least)
    hear = progress or silent
    folder = None if store is None else Path(store) / f"{name}-{size}-{seed}"
    if isinstance(setting, Setting):
        runs = simulations(configuration, setting, problems, seed, replicas, folder, hear)
        found = curves_table(configuration, runs).assign_attrs(
            sentence=sentence(configuration, runs), **_facts(setting, runs)
        )
    else:
        (one,) = problems.values()
        config = setting.model_copy(update={"seed": seed, "num_replicas": replicas})
        found = linear_scaling(one, config, folder, hear)
    named = {"configuration": name, "size": size, "question": configuration.question, "seed": seed}
    told = {**named, "observable": configuration.observable, "problem": [each.name for each in problems.values()]}
    return found.drop_attrs(deep=False).assign_attrs(clean_attributes({**told, **found.attrs, **provenance()}))


def simulations(
    configuration: Configuration,
    setting: Setting,
    problems: Mapping[str, Problem],
    seed: int,
    num_replicas: int,
    folder: Path | None,
    progress: Progress,
) -> dict[str, Simulation]:
    """Label -> the runs of it, all with one key: replica r has one training set, and where it can one stream of batches."""
    start, key = jax.random.split(jax.random.key(seed))
    found = {}
    for place, (label, run) in enumerate(configuration.runs.items()):
        problem = problems[run.model]

        def hear(done: int, total: int, label: str = label, place: int = place) -> None:
            progress(label, (place + done / total) / len(configuration.runs))

        found[label] = dynamics.simulate(
            process_of(run, problem, setting.weight_decay), problem.init(start), setting.spacetime(run.sampling),
            setting.rates(run.schedule), num_replicas, key, OBSERVE, setting.every,
            "given" if problem.num_pool == setting.num_examples else "distinct", progress=hear,
            checkpoint=None if folder is None else CheckpointFolder(folder / _file_name(label)),
        )  # fmt: skip
    return found


def process_of(run: Run, problem: Problem, weight_decay: float) -> Process:
    """The process of a run."""
    if run.process == "svag":
        return svag(problem, run.l, weight_decay=weight_decay)
    return PROCESSES[run.process](problem, weight_decay=weight_decay)


def _file_name(label: str) -> str:
    return "".join(sign if sign.isalnum() else "-" for sign in label)


def _facts(setting: Setting, runs: Mapping[str, Simulation]) -> dict[str, object]:
    first = next(iter(runs.values()))
    return {
        "learning_rate": setting.learning_rate, "batch_size": setting.batch_size, "num_examples": setting.num_examples,
        "num_steps": setting.num_steps, "weight_decay": setting.weight_decay, "sampling": setting.sampling,
        "milestones": ", ".join(map(str, setting.milestones)), "num_replicas": first.num_replicas, "setting": first.setting,
        "training_set": first.training_set,
    }  # fmt: skip
