"""Splits are disjoint, random samples overlap as the hypergeometric law says, training sets share nothing if they fit."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradnoise.testbeds.data import Data
from gradnoise.testbeds.splitting import disjoint_sets, random_sampling, split


def numbered(num_pool, num_test=0):
    """Examples that carry their number, from 0 to num_pool + num_test - 1."""
    x = np.arange(num_pool + num_test, dtype=np.float32)[:, None]
    y = (x[:, 0] % 3).astype(np.int32)
    test_pool = {"x": x[num_pool:], "y": y[num_pool:]} if num_test else None
    return Data({"x": x[:num_pool], "y": y[:num_pool]}, test_pool, "classification", 1, 3, ("a", "b", "c"))


def numbers(pool):
    return pool["x"][:, 0].astype(int)


@settings(max_examples=10)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 3))
def test_a_split_is_disjoint_and_keeps_inputs_with_their_targets(num_train, num_test, seed):
    data = split(jax.random.key(seed), numbered(8, 4), num_train, num_test)
    train, test = numbers(data.pool), numbers(data.test_pool)
    assert (len(train), len(test)) == (num_train, num_test)
    assert len({*train, *test}) == num_train + num_test
    for pool in (data.pool, data.test_pool):
        assert np.array_equal(pool["y"], numbers(pool) % 3)
    assert data[2:] == ("classification", 1, 3, ("a", "b", "c"))


def test_a_split_of_everything_uses_everything_and_mixes_pool_and_test_pool():
    data = split(jax.random.key(0), numbered(80, 40), 60, 60)
    train, test = numbers(data.pool), numbers(data.test_pool)
    assert sorted([*train, *test]) == list(range(120))
    assert 0 < (train >= 80).sum() < 40


def test_a_random_sample_shares_as_many_examples_as_the_hypergeometric_law_says(getkey):
    data, total, num_train, num_test, repeats = numbered(30, 10), 40, 16, 10, 300
    shared = []
    for key in jax.random.split(getkey(), repeats):
        sample = random_sampling(key, data, num_train, num_test)
        train, test = numbers(sample.data.pool), numbers(sample.data.test_pool)
        assert len({*train}) == num_train
        assert len({*test}) == num_test
        assert sample.num_shared == len({*train} & {*test})
        shared.append(sample.num_shared)
    share = num_train / total
    variance = num_test * share * (1 - share) * (total - num_test) / (total - 1)
    assert abs(np.mean(shared) - num_test * share) < 4.5 * np.sqrt(variance / repeats)
    fourth = 4.5 * np.sqrt(2.5 / repeats)  # relative error of a variance: the law is near normal
    assert abs(np.var(shared) / variance - 1) < fourth


@settings(max_examples=10)
@given(st.integers(1, 12), st.integers(1, 9))
def test_as_many_training_sets_as_fit_are_disjoint(num_examples, num_sets):
    sets = disjoint_sets(jax.random.key(1), 12, num_examples, num_sets)
    fitting = 12 // num_examples
    assert sets.shape == (num_sets, num_examples)
    assert all(len({*row}) == num_examples for row in sets)
    for start in range(0, num_sets, fitting):
        block = sets[start : start + fitting]
        assert len(np.unique(block)) == block.size
    assert sets.min() >= 0
    assert sets.max() < 12


def test_the_same_key_gives_the_same_sets_and_another_key_others():
    one, same, other = (disjoint_sets(jax.random.key(seed), 50, 10, 7) for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one[:5], one[5:].repeat(3, 0)[:5])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda key: split(key, numbered(5), 3, 3), "num_train=3 and num_test=3 do not fit: the data are 5 examples"),
        (lambda key: split(key, numbered(5), 0, 3), "num_train=0 is below 1"),
        (lambda key: random_sampling(key, numbered(5), 6, 1), "num_train=6 is above 5"),
        (lambda key: random_sampling(key, numbered(5), 1, 6), "num_test=6 is above 5"),
        (lambda key: disjoint_sets(key, 5, 6, 1), "num_examples=6 is above 5"),
        (lambda key: disjoint_sets(key, 5, 2, 0), "num_sets=0 is below 1"),
    ],
)
def test_what_does_not_fit_is_told(call, words):
    with pytest.raises(ValueError, match=words):
        call(jax.random.key(0))
