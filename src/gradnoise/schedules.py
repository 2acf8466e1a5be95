"""Learning rates as functions of the effective step that optax does not have; its own work as they are."""

import math
from collections.abc import Callable, Sequence

from gradnoise import _checks


def quarter_cosine(learning_rate: float, num_steps: int) -> Callable[[float], float]:
    """From learning_rate to zero along the first quarter of a cosine: slowly at first, steepest at the end.

        eta(t) = learning_rate cos(pi t / (2 num_steps)),    0 for t >= num_steps

    `t` counts effective steps, so a process of several substeps sees each rate for all of them. The temperature
    eta/B of a run is that of its first step.

    >>> [round(quarter_cosine(1.0, 4)(step), 3) for step in range(5)]
    [1.0, 0.924, 0.707, 0.383, 0.0]

    Raises ValueError or TypeError, naming the argument, for a negative rate or num_steps below 1.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", schedule of the experiments.
    """
    rate = _checks.number("learning_rate", learning_rate, minimum=0)
    num_steps = _checks.integer("num_steps", num_steps)
    return lambda step: rate * math.cos(math.pi / 2 * step / num_steps) if step < num_steps else 0.0


def triangle(learning_rate: float, num_steps: int, heights: Sequence[float] = (1.0, 0.5)) -> Callable[[float], float]:
    """Cycles of equal length, one a height: in each the rate rises linearly from zero to its peak and falls back.

        eta(t) = learning_rate h_i (1 - |2 u - 1|),    i + u = t * len(heights) / num_steps,  0 <= u < 1

    The first step of each cycle has rate zero: `lambda step: schedule(step + 0.5)` takes the middle of each step.

    >>> [triangle(1.0, 8)(step) for step in range(9)]
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.25, 0.5, 0.25, 0.0]

    Raises ValueError or TypeError, naming the argument, for a negative rate or height, or num_steps below 1.

    Source: the cycle heights 1 and 1/2 are those of the experiments of Li, Malladi, Arora, "On the Validity of Modeling
    SGD with Stochastic Differential Equations" (docs/theory/processes.md).
    """
    rate = _checks.number("learning_rate", learning_rate, minimum=0)
    num_steps = _checks.integer("num_steps", num_steps)
    peaks = [rate * _checks.number("heights", height, minimum=0) for height in heights]
    if not peaks:
        raise ValueError("heights is empty, expected at least one cycle. Give (1.0, 0.5), say.")

    def schedule(step: float) -> float:
        if step >= num_steps:
            return 0.0
        cycle, place = divmod(step * len(peaks) / num_steps, 1)
        return peaks[int(cycle)] * (1 - abs(2 * place - 1))

    return schedule
