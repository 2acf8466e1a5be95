"""Spectra and autocorrelations of trajectories: their closed forms, and what they cannot show."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg
from scipy.signal import lfilter

from gradnoise.measure.trajectory import increment_spectrum, normalized_gradient_norm, weight_autocorrelation
from gradnoise.measure.trajectory_nulls import (
    autoregression_autocorrelation,
    autoregression_band,
    autoregression_increment_power,
    random_walk_autocorrelation,
    white_noise_band,
)
from gradnoise.problem import from_arrays
from gradnoise.stationary.linear import linear_decomposition
from measure.linear_paths import D, F, paths, reversible_twin, transition


def autoregression(a, num_records, num_weights, rng):
    """(record, weight), stationary, innovations of variance 1."""
    noise = rng.normal(size=(num_records, num_weights))
    noise[0] /= np.sqrt(1 - a**2)
    return lfilter([1.0], [1.0, -a], noise, axis=0)


def expected_power(a, num_increments, frequency):
    """E |sum_t d_t exp(-iwt)|^2/n of an autoregression's increments, from their autocovariances: ends included."""
    k = np.arange(num_increments)
    covariance = (2 * a**k - a ** np.abs(k - 1) - a ** (k + 1)) / (1 - a**2)
    weight = np.where(k == 0, 1, 2) * (1 - k / num_increments) * covariance
    return np.cos(2 * np.pi * np.outer(frequency, k)) @ weight


def test_amplitudes_are_those_of_the_definition(rng):
    weights = rng.normal(size=(2, 9, 3))
    found, windowed = increment_spectrum(weights), increment_spectrum(weights, hann=True, records_per_epoch=4)
    t, steps = np.arange(8), np.diff(weights, axis=1)
    for f in range(5):
        wave, hann = np.exp(-2j * np.pi * f * t / 8), np.sin(np.pi * t / 8) ** 2
        amplitude = np.abs(np.einsum("t,rtw->rw", wave, steps)) / np.sqrt(8)
        assert found.frequency[f] == f / 8
        assert windowed.frequency[f] == f / 2  # cycles an epoch of 4 records
        assert found.amplitude.value[f] == pytest.approx(amplitude.mean(), rel=1e-12)
        assert found.amplitude.stderr[f] == pytest.approx(np.ptp(amplitude.mean(axis=1)) / 2, rel=1e-9)
        assert found.spread[f] == pytest.approx(amplitude.std(), rel=1e-9)
        assert found.power.value[f] == pytest.approx(np.square(amplitude).mean(), rel=1e-12)
        tapered = np.abs(np.einsum("t,rtw->rw", wave * hann, steps)) / np.sqrt(hann @ hann)
        assert windowed.amplitude.value[f] == pytest.approx(tapered.mean(), rel=1e-9, abs=1e-12)
    assert np.isnan(increment_spectrum(weights[0]).amplitude.stderr).all()


@pytest.mark.parametrize("hann", [False, True])
def test_white_increments_have_a_flat_spectrum_with_or_without_a_window(hann, rng):
    found = increment_spectrum(np.cumsum(rng.normal(size=(40, 257, 50)), axis=1), hann=hann)
    inner = slice(2, -2)
    assert np.all(np.abs(found.power.value - 1)[inner] < 4.5 * np.sqrt(1 / 2000))  # |z|^2 has variance 1
    error = np.sqrt((1 - np.pi / 4) / 2000)
    assert np.all(np.abs(found.amplitude.value - np.sqrt(np.pi) / 2)[inner] < 4.5 * error)
    assert np.median(np.abs(found.power.value - 1) / found.power.stderr) < 1.2
    assert np.all(autoregression_increment_power(1.0, found.frequency) == 1)


def test_the_increments_of_an_autoregression_have_a_rising_spectrum_of_closed_form(rng):
    """V: 0.0230 at the lowest of 4096 frequencies, 1.0101 at pi, for a = 0.99."""
    assert autoregression_increment_power(0.99, [1 / 4096, 0.5]) == pytest.approx([0.0230, 1.0101], abs=5e-5)
    a, count = 0.9, 256
    found = increment_spectrum(autoregression(a, count + 1, 4000, rng))
    exact = expected_power(a, count, found.frequency)
    assert np.all(np.abs(found.power.value / exact - 1)[1:-1] < 4.5 / np.sqrt(4000))
    assert np.all(np.diff(autoregression_increment_power(a, found.frequency)) > 0)


