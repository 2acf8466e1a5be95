"""`gradnoise simulate`: SGD itself, many times."""

from gradnoise.cli import options as given
from gradnoise.cli.job import Asked, Task, run
from gradnoise.cli.problems import Source


def simulate(
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
    memory: given.Memory = None,
    seed: given.Seed = None,
    out: given.Out = None,
    as_json: given.Json = False,
    dry_run: given.DryRun = False,
    error: given.Error = None,
    resume: given.Resume = False,
    device: given.Device = None,
    debug: given.Debug = False,
) -> None:
    """Run SGD many times.

    Mean test loss, train loss and gap with their errors, at several learning rates.
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
        "memory": memory,
        "seed": seed,
    }
    run(
        Task("simulate", ("simulated",)),
        Source(problem, data, model, hidden),
        settings,
        Asked(out, as_json, dry_run, resume, device, error),
    )
