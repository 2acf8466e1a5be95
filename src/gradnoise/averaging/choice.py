"""From the optimum temperature to what to run: the cheapest learning rate and batch size, and what more seeds would tell."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from gradnoise import _checks
from gradnoise.averaging.optimum import FittedOptimum


class CheapestCell(NamedTuple):
    """The cell to run; see `cheapest_cell`."""

    cell: int
    learning_rate: float
    batch_size: float
    cost: float
    num_candidates: int
    """Cells of the best temperature that the curvature allows."""


class IntervalAfter(NamedTuple):
    """The optimum's interval as more seeds are expected to leave it; see `interval_after`."""

    num_seeds: int
    low: float
    high: float
    factor: float
    """By which the interval of log T shrinks."""


def cheapest_cell(
    optimum: FittedOptimum,
    learning_rate: ArrayLike,
    batch_size: ArrayLike,
    cost: ArrayLike,
    curvature: float | None = None,
    momentum: float = 0.0,
) -> CheapestCell:
    """The cheapest of the cells whose temperature, learning rate / batch size, lies in the optimum's interval.

    `learning_rate`, `batch_size` and `cost` have shape (cell,); cost in seconds or steps, any unit. With `curvature` h, the
    largest eigenvalue of the Hessian, only rates below 2 (1 + mu)/h are taken, where SGD with momentum mu is stable in a
    quadratic of that curvature. Large batches need large rates: the cap is what keeps the cheapest cell from being the
    largest batch.

    >>> from gradnoise.estimate import Estimate
    >>> found = FittedOptimum(Estimate(0.01, 0.001, 5), Estimate(0.3, 0.01, 5), 0.007, 0.014, 0.95, 5)
    >>> cheapest_cell(found, [0.1, 0.4, 1.6, 0.1], [10, 40, 160, 1000], cost=[8, 3, 2, 1], curvature=2.0)
    CheapestCell(cell=1, learning_rate=0.4, batch_size=40.0, cost=3.0, num_candidates=2)

    Raises ValueError for shapes that differ, numbers not positive, or no cell left.

    Source: docs/theory/temperature_protocol.md, "The optimum"; below 2 (1 + mu)/h heavy ball is stable.
    """
    rates, batches, costs = (np.asarray(x, dtype=float) for x in (learning_rate, batch_size, cost))
    if rates.ndim != 1 or not rates.shape == batches.shape == costs.shape:
        raise ValueError(
            f"learning_rate, batch_size and cost have shapes {rates.shape}, {batches.shape} and {costs.shape}, "
            "expected (cell,) for each. Give one number a cell."
        )
    if not all(np.all(np.isfinite(x) & (x > 0)) for x in (rates, batches, costs)):
        raise ValueError("learning_rate, batch_size or cost holds numbers that are not positive and finite. Mend them.")
    cap = math.inf
    if curvature is not None:
        steepest = _checks.number("curvature", curvature, above=0.0)
        cap = 2 * (1 + _checks.number("momentum", momentum, 0.0, below=1.0)) / steepest
    temperatures = rates / batches
    allowed = np.flatnonzero((temperatures >= optimum.low) & (temperatures <= optimum.high) & (rates < cap))
    if not len(allowed):
        raise ValueError(
            f"No cell has a temperature from {optimum.low:.3g} to {optimum.high:.3g} and a learning rate below {cap:.3g}. "
            f"Give cells with learning rate / batch size near {optimum.temperature.value:.3g}."
        )
    best = int(allowed[costs[allowed].argmin()])
    return CheapestCell(best, float(rates[best]), float(batches[best]), float(costs[best]), len(allowed))


def interval_after(optimum: FittedOptimum, seconds: float, seconds_a_seed: float) -> IntervalAfter:
    """What `seconds` more are expected to buy: the interval after S' = S + floor(seconds / seconds_a_seed) seeds.

        factor = sqrt(S/S') t(S' - 1)/t(S - 1)

    `seconds_a_seed`: of one further seed at every temperature. The same runs at temperatures in between count alike as long
    as they lie within the rows of the fit. Ends of log T move towards the optimum by the factor; ends at an edge stay. It
    is the seeds' part that shrinks: what the interval allows for the shape of the curve shrinks with closer temperatures.

    >>> from gradnoise.estimate import Estimate
    >>> found = FittedOptimum(Estimate(0.01, 0.001, 5), Estimate(0.3, 0.01, 5), 0.005, 0.02, 0.95, 5)
    >>> interval_after(found, seconds=3600, seconds_a_seed=240)
    IntervalAfter(num_seeds=20, low=0.00770, high=0.01299, factor=0.377)

    Raises ValueError for seconds below zero or seconds_a_seed not positive.

    Source: the variance of a mean of S seeds; Student's t.
    """
    seconds = _checks.number("seconds", seconds, minimum=0.0)
    more = int(seconds // _checks.number("seconds_a_seed", seconds_a_seed, above=0.0))
    now, then = optimum.num_seeds, optimum.num_seeds + more
    tail = (1 + optimum.level) / 2
    factor = math.sqrt(now / then) * float(stats.t.ppf(tail, then - 1) / stats.t.ppf(tail, now - 1))
    value = float(optimum.temperature.value)
    low = value * (optimum.low / value) ** factor if optimum.low > 0 else 0.0
    high = value * (optimum.high / value) ** factor if optimum.high < math.inf else math.inf
    return IntervalAfter(then, low, high, factor)
