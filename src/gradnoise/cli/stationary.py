"""`gradnoise stationary`: is the run stationary, is it an equilibrium, what is its noise like."""

from gradnoise.cli import equilibrium_options as own
from gradnoise.cli import options as given
from gradnoise.cli.alone import Command, run_alone
from gradnoise.cli.job import Asked
from gradnoise.cli.problems import Source

COMMAND = Command(
    "stationary",
    "gradnoise.experiment.stationary_run",
    "gradnoise.report.stationary:stationary_cards",
    "digits-logistic",
)


def stationary(
    problem: given.Problem = None,
    data: given.Data = None,
    model: given.Model = None,
    hidden: given.Hidden = None,
    learning_rate: own.StationaryRate = None,
    batch_size: given.BatchSize = None,
    weight_decay: own.StationaryDecay = None,
    num_examples: own.EquilibriumExamples = None,
    sampling: own.EquilibriumSampling = None,
    num_steps: own.StationarySteps = None,
    num_replicas: own.StationaryReplicas = None,
    memory: given.Memory = None,
    seed: given.Seed = None,
    out: given.ScalingOut = None,
    as_json: given.Json = False,
    dry_run: given.DryRun = False,
    resume: given.Resume = False,
    device: given.Device = None,
    debug: given.Debug = False,
) -> None:
    """Say whether SGD has settled, whether that is an equilibrium, and what its noise is like.

    Run SGD at a constant learning rate; check the fluctuation-dissipation identities, test time reversal, and measure
    the noise spectrum at 20, 40 and 100 percent of training. Default problem: digits-logistic.
    """
    settings = {
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "weight_decay": weight_decay,
        "num_examples": num_examples,
        "sampling": sampling,
        "num_steps": num_steps,
        "num_replicas": num_replicas,
        "memory": memory,
        "seed": seed,
    }
    run_alone(COMMAND, Source(problem, data, model, hidden), settings, Asked(out, as_json, dry_run, resume, device))
