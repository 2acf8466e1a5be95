"""What `predict_resummed` gives back, and where it stands."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gradnoise.diagrams.diagram import Diagram
from gradnoise.estimate import Estimate
from gradnoise.spacetime import Spacetime


@dataclass(frozen=True, eq=False, repr=False)
class ResummedCurve(Estimate):
    """A resummed curve: `value` and `stderr` (num_steps + 1,), step 0 first; (num_steps + 1, P) for the displacement.

    `diagrams`: those that were summed. `truncation_error` (num_steps + 1,): a bound on what a limited `rank` changes, zero
    for all directions. `eigenvalues`: the curvatures that were found, ascending; negative ones are used as they are.
    `domain`: where the sum converges, in words. `kinks`: what in the loss is not smooth; the numbers then have no licence.
    """

    diagrams: tuple[Diagram, ...] = ()
    truncation_error: Any = 0.0
    eigenvalues: Any = ()
    domain: str = ""
    kinks: tuple[str, ...] = ()
    target: str = "test"
    learning_rate: float = 0.0
    spacetime: Spacetime | None = None
    excess_power: int = 1
    rank: int | None = None
    setting: str = "population"
    problem_name: str = "problem"
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def negative_eigenvalues(self) -> np.ndarray:
        """The curvatures below zero beyond rounding: along these the sums grow with every step."""
        return negative(self.eigenvalues)

    def __repr__(self) -> str:
        steps = len(self.value) - 1
        return f"ResummedCurve({self.target} of {self.problem_name}, {steps} steps, {len(self.diagrams)} diagrams)"


def negative(eigenvalues: Any) -> np.ndarray:
    """Eigenvalues below zero by more than the rounding of their sum."""
    values = np.asarray(eigenvalues, dtype=float)
    return values[values < -_rounding(values)]


def domain_sentence(eigenvalues: Any, learning_rate: float, momentum: float, num_left: int = 0) -> str:
    """Which curvatures let the sums converge as the run gets longer: 0 < eta h < 2 (1 + momentum).

    `num_left` directions besides were taken as flat.

    >>> domain_sentence([-0.5, 0.0, 1.0], learning_rate=0.1, momentum=0.0)
    '1 of 3 curvatures is negative, the lowest -0.5: there the sums grow; 1 of 3 is zero: there noise spreads for ever'
    """
    values, end = np.asarray(eigenvalues, dtype=float), 2 * (1 + momentum)
    below, steep = negative(values), values[learning_rate * values >= end]
    flat = int((np.abs(values) <= _rounding(values)).sum())
    told = []
    if len(below):
        told.append(f"{_some(len(below), values)} negative, the lowest {below.min():.3g}: there the sums grow")
    if flat:
        told.append(f"{_some(flat, values)} zero: there noise spreads for ever")
    if len(steep):
        told.append(
            f"{_some(len(steep), values)} above {end:g}/learning_rate, up to {steep.max():.3g}: there SGD diverges"
        )
    for place in range(1, len(told)):
        told[place] = told[place].replace(f" {'curvatures' if len(values) > 1 else 'curvature'}", "", 1)
    if not told:
        every = f"all {len(values)} curvatures" if len(values) > 1 else "the one curvature"
        told.append(f"0 < eta h < {end:g} for {every}: the sum converges however long the run")
    if num_left:
        told.append(
            f"{num_left} more directions were taken as flat, which holds for as long as truncation_error is small"
        )
    return "; ".join(told)


def _some(count: int, values: np.ndarray) -> str:
    noun = "curvatures" if len(values) > 1 else "curvature"
    return f"{count} of {len(values)} {noun} {'is' if count == 1 else 'are'}"


def _rounding(values: np.ndarray) -> float:
    return len(values) * float(np.finfo(float).eps) * float(np.abs(values).max(initial=0.0))