def test_the_ends_of_a_record_double_the_lowest_power_and_a_window_removes_them(rng):
    """The closed form is the spectral density; without a window 2 Var(x)/n, or so, leaks into the lowest frequencies."""
    a, count = 0.99, 4096
    density = autoregression_increment_power(a, 1 / count)
    assert expected_power(a, count, [1 / count])[0] == pytest.approx(0.0459, abs=5e-5)
    weights = autoregression(a, count + 1, 1500, rng)
    plain, tapered = (increment_spectrum(weights, hann=hann).power.value[3] for hann in (False, True))
    at = autoregression_increment_power(a, 3 / count)
    assert plain > 1.04 * at
    # the window averages over neighbouring frequencies: off by the curvature of the density there, below 6 %
    assert abs(tapered / at - 1) < 0.06 + 4.5 / np.sqrt(1500)
    assert density < 0.0231


def test_autocorrelations_are_those_of_the_definition(rng):
    weights = np.cumsum(rng.normal(size=(2, 12, 3)), axis=1)
    weights = np.concatenate([weights, np.ones((2, 12, 1))], axis=-1)  # a weight that never moves
    found = weight_autocorrelation(weights, 5)
    moving = weights[..., :3] - weights[..., :3].mean(axis=1, keepdims=True)
    for k in range(6):
        each = (moving[:, k:] * moving[:, : 12 - k]).sum(axis=1) / np.square(moving).sum(axis=1)
        assert found.autocorrelation.value[k] == pytest.approx(each.mean(), rel=1e-12)
        assert found.spread[k] == pytest.approx(each.std(), rel=1e-9, abs=1e-12)
        assert found.autocorrelation.stderr[k] == pytest.approx(np.ptp(each.mean(axis=1)) / 2, rel=1e-9, abs=1e-12)
    assert found.coefficient.value == found.autocorrelation.value[1]
    np.testing.assert_allclose(found.autoregression, found.coefficient.value ** np.arange(6))
    np.testing.assert_array_equal(found.autoregression_band, autoregression_band(found.coefficient.value, range(6), 12))


def test_a_reversible_autoregression_leaves_the_white_band_by_far_and_keeps_to_bartletts(rng):
    """V: band 0.040, autocorrelation 0.32 at lag 100 (0.366 less the bias of removing the mean), with j = 0."""
    found = weight_autocorrelation(autoregression(0.99, 4096, 600, rng), 100)
    assert found.white_noise_band == pytest.approx(0.040, abs=5e-4)
    error = found.spread[100] / np.sqrt(600)
    assert abs(found.autocorrelation.value[100] - 0.32) < 4.5 * error + 0.005
    assert autoregression_autocorrelation(0.99, 100) == pytest.approx(0.366, abs=5e-4)
    assert found.autocorrelation.value[100] > 7 * found.white_noise_band


def test_bartletts_band_has_the_spread_of_an_autoregression_and_is_the_white_band_for_none(rng):
    for a in (0.0, 0.9, -0.5):
        found = weight_autocorrelation(autoregression(a, 4000, 1000, rng), 30)
        lags = np.array([1, 5, 30])
        predicted = autoregression_band(a, lags, 4000) / 2.576
        bias = (1 + abs(a)) / (1 - abs(a)) / 4000  # of a variance, relative: as 1/(independent records)
        assert np.all(np.abs(found.spread[lags] / predicted - 1) < 4.5 / np.sqrt(2000) + 3 * bias)
    np.testing.assert_allclose(autoregression_band(0.0, [1, 7], 500), white_noise_band(500))


