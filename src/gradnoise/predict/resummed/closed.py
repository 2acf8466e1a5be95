"""Closed forms of the resummed sums: overfitting, gap and skewness near a minimum, for any run length or for ever.

All take curvatures h_i (`eigenvalues`) and the noise C_ii along the same directions (`variances`), as arrays; eta is the
learning rate, k_i = 1 - eta h_i, tau = N/B. They are exact for a quadratic loss with additive noise.

Source: diagrams.md section 3.
"""

import numpy as np
from numpy.typing import ArrayLike

from gradnoise import _checks
from gradnoise.predict.path.noise_weights import noise_weights
from gradnoise.spacetime import Spacetime


def travelled(eigenvalues: ArrayLike, learning_rate: float, num_steps: int) -> np.ndarray:
    """phi_T = (1 - (1 - eta h)^T)/h, eta T at h = 0: how far a unit gradient moves the weights in T steps.

    >>> travelled([0.0, 1e-12, 1.0], learning_rate=0.1, num_steps=10)
    array([1.        , 1.        , 0.65132156])
    """
    return learning_rate * geometric(learning_rate * np.asarray(eigenvalues, dtype=float), num_steps)


def overfitting(eigenvalues: ArrayLike, variances: ArrayLike, learning_rate: float, spacetime: Spacetime) -> float:
    """E test - l(theta*) after a run from the minimum, the drawn training set used as `spacetime` says: V01, summed.

        sum_i (h_i C_ii/2) sum over ways of weight x S,     S = eta^2 sum over classes of (sum over its steps of k^{age})^2

    One epoch: sum_i (eta C_ii/(2B)) (1 - k^{2T})/(2 - eta h). For a fixed order, whole epochs. Units: loss.

    >>> overfitting([1.0], [1.0], learning_rate=1.0, spacetime=Spacetime(1, 1))                       # theta = -x, l = 1/2
    0.5
    >>> round(overfitting([2.0], [1.0], 0.1, Spacetime(5, 5, epochs=1000)), 12)                       # C/(2 N h)
    0.05

    Raises ValueError for a fixed order cut inside an epoch. Source: diagrams.md section 3, "Overfitting".
    """
    slope = learning_rate * np.asarray(eigenvalues, dtype=float)
    weights = {kind: float(weight) for kind, weight in noise_weights(spacetime, "drawn", 0).items()}
    sums = sum(weight * _squares(kind, slope, spacetime) for kind, weight in weights.items())
    return float(np.sum(learning_rate * slope * np.asarray(variances) / 2 * sums))


def overfitting_limit(
    eigenvalues: ArrayLike, variances: ArrayLike, learning_rate: float, num_examples: int, batch_size: int,
    sampling: str = "fixed",
) -> float:  # fmt: skip
    """`overfitting` of a run for ever, for 0 < eta h_i < 2; sampling "fixed" or "reshuffle".

        fixed:      sum_i (eta C_ii/(2B)) (1 + k^tau)/((1 - k^tau)(2 - eta h))       ~ (eta/(4B)) tr[C coth(eta H N/(2B))]
        reshuffle:  sum_i eta C_ii/(2B (2 - eta h)) + (C_ii/(N h)) k^tau/(1 + k^tau)

    It is eta tr C/(4B) for eta h N/B >> 1 and tr(C H^-1)/(2N) for << 1.

    >>> full = overfitting_limit([2.0], [1.0], learning_rate=0.1, num_examples=5, batch_size=5)
    >>> round(full, 12)
    0.05

    Raises ValueError for curvatures outside 0 < eta h < 2, for which there is no limit, and sizes that do not fit.
    """
    columns = Spacetime(num_examples, batch_size).steps_per_epoch
    _checks.one_of("sampling", sampling, ("fixed", "reshuffle"))
    h, noise = np.asarray(eigenvalues, dtype=float), np.asarray(variances, dtype=float)
    _check_stable(h, learning_rate)
    fresh = learning_rate * noise / (2 * batch_size * (2 - learning_rate * h))
    cycle = (1 - learning_rate * h) ** columns
    if sampling == "fixed":
        return float(np.sum(fresh * (1 + cycle) / (learning_rate * h * geometric(learning_rate * h, columns))))
    return float(np.sum(fresh + noise / (num_examples * h) * cycle / (1 + cycle)))


def gap(
    eigenvalues: ArrayLike, variances: ArrayLike, learning_rate: float, num_examples: int, num_steps: int | None = None
) -> float:
    """(1/N) tr[C phi_T]: test less train loss, for any batch size and order; num_steps=None: for ever, tr(C H^-1)/N.

    With C = H, a well-specified likelihood, it tends to (number of weights)/N: Akaike's criterion.

    >>> gap([0.5, 2.0], [0.5, 2.0], learning_rate=0.1, num_examples=10)
    0.2

    Raises ValueError for a run for ever unless 0 < eta h < 2.
    """
    h, noise = np.asarray(eigenvalues, dtype=float), np.asarray(variances, dtype=float)
    if num_steps is None:
        _check_stable(h, learning_rate)
        return float(np.sum(noise / h) / num_examples)
    return float(np.sum(noise * travelled(h, learning_rate, num_steps)) / num_examples)


def geometric(slope: np.ndarray, terms: int) -> np.ndarray:
    """1 + k + ... + k^(terms - 1) with k = 1 - slope, to rounding also for small slopes; `terms` at slope 0."""
    slope = np.asarray(slope, dtype=float)
    small = np.where(slope < 0.5, slope, 0.0)
    safe = np.where(slope == 0, 1.0, slope)
    near = -np.expm1(terms * np.log1p(-small)) / safe
    return np.where(slope == 0, terms, np.where(slope < 0.5, near, (1 - (1 - slope) ** terms) / safe))


def _squares(kind: str, slope: np.ndarray, spacetime: Spacetime) -> np.ndarray:
    """sum over classes of (sum over their steps of k^{steps since})^2, in terms of geometric sums."""
    steps, double = spacetime.num_steps, slope * (2 - slope)  # 1 - k^2
    if kind == "fresh":
        return geometric(double, steps)
    if kind == "same":
        return geometric(slope, steps) ** 2
    columns, epochs, cut = spacetime.steps_per_epoch, spacetime.full_epochs, spacetime.remaining_steps
    many = -np.expm1(columns * np.log1p(-np.where(slope < 1, slope, 0.0)))
    cycle = np.where(slope < 1, many, 1 - (1 - slope) ** columns)
    if kind == "column":
        if cut:
            raise ValueError(
                f"num_steps={steps} ends inside an epoch of {columns} steps, expected whole epochs in a fixed order. "
                "Truncate at a multiple, or use predict_resummed."
            )
        return geometric(double, columns) * geometric(cycle, epochs) ** 2
    whole = geometric(slope, columns) ** 2 * geometric(cycle * (2 - cycle), epochs)
    return geometric(slope, cut) ** 2 + (1 - slope) ** (2 * cut) * whole


def _check_stable(eigenvalues: np.ndarray, learning_rate: float) -> None:
    if not np.all((eigenvalues > 0) & (learning_rate * eigenvalues < 2)):
        raise ValueError(
            f"eigenvalues run from {eigenvalues.min():.3g} to {eigenvalues.max():.3g} at learning_rate={learning_rate:g}, "
            "expected 0 < learning_rate * eigenvalue < 2, for there is no limit elsewhere. Give num_steps, or those in "
            "between."
        )
