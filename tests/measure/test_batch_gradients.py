"""Signal and noise from batch gradients: unbiased by full enumeration of all batches."""

from itertools import combinations, permutations, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cases import CASES
from gradnoise.measure.batch_gradients import (
    SignalNoise,
    correct_for_disjoint_batches,
    signal_noise_from_batches,
    signal_noise_from_disjoint_batches,
    signal_noise_from_two_sizes,
    signal_noise_of_examples,
)
from gradnoise.measure.noise_scale import noise_scale

ROWS = np.random.default_rng(3).normal(size=(6, 2)).round(2) + np.array([0.4, -0.2])
MEAN = ROWS.mean(axis=0)
SIGNAL = MEAN @ MEAN
TRACE_D = np.square(ROWS - MEAN).sum() / 6
TRACE_S2 = np.square(ROWS - MEAN).sum() / 5


def expectation(batches, estimator):
    """The mean of `estimator` over equally likely lists of batches of rows, shape (outcome, m, B)."""
    with jax.enable_x64(True):
        found = jax.jit(jax.vmap(estimator))(ROWS[np.array(batches)].mean(axis=2))
    return np.asarray(found.signal).mean(), np.asarray(found.noise).mean()


def test_independent_batches_with_replacement_are_unbiased():
    batches = list(product(range(6), repeat=2))
    found = expectation(list(product(batches, repeat=3)), signal_noise_from_batches)
    np.testing.assert_allclose(found, (SIGNAL, TRACE_D / 2), rtol=1e-12)


@pytest.mark.parametrize("num_batches", [2, 3])
def test_independent_batches_without_replacement_are_unbiased(num_batches):
    subsets = list(combinations(range(6), 2))
    found = expectation(list(product(subsets, repeat=num_batches)), signal_noise_from_batches)
    np.testing.assert_allclose(found, (SIGNAL, TRACE_S2 / 2 * (1 - 2 / 6)), rtol=1e-12)


@pytest.mark.parametrize("num_batches", [2, 3])
def test_disjoint_batches_are_off_by_exactly_the_trace_over_n_and_the_correction_mends_it(num_batches):
    orders = np.array(list(permutations(range(6)))).reshape(-1, 3, 2)[:, :num_batches]
    plain = expectation(orders, signal_noise_from_batches)
    np.testing.assert_allclose(plain, (SIGNAL - TRACE_S2 / 6, TRACE_S2 / 2), rtol=1e-12)
    mended = expectation(orders, lambda g: correct_for_disjoint_batches(signal_noise_from_batches(g), 2, 6))
    np.testing.assert_allclose(mended, (SIGNAL, TRACE_S2 / 2 * (1 - 2 / 6)), rtol=1e-12)


def test_a_whole_epoch_knows_its_mean_gradient_exactly():
    batches = ROWS[np.array([(3, 0), (5, 1), (2, 4)])].mean(axis=1)
    found = jax.jit(lambda g: signal_noise_from_disjoint_batches(g, num_examples=6))(batches)
    assert float(found.signal) == pytest.approx(SIGNAL, rel=1e-5)
    assert float(found.signal) + float(found.noise) == pytest.approx(np.square(batches).sum() / 3, rel=1e-5)


def test_two_batch_sizes_are_unbiased():
    mean_square = {
        size: np.mean([np.square(ROWS[list(batch)].mean(axis=0)).sum() for batch in product(range(6), repeat=size)])
        for size in (1, 4)
    }
    found = signal_noise_from_two_sizes(mean_square[1], mean_square[4], 1, 4, batch_size=3)
    np.testing.assert_allclose(found, (SIGNAL, TRACE_D / 3), rtol=1e-12)


def squared_error(w, row):
    return (w @ row) ** 2 / 2


@pytest.mark.parametrize("chunk", [4, 64])
def test_the_exact_form_enumerates_the_batches_for_any_chunk(chunk):
    weights = np.array([0.5, -1.5])
    rows = (ROWS @ weights)[:, None] * ROWS
    with jax.enable_x64(True):
        exact = jax.jit(lambda w, r: [signal_noise_of_examples(squared_error, w, r, 2, free, chunk) for free in (1, 0)])
        free, distinct = exact(weights, ROWS)
    pairs = {True: list(product(range(6), repeat=2)), False: list(combinations(range(6), 2))}
    for replacement, found in ((True, free), (False, distinct)):
        noise = np.square(rows[np.array(pairs[replacement])].mean(axis=1) - rows.mean(axis=0)).sum(axis=1).mean()
        np.testing.assert_allclose(found, (np.square(rows.mean(axis=0)).sum(), noise), rtol=1e-12)


@pytest.mark.slow
def test_the_exact_form_on_a_network_is_the_noise_scales():
    problem, params = CASES["mlp"]()
    scale = noise_scale(problem, params, batch_size=2)
    with jax.enable_x64(True):
        found = signal_noise_of_examples(problem.loss, params, problem.pool, 2, chunk=2)
        assert float(found.signal) == pytest.approx(scale.gradient_norm_squared.value, rel=1e-9)
        assert float(found.noise) == pytest.approx(scale.noise_trace.value / 2, rel=1e-9)


def test_a_batch_of_everything_without_replacement_has_no_noise():
    found = jax.jit(lambda w: signal_noise_of_examples(squared_error, w, jnp.asarray(ROWS), 6, False))(np.ones(2))
    assert found.noise == 0


def test_a_tree_of_gradients_is_its_flat_vector_and_a_negative_signal_is_kept():
    flat = np.array([[1.0, 2.0, 0.0], [-1.0, -2.0, 0.5]])
    tree = {"a": flat[:, :2].reshape(2, 2, 1), "b": flat[:, 2]}
    both = jax.jit(lambda *given: [signal_noise_from_batches(one) for one in given])(tree, flat)
    np.testing.assert_allclose(both[0], both[1], rtol=1e-6)
    assert both[0].signal == pytest.approx(-5.0)  # the inner product of the two


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: signal_noise_from_batches(np.ones((1, 3))), "leading axes 1, expected one common number"),
        (lambda: signal_noise_from_batches({"a": np.ones((2, 3)), "b": np.ones((3, 1))}), "leading axes 2, 3"),
        (lambda: signal_noise_from_batches({}), "leading axes no"),
        (lambda: signal_noise_from_disjoint_batches(np.ones((3, 2)), 7), "3 batches do not share out num_examples=7"),
        (lambda: signal_noise_from_two_sizes(1.0, 1.0, 4, 4), "small_batch=4 is not below large_batch=4"),
        (lambda: signal_noise_of_examples(lambda w, x: w * x, 1.0, np.ones(3), 4, False), "batch_size=4 is above 3"),
    ],
)
def test_wrong_input_is_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_the_parts_have_names():
    assert SignalNoise(1.0, 2.0)._fields == ("signal", "noise")
