"""The oracle for long runs of one weight: the operator form of the theorem, on Chebyshev points.

E f(w_T) = (P^T f)(w_0) with (P f)(w) = E_x f(w - eta g_x(w)), fresh examples at every step; for a loss that is a polynomial
of few powers f stays smooth, so that interpolation at some ten points is exact to rounding.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev

Function = Callable[[np.ndarray], np.ndarray]


class Operator(NamedTuple):
    """One step on values at Chebyshev points: `each` (n, k, k) with a given example, and `start` (k,), reading off w_0."""

    points: np.ndarray
    each: np.ndarray
    start: np.ndarray


def operator(slopes: Function, start: float, reach: float, learning_rate: float, num_points: int = 24) -> Operator:
    """P by example; `slopes(w)` (examples, points), equally likely; no run goes further than `reach` from the start."""
    points = chebyshev.chebpts1(num_points)
    after = start + reach * points - learning_rate * slopes(start + reach * points)
    assert np.all(np.abs(after - start) <= reach)
    inverse = np.linalg.inv(chebyshev.chebvander(points, num_points - 1))
    each = chebyshev.chebvander((after - start) / reach, num_points - 1) @ inverse
    here = chebyshev.chebvander(np.zeros(1), num_points - 1)[0] @ inverse
    return Operator(start + reach * points, each, here)


def mean_losses(step: Operator, loss: Function, steps: Sequence[int]) -> np.ndarray:
    """E loss(w_t) for the t of `steps`, ascending."""
    once, values, found, done = step.each.mean(axis=0), loss(step.points), [], 0
    for each in steps:
        for _ in range(each - done):
            values = once @ values
        found.append(step.start @ values)
        done = each
    return np.array(found)


def mean_gap(step: Operator, losses: Function, num_steps: int) -> float:
    """E test - E train after one epoch of batches of one, N = T; `losses(w)` (examples, points).

    The row used at step s has its own loss at the end: R_s A_x P^(T-1-s) l_x, with R_s w_0's reading after s steps.
    """
    once, num_examples = step.each.mean(axis=0), len(step.each)
    readings = [step.start]
    for _ in range(num_steps):
        readings.append(readings[-1] @ once)
    own = losses(step.points)
    later, train = own.copy(), 0.0
    for use in range(num_steps - 1, -1, -1):
        train += sum(readings[use] @ step.each[x] @ later[x] for x in range(num_examples)) / num_examples
        later = later @ once.T
    return float(readings[-1] @ own.mean(axis=0) - train / num_steps)
