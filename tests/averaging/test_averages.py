"""Averages over training sets: identities on random ensembles, and the logistic model's numbers."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradnoise.averaging import (
    gap_bound,
    gap_parts,
    generalization_gap,
    logistic_model,
    mean_pairwise_kl,
    training_ensemble,
    training_loss_variance,
)

seeds = st.integers(0, 10_000)


def random_ensemble(seed, sets=4, shape=(7,)):
    """Exponents and a loss at random, unequal weights."""
    random = np.random.default_rng(seed)
    losses = random.normal(size=(sets, *shape)) ** 2
    exponent = 2 * losses + random.normal(size=(sets, *shape))
    return training_ensemble(-exponent, 0.3, random.uniform(0.1, 1, sets)), losses, exponent


@given(seeds)
def test_every_average_is_its_sum_over_sets_and_cells(seed):
    ensemble, losses, _ = random_ensemble(seed)
    rho, w, cell = np.exp(ensemble.log_density), ensemble.weights, 0.3
    np.testing.assert_allclose(rho.sum(axis=1) * cell, 1)
    assert w.sum() == pytest.approx(1)
    by_hand = [sum(rho[s, i] * losses[s, i] for i in range(7)) * cell for s in range(4)]
    np.testing.assert_allclose(ensemble.set_averages(losses), by_hand)
    assert ensemble.average(losses) == pytest.approx(float(w @ by_hand))
    crossed = sum(
        w[s] * w[t] * rho[s, i] * losses[t, i] * cell for s, t, i in itertools.product(range(4), range(4), range(7))
    )
    assert ensemble.double_average(losses) == pytest.approx(crossed)
    assert float(w @ ensemble.cross_averages(losses) @ w) == pytest.approx(crossed)
    np.testing.assert_allclose(np.diag(ensemble.cross_averages(losses)), by_hand)


@given(seeds)
def test_the_average_is_the_covariance_with_the_density_plus_the_double_average(seed):
    """(2)."""
    ensemble, losses, _ = random_ensemble(seed)
    parts = ensemble.density_covariance(losses) + ensemble.double_average(losses)
    assert parts == pytest.approx(ensemble.average(losses), rel=1e-12)


@given(seeds)
def test_the_gap_is_fitting_plus_shift_and_fitting_alone_where_nothing_shifts(seed):
    """(3)-(6), with a test population that is not the mean of the training sets."""
    ensemble, losses, _ = random_ensemble(seed)
    elsewhere = np.random.default_rng(seed + 1).normal(size=7)
    shifted, plain = gap_parts(ensemble, losses, elsewhere), gap_parts(ensemble, losses)
    assert shifted.test == pytest.approx(ensemble.double_average(elsewhere), rel=1e-10, abs=1e-12)
    assert shifted.train == plain.train == pytest.approx(ensemble.average(losses))
    assert shifted.gap == pytest.approx(shifted.test - shifted.train, rel=1e-9, abs=1e-12)
    assert plain.test == pytest.approx(ensemble.double_average(losses))
    assert plain.fitting == plain.gap == shifted.fitting
    assert plain.shift == 0


def test_a_grid_of_two_dimensions_is_its_points_in_a_row():
    ensemble, losses, _ = random_ensemble(3, shape=(4, 5))
    flat = training_ensemble(ensemble.log_density.reshape(4, 20), 0.3, ensemble.weights)
    np.testing.assert_allclose(gap_parts(ensemble, losses), gap_parts(flat, losses.reshape(4, 20)), atol=1e-14)
    np.testing.assert_allclose(ensemble.cross_averages(losses), flat.cross_averages(losses.reshape(4, 20)))
    assert mean_pairwise_kl(ensemble) == pytest.approx(mean_pairwise_kl(flat))


@given(seeds)
def test_the_mean_exponent_on_other_sets_less_that_on_the_own_is_the_mean_kl_of_pairs(seed):
    """(9) with its exact value, erratum 19: whatever constants are added set by set, and never negative."""
    ensemble, _, exponent = random_ensemble(seed)
    rho, logs, w = ensemble.density, ensemble.log_density, ensemble.weights
    pairs = sum(w[s] * w[t] * np.sum(rho[s] * (logs[s] - logs[t])) * 0.3 for s in range(4) for t in range(4))
    assert mean_pairwise_kl(ensemble) == pytest.approx(pairs, rel=1e-10)
    assert pairs >= 0
    for constants in (np.zeros(4), np.random.default_rng(seed).normal(size=4) * 10):
        g = exponent + constants[:, None]
        assert ensemble.double_average(g) - ensemble.average(g) == pytest.approx(pairs, rel=1e-8, abs=1e-10)


def test_with_gibbs_densities_the_gap_is_the_temperature_times_the_mean_kl():
    _, losses, _ = random_ensemble(11)
    for temperature in (0.2, 1.0, 5.0):
        ensemble = training_ensemble(-losses / temperature, 0.3)
        assert gap_parts(ensemble, losses).gap == pytest.approx(temperature * mean_pairwise_kl(ensemble), rel=1e-10)


def test_the_mean_kl_keeps_its_digits_where_the_densities_hardly_differ():
    """rho_s = N(+-d, 1): KL = (2 d)^2/2 for half of the pairs, d^2 in the mean, at d = 1e-6 too."""
    grid = np.linspace(-10, 10, 401)
    for d in (1e-3, 1e-6):
        ensemble = training_ensemble(-((grid - np.array([[-d], [d]])) ** 2) / 2, 0.05)
        assert mean_pairwise_kl(ensemble) == pytest.approx(d**2, rel=1e-6)


@given(seeds)
def test_the_bound_holds(seed):
    """(7)."""
    ensemble, losses, _ = random_ensemble(seed)
    assert abs(gap_parts(ensemble, losses).gap) <= gap_bound(ensemble, ensemble.data_covariance(losses, losses)) + 1e-12


def test_the_bound_is_the_gap_for_two_sets_that_are_mirror_images():
    """The density and the loss then differ in opposite directions at every theta: Cov = -sigma sigma."""
    one = np.random.default_rng(0).normal(size=9) ** 2
    losses = np.stack([one, one[::-1]])
    ensemble = training_ensemble(-3 * losses, 0.3)
    bound = gap_bound(ensemble, ensemble.data_covariance(losses, losses))
    assert gap_parts(ensemble, losses).gap == pytest.approx(bound, rel=1e-12)


@pytest.mark.parametrize("replacement", [True, False])
def test_the_variance_of_a_training_sets_loss_is_that_over_all_sets(replacement, rng):
    """sigma_l^2/n, times (M - n)/(M - 1) without replacement: enumerated."""
    losses = rng.normal(size=(5, 3))
    draw = itertools.product if replacement else itertools.combinations
    choices = draw(range(5), repeat=2) if replacement else draw(range(5), 2)
    means = np.array([losses[list(each)].mean(axis=0) for each in choices])
    np.testing.assert_allclose(training_loss_variance(losses, 2, replacement), means.var(axis=0), rtol=1e-12)


def test_the_logistic_model_gives_the_numbers_of_the_notes():
    """V: train, test, gap, bound (7) at T = .3, 1, 3; mean KL at T = 1, 3. The gap rises with the temperature."""
    model = logistic_model(5601)
    noted = {
        0.3: (0.51089, 0.90835, 0.39746, 0.65237),
        1.0: (0.55780, 0.97516, 0.41736, 0.57501),
        3.0: (0.70363, 1.16882, 0.46519, 0.55085),
    }
    for temperature, expected in noted.items():
        ensemble = model.potential.at_temperature(temperature)
        parts = gap_parts(ensemble, model.losses)
        found = parts.train, parts.test, parts.gap, gap_bound(ensemble, model.loss_variance)
        np.testing.assert_allclose(found, expected, atol=6e-6)
        assert ensemble.double_average(model.mean_loss) == pytest.approx(parts.test)
    for temperature, expected in ((1.0, 3.0305581), (3.0, 1.1878702)):
        assert mean_pairwise_kl(model.potential.at_temperature(temperature)) == pytest.approx(expected, abs=5.1e-8)


def test_cross_evaluation_without_densities_gives_the_same_gap_over_all_pairs_of_sets():
    """V: to 4e-10; of sets drawn with their probabilities, s = s' with probability w_s w_s."""
    model = logistic_model(561)
    ensemble = model.potential.at_temperature(1.0)
    M, w = ensemble.cross_averages(model.losses), ensemble.weights
    gap = w @ M @ w - w @ np.diag(M)
    assert gap == pytest.approx(gap_parts(ensemble, model.losses).gap, abs=4e-10)
    drawn = sum(
        w[s] * w[t] * generalization_gap(M[np.ix_([s, t], [s, t])]).value
        for s, t in itertools.product(range(len(w)), repeat=2)
    )
    assert drawn == pytest.approx(gap, abs=1e-12)


