"""What a short window of epochs tells of their correlation: a first-order autoregression that the runs of a cell share."""

import numpy as np
from jaxtyping import Float
from scipy import optimize

FEWEST_TIMES = 20
"""Fewer independent epochs than this, all runs together, tell no correlation."""


def beside(
    last: Float[np.ndarray, "run epoch"], fitted: Float[np.ndarray, "epoch f"]
) -> Float[np.ndarray, "run epoch"]:
    """What orthonormal columns f leave of each run, last (1 - f f'); zero where that is nothing but rounding."""
    residual = last - last @ fitted @ fitted.T
    rounding = 1e-14 * np.abs(last).max(axis=1, keepdims=True)
    return np.where(np.abs(residual).max(axis=1, keepdims=True) > rounding, residual, 0.0)


def shared_correlation(
    residual: Float[np.ndarray, "run epoch"], fitted: Float[np.ndarray, "epoch f"]
) -> Float[np.ndarray, "epoch epoch"]:
    """R = phi^|i-j| of all runs together, which are taken for runs of one cell; NaN if these epochs do not tell it.

    phi >= 0 solves (sum of products of neighbours) / (sum of squares) = tr(M R M L) / tr(M R), what residuals of this fit
    show on average: M = 1 - f f', L moves one epoch on. Without M it would be too small.
    """
    window = residual.shape[1]
    squares = float(np.square(residual).sum())
    shown = float((residual[:, 1:] * residual[:, :-1]).sum()) / squares if squares > 0 else 0.0
    lags = np.abs(np.subtract.outer(np.arange(window), np.arange(window)))

    def excess(phi: float) -> float:
        left = phi**lags - fitted @ (fitted.T @ phi**lags)
        both = left - (left @ fitted) @ fitted.T
        return float(np.trace(both, 1) / np.trace(left)) - shown

    most = (residual.size - FEWEST_TIMES) / (residual.size + FEWEST_TIMES)
    if not excess(0.0) < 0:
        return np.eye(window)
    return (optimize.brentq(excess, 0.0, most) if most > 0 and excess(most) > 0 else np.nan) ** lags


def run_variance(
    residual: Float[np.ndarray, "run epoch"],
    fitted: Float[np.ndarray, "epoch f"],
    correlation: Float[np.ndarray, "epoch epoch"],
) -> tuple[Float[np.ndarray, "run"], float]:
    """sd^2 of each run, sum of squares / tr(M R), and its degrees of freedom tr(M R)^2 / tr(M R M R); M = 1 - f f'."""
    left = correlation - fitted @ (fitted.T @ correlation)
    trace = float(np.trace(left))
    return np.square(residual).sum(axis=1) / trace, trace**2 / float(np.sum(left * left.T))
