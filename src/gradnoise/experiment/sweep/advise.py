"""Which temperature, batch size and learning rate: a coarse sweep that stops early where it can, and what it leads to."""

import json
import os
from collections.abc import Sequence
from decimal import ROUND_DOWN, Context
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from gradnoise import _checks
from gradnoise.averaging import cells_to_continue
from gradnoise.averaging.seed_table import one_row_a_temperature
from gradnoise.experiment.problem_job import Progress
from gradnoise.experiment.sweep.cells import chunks
from gradnoise.experiment.sweep.config import SweepPlan
from gradnoise.experiment.sweep.cost import cost_of
from gradnoise.experiment.sweep.judge import GROUP, judge
from gradnoise.experiment.sweep.problems import problem_of
from gradnoise.experiment.sweep.proposal import HOUR, propose
from gradnoise.experiment.sweep.run import sweep
from gradnoise.experiment.sweep.settled import settled
from gradnoise.measure import hessian_extremes
from gradnoise.results.io import written_aside

SHORT = 4
"""The first round's runs have so many times fewer epochs."""
NEAR = 2
"""Temperatures to either side of the lowest that always go on: the optimum's curve is fitted to them."""
SPREAD, STEPS = 200.0, 8
"""A coarse grid: STEPS temperatures, the highest over the lowest SPREAD."""
SAME = 1e-10
"""Temperatures that differ by less of themselves are one."""
FEWEST_SEEDS, MOST_SEEDS = 3, 30


