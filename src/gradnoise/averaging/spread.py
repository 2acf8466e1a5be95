"""How much each example's loss moves late in training, against how large it is."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from gradnoise import _checks
from gradnoise.estimate import Estimate


@dataclass(frozen=True, eq=False)
class LossSpread:
    """Per-example mean and standard deviation of the loss over records, and sd against mean; see `loss_spread`."""

    mean: Float[np.ndarray, "example"]
    standard_deviation: Float[np.ndarray, "example"]
    slope: Estimate
    intercept: Estimate
    reliability: float
    """1 - mean(sd^2)/(R Var mean): means over R independent records are noisy and shrink the slope by this factor."""


def evenly_spaced_epochs(num_epochs: int, count: int = 20, share: float = 0.25) -> Int[np.ndarray, "count"]:
    """`count` epochs, numbered from zero, evenly over the last `share` of training, the last epoch among them.

    >>> evenly_spaced_epochs(300).tolist()[:3], int(evenly_spaced_epochs(300)[-1])
    ([228, 231, 235], 299)

    Raises ValueError if that share has fewer than `count` epochs.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", figure 7.
    """
    num_epochs, count = _checks.integer("num_epochs", num_epochs), _checks.integer("count", count, 2)
    length = _checks.number("share", share, above=0.0, below=1 + 1e-12) * num_epochs
    if length < count:
        raise ValueError(f"The last {length:g} epochs do not hold {count}. Record fewer or take a larger share.")
    return num_epochs - 1 - np.floor(np.arange(count) * length / count + 0.5).astype(int)[::-1]


def loss_spread(losses: ArrayLike) -> LossSpread:
    """Standard deviation against mean of each example's loss over records: `losses` (record, example), test or train.

        sd_i = intercept + slope * mean_i + rest

    by least squares over examples; the errors are those of the sandwich with leave-one-out residuals (HC3): they cover
    the choice of examples, given these records, and allow for rests that grow with the mean. Divisor of sd: R - 1.

    >>> spread = loss_spread([[0.9, 1.8, 2.7, 0.0], [1.1, 2.2, 3.3, 0.0]])
    >>> float(round(spread.slope.value, 3))                       # each loss moves by a tenth of itself, sqrt(2) sd
    0.141

    Raises ValueError for fewer than 2 records or 3 examples, numbers not finite, means that are all equal.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", figure 7.
    """
    table = np.asarray(losses, dtype=float)
    if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] < 3 or not np.all(np.isfinite(table)):
        raise ValueError(
            f"losses has shape {table.shape}, expected (record, example) of finite numbers, at least (2, 3). "
            "Give each example's loss at each record."
        )
    records, examples = table.shape
    mean, spread = table.mean(axis=0), table.std(axis=0, ddof=1)
    if np.ptp(mean) <= 1e-12 * np.abs(mean).max():
        raise ValueError("All examples have the same mean loss, expected different ones. Give more examples.")
    design = np.stack([np.ones(examples), mean - mean.mean()], axis=1)
    inverse = np.diag(1 / np.square(design).sum(axis=0))
    level, slope = inverse @ design.T @ spread
    leverage = np.einsum("ei,ij,ej->e", design, inverse, design)
    rest = (spread - design @ [level, slope]) / np.maximum(1 - leverage, 1e-12)
    sandwich = inverse @ (design.T * np.square(rest)) @ design @ inverse
    at_zero = np.array([1.0, -mean.mean()])
    return LossSpread(
        mean,
        spread,
        Estimate(slope, np.sqrt(sandwich[1, 1]), examples),
        Estimate(at_zero @ [level, slope], np.sqrt(at_zero @ sandwich @ at_zero), examples),
        float(1 - np.square(spread).mean() / (records * mean.var(ddof=1))),
    )
