"""Which cells go on: Holm by hand, the chance of losing the best cell."""

import math

import numpy as np
import pytest
from scipy import stats

from gradnoise.averaging.halving import cells_to_continue, significantly_worse


def test_rejections_are_holms_of_paired_t_tests(rng):
    losses = rng.normal(size=(6, 5)) + np.array([0.0, 0.3, 1.0, 2.0, 3.0, 4.0])[:, None]
    best = losses.mean(axis=1).argmin()
    others = [i for i in range(6) if i != best]
    p = {i: stats.ttest_rel(losses[i], losses[best], alternative="greater").pvalue for i in others}
    expected = set()
    for step, i in enumerate(sorted(others, key=p.get)):
        if p[i] > 0.05 / (5 - step):
            break
        expected.add(i)
    assert set(np.flatnonzero(significantly_worse(losses, 0.05))) == expected


def test_only_clearly_worse_cells_are_dropped_the_worst_first_and_at_most_the_share(rng):
    losses = 0.1 * rng.normal(size=(6, 6)) + np.array([0.0, 0.02, 5.0, 6.0, 7.0, 8.0])[:, None]
    assert cells_to_continue(losses, level=1e-4).tolist() == [True, True, True, False, False, False]
    assert cells_to_continue(losses, level=1e-4, largest_drop=0.9).tolist() == [True, True, False, False, False, False]


def test_diverged_cells_go_on_top_of_the_share(rng):
    losses = 0.1 * rng.normal(size=(4, 6)) + np.array([0.0, 5.0, 6.0, 7.0])[:, None]
    losses[3, 0] = np.nan
    assert cells_to_continue(losses).tolist() == [True, False, False, False]


def test_the_best_cell_is_lost_no_more_often_than_the_level(rng):
    """All alike but one that is best by a fifth of a spread: at level 20 %, of 400."""
    lost = sum(
        not cells_to_continue(rng.normal(size=(8, 4)) + np.array([-0.2, *[0.0] * 7])[:, None], level=0.2)[0]
        for _ in range(400)
    )
    assert lost / 400 < 0.2 + 4.5 * math.sqrt(0.2 * 0.8 / 400)


def test_the_lowest_cell_stays_and_equal_cells_stay(rng):
    assert cells_to_continue(np.ones((5, 3))).all()
    losses = rng.normal(size=(5, 3))
    assert cells_to_continue(losses)[losses.mean(axis=1).argmin()]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: cells_to_continue(np.ones((3, 1))), r"interim_losses has shape \(3, 1\)"),
        (lambda: cells_to_continue(np.full((3, 2), np.nan)), "Every cell has a run that diverged"),
        (lambda: cells_to_continue(np.ones((3, 2)), largest_drop=1.0), "largest_drop=1 is not below 1"),
    ],
)
def test_wrong_calls_are_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()
