"""Whether the mean force of a run vanishes, as it does in a stationary one."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from gradnoise import _checks
from gradnoise.autocorrelation import autocorrelation_time
from gradnoise.bootstrap import block_length, time_averages
from gradnoise.estimate import Estimate
from gradnoise.stationary.averages import in_window


class ForceBalance(NamedTuple):
    """Whether the mean force vanishes, (34); see `force_balance`."""

    left: Estimate
    """(direction,): <s> along each."""
    right: float
    """0, so that there is no ratio: `p_value` takes its place."""
    p_value: float
    """Of the largest |mean|/error among the directions, Bonferroni; NaN for a window too short."""
    conclusion: str


def force_balance(
    *forces: ArrayLike, window: tuple[int, int] | None = None, every: int = 1, level: float = 0.95
) -> ForceBalance:
    """<s> = 0: in a stationary run the force, weight decay included, averages to zero along every direction.

    Each of `forces` is a series (record,) or (replica, record) of s along one direction (`force_0`, ...), recorded every
    `every` steps; the window is in steps. Exact for SGD with or without momentum, for any loss. The error is that of
    `bootstrap.time_averages`, the p value Student's with one degree of freedom less than blocks.

    >>> force_balance(np.random.default_rng(0).normal(size=1000)).conclusion
    'agrees'

    Raises ValueError for no series, series that differ in shape, a window outside the records, a level outside (0, 1).

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eq (34).
    """
    if not forces:
        raise ValueError("forces is empty, expected at least one series. Give the force along a direction.")
    level = _checks.number("level", level, above=0.0, below=1.0)
    rows = in_window({f"forces[{i}]": force for i, force in enumerate(forces)}, window, every)
    means = time_averages(*rows)
    if np.isnan(means.stderr).any():
        told = "cannot tell: the window holds fewer than 20 autocorrelation times. Average over a longer one."
        return ForceBalance(means, 0.0, float("nan"), told)
    count, longest = rows[0].size, rows[0].shape[1]
    length = block_length(max(autocorrelation_time(row) for row in rows), count, longest)
    sizes, rounding = np.abs(means.value), 1e-12 * np.max(np.abs(rows))
    errors = np.where(means.stderr > 0, means.stderr, np.where(sizes > rounding, np.finfo(float).tiny, np.inf))
    scores = sizes / errors
    p_value = min(1.0, len(rows) * 2 * float(stats.t.sf(scores.max(), max(count / length - 1, 1))))
    worst = int(scores.argmax())
    told = (
        f"differs: <s> is {means.value[worst]:.3g} +- {means.stderr[worst]:.2g} along direction {worst}: not stationary"
    )
    return ForceBalance(means, 0.0, p_value, told if p_value < 1 - level else "agrees")
