"""Rank, spread and temperature of the noise; the printed forms of remark 12 and (A.2) against enumeration."""

from itertools import combinations

import numpy as np
import pytest

from gradnoise import Estimate
from gradnoise.measure.architecture import architecture_score, spectral_temperature, temperature_rule
from measure.synthetic_spectrum import spectrum_of


def test_parts_of_the_score_are_those_of_all_eigenvalues_zeros_included(rng):
    rows = rng.normal(size=(5, 12))
    values = np.linalg.eigvalsh(np.cov(rows.T, bias=True))
    score = architecture_score(spectrum_of(rows))
    assert (score.rank, score.rank_fraction) == (4, 4 / 12)
    np.testing.assert_allclose(score.variance.value, values.var())
    np.testing.assert_allclose(score.normalized_variance.value, values.var() / values.mean() ** 2)
    assert score.variance.stderr == score.normalized_variance.stderr == 0


def test_the_printed_sum_depends_on_the_units_of_the_loss_and_the_normalized_part_does_not(rng):
    """rank/P + var(lambda): in bits the gradients are 1/log 2 times as large, var (1/log 2)^4."""
    rows = rng.normal(size=(5, 12))
    nats, bits = (architecture_score(spectrum_of(scale * rows)) for scale in (1, 1 / np.log(2)))
    assert bits.rank_fraction == nats.rank_fraction
    np.testing.assert_allclose(bits.variance.value / nats.variance.value, np.log(2) ** -4)
    np.testing.assert_allclose(bits.normalized_variance.value, nats.normalized_variance.value)


def test_the_two_thresholds_count_what_lies_between_them_once():
    """Eigenvalues 1, 1e-9 and 1e-20 (times 2): between P eps of float32, 4e-7, and of float64, 7e-16, lies one."""
    rows = np.concatenate([np.diag(side) for side in ([1, 10**-4.5, 1e-10], [-1, -(10**-4.5), -1e-10])])
    spectrum = spectrum_of(rows)
    assert [architecture_score(spectrum, dtype).rank for dtype in ("float64", "float32")] == [2, 1]
    assert architecture_score(spectrum).rank == spectrum.rank
    assert architecture_score(spectrum).rank_threshold == pytest.approx(spectrum.rank_threshold)
    with pytest.raises(ValueError, match="'float16' is unknown"):
        architecture_score(spectrum, "float16")


def test_no_noise_has_no_normalized_variance():
    score = architecture_score(spectrum_of(np.ones((4, 3))))
    assert score.rank == score.variance.value == 0
    assert np.isnan(score.normalized_variance.value)


@pytest.mark.parametrize("num_examples", [None, 100])
def test_the_rule_keeps_the_temperature_of_one_batch(num_examples):
    rate = temperature_rule(0.1, 10, 4.0, 40, 0.5, num_examples)
    before = spectral_temperature(0.1, 10, 4.0, num_examples)
    np.testing.assert_allclose(spectral_temperature(rate.value, 40, 0.5, num_examples).value, before.value)
    factor = 1 if num_examples is None else 90 / 60
    assert rate.value == pytest.approx(0.1 * 4 * 8 * factor)


def test_the_temperature_is_half_the_rate_times_the_mean_eigenvalue_of_the_batch_covariance(rng):
    """tr Sigma_B eta/(2P) by enumeration of batches, with replacement and without."""
    rows, size = rng.normal(size=(6, 4)), 2
    mean = spectrum_of(rows).mean
    pairs = np.array([rows[list(pair)].mean(axis=0) for pair in combinations(range(6), size)])
    assert spectral_temperature(0.3, size, mean, 6).value == pytest.approx(0.15 * pairs.var(axis=0).mean())
    with_replacement = np.array([(a + b) / 2 for a in rows for b in rows])
    assert spectral_temperature(0.3, size, mean).value == pytest.approx(0.15 * with_replacement.var(axis=0).mean())


