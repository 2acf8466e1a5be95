"""What the advisor on linear scaling is asked to do, and the grid of steps that follows."""

import math
from itertools import pairwise
from typing import Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from gradnoise.experiment.settings import ConstantRateSettings
from gradnoise.spacetime import Spacetime

BURN_IN, WINDOW = 3, 20
"""Relaxation times before the window over which R, G and N are averaged, and in it."""
RECORDS = 8
"""Records a relaxation time."""
EXACT_UP_TO = 4096
"""Training examples up to which G and N are exact at every record; beyond they are estimated from batches."""
MOST_BATCHES, FEWEST_BATCHES = 64, 8
SVAG_TIMES = 2
"""Relaxation times over which SVAG is compared with SGD."""
ADAM_STEPS = 2000


class Grid(NamedTuple):
    """Effective steps of the baseline: all, before the window, and between records."""

    num_steps: int
    burn_in: int
    every: int


class ScalingConfig(ConstantRateSettings):
    """Settings of `gradnoise scaling`; None means: chosen from the others, and recorded.

    SGD with `weight_decay` at `learning_rate` and `batch_size` is run to equilibrium, which takes a few relaxation times
    1/(learning_rate weight_decay), and averaged over 20 more: `num_steps` in all. `num_examples` None: every run trains on
    the whole pool; a number: each replica draws so many from it. Batches are drawn at each step ("with_replacement", or
    "subset": without). `closeness`: C of the certificate. With `verify` also at `factors` times learning rate and batch
    size, the steps divided. `svag_replicas` runs of SVAG(l), l = 1, 2, 4, 8, over 2 relaxation times tell whether the SDE
    holds (0: not asked).

    `optimizer` "adam": no certificate; only the noise at the end of a run of Adam, in Adam's own metric.
    """

    learning_rate: float = Field(0.5, gt=0, allow_inf_nan=False)
    batch_size: int = Field(16, ge=1)
    weight_decay: float = Field(5e-3, ge=0, allow_inf_nan=False)
    num_steps: int | None = Field(None, ge=1)
    num_replicas: int = Field(8, ge=2)
    closeness: float = Field(2**0.5, gt=1, allow_inf_nan=False)
    optimizer: Literal["sgd", "adam"] = "sgd"
    verify: bool = False
    factors: tuple[int, ...] = (2, 4, 8, 16, 32)
    svag_replicas: int = Field(64, ge=0)

    @field_validator("svag_replicas")
    @classmethod
    def _none_or_enough(cls, count: int) -> int:
        if 0 < count < 8:
            raise ValueError(f"svag_replicas={count} are too few for an interval, expected 0 or at least 8")
        return count

    @field_validator("factors")
    @classmethod
    def _growing(cls, factors: tuple[int, ...]) -> tuple[int, ...]:
        if not factors or factors[0] < 2 or any(b <= a for a, b in pairwise(factors)):
            raise ValueError(f"factors={factors} are no growing whole numbers from 2. Give 2,4,8, say")
        return factors

    @model_validator(mode="after")
    def _decay_is_slow(self) -> "ScalingConfig":
        if self.optimizer == "adam":
            return self
        if self.weight_decay == 0:
            raise ValueError(
                "weight_decay=0 has no equilibrium: the weights of a scale-invariant loss then grow for ever, expected "
                "above 0. Give 0.005, say"
            )
        if self.num_steps is not None and self.num_steps < BURN_IN * self.relaxation:
            raise ValueError(
                f"num_steps={self.num_steps} is less than {BURN_IN} relaxation times, {BURN_IN * self.relaxation:.0f}: "
                "nothing is left after the burn-in. Give more steps, or a larger weight_decay"
            )
        largest = self.factors[-1] if self.verify else 1
        product = largest * self.learning_rate * self.weight_decay
        if product >= 1:
            raise ValueError(
                f"weight_decay={self.weight_decay:g} times the largest learning rate "
                f"{largest * self.learning_rate:g} is {product:.3g}, expected below 1: the weights would jump over zero. "
                "Give smaller ones, or fewer factors"
            )
        return self

    @model_validator(mode="after")
    def _adam_has_no_certificate(self) -> "ScalingConfig":
        if self.optimizer == "adam" and self.verify:
            raise ValueError(
                'optimizer="adam" came with verify, expected alone: the linear rule and its certificate are SGD\'s. Leave '
                "one out"
            )
        return self

    @property
    def relaxation(self) -> float:
        """1/(learning_rate weight_decay), in steps: |x|^2 forgets its start in about so many."""
        return 1 / (self.learning_rate * self.weight_decay)

    def num_batches(self, num_pool: int, factor: int = 1) -> int | None:
        """Batches from which G and N are estimated at each record; None: from every training example."""
        if (self.num_examples or num_pool) <= EXACT_UP_TO:
            return None
        return max(MOST_BATCHES // factor, FEWEST_BATCHES)

    @property
    def run_factors(self) -> tuple[int, ...]:
        """What learning rate and batch size of the runs are multiplied by, the baseline first."""
        return (1, *self.factors) if self.verify else (1,)

    @property
    def grid(self) -> Grid:
        """Steps that all factors divide; a run of Adam has no window."""
        if self.optimizer == "adam":
            steps = self.num_steps or ADAM_STEPS
            return Grid(steps, 0, steps)
        unit = math.lcm(*self.run_factors)
        every = unit * max(1, round(self.relaxation / RECORDS / unit))
        wanted = self.num_steps or (BURN_IN + WINDOW) * self.relaxation
        records = max(3, round(wanted / every))
        return Grid(records * every, round(records * BURN_IN / (BURN_IN + WINDOW)) * every, every)

    @property
    def svag_steps(self) -> int:
        """Steps from the start over which SVAG is compared with SGD; 0 where it is not."""
        every = self.grid.every
        return max(1, round(SVAG_TIMES * self.relaxation / every)) * every if self.svag_replicas else 0

    def spacetime(self, num_pool: int, factor: int = 1) -> Spacetime:
        """The sampling pattern of the run at `factor`; ValueError, naming batch_size, if its batches are larger than N."""
        size = self.num_examples or num_pool
        return Spacetime(
            size, factor * self.batch_size, sampling=self.sampling, num_steps=self.grid.num_steps // factor
        )
