"""What a named experiment is: the runs beside each other, the pairs to compare, and its settings at two sizes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import optax
from jaxtyping import Float

from gradnoise import _checks
from gradnoise.experiment.scaling import Config as ScalingConfig
from gradnoise.schedules import quarter_cosine, triangle
from gradnoise.spacetime import Spacetime

SIZES = ("small", "paper")
SCHEDULES = ("step", "cosine", "triangle", "quarter_cosine")
DECAY = 0.1
"""What each milestone multiplies the learning rate by."""


class Model(NamedTuple):
    """A stock model on the digits by its name in `testbeds.catalogue.MODELS`, and its options."""

    name: str
    options: Mapping[str, Any] = {}


class Run(NamedTuple):
    """One curve: a process by its public name; `l` is SVAG's, `sampling` None the setting's, `model` one of the labels."""

    process: str
    l: int = 1
    schedule: str = "step"
    sampling: str | None = None
    model: str = "network"


@dataclass(frozen=True)
class Setting:
    """The numbers of one size; learning rates and milestones are in effective steps, `every` steps lie between records.

    `num_examples` is the size N of the training set: the problem's whole pool where it holds as many, else N distinct
    examples of it for each replica. At each of the `milestones` the rate of the "step" schedule falls to a tenth.
    """

    learning_rate: float
    batch_size: int
    num_examples: int
    num_steps: int
    every: int
    num_replicas: int
    weight_decay: float = 5e-4
    sampling: str = "with_replacement"
    milestones: tuple[int, ...] = ()

    def spacetime(self, sampling: str | None = None) -> Spacetime:
        """The grid of a run; with epochs, those that hold the steps, cut after the last step."""
        sampling = sampling or self.sampling
        if sampling in ("fixed", "reshuffle"):
            epochs = -(-self.num_steps * self.batch_size // self.num_examples)
            return Spacetime(self.num_examples, self.batch_size, epochs, sampling).truncate(self.num_steps)
        return Spacetime(self.num_examples, self.batch_size, sampling=sampling, num_steps=self.num_steps)

    def rates(self, schedule: str) -> Float[np.ndarray, " num_steps"]:
        """The learning rate of each effective step under a schedule of SCHEDULES; cycles are read at mid-step.

        >>> setting = Setting(0.8, 10, 100, 4, 1, 8, milestones=(3,))
        >>> setting.rates("step"), setting.rates("triangle")
        (array([0.8 , 0.8 , 0.8 , 0.08]), array([0.4, 0.4, 0.2, 0.2]))
        """
        _checks.one_of("schedule", schedule, SCHEDULES)
        rate, steps = self.learning_rate, np.arange(self.num_steps)
        if schedule == "step":
            return rate * DECAY ** np.searchsorted(self.milestones, steps, side="right")
        if schedule == "cosine":
            return np.asarray(optax.cosine_decay_schedule(rate, self.num_steps)(steps), dtype=float)
        if schedule == "triangle":
            rise = triangle(rate, self.num_steps)
            return np.array([rise(step + 0.5) for step in range(self.num_steps)])
        fall = quarter_cosine(rate, self.num_steps)
        return np.array([fall(step) for step in range(self.num_steps)])


@dataclass(frozen=True)
class Configuration:
    """A named experiment of the paper; `at("small")` and `at("paper")` are its settings.

    `runs` by label; `pairs` (other, base) of labels, each compared replica by replica; `models` by label, what a caller's
    problems replace; `observable` is what the sentence is about. The linear-scaling entry has no runs of its own: its
    settings are those of `experiment.scaling`.
    """

    question: str
    small: Setting | ScalingConfig
    paper: Setting | ScalingConfig
    runs: Mapping[str, Run] = field(default_factory=dict)
    pairs: tuple[tuple[str, str], ...] = ()
    models: Mapping[str, Model] = field(default_factory=lambda: {"network": Model("mlp")})
    observable: str = "train_loss"

    def at(self, size: str) -> Setting | ScalingConfig:
        """The settings at a size.

        Raises ValueError for a size other than "small" and "paper".
        """
        return self.small if _checks.one_of("size", size, SIZES) == "small" else self.paper

    @property
    def l_values(self) -> tuple[int, ...]:
        """The l of a family of SVAG alone, 1 first; empty for other experiments."""
        found = [run for run in self.runs.values() if run == Run("svag", run.l)]
        return tuple(run.l for run in found) if len(found) == len(self.runs) else ()