def advise(
    plan: SweepPlan,
    store: str | os.PathLike[str] | None = None,
    hours: float | None = None,
    progress: Progress | None = None,
    cluster: Any = None,
) -> xr.DataTree:
    """Sweep the temperatures of `plan`, shortly and then those that are left fully, and propose what to run.

    First all cells for a quarter of their epochs; temperatures that have settled and are significantly worse than the
    lowest (`cells_to_continue`) are dropped, neighbours of the lowest and what still moves never. Then the rest in full,
    judged by `judge`. With `hours` the seeds are as many as are estimated to fit, 3 to 30. The group "temperature" gets
    the attributes `proposal`, `next_hour` and `rounds`, sentences, and the numbers `proposed_learning_rate`,
    `proposed_batch_size`: the cell of the best temperature that trains fastest here, its rate below 2/hessian_max at the
    end of training. `store` keeps both rounds, as in `sweep`.

    Raises what `sweep` raises; ValueError for several variants, widths or N, or fewer than 2 seeds.
    """
    _require_one_series(plan)
    folder = None if store is None else Path(store)
    short = plan.model_copy(update={"reference_epochs": -(-plan.reference_epochs // SHORT)})
    first = _settled(sweep(short, _below(folder, "short"), cluster, progress))
    tried, going = _of(plan, first["temperature"].values), _of(plan, temperatures_to_continue(first))
    full = plan.model_copy(update={"temperatures": going})
    seeds, seconds = _seeds(full, folder, hours)
    full = full.model_copy(update={"seeds": seeds})
    tree = judge(sweep(full, _below(folder, f"full-{seeds}"), cluster, progress))
    tree[GROUP].attrs.update({"rounds": _rounds(plan, tried, going, seeds), **propose(full, tree, seconds)})
    return tree


def coarse_grid(plan: SweepPlan) -> SweepPlan:
    """`plan` with 8 temperatures up to the one where its smallest batch has the rate 1/hessian_max of the start.

    Raises ValueError for a problem without a pool, whose curvature is not known.
    """
    problem = problem_of(plan, None)
    if problem.num_pool is None:
        raise ValueError(f"problem {problem.name!r} has no pool to measure its curvature on. Give temperatures.")
    steepest = float(
        hessian_extremes(problem, problem.init(jax.random.key(plan.seed)), memory=plan.memory).largest.value
    )
    highest = min(1 / steepest if steepest > 0 else 1.0, plan.cap) / min(plan.batch_sizes)
    grid = np.geomspace(highest / SPREAD, highest, STEPS)
    cap = min(plan.cap, 2 / steepest) if steepest > 0 else plan.learning_rate_cap
    two_digits = Context(prec=2, rounding=ROUND_DOWN)  # down: no rate comes above the cap
    rounded = tuple(float(two_digits.create_decimal(repr(T))) for T in grid.tolist())
    return plan.model_copy(update={"temperatures": rounded, "learning_rate_cap": cap})


def temperatures_to_continue(table: xr.Dataset) -> list[float]:
    """Those of `settled` runs to go on with: all but settled ones that are worse, at least two beside the lowest.

    Temperatures all of whose cells failed are left out.
    """
    good = table.isel(cell=np.flatnonzero(table["failed"].values == 0))
    if not good.sizes["cell"]:
        raise ValueError("Every cell has a run that diverged. Lower the temperatures.")
    order = np.argsort(good["temperature"].values, kind="stable")
    rows = good["temperature"].values[order]
    temperatures, losses = one_row_a_temperature(rows, good["steady"].sel(metric="test_loss").values[order])
    moving = np.array([not (good["flat"].values[good["temperature"].values == T] == 1).all() for T in temperatures])
    near = np.abs(np.arange(len(temperatures)) - losses.mean(axis=1).argmin()) <= NEAR
    keep = cells_to_continue(losses) | moving | near
    return [float(T) for T in temperatures[keep]]


def _require_one_series(plan: SweepPlan) -> None:
    for name in ("variants", "widths", "num_examples"):
        if len(getattr(plan, name) or ()) > 1:
            raise ValueError(f"{name} has several entries, expected one: advice is on one kind of run. Give one.")
    if not plan.temperatures:
        raise ValueError(
            "temperatures is empty, expected some: advice is on them. Give temperatures, not learning_rates."
        )
    _checks.integer("seeds", plan.seeds, 2)


def _below(folder: Path | None, name: str) -> Path | None:
    return None if folder is None else folder / name


def _of(plan: SweepPlan, found: Sequence[float] | np.ndarray) -> tuple[float, ...]:
    """The plan's own temperatures that are among `found`, which have been through a rate and twelve digits."""
    return tuple(T for T in plan.temperatures if np.isclose(T, found, rtol=SAME, atol=0.0).any())


def _rounds(plan: SweepPlan, tried: Sequence[float], going: Sequence[float], seeds: int) -> str:
    """What was run, in a sentence, and one for each reason why a temperature was not."""
    told = f"{len(tried)} temperatures for a quarter of their epochs, {len(going)} of them in full, {seeds} seeds."
    reasons = {
        "Dropped early, for they were worse or diverged": set(tried) - set(going),
        "Not run, for every batch size needs a rate above the cap": set(plan.temperatures) - set(tried),
    }
    for reason, left_out in reasons.items():
        if left_out:
            told += f" {reason}: T = {', '.join(f'{T:.3g}' for T in sorted(left_out))}."
    return told


def _settled(tree: xr.DataTree) -> xr.Dataset:
    """As `judge` settles them; a constant factor of the gap would change nothing here."""
    return settled(tree["sweep"].to_dataset())


def _seeds(full: SweepPlan, folder: Path | None, hours: float | None) -> tuple[int, float]:
    """Seeds of the full round, and the seconds that each is estimated to take once compiled; the first answer is kept."""
    kept = None if folder is None else folder / "advice.json"
    answer = None if kept is None else _kept_answer(kept)
    if answer is not None:
        return answer
    cost = cost_of(full, chunks(full))
    seconds, seeds = (cost.seconds - cost.setting_up) / full.seeds, full.seeds
    if hours is not None:
        left = _checks.number("hours", hours, above=0.0) * HOUR - cost.setting_up
        seeds = int(np.clip(left / seconds, FEWEST_SEEDS, MOST_SEEDS))
    if kept is not None:
        for left in kept.parent.glob(f".{kept.name}.*.part"):  # of a process that was killed while it wrote
            left.unlink(missing_ok=True)
        with written_aside(kept) as temporary:
            temporary.write_text(json.dumps({"seeds": seeds, "seconds": seconds}), encoding="utf-8")
    return seeds, seconds


def _kept_answer(place: Path) -> tuple[int, float] | None:
    """Seeds and seconds of before; None where there is no file, or it is damaged."""
    try:
        told = json.loads(place.read_text(encoding="utf-8"))
        return int(told["seeds"]), float(told["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
