"""What a simulation gives back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gradnoise.dynamics.controls import Controls, adjust
from gradnoise.estimate import Estimate, from_samples
from gradnoise.process import Process
from gradnoise.spacetime import Spacetime


@dataclass(frozen=True, eq=False)
class Simulation:
    """Observables of many independent runs of one process, recorded every few effective steps.

    `observables[name]` has shape (replica, record), in the losses' own units; always test_loss, train_loss and
    gap = test_loss - train_loss, for each metric test_ and train_, and what `observe` asked for. `steps` are the
    recorded effective steps. `diverged_at` is, for each replica, the first step after which its weights were not
    finite, or the first RECORDED step where a loss was not (losses are seen only there), or -1; from that step on its
    observables are NaN. `setting` says what test loss means: "population" (the
    mean over the examples that training sets are drawn from), "held out" (over other examples) or "this training
    set" (all replicas train on the whole pool). `chunk_width` and `num_devices` fix the last bits of the numbers.
    `controls`: numbers of known expectation recorded beside an observable (`simulate(variance_reduction=...)`).
    """

    observables: dict[str, Float[np.ndarray, "replica record"]] = field(repr=False)
    steps: Int[np.ndarray, " record"] = field(repr=False)
    diverged_at: Int[np.ndarray, " replica"] = field(repr=False)
    process: Process = field(repr=False)
    spacetime: Spacetime
    learning_rate: Any
    num_replicas: int
    training_set: str
    num_test_draws: int | None
    dtype: str
    device: str
    num_devices: int
    chunk_width: int
    setting: str
    problem_name: str
    process_name: str
    controls: Mapping[str, Controls] = field(default_factory=dict, repr=False)

    def mean(self, name: str) -> Estimate:
        """The mean over replicas at each recorded step, shape (record,); the error is the standard error over replicas.

        Where `controls` has the name, the mean is adjusted by them: unbiased still, its error smaller.

        Raises ValueError if a replica diverged (a mean over the others would be biased), KeyError if nothing of that
        name was recorded.
        """
        if name not in self.observables:
            raise KeyError(f"{name!r} was not recorded. Choose one of {', '.join(self.observables)}.")
        diverged = self.diverged_at[self.diverged_at >= 0]
        if len(diverged):
            raise ValueError(
                f"{len(diverged)} of {self.num_replicas} replicas diverged, the first at step {diverged.min()} "
                f"(learning_rate={self.learning_rate}), and a mean over the others would be biased. Lower "
                f"learning_rate, stop before that step, or read observables[{name!r}], NaN from their step on."
            )
        if name not in self.controls:
            return from_samples(self.observables[name])
        adjusted, common = adjust(self.observables[name], self.controls[name])
        found = from_samples(adjusted)
        return Estimate(found.value, np.hypot(found.stderr, common), found.num_samples)
