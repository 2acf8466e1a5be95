"""What a run settles to: the median over its last epochs, spikes cut off, and whether it has settled."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from scipy import linalg, stats

from gradnoise import _checks
from gradnoise.averaging.epoch_memory import beside, run_variance, shared_correlation
from gradnoise.estimate import Estimate

WINDOW = 50
SHORT, LONG = 7, 25
"""The last epochs whose means the spike rule compares."""


@dataclass(frozen=True, eq=False)
class SpikeTrim:
    """Where each run is cut; see `trim_spikes`."""

    kept: Int[np.ndarray, "run"]
    """Epochs kept, counted from the first."""
    unsettled: Bool[np.ndarray, "run"]
    """The rule would have gone on below 25 + window epochs: the run ends in something other than a short spike."""


@dataclass(frozen=True, eq=False)
class Convergence:
    """Whether each run is flat over its window; see `converged`. Changes are over the whole window, in the series' unit."""

    change: Estimate
    largest_change: Float[np.ndarray, "run"]
    """The upper end of the 99 % interval of |change|: what may still be hidden."""
    p: Float[np.ndarray, "run"]
    """Of no slope, two-sided; NaN where the window is too short for its own correlation."""
    flat: Bool[np.ndarray, "run"]
    """No slope is told from zero, at 1 % for all runs together (Bonferroni)."""


def trim_spikes(loss: ArrayLike, window: int = WINDOW, margin: float = 3.0) -> SpikeTrim:
    """Cut the last epochs of each run off while mean(last 7) > mean(last 25) + margin * sd * sqrt(1/7 - 1/25).

    `loss` is (run, epoch) or (epoch,), the train loss. sd: of one epoch, from the absolute deviations of the `window`
    epochs before the last 25, so that a spike does not hide itself; the root makes `margin` a z-score for epochs that
    are independent. margin=0 is the rule as published: on stationary noise it fires half the time and cuts epochs for
    no reason. It never cuts below 25 + window epochs; where it would, `unsettled` says so.

    >>> calm = np.random.default_rng(0).normal(size=(2, 200))
    >>> calm[1, -5:] += 40.0                              # a spike at the end of the second run
    >>> trim_spikes(calm).kept.tolist()
    [200, 195]

    Raises ValueError for fewer than 25 + window epochs or losses that are not finite.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", experiments; the margin is ours.
    """
    window, margin = _checks.integer("window", window, 2), _checks.number("margin", margin, minimum=0.0)
    runs = _runs("loss", loss, LONG + window)
    sums = np.concatenate([np.zeros((len(runs), 1)), np.cumsum(runs, axis=1)], axis=1)
    each = np.arange(len(runs))
    kept = np.full(len(runs), runs.shape[1])

    def fires() -> np.ndarray:
        short, long = ((sums[each, kept] - sums[each, kept - n]) / n for n in (SHORT, LONG))
        return short > long + margin * _robust_spread(_last(runs, kept - LONG, window)) * (1 / SHORT - 1 / LONG) ** 0.5

    while np.any(drop := fires() & (kept > LONG + window)):
        kept = kept - drop
    return SpikeTrim(kept, fires())


def steady_median(series: ArrayLike, kept: ArrayLike | None = None, window: int = WINDOW) -> Estimate:
    """The median of each run over the last `window` of its `kept` epochs (all, by default): value (run,).

    `series` is (run, epoch) or (epoch,), any metric; `kept` is that of the train loss, `trim_spikes(train_loss).kept`.
    `stderr` covers the fluctuation within the window, for a normal first-order autoregression whose correlation rho_k all
    runs share: Var(median) = (sd / window)^2 sum_ij arcsin rho_|i-j|. It is NaN where the runs together are worth fewer
    than 20 independent epochs. It does not cover the difference between seeds.

    >>> steady_median(np.arange(100) % 2.0, window=51)
    Estimate(value=array([1.]), stderr=array([...]), num_samples=51)

    Raises ValueError for fewer than `window` epochs kept or numbers that are not finite.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", experiments.
    """
    last = _window(series, kept, window)
    constant = np.full((window, 1), window**-0.5)
    residual = beside(last, constant)
    correlation = shared_correlation(residual, constant)
    variance, _ = run_variance(residual, constant, correlation)
    stderr = np.sqrt(variance * np.arcsin(correlation).sum()) / window
    return Estimate(np.median(last, axis=1), stderr, window)