def test_errors_of_the_two_spectra_add_in_quadrature():
    rate = temperature_rule(0.1, 8, Estimate(4.0, 0.4, 50), 8, Estimate(2.0, 0.1, 30))
    assert rate.stderr / rate.value == pytest.approx(np.hypot(0.1, 0.05))
    assert rate.num_samples == 30


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((0.1, 20, 1.0, 2, 1.0, 10), "batch_size=20 exceeds num_examples=10"),
        ((0.1, 2, 1.0, 10, 1.0, 10), "new_batch_size=10 is the whole training set"),
        ((0.0, 2, 1.0, 2, 1.0), "learning_rate=0 does not do"),
        ((0.1, 2, 1.0, 2, -1.0), "new_mean_eigenvalue=-1 does not do"),
    ],
)
def test_wrong_input_is_one_sentence(arguments, told):
    with pytest.raises(ValueError, match=told):
        temperature_rule(*arguments)


# Sampling without replacement: errata 26 and 27 -----------------------------------------------------------------------


def enumerated(rows, batch):
    """Covariance of the mean of `batch` distinct rows, over all choices."""
    means = np.array([rows[list(chosen)].mean(axis=0) for chosen in combinations(range(len(rows)), batch)])
    return np.cov(means.T, bias=True)


def test_the_indicators_of_distinct_examples_have_the_stated_covariance():
    """-b(N - b)/(N^2 (N - 1)) between two examples, (b/N)(1 - b/N) of one."""
    for count, batch in ((5, 2), (6, 4), (4, 1)):
        picks = np.array([np.isin(np.arange(count), chosen) for chosen in combinations(range(count), batch)], float)
        covariance = np.cov(picks.T, bias=True)
        between = -batch * (count - batch) / (count**2 * (count - 1))
        np.testing.assert_allclose(covariance[~np.eye(count, dtype=bool)], between)
        np.testing.assert_allclose(np.diag(covariance), batch / count * (1 - batch / count))


@pytest.mark.parametrize(("count", "batch"), [(5, 2), (7, 3), (3, 1)])
def test_the_covariance_of_a_batch_has_one_plus_one_over_n_minus_one_before_the_mean(rng, count, batch):
    """Erratum 26: (A.2) is printed with 1 - 1/(N - 1) before gbar gbar^T. Only 1 + 1/(N - 1) = N/(N - 1) gives S2."""
    rows = rng.normal(size=(count, 3)) + 1.0
    mean, second = rows.mean(axis=0), rows.T @ rows / (count - 1)

    def form(sign):
        return (1 / batch) * (1 - batch / count) * (second - (1 + sign / (count - 1)) * np.outer(mean, mean))

    exact = enumerated(rows, batch)
    np.testing.assert_allclose(form(+1), exact, atol=1e-13)
    error = 2 / (count - 1) / batch * (1 - batch / count) * np.max(np.abs(np.outer(mean, mean)))
    assert np.max(np.abs(form(-1) - exact)) == pytest.approx(error)
    assert error > 0.01


@pytest.mark.parametrize(("count", "batch"), [(5, 2), (7, 3)])
def test_one_minus_b_over_n_belongs_to_sampling_without_replacement_and_to_s2(rng, count, batch):
    """Erratum 27: remark 12 says "with replacement", and puts 1 - b/N before D: that is (N - 1)/N of the covariance."""
    rows = rng.normal(size=(count, 3))
    D, S2 = (np.cov(rows.T, bias=bias) for bias in (True, False))
    without = enumerated(rows, batch)
    np.testing.assert_allclose(S2 / batch * (1 - batch / count), without, atol=1e-14)
    np.testing.assert_allclose(D / batch * (count - batch) / (count - 1), without, atol=1e-14)
    printed = D / batch * (1 - batch / count)
    np.testing.assert_allclose(printed, without * (count - 1) / count, atol=1e-14)
    index = np.indices((count,) * batch).reshape(batch, -1)
    with_replacement = np.cov(rows[index].mean(axis=0).T, bias=True)
    np.testing.assert_allclose(with_replacement, D / batch, atol=1e-14)  # no factor at all
    assert np.max(np.abs(printed - with_replacement)) > 0.1 * np.max(np.abs(with_replacement))