@settings(max_examples=5)
@given(seeds)
def test_weights_left_out_are_equal_and_a_common_factor_means_nothing(seed):
    _, losses, _ = random_ensemble(seed)
    one, other = training_ensemble(-losses, 0.3), training_ensemble(-losses + 3.0, 0.3, np.full(4, 7.0))
    np.testing.assert_allclose(gap_parts(one, losses), gap_parts(other, losses), atol=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: training_ensemble(np.zeros(3), 0.1), r"log_density of shape \(3,\)"),
        (lambda: training_ensemble([[0.0, -np.inf]], 0.1), "finite numbers of shape"),
        (lambda: training_ensemble(np.zeros((2, 3)), 0.0), "cell=0 does not do"),
        (lambda: training_ensemble(np.zeros((2, 3)), 0.1, [1.0, -1.0]), "each of 2 sets"),
        (lambda: training_ensemble(np.zeros((2, 3)), 0.1).average(np.zeros(4)), r"expected \(2, 3\) or"),
        (lambda: gap_bound(training_ensemble(np.zeros((2, 3)), 0.1), np.zeros(2)), r"loss_variance of shape \(2,\)"),
        (lambda: training_loss_variance([1.0, 2.0], 3, replacement=False), "pool of 2 with replacement=False"),
        (lambda: training_loss_variance([1.0, 2.0], 0), "num_examples=0 is below 1"),
        (lambda: training_loss_variance(1.0, 2), r"example_losses of shape \(\) do not do"),
        (lambda: training_loss_variance([], 2), r"example_losses of shape \(0,\) do not do"),
    ],
)
def test_wrong_calls_are_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()