def converged(series: ArrayLike, kept: ArrayLike | None = None, window: int = WINDOW) -> Convergence:
    """Whether train or test metrics (run, epoch) are flat over the last `window` of their `kept` epochs.

    The change over the window is slope * window, by least squares. Its error and Student's p are those of a first-order
    autoregression, whose correlation all runs share, estimated beside their lines and corrected for them; the degrees
    of freedom are Satterthwaite's. Flat means that no change is seen; how large a one may be hidden stands in
    `largest_change`.

    >>> noise = np.random.default_rng(1).normal(size=(3, 100))
    >>> converged(noise + [[0.0], [5.0], [0.0]]).flat.tolist()
    [True, True, True]
    >>> converged(noise + np.outer([0.0, 0.2, 0.0], np.arange(100))).flat.tolist()
    [True, False, True]

    Raises what `steady_median` raises.
    """
    last = _window(series, kept, window)
    times = np.arange(window) - (window - 1) / 2
    line = np.stack([np.full(window, window**-0.5), times / linalg.norm(times)], axis=1)
    residual = beside(last, line)
    correlation = shared_correlation(residual, line)
    variance, freedom = run_variance(residual, line, correlation)
    reach = window / linalg.norm(times)  # from the second coordinate to the change over the window
    stderr = reach * np.sqrt(variance * (line[:, 1] @ correlation @ line[:, 1]))
    change = Estimate(last @ line[:, 1] * reach, stderr, window)
    certain = np.where(np.abs(change.value) > 1e-13 * np.abs(last).max(axis=1), np.inf, 0.0)
    scores = np.divide(np.abs(change.value), stderr, out=certain, where=stderr != 0)
    p = 2 * stats.t.sf(scores, freedom)
    largest = np.abs(change.value) + stats.t.isf(0.005, freedom) * stderr
    return Convergence(change, largest, p, p * len(last) >= 0.01)


def _runs(name: str, series: ArrayLike, fewest: int) -> Float[np.ndarray, "run epoch"]:
    runs = np.atleast_2d(np.asarray(series, dtype=float))
    if runs.ndim != 2 or runs.shape[1] < fewest:
        raise ValueError(
            f"{name} has shape {np.shape(series)}, expected (run, epoch) with at least {fewest} epochs. "
            "Train longer or give a shorter window."
        )
    if not np.all(np.isfinite(runs)):
        raise ValueError(f"{name} holds NaN or infinity, expected finite numbers. Leave diverged runs out.")
    return runs


def _window(series: ArrayLike, kept: ArrayLike | None, window: int) -> Float[np.ndarray, "run epoch"]:
    runs = _runs("series", series, _checks.integer("window", window, 4))
    ends = np.full(len(runs), runs.shape[1]) if kept is None else np.asarray(kept)
    if ends.shape != (len(runs),) or ends.dtype.kind != "i" or ends.min() < window or ends.max() > runs.shape[1]:
        raise ValueError(
            f"kept={np.array2string(ends, threshold=5)} does not do, expected one number of epochs a run, from "
            f"window={window} to {runs.shape[1]}. Give trim_spikes(train_loss).kept."
        )
    return _last(runs, ends, window)


def _last(runs: np.ndarray, ends: np.ndarray, window: int) -> Float[np.ndarray, "run epoch"]:
    return np.take_along_axis(runs, ends[:, None] + np.arange(-window, 0), axis=1)


def _robust_spread(runs: np.ndarray) -> Float[np.ndarray, "run"]:
    """The standard deviation of a normal law with this median absolute deviation."""
    deviation = np.median(np.abs(runs - np.median(runs, axis=1, keepdims=True)), axis=1)
    return deviation / float(stats.norm.ppf(0.75))
