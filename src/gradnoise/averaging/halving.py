"""Which temperatures of a coarse sweep to go on with: successive halving that drops only what is significantly worse."""

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from scipy import stats

from gradnoise import _checks


def cells_to_continue(
    interim_losses: ArrayLike, level: float = 0.05, largest_drop: float = 0.5
) -> Bool[np.ndarray, "cell"]:
    """True for the cells (temperatures) whose interim loss is not significantly above the lowest mean; (cell,).

    `interim_losses` (cell, seed): of runs at the same learning_rate * steps, as slow cells would look bad at equal steps.
    Each cell is compared with the lowest by a paired, one-sided t-test over seeds; Holm's procedure at `level` says which
    are worse; of these the worst are dropped, at most the share `largest_drop` of all cells in one round. NaN is a run that
    diverged, and its cell is dropped as well, on top of the share. The lowest cell always stays.

    It is conservative where interim losses say little: nothing is dropped. It cannot know that a cell would overtake later.

    >>> noise = 0.1 * np.random.default_rng(0).normal(size=(4, 5))
    >>> cells_to_continue(noise + [[1.0], [0.5], [0.52], [3.0]]).tolist()
    [False, True, True, False]

    Raises ValueError for fewer than 2 seeds, no cell without NaN, a level or share outside (0, 1).

    Source: Jamieson and Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter optimization"; Holm 1979,
    "A simple sequentially rejective multiple test procedure".
    """
    losses = np.asarray(interim_losses, dtype=float)
    level = _checks.number("level", level, above=0.0, below=1.0)
    largest_drop = _checks.number("largest_drop", largest_drop, above=0.0, below=1.0)
    if losses.ndim != 2 or losses.shape[1] < 2:
        raise ValueError(
            f"interim_losses has shape {losses.shape}, expected (cell, seed) with 2 seeds or more. Add seeds."
        )
    stays = np.all(np.isfinite(losses), axis=1)
    if not stays.any():
        raise ValueError("Every cell has a run that diverged. Lower the learning rates.")
    alive = np.flatnonzero(stays)
    worse, means = significantly_worse(losses[alive], level), losses[alive].mean(axis=1)
    candidates = alive[worse][np.argsort(-means[worse], kind="stable")]
    stays[candidates[: int(largest_drop * len(losses))]] = False
    return stays


def significantly_worse(losses: Float[np.ndarray, "cell seed"], level: float) -> Bool[np.ndarray, "cell"]:
    """Holm's rejections among the comparisons of each cell with the one of the lowest mean."""
    cells, seeds = losses.shape
    best = int(losses.mean(axis=1).argmin())
    difference = losses - losses[best]
    mean, error = difference.mean(axis=1), difference.std(axis=1, ddof=1) / np.sqrt(seeds)
    t = np.divide(mean, error, out=np.where(mean > 0, np.inf, 0.0), where=error > 0)
    p = stats.t.sf(t, seeds - 1)
    p[best] = 1.0
    order = np.argsort(p, kind="stable")
    passed = np.cumprod(p[order] <= level / np.maximum(cells - 1 - np.arange(cells), 1)).astype(bool)
    worse = np.zeros(cells, dtype=bool)
    worse[order[passed]] = True
    return worse
