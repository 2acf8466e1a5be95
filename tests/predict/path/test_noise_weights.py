"""Weights of the noise patterns against every training set and schedule, in rationals."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradnoise as gn
from gradnoise.predict.path.noise_weights import KINDS, classes, gap_weight, noise_weights
from predict.path.enumeration import outcomes

SMALL = [
    ("fixed", 4, 2, 2),
    ("fixed", 3, 1, 1),
    ("reshuffle", 4, 2, 2),
    ("reshuffle", 3, 1, 2),
    ("reshuffle", 2, 2, 3),
    ("subset", 3, 2, 2),
    ("with_replacement", 3, 2, 2),
    ("with_replacement", 2, 3, 2),
]
"""sampling, N, B, and epochs or steps."""


def grid(sampling, num_examples, batch_size, length):
    if sampling in ("fixed", "reshuffle"):
        return gn.Spacetime(num_examples, batch_size, length, sampling)
    return gn.Spacetime(num_examples, batch_size, sampling=sampling, num_steps=length)


def choose(where: Any, weight: Any, otherwise: Any = 0) -> np.ndarray:
    """Fractions by a condition: numbers or arrays of them."""
    return np.where(where, np.asarray(weight, dtype=object), np.asarray(otherwise, dtype=object))


def weight_matrix(spacetime, training_set, num_pool):
    """W_tt' as the sum of its patterns, (T, T) of Fractions."""
    total = np.full((spacetime.num_steps, spacetime.num_steps), Fraction(0), dtype=object)
    for kind, weight in noise_weights(spacetime, training_set, num_pool).items():
        place = classes(kind, spacetime)
        total = total + choose(place[:, None] == place, weight)
    return total


def moments(spacetime, training_set, num_pool):
    """E (a_tx - 1/n)(a_t'x' - 1/n) of the shares of example x in batch t, (T, T, n, n), and of training set and batch."""
    runs = outcomes(spacetime, training_set, num_pool)
    uniform = Fraction(1, num_pool)
    shares = _fractions(runs.batches) / spacetime.batch_size - uniform
    sets = _fractions(runs.sets) / int(runs.sets[0].sum()) - uniform
    chances = np.array(runs.chances, dtype=object)
    between = np.tensordot(shares * chances[:, None, None], shares, (0, 0)).swapaxes(1, 2)
    return between, np.tensordot(sets * chances[:, None], shares, (0, 0)).swapaxes(0, 1)


def _fractions(counts):
    return np.vectorize(Fraction, otypes=[object])(counts)


def covariance_of_one_draw(num_pool):
    """n^2 of it: n diag - 1."""
    return Fraction(1, num_pool**2) * (num_pool * np.eye(num_pool, dtype=int) - 1)


def assert_weights_are_the_moments(spacetime, training_set, num_pool):
    """Every entry for every pair of examples: the whole covariance is W times that of one draw from the pool."""
    between, with_set = moments(spacetime, training_set, num_pool)
    one = covariance_of_one_draw(num_pool)
    weights = weight_matrix(spacetime, training_set, num_pool)
    assert (between == weights[:, :, None, None] * one).all()
    assert (with_set == gap_weight(spacetime, training_set, num_pool) * one).all()


@pytest.mark.parametrize("training_set", ["drawn", "distinct", "given", "population"])
@pytest.mark.parametrize(("sampling", "num_examples", "batch_size", "length"), SMALL)
def test_the_weights_are_the_covariance_of_the_batch_shares(sampling, num_examples, batch_size, length, training_set):
    """Pools of N, and of N + 1 where the training set is distinct; also the share that the gap has."""
    spacetime = grid(sampling, num_examples, batch_size, length)
    sizes = {"population": [2], "distinct": [num_examples, num_examples + 1]}
    for num_pool in sizes.get(training_set, [num_examples]):
        assert_weights_are_the_moments(spacetime, training_set, num_pool)


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_run_cut_inside_an_epoch_has_the_weights_of_its_steps(steps):
    whole = gn.Spacetime(4, 2, 2, "reshuffle")
    cut = weight_matrix(whole.truncate(steps), "drawn", 9)
    assert (cut == weight_matrix(whole, "drawn", 9)[:steps, :steps]).all()
    assert_weights_are_the_moments(whole.truncate(steps), "given", 4)


