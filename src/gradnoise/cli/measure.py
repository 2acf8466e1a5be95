"""`gradnoise measure`: noise, curvature and diagram values."""

from gradnoise.cli import options as given
from gradnoise.cli.job import Asked, Task, run
from gradnoise.cli.problems import Source


def measure(
    problem: given.Problem = None,
    data: given.Data = None,
    model: given.Model = None,
    hidden: given.Hidden = None,
    learning_rate: given.LearningRate = None,
    batch_size: given.BatchSize = None,
    momentum: given.Momentum = None,
    weight_decay: given.WeightDecay = None,
    max_order: given.MaxOrder = None,
    baseline_steps: given.BaselineSteps = None,
    memory: given.Memory = None,
    seed: given.Seed = None,
    out: given.Out = None,
    as_json: given.Json = False,
    dry_run: given.DryRun = False,
    resume: given.Resume = False,
    device: given.Device = None,
    debug: given.Debug = False,
) -> None:
    """Measure the gradients' noise.

    Noise scale, noise spectrum, curvature and diagram values, before and after a baseline run.
    """
    settings = {
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "max_order": max_order,
        "baseline_steps": baseline_steps,
        "memory": memory,
        "seed": seed,
    }
    run(
        Task("measure", ("measured",)),
        Source(problem, data, model, hidden),
        settings,
        Asked(out, as_json, dry_run, resume, device),
    )
