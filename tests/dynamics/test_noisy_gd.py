"""Noisy gradient descent: a step is affine in its normal numbers, and the linear map is the covariance, exactly."""

import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from brute_force import gradient_rows
from dynamics.one_step import (
    PARAMS,
    POOL,
    RATE,
    WITH,
    WITHOUT,
    affine_in_draws,
    assert_equal,
    batch_noise,
    five_points,
    three_symmetric,
)
from gradnoise.dynamics.discrete import gradient_descent
from gradnoise.dynamics.momentum import MomentumState
from gradnoise.dynamics.noisy_gd import noisy_gd
from gradnoise.dynamics.simulate import simulate
from gradnoise.problem import Problem
from gradnoise.process import Batches
from gradnoise.spacetime import Spacetime

ONE_WHOLE_BATCH = Spacetime(5, 5)


@pytest.mark.parametrize("spacetime", [WITH, WITHOUT], ids=lambda s: s.sampling)
def test_a_step_has_the_mean_and_covariance_of_sgds_and_no_third_cumulant(spacetime):
    """Against the enumeration of all batches. The raw third moment is SGD's without its Lambda."""
    mu, matrix = affine_in_draws(noisy_gd(five_points()).step, spacetime)
    g, sigma, cumulant = batch_noise(spacetime)
    assert_equal(mu, -RATE * g)
    assert_equal(matrix @ matrix.T, RATE**2 * sigma)
    raw = three_symmetric(mu, matrix @ matrix.T) + np.einsum("a,b,c->abc", mu, mu, mu)
    sgds = -(RATE**3) * (cumulant + three_symmetric(g, sigma) + np.einsum("a,b,c->abc", g, g, g))
    assert_equal(raw - sgds, RATE**3 * cumulant)
    assert np.abs(cumulant).max() > 1e-3


@pytest.mark.parametrize("sampling", ["fixed", "reshuffle"])
def test_epochs_have_the_covariance_of_batches_without_replacement(sampling):
    """N = 5 and batches of one: the same matrix for every sampling without replacement, and D with it."""
    maps = [
        affine_in_draws(noisy_gd(five_points()).step, spacetime)[1]
        for spacetime in (Spacetime(5, 1, sampling=sampling), Spacetime(5, 1, sampling="with_replacement"))
    ]
    assert_equal(maps[0], maps[1])  # (N - 1)/(N - 1) = 1
    assert_equal(affine_in_draws(noisy_gd(five_points()).step, ONE_WHOLE_BATCH)[1], np.zeros((3, 5)))


def test_without_the_centring_the_covariance_is_wrong_by_gbar_gbar():
    """w = 1 + c xi gives D/B + gbar gbar^T / B."""
    rows = gradient_rows(five_points(), PARAMS)
    g, sigma, _ = batch_noise(WITH)
    uncentred = rows.T @ rows / (5 * 2)
    np.testing.assert_allclose(uncentred, sigma + np.outer(g, g) / 2, atol=1e-14)
    _, matrix = affine_in_draws(noisy_gd(five_points()).step, WITH)
    assert np.abs(matrix @ matrix.T - RATE**2 * uncentred).max() > 1e-3 * RATE**2


def test_rates_by_weight_multiply_mean_and_noise():
    by_weight = {"a": np.array([0.1, 0.4]), "b": np.array(0.7)}
    rates = np.array([0.1, 0.4, 0.7])
    mu, matrix = affine_in_draws(noisy_gd(five_points()).step, WITH, by_weight)
    g, sigma, _ = batch_noise(WITH)
    assert_equal(mu, -rates * g)
    assert_equal(matrix @ matrix.T, rates[:, None] * sigma * rates)


def test_momentum_and_decay_act_on_the_noisy_gradient():
    """From v = 1.5: theta and v get the same noise, with factors -eta and 1; the decay enters once."""
    mu, decay = 0.6, 0.4
    step = noisy_gd(five_points(), momentum=mu, weight_decay=decay).step
    with jax.enable_x64(True):
        start = jax.tree.map(jax.numpy.asarray, PARAMS)
        velocity = jax.tree.map(lambda leaf: jax.numpy.full(np.shape(leaf), 1.5), PARAMS)
        state = MomentumState(start, velocity, jax.numpy.array(True))
    mean, matrix = affine_in_draws(step, WITH, start=state)
    g, sigma, _ = batch_noise(WITH)
    direction = mu * 1.5 + g + decay * np.array([0.6, -0.8, 0.25])
    assert_equal(mean, np.concatenate([-RATE * direction, direction - 1.5]))
    blocks = np.block([[RATE**2 * sigma, -RATE * sigma], [-RATE * sigma, sigma]])
    assert_equal(matrix @ matrix.T, blocks)


