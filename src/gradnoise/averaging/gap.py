"""The generalization gap of trained weights, without densities: losses of each training set's weights on all sets."""

import math

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from gradnoise.estimate import Estimate


def generalization_gap(cross_losses: ArrayLike, test_losses: ArrayLike | None = None) -> Estimate:
    """Test loss minus train loss, averaged over training sets, from the loss of every set's weights on every set.

        gap = mean over s != s' of M[s, s'] - mean over s of M[s, s]

    M = `cross_losses` (sets, sets): M[s, s'] the loss, averaged over the samples of set s, on set s'. For independent
    sets it is a U-statistic and unbiased: x_s' is a test set for the weights of s. NaN off the diagonal marks a pair
    that was not evaluated. For sets drawn from one pool it is the gap to the pool's mean; for the loss on unseen
    examples leave out those that two sets share (`cross_losses(..., leave_out_overlap=True)`). Of sets of n of M
    examples, drawn without replacement, the first gap is 1 - n/M times the second.
    With `test_losses` (sets,), of the weights of each set on examples from elsewhere, gap = mean of test_losses - mean
    diagonal. `stderr` is a delete-one-set jackknife (of samples and sets alike), with test_losses the standard
    error of their differences. It is NaN without test_losses for two sets, and where one set is in every pair evaluated;
    of fewer than about thirty sets it is itself uncertain. `num_samples` is the number of sets.

    >>> generalization_gap([[1.0, 2.0, 2.5], [2.0, 1.0, 2.0], [2.5, 2.0, 1.0]])
    Estimate(1.16667 +- 0.33, num_samples=3)
    >>> generalization_gap([[1.0, 2.0], [2.0, 1.0]], test_losses=[2.0, 3.0])
    Estimate(1.5 +- 0.5, num_samples=2)

    Raises ValueError for a matrix that is not square, of fewer than two sets, infinite, with NaN on the diagonal (a
    diverged run) or without any pair evaluated, and for test_losses of another length or not finite.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eqs (5), (6); the form without densities:
    docs/theory/averaging.md.
    """
    matrix = _square(cross_losses)
    sets = len(matrix)
    if test_losses is not None:
        gaps = _test_losses(test_losses, sets) - np.diag(matrix)
        return Estimate(gaps.mean(), gaps.std(ddof=1) / np.sqrt(sets), sets)
    evaluated = ~np.isnan(matrix) & ~np.eye(sets, dtype=bool)
    if not evaluated.any():
        raise ValueError(
            "cross_losses has NaN in every entry off the diagonal, expected losses of some set's weights on another "
            "set. Draw smaller sets from the pool, or leave_out_overlap=False."
        )
    losses, diagonal = np.where(evaluated, matrix, 0.0), np.diag(matrix)
    between = losses.sum() - losses.sum(0) - losses.sum(1)  # with row and column s deleted
    pairs = evaluated.sum() - evaluated.sum(0) - evaluated.sum(1)
    value = losses.sum() / evaluated.sum() - diagonal.mean()
    if sets < 3 or not np.all(pairs > 0):
        return Estimate(value, np.nan, sets)
    deleted = between / pairs - (diagonal.sum() - diagonal) / (sets - 1)
    return Estimate(value, delete_one_error(deleted), sets)


def delete_one_error(deleted: Float[np.ndarray, " sets"]) -> float:
    """The jackknife's standard error, [(S - 1)/S sum_s (t_s - mean)^2]^(1/2), of a statistic that is t_s without set s."""
    return math.sqrt((len(deleted) - 1) / len(deleted) * np.sum((deleted - deleted.mean()) ** 2))


def _square(cross_losses: ArrayLike) -> Float[np.ndarray, "sets sets"]:
    matrix = np.asarray(cross_losses, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise ValueError(
            f"cross_losses has shape {matrix.shape}, expected (sets, sets) of at least two sets. Give M[s, s'], the loss "
            "of the weights of set s on set s'."
        )
    if np.isnan(np.diag(matrix)).any() or np.isinf(matrix).any():
        raise ValueError(
            "cross_losses is infinite somewhere or NaN on its diagonal, expected a finite loss of every set's weights on "
            "that set. Leave diverged runs out, with row and column, and say so."
        )
    return matrix


def _test_losses(test_losses: ArrayLike, sets: int) -> Float[np.ndarray, " sets"]:
    losses = np.asarray(test_losses, dtype=float)
    if losses.shape != (sets,) or not np.all(np.isfinite(losses)):
        raise ValueError(
            f"test_losses of shape {losses.shape} do not do, expected one finite number for each of {sets} sets. Give the "
            "loss of each set's weights on the test examples."
        )
    return losses
