"""What simulate records of each target of a prediction, and its mean over replicas."""

from gradnoise.dynamics import Simulation
from gradnoise.estimate import Estimate, from_samples
from gradnoise.experiment.control_variates import subtract_controls

OBSERVABLES = {"test": "test_loss", "train": "train_loss", "gap": "gap"}
"""Target of a prediction -> name among `Simulation.observables`."""


def mean_of(simulation: Simulation, target: str, controls: Simulation | None) -> Estimate:
    """The mean of a target's observable over replicas, (num_records,), adjusted by `controls` where they are given.

    Raises ValueError for controls beside a simulation that brings its own.
    """
    name = OBSERVABLES[target]
    if controls is None:
        return simulation.mean(name)
    if simulation.controls:
        raise ValueError(
            "controls came with a simulation of variance_reduction, which has its own. Leave controls out."
        )
    return from_samples(subtract_controls(simulation, name, controls))
