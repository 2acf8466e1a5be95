"""`gradnoise predict`: loss curves from the theory, without running SGD."""

from gradnoise.cli import options as given
from gradnoise.cli.job import Asked, Task, run
from gradnoise.cli.problems import Source


def predict(
    problem: given.Problem = None,
    data: given.Data = None,
    model: given.Model = None,
    hidden: given.Hidden = None,
    learning_rate: given.LearningRate = None,
    batch_size: given.BatchSize = None,
    num_examples: given.NumExamples = None,
    epochs: given.Epochs = None,
    sampling: given.Sampling = None,
    momentum: given.Momentum = None,
    weight_decay: given.WeightDecay = None,
    max_order: given.MaxOrder = None,
    baseline_steps: given.BaselineSteps = None,
    path_learning_rate: given.PathLearningRate = None,
    path_steps: given.PathSteps = None,
    num_probes: given.NumProbes = None,
    memory: given.Memory = None,
    seed: given.Seed = None,
    out: given.Out = None,
    as_json: given.Json = False,
    dry_run: given.DryRun = False,
    resume: given.Resume = False,
    device: given.Device = None,
    debug: given.Debug = False,
) -> None:
    """Predict SGD's loss curves.

    Measures first, then gives test loss, train loss and gap at several learning rates, order by order; and the test
    loss and gap of a whole training run for five batch sizes.
    """
    settings = {
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "num_examples": num_examples,
        "epochs": epochs,
        "sampling": sampling,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "max_order": max_order,
        "baseline_steps": baseline_steps,
        "path_learning_rate": path_learning_rate,
        "path_steps": path_steps,
        "num_probes": num_probes,
        "path_replicas": 0,
        "memory": memory,
        "seed": seed,
    }
    run(
        Task("predict", ("measured", "predicted", "path")),
        Source(problem, data, model, hidden),
        settings,
        Asked(out, as_json, dry_run, resume, device),
    )
