"""Splitting and random sampling: exact enumeration of all draws of a small pool."""

from itertools import combinations

import numpy as np
import pytest

from gradnoise.averaging.overlap import gap_without_overlap, overlap_factor, overlap_share, split_gap_from_pool
from gradnoise.estimate import Estimate

POOL, TRAIN, TEST = 6, 3, 2


def losses(rng):
    """The loss of the model trained on each training set at each example of the pool: any numbers at all."""
    return {train: rng.normal(size=POOL) for train in combinations(range(POOL), TRAIN)}


def mean_gap(table, test_sets):
    gaps = [
        np.mean(row[list(test)]) - np.mean(row[list(train)])
        for train, row in table.items()
        for test in test_sets(train)
    ]
    return np.mean(gaps)


def test_random_sampling_has_the_splits_gap_times_the_factor_for_any_model(rng):
    """V: E gap_random = (1 - n/M) E gap_split, by enumeration."""
    table = losses(rng)
    unseen = lambda train: combinations(sorted(set(range(POOL)) - set(train)), TEST)  # noqa: E731
    anything = lambda train: combinations(range(POOL), TEST)  # noqa: E731
    split, random = mean_gap(table, unseen), mean_gap(table, anything)
    assert random == pytest.approx(overlap_factor(TRAIN, POOL) * split, rel=1e-12)
    assert gap_without_overlap(Estimate(random, 0.1, 3), TRAIN / POOL).value == pytest.approx(split, rel=1e-12)


def test_the_pools_loss_gives_the_split_gap_of_each_model_exactly(rng):
    for train, row in losses(rng).items():
        rest = sorted(set(range(POOL)) - set(train))
        found = split_gap_from_pool(
            Estimate(row.mean(), 0.0, 1), Estimate(row[list(train)].mean(), 0.0, 1), TRAIN, POOL
        )
        assert found.value == pytest.approx(row[rest].mean() - row[list(train)].mean(), rel=1e-12)


def test_the_share_in_common_has_the_enumerated_mean_and_spread():
    shares = [
        len(set(train) & set(test)) / TEST
        for train in combinations(range(POOL), TRAIN)
        for test in combinations(range(POOL), TEST)
    ]
    assert overlap_share(TRAIN, TEST, POOL) == pytest.approx((np.mean(shares), np.std(shares)), rel=1e-12)


def test_the_numbers_of_the_paper():
    """V: 5/6, .0034, 34 of 10000 images, a gap 6 times smaller, 2 % of it by the overlap's fluctuation alone."""
    share = overlap_share(50_000, 10_000, 60_000)
    assert share.mean == pytest.approx(5 / 6, rel=1e-12)
    assert share.standard_deviation == pytest.approx(0.0034, abs=5e-5)
    assert round(10_000 * share.standard_deviation) == 34
    assert overlap_factor(50_000, 60_000) == pytest.approx(1 / 6, rel=1e-12)
    assert share.standard_deviation / (1 - share.mean) == pytest.approx(0.02, abs=1e-3)


def test_a_test_set_that_is_the_pool_has_no_fluctuation():
    assert overlap_share(3, 6, 6).standard_deviation == 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: overlap_factor(6, 6), "num_examples=6 is above 5"),
        (lambda: overlap_share(7, 2, 6), "num_examples=7 is above 6"),
        (lambda: overlap_share(3, 7, 6), "num_test=7 is above 6"),
        (lambda: gap_without_overlap(Estimate(1.0, 0.1, 2), 1.0), "overlap=1 is not below 1"),
    ],
)
def test_wrong_calls_are_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()
