"""A mean made sharper by numbers that were recorded beside it and whose expectation is known."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gradnoise.estimate import Estimate

FEW = 20
"""With fewer replicas the coefficients are one: there is too little to fit them on."""


class Controls(NamedTuple):
    """`samples` (replica, record, k) of k numbers beside an observable; `mean` (record, k): their expectation.

    The error of `mean` is zero where it is exact. Whatever `samples` have to do with the observable, the adjusted mean is
    unbiased; the closer they follow it, the smaller its error.
    """

    samples: Float[np.ndarray, "replica record k"]
    mean: Estimate


def adjust(
    runs: Float[np.ndarray, "replica record"], controls: Controls
) -> tuple[Float[np.ndarray, "replica record"], Float[np.ndarray, " record"]]:
    """runs - sum_k c_k (samples_k - mean_k), and the error that an estimated mean adds to all of them together.

    The coefficients c of one half of the replicas minimize the variance of the adjusted mean on the other half, so they are
    independent of what they multiply: unbiased for any number of replicas. (The standard error over replicas takes them
    as independent, which is wrong by O(1/replicas).) Below 20 replicas c = 1.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(1000, 1))
    >>> adjusted, _ = adjust(3.0 + 2 * x, Controls(x[..., None], Estimate(np.zeros((1, 1)), np.zeros((1, 1)), 1)))
    >>> bool(abs(adjusted - 3).max() < 1e-9)
    True
    """
    runs = np.asarray(runs, dtype=float)
    known, error = np.asarray(controls.mean.value), np.asarray(controls.mean.stderr)
    deviations = np.asarray(controls.samples, dtype=float) - known
    half = len(runs) // 2
    parts = (slice(0, half), slice(half, None))
    adjusted, used = np.empty_like(runs), []
    for own, other in (parts, parts[::-1]):
        coefficients = np.ones_like(known)
        if len(runs) >= FEW:
            coefficients = _fit(runs[other], deviations[other], len(runs) * np.square(error))
        adjusted[own] = runs[own] - np.einsum("rtk,tk->rt", deviations[own], coefficients)
        used.append(coefficients)
    return adjusted, np.sqrt(np.sum(np.square(np.mean(used, axis=0) * error), axis=-1))


def _fit(runs: np.ndarray, deviations: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """(record, k): least squares of runs on deviations at each record; `penalty` (record, k) on the squared coefficients."""
    centred, own = deviations - deviations.mean(axis=0), runs - runs.mean(axis=0)
    scale = np.sqrt(np.mean(np.square(centred), axis=0))
    scale = np.where(scale > 1e-9 * np.abs(runs).max(axis=0)[:, None], scale, np.inf)  # rounding is no control
    centred = centred / scale
    square = np.einsum("rtk,rtl->tkl", centred, centred) / len(runs)
    square += (penalty / np.square(scale))[..., None] * np.eye(scale.shape[1])
    along = np.einsum("rtk,rt->tk", centred, own) / len(runs)
    return np.einsum("tkl,tl->tk", np.linalg.pinv(square, rcond=1e-9, hermitian=True), along) / scale