def test_brownian_autocorrelation_does_not_decay_quickly():
    """Erratum 36. Ratio of exact expectations of the estimator, a random walk of n = 600."""
    count, lags = 600, np.array([0, 1, 6, 60, 150, 400])
    centring = np.eye(count) - 1 / count
    covariance = centring @ np.minimum.outer(np.arange(count) + 1.0, np.arange(count) + 1.0) @ centring
    exact = np.array([np.trace(covariance, offset=k) for k in lags]) / np.trace(covariance)
    np.testing.assert_allclose(random_walk_autocorrelation(lags, count), exact, atol=2 / count)
    assert random_walk_autocorrelation(count // 10, count) > 5 * white_noise_band(count)
    assert random_walk_autocorrelation(count * (1 - 0.5**0.5), count) == pytest.approx(0, abs=1e-12)


def test_a_rising_spectrum_and_a_correlation_above_the_band_are_what_equilibrium_shows():
    """Erratum 36: as printed they speak against Brownian motion and for a current; F = D = 1 has none."""
    assert pytest.approx(0, abs=1e-15) == linear_decomposition(np.eye(2), np.eye(2)).Q
    a = np.exp(-0.01)
    assert np.all(np.diff(autoregression_increment_power(a, np.linspace(0, 0.5, 50))) > 0)
    assert np.all(autoregression_autocorrelation(a, np.arange(1, 300)) > white_noise_band(4096))


def test_two_processes_have_equal_spectra_and_autocorrelations_and_only_one_has_a_current():
    """Exactly: each weight's autocovariance is the same at all lags, so is everything that one weight can show."""
    twin = reversible_twin()
    assert np.abs(linear_decomposition(F, D).Q[0, 1]) == pytest.approx(0.4 / 3, rel=1e-12)
    assert pytest.approx(0, abs=1e-14) == linear_decomposition(*twin).Q
    S, S_twin = linear_decomposition(F, D).S, linear_decomposition(*twin).S
    for lag in (0.0, 0.1, 0.7, 2.0, 5.0):
        one, other = linalg.expm(-F * lag) @ S, linalg.expm(-twin[0] * lag) @ S_twin
        np.testing.assert_allclose(np.diag(one), np.diag(other), rtol=1e-12)
        assert lag == 0 or abs(one[0, 1] - one[1, 0]) > 1e-4
        assert abs(other[0, 1] - other[1, 0]) < 1e-14


def test_neither_diagnostic_tells_them_apart_in_a_run(rng):
    seen = []
    for force, noise in ((F, D), reversible_twin()):
        path = paths(*transition(force, noise, 0.1), 1025, rng, replicas=40)
        spectrum, correlation = increment_spectrum(path), weight_autocorrelation(path, 30)
        seen.append((spectrum.power, correlation.autocorrelation))
    for one, other in zip(*seen, strict=True):
        error = np.hypot(one.stderr, other.stderr)
        assert np.all(np.abs(one.value - other.value) <= 6 * error)  # about 500 comparisons, t with 78 degrees


def test_the_gradient_norm_is_the_root_mean_square_of_the_pools_mean_gradient(rng):
    pool, at = rng.normal(size=(150, 3)), rng.normal(size=3)
    problem = from_arrays(lambda w, x: jnp.tanh(w @ x) + (w @ x) ** 2 / 2, lambda key: np.zeros(3), pool)
    slopes = 1 / np.cosh(pool @ at) ** 2 + pool @ at
    expected = np.sqrt(np.square((slopes[:, None] * pool).mean(axis=0)).mean())
    found = normalized_gradient_norm(problem, at)
    assert (found.value, found.stderr) == (pytest.approx(expected, rel=1e-12), 0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: increment_spectrum(np.zeros(9)), r"weights has shape \(9,\), expected \(record, weight\)"),
        (lambda: increment_spectrum(np.zeros((3, 2))), r"weights has shape \(3, 2\)"),
        (lambda: increment_spectrum(np.full((9, 2), np.nan)), "weights holds NaN"),
        (lambda: increment_spectrum(np.zeros((9, 2)), records_per_epoch=0), "records_per_epoch=0 does not do"),
        (lambda: weight_autocorrelation(np.zeros((9, 2)), 3), "no weight that changes"),
        (lambda: weight_autocorrelation(np.eye(9), 9), "max_lag=9 is above 8"),
        (lambda: autoregression_increment_power(1.1, 0.1), "coefficient=1.1 is not below 1"),
        (lambda: autoregression_band(1.0, 1, 100), "coefficient=1 is not below 1"),
        (lambda: random_walk_autocorrelation([11], 10), "lags goes outside the 10 records"),
        (lambda: white_noise_band(0), "num_records=0 is below 1"),
    ],
)
def test_wrong_calls_are_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()
