"""Time averages of R, G and N over a window of a run, with errors that know of the correlation in time."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from gradnoise import _checks
from gradnoise.bootstrap import time_averages
from gradnoise.estimate import Estimate


class StationaryAverages(NamedTuple):
    """Time averages of R = |x|^2, G = |grad L|^2 and N = tr Sigma of one batch; `covariance` is of all three."""

    squared_norm: Estimate
    signal: Estimate
    noise: Estimate
    covariance: Float[np.ndarray, "3 3"] | None = None


def stationary_averages(
    squared_norm: ArrayLike, signal: ArrayLike, noise: ArrayLike, window: tuple[int, int] | None = None, every: int = 1
) -> StationaryAverages:
    """The averages of R, G and N over a window, with errors that know of the correlation in time.

    Series of shape (record,) or (replica, record), recorded every `every` effective steps; the window [t0, t1] is in
    steps. G and N go into `critical_batch` as `averages.signal, averages.noise` with `covariance=covariance[1, 2]`.

    >>> R, G, N = np.random.default_rng(0).normal(size=(3, 500)) + [[9.0], [1.0], [4.0]]
    >>> stationary_averages(R, G, N).noise
    Estimate(4.0... +- 0.04..., num_samples=...)

    Raises what `bootstrap.time_averages` raises, and ValueError for a window outside the records.
    """
    averages = time_averages(
        *in_window({"squared_norm": squared_norm, "signal": signal, "noise": noise}, window, every)
    )
    return StationaryAverages(averages[0], averages[1], averages[2], averages.covariance)


def in_window(
    series: Mapping[str, ArrayLike], window: tuple[int, int] | None, every: int
) -> list[Float[np.ndarray, "replica record"]]:
    """The records from step t0 to t1, both included, as (replica, record)."""
    every = _checks.integer("every", every)
    values = {name: np.atleast_2d(np.asarray(one, dtype=float)) for name, one in series.items()}
    shapes = {one.shape for one in values.values()}
    if len(shapes) > 1:
        told = ", ".join(f"{name} has {one.shape}" for name, one in values.items())
        raise ValueError(f"The series differ in shape: {told}. Give records of the same steps.")
    last = (shapes.pop()[-1] - 1) * every
    start, stop = (0, last) if window is None else window
    if start % every or stop % every or not 0 <= start < stop <= last or stop - start < 2 * every:
        raise ValueError(
            f"window=({start}, {stop}) does not fit the records, made every {every} steps up to {last}. Give two "
            f"multiples of {every} from 0 to {last}, at least {2 * every} apart."
        )
    return [one[:, start // every : stop // every + 1] for one in values.values()]
