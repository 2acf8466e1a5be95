"""`gradnoise report`: the main job."""

from gradnoise.cli import options as given
from gradnoise.cli.job import Asked, Task, run
from gradnoise.cli.problems import Source

DEFAULT_OUT = "gradnoise-report"


def report(
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
    num_replicas: given.NumReplicas = None,
    max_order: given.MaxOrder = None,
    baseline_steps: given.BaselineSteps = None,
    path_learning_rate: given.PathLearningRate = None,
    path_steps: given.PathSteps = None,
    num_probes: given.NumProbes = None,
    memory: given.Memory = None,
    seed: given.Seed = None,
    out: given.ReportOut = None,
    as_json: given.Json = False,
    dry_run: given.DryRun = False,
    error: given.Error = None,
    resume: given.Resume = False,
    device: given.Device = None,
    debug: given.Debug = False,
) -> None:
    """Do it all: one results file, one HTML page.

    Measure the noise in the gradients, predict SGD from it, simulate SGD, and compare.
    """
    settings = {
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "num_examples": num_examples,
        "epochs": epochs,
        "sampling": sampling,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "num_replicas": num_replicas,
        "max_order": max_order,
        "baseline_steps": baseline_steps,
        "path_learning_rate": path_learning_rate,
        "path_steps": path_steps,
        "num_probes": num_probes,
        "memory": memory,
        "seed": seed,
    }
    run(
        Task("report", ("measured", "predicted", "simulated", "compared", "path"), page=True),
        Source(problem, data, model, hidden),
        settings,
        Asked(out or DEFAULT_OUT, as_json, dry_run, resume, device, error),
    )