def test_a_step_draws_independent_standard_normal_numbers(getkey):
    """Steps from many keys, in units of their exact standard deviation: mean, variance, kurtosis within 4.5 errors."""
    mu, matrix = affine_in_draws(noisy_gd(five_points()).step, WITH)
    count = 40_000
    process = noisy_gd(five_points())
    with jax.enable_x64(True):
        pool, state = jax.tree.map(jax.numpy.asarray, (POOL, PARAMS))
        keys = jax.random.split(getkey(), count)

        @jax.jit
        @jax.vmap
        def move(key):
            after = process.step(key, process.init(state), Batches(None, pool, WITH), RATE)
            return ravel_pytree(after.params)[0]

        moves = np.asarray(move(keys)) - np.asarray(ravel_pytree(state)[0])
    white = np.linalg.solve(np.linalg.cholesky(matrix @ matrix.T), (moves - mu).T)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (4, 3, 96)):
        assert np.all(np.abs((white**power).mean(1) - moment) < 4.5 * np.sqrt(variance / count))
    products = np.array([np.mean(white[i] * white[j]) for i, j in ((0, 1), (0, 2), (1, 2))])
    assert np.all(np.abs(products) < 4.5 / np.sqrt(count))


@pytest.mark.slow
def test_a_population_gives_independent_batches_whatever_the_sampling(getkey):
    """One batch of the whole training set has no noise, one of so many fresh draws from the population has."""
    problem, start = five_points(), five_points().init(None)
    for training_set, noisy in (("given", False), ("population", True)):
        spacetime, key = Spacetime(5, 5, 3), getkey()
        runs = simulate(noisy_gd(problem), start, spacetime, RATE, 4, key, training_set=training_set)
        plain = simulate(gradient_descent(problem), start, spacetime, RATE, 4, key, training_set=training_set)
        difference = np.abs(runs.observables["test_loss"] - plain.observables["test_loss"])[:, 1:]
        assert (difference > 1e-4).any() if noisy else (difference < 1e-6).all()


def test_a_run_repeats_for_its_key_and_takes_rates_by_weight_and_by_step(getkey):
    problem, spacetime, key = five_points(), Spacetime(6, 2, 2), getkey()
    process, start = noisy_gd(problem, momentum=0.5, nesterov=True, injected_noise=0.3), problem.init(None)
    runs = [simulate(process, start, spacetime, 0.1, 4, key).observables["test_loss"] for _ in range(2)]
    np.testing.assert_array_equal(*runs)
    for rate in ({"a": np.full(2, 0.1), "b": np.array(0.1)}, lambda step: 0.1, np.full(6, 0.1)):
        same = simulate(process, start, spacetime, rate, 4, key).observables["test_loss"]
        np.testing.assert_allclose(same, runs[0], rtol=1e-5)
    other = simulate(process, start, spacetime, 0.1, 4, getkey()).observables["test_loss"]
    assert (other[:, 1:] != runs[0][:, 1:]).all()


def test_each_replica_sees_its_own_training_set(getkey):
    """Without noise (one batch) noisy GD is gradient descent on the same drawn sets."""
    problem, key, start = five_points(), getkey(), five_points().init(None)
    runs = [
        simulate(process, start, Spacetime(6, 6, 3), RATE, 5, key).observables["train_loss"]
        for process in (noisy_gd(problem), gradient_descent(problem))
    ]
    np.testing.assert_allclose(runs[0], runs[1], rtol=1e-5)


def test_a_population_without_a_pool_is_refused():
    endless = Problem(lambda w, x: (w - x) ** 2, lambda key, n: jax.random.normal(key, (n,)), lambda key: np.zeros(()))
    with pytest.raises(ValueError, match="noisy_gd needs the population's exact gradient"):
        simulate(noisy_gd(endless), np.zeros(()), Spacetime(4, 2), 0.1, 2, jax.random.key(0), training_set="population")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"problem": None}, TypeError, "problem is a NoneType"),
        ({"momentum": 1.0}, ValueError, "momentum=1 is not below 1"),
        ({"nesterov": True}, ValueError, "nesterov=True"),
        ({"dampening": 0.5}, ValueError, "dampening=0.5"),
        ({"weight_decay": "much"}, TypeError, "weight_decay"),
        ({"injected_noise": -1}, ValueError, "injected_noise=-1"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        noisy_gd(**{"problem": five_points(), **arguments})
