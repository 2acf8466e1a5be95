"""Batch indices: every sampling does what its name says, in any cut of the steps."""

from collections import Counter

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gradnoise.dynamics.batches import batch_indices, index_block, subset
from gradnoise.spacetime import Spacetime

SAMPLINGS = ("fixed", "reshuffle", "subset", "with_replacement")
grids = st.sampled_from([(1, 1, 1), (6, 2, 3), (12, 4, 2), (5, 1, 2), (4, 4, 3)])  # few shapes: each one compiles


@pytest.mark.parametrize("random_order", [False, True])
@pytest.mark.parametrize("sampling", ["fixed", "reshuffle"])
@settings(max_examples=20, deadline=None)
@given(grids, st.integers(0, 2**30))
def test_each_example_is_used_once_an_epoch(sampling, random_order, grid, seed):
    size, batch, epochs = grid
    rows = np.asarray(batch_indices(Spacetime(size, batch, epochs, sampling), jax.random.key(seed), random_order))
    assert rows.shape == (epochs * size // batch, batch)
    by_epoch = rows.reshape(epochs, size)
    assert (np.sort(by_epoch, axis=1) == np.arange(size)).all()
    if sampling == "fixed":
        assert (by_epoch == by_epoch[0]).all()
        assert random_order or (by_epoch[0] == np.arange(size)).all()


@settings(max_examples=20, deadline=None)
@given(grids, st.integers(0, 2**30))
def test_a_subset_holds_distinct_examples(grid, seed):
    size, batch, epochs = grid
    rows = np.asarray(batch_indices(Spacetime(size, batch, epochs, "subset"), jax.random.key(seed)))
    assert all(len(set(row)) == batch for row in rows.tolist())
    assert rows.min() >= 0
    assert rows.max() < size


def test_every_subset_has_the_same_chance():
    rows = np.asarray(batch_indices(Spacetime(5, 2, sampling="subset", num_steps=20_000), jax.random.key(3)))
    counts = Counter(map(frozenset, rows.tolist()))
    assert len(counts) == 10
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4


def test_a_large_subset_by_permutation_has_equal_chances_too():
    keys = jax.random.split(jax.random.key(0), 2000)
    rows = np.asarray(jax.vmap(lambda key: subset(key, 200, 190))(keys))
    assert (np.diff(np.sort(rows, axis=1)) > 0).all()
    left_out = 2000 - np.bincount(rows.ravel(), minlength=200)  # each of 200 rows is left out with chance 1/20
    assert stats.chisquare(left_out).pvalue > 1e-4


def test_draws_with_replacement_are_uniform_and_repeat_inside_a_batch():
    rows = np.asarray(batch_indices(Spacetime(7, 3, sampling="with_replacement", num_steps=7000), jax.random.key(1)))
    assert stats.chisquare(np.bincount(rows.ravel(), minlength=7)).pvalue > 1e-4
    repeats = np.mean([len(set(row)) < 3 for row in rows.tolist()])
    chance = 1 - 6 * 5 / 49
    assert abs(repeats - chance) < 4.5 * np.sqrt(chance * (1 - chance) / 7000)


def test_reshuffled_orders_are_uniform_and_differ_between_epochs():
    rows = np.asarray(batch_indices(Spacetime(3, 1, 6000, "reshuffle"), jax.random.key(5))).reshape(-1, 3)
    counts = Counter(map(tuple, rows.tolist()))
    assert len(counts) == 6
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_blocks_of_steps_join_to_the_whole_and_a_truncated_grid_is_its_head(sampling):
    spacetime, key = Spacetime(6, 2, 4, sampling), jax.random.key(2)
    whole = np.asarray(batch_indices(spacetime, key))
    blocks = [index_block(spacetime, key, start, 6)[:, 0] for start in (0, 6)]
    assert (np.concatenate(blocks) == whole).all()
    assert (batch_indices(spacetime.truncate(5), key) == whole[:5]).all()


def test_further_batches_of_a_step_are_independent_and_leave_the_first_alone():
    spacetime, key = Spacetime(6, 2, sampling="with_replacement", num_steps=3000), jax.random.key(2)
    rows = np.asarray(index_block(spacetime, key, 0, 3000, batches_per_step=2))
    assert (rows[:, 0] == batch_indices(spacetime, key)).all()
    pairs = np.bincount(rows[:, 0, 0] * 6 + rows[:, 1, 0], minlength=36)
    assert stats.chisquare(pairs).pvalue > 1e-4


@pytest.mark.parametrize(
    ("spacetime", "key", "error"),
    [("grid", jax.random.key(0), "spacetime"), (Spacetime(4, 2), 0, "key"), (Spacetime(4, 2), None, "key")],
)
def test_wrong_arguments_are_named(spacetime, key, error):
    with pytest.raises(TypeError, match=error):
        batch_indices(spacetime, key)
