"""What a run is asked to do, made definite: start, grid, learning rates, keys, and a fingerprint of it all."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gradnoise.experiment.config import Config
from gradnoise.experiment.problem_job import ProblemJob
from gradnoise.measure.curvature import hessian_extremes
from gradnoise.problem import Problem, penalized
from gradnoise.smoothness import kinks
from gradnoise.spacetime import Spacetime

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""The learning rates tried, in units of the main one."""
SERIES_REACH = 0.25
"""The main learning rate where none is given: learning_rate * num_steps * lambda_max / (1 - momentum)."""
BASELINE_REACH = 0.5
"""The baseline's learning rate where none is given, in units of 1 / lambda_max."""
NO_POOL_DRAWS = 1000


@dataclass
class Setup(ProblemJob[Config]):
    """One problem and its settings, with everything that was left open chosen."""

    keys = ("params", "values", "noise", "baseline", "replicas", "path")

    @cached_property
    def spacetime(self) -> Spacetime:
        return self.config.spacetime(self.problem.num_pool)

    @cached_property
    def curvature(self) -> float:
        """lambda_max of the training loss (penalty included) at the start."""
        return float(hessian_extremes(self.penalized, self.params, **self.draws("noise")).largest.value)

    @cached_property
    def learning_rate(self) -> float:
        if self.config.learning_rate is not None:
            return self.config.learning_rate
        scale = max(self.curvature, 1e-12) * self.spacetime.num_steps / (1 - self.config.momentum)
        return two_digits(SERIES_REACH / scale)

    @cached_property
    def baseline_rate(self) -> float:
        return self.config.learning_rate or two_digits(
            BASELINE_REACH * (1 - self.config.momentum) / max(self.curvature, 1e-12)
        )

    @cached_property
    def penalized(self) -> Problem:
        return penalized(self.problem, self.config.weight_decay)

    @property
    def rates(self) -> list[float]:
        return [two_digits(self.learning_rate * factor, 4) for factor in RATES]

    def draws(self, meaning: str) -> dict[str, Any]:
        """Arguments of a measurement: the pool is the population; without one, draws."""
        if self.problem.pool is not None:
            return {"memory": self.config.memory}
        return {"num_draws": NO_POOL_DRAWS, "key": self.key[meaning], "memory": self.config.memory}

    @property
    def attributes(self) -> dict[str, Any]:
        spacetime = self.spacetime
        return {
            "problem": self.problem.name,
            "setting": self.problem.setting,
            "num_pool": self.problem.num_pool,
            "num_parameters": self.num_parameters,
            "kinks": kinks(self.penalized, self.params),
            "num_examples": spacetime.num_examples,
            "batch_size": spacetime.batch_size,
            "epochs": float(spacetime.epochs),
            "num_steps": spacetime.num_steps,
            "sampling": spacetime.sampling,
            "momentum": self.config.momentum,
            "weight_decay": self.config.weight_decay,
            "learning_rate": self.learning_rate,
            "seed": self.config.seed,
        }

    @property
    def every(self) -> int:
        """Steps between records: about 8 records."""
        steps = self.spacetime.num_steps
        return min((d for d in range(1, steps + 1) if steps % d == 0), key=lambda d: abs(steps / d - 8))


def two_digits(value: float, digits: int = 2) -> float:
    """`value` in `digits` significant digits."""
    return float(f"{value:.{digits}g}")
