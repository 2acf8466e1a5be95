"""Averages over correlated series: autocorrelation times, errors, intervals of ratios."""

import math

import numpy as np
import pytest
from scipy.signal import lfilter

from gradnoise.autocorrelation import autocorrelation_time, effective_sample_size
from gradnoise.bootstrap import _kept, block_length, ratio_of_means, time_average, time_averages


def autoregression(rng, phi, shape):
    """Stationary, of variance one; autocorrelation time (1 + phi)/(1 - phi)."""
    burn = 40 * round(1 / (1 - phi))
    noise = rng.normal(size=(*shape[:-1], shape[-1] + burn)) * math.sqrt(1 - phi**2)
    return lfilter([1.0], [1.0, -phi], noise)[..., burn:]


@pytest.mark.parametrize("phi", [0.3, 0.9])
@pytest.mark.parametrize("replicas", [1, 4])
def test_the_time_of_an_autoregression_is_known(phi, replicas, rng):
    """Sokal: the variance of the estimated time is 2 (2 W + 1) tau^2 / n with W = 5 tau."""
    tau, records = (1 + phi) / (1 - phi), 100_000
    found = autocorrelation_time(autoregression(rng, phi, (replicas, records // replicas)))
    assert abs(found - tau) < 4.5 * tau * math.sqrt(2 * (10 * tau + 1) / records) + tau * math.exp(-5)
    assert effective_sample_size(autoregression(rng, phi, (records,))) == pytest.approx(records / tau, rel=0.2)


def test_records_that_alternate_or_never_change_count_as_independent():
    assert autocorrelation_time(np.arange(1000) % 2) == 1.0
    assert autocorrelation_time(np.full(100, 0.1)) == 1.0
    assert time_average(np.full(100, 0.1)).stderr < 1e-17


def test_a_series_shorter_than_its_correlation_has_no_time_and_no_error():
    ramp = np.linspace(0, 1, 500)
    assert autocorrelation_time([0.0, 1.0]) == math.inf
    assert effective_sample_size(ramp) < 20
    found = time_average(ramp)
    assert found.value == pytest.approx(0.5)
    assert math.isnan(found.stderr)
    ratio = ratio_of_means(ramp, 1 + ramp)
    assert (ratio.low, ratio.high) == (0.0, math.inf)
    assert ratio.warning.startswith("The window has 500 records")


def test_replicas_that_sit_apart_are_seen_as_one_slow_series(rng):
    """Their common mean is subtracted, so that a difference between replicas does not average out."""
    apart = rng.normal(size=(8, 400)) * 0.01 + np.arange(8)[:, None]
    assert math.isnan(time_average(apart).stderr)


def test_independent_records_have_the_textbook_covariance(rng):
    series = np.where(np.arange(600) % 2, 1.0, -1.0) * np.abs(rng.normal(size=(2, 600)))  # tau below one: blocks of 1
    found = time_averages(*series)
    np.testing.assert_allclose(found.covariance, np.cov(series) / 600, rtol=1e-12)
    np.testing.assert_allclose(found.stderr, np.sqrt(np.diag(found.covariance)))


@pytest.mark.parametrize("phi", [0.5, 0.9])
def test_the_share_of_the_variance_that_blocks_miss_is_that_of_an_autoregression(phi):
    tau, b = (1 + phi) / (1 - phi), 500
    exact = (tau - 2 * phi * (1 - phi**b) / (b * (1 - phi) ** 2)) / tau  # b Var(block mean)/(tau Var)
    assert _kept(tau, b) == pytest.approx(exact, rel=1e-9)


def test_the_block_length_balances_squared_bias_and_variance():
    tau, n = 12.0, 20_000
    loss = lambda b: (tau / (2 * b)) ** 2 + 4 * b / (3 * n)  # noqa: E731
    best = min(range(1, 2000), key=loss)
    assert abs(block_length(tau, n, n) - best) <= 1
    assert block_length(1.0, n, n) == 1
    assert block_length(tau, n, 7) == 7


def test_a_slow_series_beside_lengthens_the_blocks(rng):
    fast, slow = rng.normal(size=(1, 4000)), autoregression(rng, 0.95, (1, 4000))
    plain, careful = ratio_of_means(fast + 3, fast + 4), ratio_of_means(fast + 3, fast + 4, at_least=slow)
    assert careful.block_length > 39 > plain.block_length
    assert time_averages(fast, at_least=slow).num_samples < 200 < time_averages(fast).num_samples


def test_a_ratio_of_means_is_not_a_mean_of_ratios(rng):
    """A noisy signal that often comes out negative: the mean of ratios is far off, the ratio of means is not."""
    signal, noise = 1 + 2 * rng.normal(size=20_000), 4 + 0.1 * rng.normal(size=20_000)
    found = ratio_of_means(noise, signal)
    assert found.contains(4.0)
    assert abs(np.mean(noise / signal) - 4.0) > 4.5 * found.estimate.stderr


def test_intervals_scale_with_their_units_and_turn_over_with_the_ratio(rng):
    n, d = 4 + autoregression(rng, 0.6, (2, 1500)), 2 + autoregression(rng, 0.3, (2, 1500)) / 2
    found, scaled, turned = ratio_of_means(n, d), ratio_of_means(6 * n, 2 * d), ratio_of_means(d, n)
    np.testing.assert_allclose((scaled.low, scaled.high), (3 * found.low, 3 * found.high), rtol=1e-9)
    np.testing.assert_allclose((turned.low, turned.high), (1 / found.high, 1 / found.low), rtol=1e-9)
    assert found.low < found.estimate.value < found.high
    assert found.estimate.stderr == pytest.approx((found.high - found.low) / (2 * 1.96), rel=0.1)


@pytest.mark.parametrize("offset", [0.0, -0.01])
def test_a_denominator_not_told_from_zero_leaves_the_interval_unbounded(offset, rng):
    d = rng.normal(size=2000)
    found = ratio_of_means(4 + rng.normal(size=2000), d - d.mean() + 0.01 + 2 * offset)
    assert found.high == math.inf
    assert found.low > 40
    assert found.warning == ""


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: autocorrelation_time([1.0]), r"series has shape \(1,\), expected"),
        (lambda: autocorrelation_time(np.zeros((2, 3, 4))), r"series has shape \(2, 3, 4\), expected"),
        (lambda: time_average([1.0, np.nan, 2.0]), "holds NaN or infinity"),
        (lambda: time_averages(np.ones(5), np.ones(6)), "The series differ in shape"),
        (lambda: ratio_of_means(np.ones(50), np.ones(50), level=1.0), "level=1 is not below 1"),
        (lambda: ratio_of_means(np.ones(50), np.ones(50), num_resamples=3), "num_resamples=3 is below 100"),
    ],
)
def test_wrong_input_is_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phi", "length"), [(0.0, 50), (0.0, 100), (0.5, 50), (0.5, 100), (0.5, 300), (0.9, 50), (0.9, 100), (0.97, 50)]
)
def test_intervals_of_ratios_and_means_cover_from_50_and_100_autocorrelation_times_on(phi, length):
    """1000 repetitions; the acceptance band of 92-97 % is 4 to 5 binomial errors of 95 %."""
    repetitions, records = 1000, round(length * (1 + phi) / (1 - phi))
    first, second = autoregression(np.random.default_rng(7), phi, (2, repetitions, records))
    ratios, means = [], []
    for a, b in zip(first, second, strict=True):
        numerator, denominator = 4 + 0.5 * a + b, 2 + 0.6 * a
        ratio = ratio_of_means(numerator, denominator, num_resamples=500)
        if not ratio.warning:
            ratios.append(ratio.contains(2.0))
            mean = time_average(numerator)
            means.append(abs(mean.value - 4) < 1.96 * mean.stderr)
    assert len(ratios) > (0.9 if length == 50 else 0.98) * repetitions
    assert 0.92 <= np.mean(ratios) <= 0.97
    assert length == 50 or 0.92 <= np.mean(means) <= 0.97