def test_the_table_of_loop_md_stands():
    """Fixed order 1/B by column; reshuffled 1/B, 0, 1/N; a given set (N-B)/(B(N-1)), -1/(N-1), 0."""
    spacetime = gn.Spacetime(6, 2, 2, "reshuffle")
    same_step, same_epoch = np.eye(6, dtype=bool), np.arange(6)[:, None] // 3 == np.arange(6) // 3
    drawn, given_set = (weight_matrix(spacetime, name, 6) for name in ("drawn", "given"))
    table = choose(same_step, Fraction(1, 2), choose(~same_epoch, Fraction(1, 6)))
    assert (drawn == table).all()
    table = choose(same_step, Fraction(4, 10), choose(same_epoch, Fraction(-1, 5)))
    assert (given_set == table).all()
    fixed = weight_matrix(gn.Spacetime(6, 2, 2), "drawn", 6)
    same_column = np.arange(6)[:, None] % 3 == np.arange(6) % 3
    assert (fixed == choose(same_column, Fraction(1, 2))).all()


spacetimes = st.builds(
    lambda sampling, columns, batch_size, length: grid(sampling, columns * batch_size, batch_size, length),
    st.sampled_from(["fixed", "reshuffle", "subset", "with_replacement"]), st.integers(1, 5), st.integers(1, 6),
    st.integers(1, 4),
)  # fmt: skip


@settings(deadline=None)
@given(spacetimes, st.integers(2, 60))
def test_distinct_examples_have_the_weight_n_w_minus_1_over_n_minus_1(spacetime, num_pool):
    independent = weight_matrix(spacetime, "drawn", num_pool)
    if num_pool >= spacetime.num_examples:
        distinct = weight_matrix(spacetime, "distinct", num_pool)
        assert (distinct == (num_pool * independent - 1) / Fraction(num_pool - 1)).all()


@settings(deadline=None)
@given(spacetimes)
def test_distinct_examples_are_the_given_set_at_n_equal_to_N_and_independent_draws_as_n_grows(spacetime):
    size, huge = spacetime.num_examples, 10**9
    if size > 1:
        assert noise_weights(spacetime, "distinct", size) == noise_weights(spacetime, "given", size)
    assert gap_weight(spacetime, "distinct", size) == 0 or size == 1
    apart = weight_matrix(spacetime, "distinct", huge) - weight_matrix(spacetime, "drawn", huge)
    assert (np.abs(apart) <= Fraction(1, huge - 1)).all()
    assert abs(gap_weight(spacetime, "distinct", huge) * size - 1) <= Fraction(size, huge - 1)


@settings(deadline=None)
@given(spacetimes)
def test_the_noise_of_an_epoch_over_a_given_set_cancels(spacetime):
    """Every example is used equally often: the weights of an epoch's steps add up to zero, row by row."""
    size = spacetime.num_examples
    if spacetime.has_epochs and size > 1:
        weights = weight_matrix(spacetime, "given", size)
        steps = spacetime.steps_per_epoch
        for first in range(0, spacetime.num_steps, steps):
            assert (weights[:, first : first + steps].sum(1) == 0).all()


@settings(deadline=None)
@given(spacetimes, st.integers(2, 60), st.sampled_from(["drawn", "population", "distinct", "given"]))
def test_weights_name_known_patterns_none_of_them_idle(spacetime, num_pool, training_set):
    if training_set in ("drawn", "population") or num_pool >= spacetime.num_examples:
        found = noise_weights(spacetime, training_set, num_pool)
        assert list(found) == [kind for kind in KINDS if kind in found]
        assert all(found.values())


@pytest.mark.parametrize("training_set", ["drawn", "given", "distinct", "population"])
def test_a_pool_of_one_example_has_no_noise_where_its_rows_are_the_set(training_set):
    """Its covariance is zero anyway; nothing divides by n - 1 = 0."""
    spacetime = gn.Spacetime(1, 1, 3)
    assert gap_weight(spacetime, training_set, 1) in ((1,) if training_set == "drawn" else (0,))
    assert (noise_weights(spacetime, training_set, 1) == {}) == (training_set in ("given", "distinct"))
