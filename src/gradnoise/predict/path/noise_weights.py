"""Which steps share their noise: the second moments of the batch noise of a schedule, as a few patterns with weights.

The noise of step t is zeta_t = (1/B) sum over its batch of grad l_x - G. Every sampling has

    E zeta_t zeta_t'^T = W_tt' Cov_x(g_x(t), g_x(t')),      W_tt' = sum_k weight_k [t and t' are in one class of kind k]

with four ways to put steps into classes: fresh (each step for itself), column (the same place in every epoch), epoch, same
(all steps together). One example drawn for each class realizes a pattern; what follows from the noise to second order is
linear in the weights. So each pattern is worked out once, and every batch size and training-set size is arithmetic.

Source: loop.md section 12, the table of W; the finite pool is derived in docs/theory/loop.md.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from gradnoise.spacetime import Spacetime

KINDS = ("fresh", "column", "epoch", "same")
TRAINING_SETS = ("drawn", "given", "population", "distinct")
"""N draws with replacement from the pool; the pool itself; fresh draws at every step (N = infinity); N distinct examples."""


def classes(kind: str, spacetime: Spacetime) -> np.ndarray:
    """The class of each step, integers from 0 on, shape (num_steps,).

    >>> classes("column", Spacetime(num_examples=4, batch_size=2, epochs=2)).tolist()
    [0, 1, 0, 1]
    """
    steps = np.arange(spacetime.num_steps)
    if kind == "fresh":
        return steps
    if kind == "same":
        return np.zeros_like(steps)
    return steps % spacetime.steps_per_epoch if kind == "column" else steps // spacetime.steps_per_epoch


def num_classes(kind: str, spacetime: Spacetime) -> int:
    """How many classes the steps fall into; 1 for no steps."""
    return int(classes(kind, spacetime).max(initial=0)) + 1


def noise_weights(spacetime: Spacetime, training_set: str, num_pool: int) -> dict[str, Fraction]:
    """The weight of each pattern, kind -> weight; kinds of weight zero are left out.

    A training set of N distinct examples out of n has W = (n w - 1)/(n - 1), w the weight for independent rows: two
    distinct rows of a finite pool are correlated by -1/(n - 1). n = N is the training set that is given.

    >>> noise_weights(Spacetime(8, 2, epochs=2, sampling="reshuffle"), "drawn", 100)
    {'fresh': Fraction(1, 2), 'epoch': Fraction(-1, 8), 'same': Fraction(1, 8)}
    >>> noise_weights(Spacetime(8, 2, epochs=2, sampling="reshuffle"), "given", 8)     # (N-B)/(B(N-1)), -1/(N-1), 0
    {'fresh': Fraction(4, 7), 'epoch': Fraction(-1, 7)}
    """
    weights = _independent_rows(spacetime, training_set)
    if training_set in ("given", "distinct"):
        if num_pool == 1:
            return {}
        weights = {kind: weight * Fraction(num_pool, num_pool - 1) for kind, weight in weights.items()}
        weights["same"] = weights.get("same", Fraction(0)) - Fraction(1, num_pool - 1)
    return {kind: weights[kind] for kind in KINDS if weights.get(kind)}


def pattern_weights(kinds: Sequence[str], spacetime: Spacetime, training_set: str, num_pool: int) -> np.ndarray:
    """The weights of the given kinds as floats, shape (K,), zero for one that the spacetime does not need."""
    weights = noise_weights(spacetime, training_set, num_pool)
    return np.array([float(weights.get(kind, 0)) for kind in kinds])


def _independent_rows(spacetime: Spacetime, training_set: str) -> dict[str, Fraction]:
    """w_tt' = sum over rows of E a_tr a_t'r, with a_tr the share of row r in the batch of step t."""
    per_batch, per_row = Fraction(1, spacetime.batch_size), Fraction(1, spacetime.num_examples)
    if training_set == "population":
        return {"fresh": per_batch}
    if spacetime.sampling == "subset":
        return {"fresh": per_batch - per_row, "same": per_row}
    if spacetime.sampling == "with_replacement":
        return {"fresh": per_batch * (1 - per_row), "same": per_row}
    if spacetime.num_steps <= spacetime.steps_per_epoch:
        return {"fresh": per_batch}
    if spacetime.sampling == "fixed":
        return {"column": per_batch}
    return {"fresh": per_batch, "epoch": -per_row, "same": per_row}


def gap_weight(spacetime: Spacetime, training_set: str, num_pool: int) -> Fraction:
    """What the root-tied sum is multiplied by in the gap: 1/N for drawn rows, (1/N) (n - N)/(n - 1) for distinct ones."""
    share = Fraction(1, spacetime.num_examples)
    if training_set == "drawn":
        return share
    if training_set == "distinct" and num_pool > 1:
        return share * Fraction(num_pool - spacetime.num_examples, num_pool - 1)
    return Fraction(0)
