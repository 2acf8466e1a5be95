"""Statistics of training sets that are a sample of many: with the bias of so few taken off, and an error."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gradnoise import _checks
from gradnoise.averaging.ensemble import TrainingEnsemble
from gradnoise.averaging.gap import delete_one_error
from gradnoise.estimate import Estimate


def over_sampled_sets(statistic: Callable[..., float], ensemble: TrainingEnsemble, *functions: ArrayLike) -> Estimate:
    """`statistic(ensemble, *functions)` for S training sets drawn independently, by the jackknife over sets.

        value     S t - (S - 1) mean of t_(s)
        stderr    [(S - 1)/S sum_s (t_(s) - mean)^2]^(1/2)

    t is the statistic of all sets, t_(s) that without set s, from the rows of `ensemble` and of `functions` (sets, *grid)
    that are left. Covariances over sets enter most statistics here and come out too small by 1/S: the value is free of
    that bias, exactly for `gap_parts(...).gap` (it is then `generalization_gap` of the cross averages) and up to 1/S^2 for
    smooth ones. The error covers the choice of sets alone; the densities are taken as exact.

    >>> from gradnoise.averaging import gap_parts, training_ensemble
    >>> grid, means = np.linspace(-8, 8, 161), np.array([[-0.5], [0.5], [0.1]])
    >>> losses = (grid - means) ** 2 / 2
    >>> over_sampled_sets(lambda *sampled: gap_parts(*sampled).gap, training_ensemble(-losses, 0.1), losses)
    Estimate(0.253333 +- 0.13, num_samples=3)

    Raises ValueError for fewer than three sets, unequal weights (sets drawn with their probabilities all count the same),
    and functions without a row a set.

    Source: Efron, "The Jackknife, the Bootstrap and Other Resampling Plans", 1982, chapters 2 and 3.
    """
    sets = _checks.integer("the number of training sets", len(ensemble.weights), minimum=3)
    if not np.allclose(ensemble.weights, 1 / sets):
        raise ValueError(
            "ensemble has unequal weights, expected those of a sample. Leave weights out of training_ensemble."
        )
    rows = [np.asarray(each, dtype=float) for each in functions]
    if any(each.shape[:1] != (sets,) for each in rows):
        raise ValueError(
            f"functions have shapes {[each.shape for each in rows]}, expected a row for each of {sets} sets. Give arrays of "
            "shape (sets, *grid)."
        )

    def without(left_out: list[int]) -> Any:
        kept = np.delete(np.arange(sets), left_out)
        smaller = TrainingEnsemble(ensemble.log_density[kept], np.full(len(kept), 1 / len(kept)), ensemble.cell)
        return statistic(smaller, *(each[kept] for each in rows))

    whole, deleted = without([]), np.array([without([s]) for s in range(sets)])
    return Estimate(sets * whole - (sets - 1) * deleted.mean(), delete_one_error(deleted), sets)
