"""What happens on a worker of a cluster: one chunk of runs, after a look at whether it is the same sweep here."""

import math
import pickle
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import gradnoise
from gradnoise.experiment.sweep.cells import Chunk
from gradnoise.experiment.sweep.config import SweepPlan
from gradnoise.experiment.sweep.problems import problem_of
from gradnoise.experiment.sweep.run import do_chunk

NUM_EXAMPLES = 256
"""Examples by whose losses problems are told apart."""
TOLERANCE, FLOOR = 1e-3, float(np.finfo(np.float32).eps)
"""Differences of such losses, relative and absolute, that rounding on another device may make; other data make more."""


class Origins(NamedTuple):
    """What must be alike wherever chunks of a sweep are done; `losses`: of each of its problems, at a start of its own."""

    gradnoise_version: str
    jax_version: str
    losses: tuple[float, ...]


def origins_of(plan: SweepPlan) -> Origins:
    """The versions here, and the mean loss of a few examples for each width: another problem or other data give another.

    >>> origins_of(SweepPlan(problem="mean-estimation", learning_rates=0.1)).gradnoise_version == gradnoise.__version__
    True
    """
    losses = tuple(_mean_loss(plan, width) for width in plan.widths or (None,))
    return Origins(gradnoise.__version__, jax.__version__, losses)


def differences(there: Origins, here: Origins) -> list[str]:
    """What differs, in words.

    >>> differences(Origins("0.1", "0.10", (2.0,)), Origins("0.2", "0.10", (2.0000001,)))
    ['gradnoise_version 0.1 there, 0.2 here']
    """
    names = ("gradnoise_version", "jax_version")
    told = [
        f"{name} {theirs} there, {ours} here"
        for name, theirs, ours in zip(names, there[:2], here[:2], strict=True)
        if theirs != ours
    ]
    pairs = zip(there.losses, here.losses, strict=True)
    if not all(math.isclose(theirs, ours, rel_tol=TOLERANCE, abs_tol=FLOOR) for theirs, ours in pairs):
        told.append(f"loss of the first examples {there.losses} there, {here.losses} here")
    return told


def do_on_worker(plan: bytes, chunk: Chunk, here: Origins) -> xr.Dataset:
    """The table of a chunk of a pickled plan; `here` are the origins where the sweep is.

    Raises ValueError, one sentence, if this worker has other versions or another problem.
    """
    settings, there = _unpickled(plan)
    told = differences(there, here)
    if told:
        raise ValueError(
            f"a worker of the cluster differs ({'; '.join(told)}), expected the same packages, code and data on all "
            "machines. Start the workers from the environment and folder of the sweep."
        )
    return do_chunk(settings, chunk)


@lru_cache(maxsize=2)
def _unpickled(plan: bytes) -> tuple[SweepPlan, Origins]:
    """A plan, once in a process: its compiled functions are then found again by the next chunk."""
    settings = pickle.loads(plan)
    return settings, origins_of(settings)


def _mean_loss(plan: SweepPlan, width: int | None) -> float:
    problem, (start, draws) = problem_of(plan, width), jax.random.split(jax.random.key(plan.seed))
    params, examples = problem.init(start), problem.sample(draws, NUM_EXAMPLES)
    losses = jax.jit(jax.vmap(problem.loss, (None, 0)))(params, examples)
    return float(np.asarray(jnp.mean(losses)))
