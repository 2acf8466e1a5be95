"""From the best temperature to what to run: the learning rate and batch size that train fastest, and what an hour buys."""

import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import xarray as xr

from gradnoise import _tree
from gradnoise.averaging import FittedOptimum, cheapest_cell, interval_after
from gradnoise.dynamics import sgd
from gradnoise.dynamics.train import train
from gradnoise.estimate import Estimate
from gradnoise.experiment.sweep.config import SweepPlan
from gradnoise.experiment.sweep.judge import GROUP
from gradnoise.experiment.sweep.problems import problem_of
from gradnoise.measure import hessian_extremes
from gradnoise.problem import Problem, from_arrays

HOUR = 3600.0
TIMED, REPEATS, LONGEST = 200, 4, 20_000
"""Steps that are timed, how often, the most steps of the run at whose end the curvature is measured."""
ENDS = ("optimum", "optimum_se", "optimum_low", "optimum_high", "lowest", "lowest_se")


def propose(plan: SweepPlan, tree: xr.DataTree, seconds: float) -> dict[str, Any]:
    """The cell of the best temperature that trains fastest, and what an hour more would tell: attributes by name.

    `tree` is judged; `seconds` are those of one more seed at every temperature. All batch sizes of the plan are candidates,
    at the optimum's temperature, with a rate below the plan's cap and below 2 (1 + momentum)/hessian_max, the
    curvature of the loss over one training set after a run there: at a constant rate, with the plan's momentum.
    """
    optimum = fitted_optimum(tree[GROUP].to_dataset(), plan.seeds)
    if optimum is None:
        return {"proposal": "Nothing is proposed: no best temperature was found."}
    told: dict[str, Any] = {"next_hour": of_an_hour(optimum, seconds)}
    T, momentum = float(optimum.temperature.value), plan.momentum if "momentum" in plan.variants[0] else 0.0
    batches = np.array([batch for batch in sorted(plan.batch_sizes) if T * batch <= plan.cap])
    if not len(batches):
        return {**told, "proposal": f"Nothing is proposed: at T = {T:.3g} every batch size needs a rate above the cap."}
    try:
        costs, curvature = _costs(plan, T, batches, momentum)
        cell = cheapest_cell(optimum, T * batches, batches, costs, curvature, momentum)
    except ValueError as error:
        return {**told, "proposal": f"Nothing is proposed: {error}"}
    limit = (
        "" if curvature is None else f" (rates below {2 * (1 + momentum) / curvature:.3g}, by the curvature at the end)"
    )
    told["proposal"] = (
        f"Proposed: learning rate {cell.learning_rate:.3g}, batch size {cell.batch_size:.0f}, T = {T:.3g}. "
        f"Batch sizes possible there{limit}: {cell.num_candidates}. It trains fastest here, about {cell.cost:.2g} s a run."
    )
    return {**told, "proposed_learning_rate": cell.learning_rate, "proposed_batch_size": cell.batch_size}


def fitted_optimum(found: xr.Dataset, seeds: int) -> FittedOptimum | None:
    """The optimum of the test loss of the first series, from the group "temperature"; None where there is none."""
    if "optimum" not in found or not np.isfinite(found["optimum"].sel(metric="test_loss").values[0]):
        return None
    value, error, low, high, height, height_error = (
        float(found[name].sel(metric="test_loss").values[0]) for name in ENDS
    )
    return FittedOptimum(Estimate(value, error, seeds), Estimate(height, height_error, seeds), low, high, 0.95, seeds)


def of_an_hour(optimum: FittedOptimum, seconds: float) -> str:
    """What an hour more of the same runs would tell, in a sentence; `seconds` of one more seed."""
    if optimum.at_edge:
        return "One more hour is best spent on temperatures beyond the edge that the interval reaches."
    later = interval_after(optimum, HOUR, seconds)
    return (
        f"One more hour here is about {later.num_seeds - optimum.num_seeds} more seeds: the interval, {optimum.low:.3g} to "
        f"{optimum.high:.3g} now, is expected to shrink to {later.low:.3g} to {later.high:.3g}."
    )


def _costs(plan: SweepPlan, T: float, batches: np.ndarray, momentum: float) -> tuple[np.ndarray, float | None]:
    """Seconds of one run by itself at T for each batch size, and the largest curvature at the end of the last.

    Without a pool: steps in place of seconds, and no curvature.
    """
    problem = problem_of(plan, plan.widths[0] if plan.widths else None)
    size = plan.num_examples[0] if plan.num_examples else problem.num_pool or 1
    steps = np.array([math.ceil(plan.epochs(T) * size / batch) for batch in batches])
    if problem.num_pool is None:
        return steps.astype(float), None
    own, key = _one_training_set(problem, min(size, problem.num_pool)), jax.random.key(plan.seed)
    process, start, seconds = sgd(own, momentum=momentum, weight_decay=plan.weight_decay), own.init(key), []
    for batch in map(int, batches):
        walks = [_seconds(lambda b=batch: train(process, start, TIMED, b, T * b, key)) for _ in range(REPEATS)]
        seconds.append(min(walks) / TIMED)  # the first compiles
    end = train(process, start, min(int(steps[-1]), LONGEST), int(batches[-1]), T * int(batches[-1]), key)
    return np.array(seconds) * steps, float(hessian_extremes(own, end, memory=plan.memory).largest.value)


def _seconds(walk: Callable[[], Any]) -> float:
    began = time.perf_counter()
    walk()
    return time.perf_counter() - began


def _one_training_set(problem: Problem, size: int) -> Problem:
    """The problem whose population are the first `size` examples of the pool."""
    return from_arrays(problem.loss, problem.init, _tree.take(problem.pool, np.arange(size)), problem.name)
