"""Splitting against random sampling: what test examples that are also training examples do to the gap."""

import math
from typing import NamedTuple

from gradnoise import _checks
from gradnoise.estimate import Estimate, independent_difference


class Overlap(NamedTuple):
    """The share of the test set that is in the training set, both drawn from one pool; see `overlap_share`."""

    mean: float
    standard_deviation: float


def overlap_share(num_examples: int, num_test: int, num_pool: int) -> Overlap:
    """Mean and standard deviation of the share of test examples that are training examples, over both draws.

        mean = n/M        sd^2 = (n/M) (1 - n/M) / m * (M - m)/(M - 1)

    n = `num_examples` for training and m = `num_test` for the test, each distinct and independent of the other, from a
    pool of M = `num_pool`: hypergeometric.

    >>> overlap_share(50_000, 10_000, 60_000)
    Overlap(mean=0.8333, standard_deviation=0.00340)

    Raises ValueError for more examples than the pool has.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", random sampling; its numbers:
    docs/theory/temperature_protocol.md, "Splitting and random sampling".
    """
    num_pool = _checks.integer("num_pool", num_pool, 2)
    num_examples = _checks.integer("num_examples", num_examples, 1, num_pool)
    num_test = _checks.integer("num_test", num_test, 1, num_pool)
    mean = num_examples / num_pool
    return Overlap(mean, math.sqrt(mean * (1 - mean) / num_test * (num_pool - num_test) / (num_pool - 1)))


def overlap_factor(num_examples: int, num_pool: int) -> float:
    """E gap under random sampling / E gap under splitting: 1 - n/M, exactly, for any model and any test size.

    Splitting: n examples to train, others to test. Random sampling: the test set is drawn from the whole pool, and n/M of
    it adds nothing to the gap on average. Gaps of the two protocols are compared after dividing by this.

    >>> overlap_factor(50_000, 60_000)
    0.1667

    Raises ValueError for a training set that leaves nothing of the pool.

    Source: docs/theory/temperature_protocol.md, "Splitting and random sampling".
    """
    num_pool = _checks.integer("num_pool", num_pool, 2)
    return 1 - _checks.integer("num_examples", num_examples, 1, num_pool - 1) / num_pool


def gap_without_overlap(gap: Estimate, overlap: float) -> Estimate:
    """The gap to unseen examples from a test set of which the share `overlap` was trained on: gap / (1 - overlap).

    With the mean share n/M the result is unbiased, over draws of the test set. With the share counted in a run, of
    `testbeds.random_sampling` num_shared / num_test, the overlap's fluctuation is gone as well: at 5/6 +- .0034 it moves the
    gap by 2 %.

    >>> gap_without_overlap(Estimate(0.1, 0.01, 8), 5 / 6)
    Estimate(0.6 +- 0.06, num_samples=8)

    Raises ValueError for an overlap outside [0, 1).

    Source: docs/theory/temperature_protocol.md, "Splitting and random sampling".
    """
    unseen = 1 - _checks.number("overlap", overlap, minimum=0.0, below=1.0)
    return Estimate(gap.value / unseen, gap.stderr / unseen, gap.num_samples)


def split_gap_from_pool(pool_loss: Estimate, train_loss: Estimate, num_examples: int, num_pool: int) -> Estimate:
    """The gap under splitting from a run's loss over the whole pool: (U_pool - U_train) M / (M - n).

    U_pool = (n U_train + (M - n) U_unseen)/M, so this is U_unseen - U_train to the last digit. `stderr` takes the two
    losses as independent, which is too wide for losses of the same runs: give a gap's own Estimate to
    `gap_without_overlap(gap, n/M)` then.

    >>> split_gap_from_pool(Estimate(0.3, 0.0, 1), Estimate(0.2, 0.0, 1), 50, 60)
    Estimate(0.6 +- 0, num_samples=1)

    Raises ValueError for a training set that leaves nothing of the pool.

    Source: docs/theory/temperature_protocol.md, "Splitting and random sampling".
    """
    factor = overlap_factor(num_examples, num_pool)
    return gap_without_overlap(independent_difference(pool_loss, train_loss), 1 - factor)
