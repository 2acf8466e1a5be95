"""A predicted curve: partial sums of the series by step and order, with their errors and what they are of."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gradnoise.estimate import Estimate
from gradnoise.spacetime import Spacetime


@dataclass(frozen=True, eq=False, repr=False)
class Curve(Estimate):
    """Predicted loss: `value` and `stderr` of shape (num_steps + 1, max_order + 1), partial sums by order, step 0 first.

    Row t is the prediction after t updates, column k the sum of the terms through learning_rate^k. Columns beyond
    `licensed_order` (a loss with kinks) are numbers without a licence. `settings` are the optimizer's. `learning_rate` is
    what a simulation of the same run takes: the number or tree given, or with a schedule the rates of all steps (None if
    both: no simulation takes it).
    """

    target: str = "test"
    learning_rate: Any = 0.0
    spacetime: Spacetime | None = None
    licensed_order: int = 0
    setting: str = "population"
    problem_name: str = "problem"
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def max_order(self) -> int:
        """The highest power of the learning rate in the last column."""
        return np.shape(self.value)[1] - 1

    def __repr__(self) -> str:
        steps, orders = np.shape(self.value)
        return f"Curve({self.target} loss of {self.problem_name}, steps 0..{steps - 1}, orders 0..{orders - 1})"
