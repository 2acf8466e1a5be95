"""Distances between noise covariances."""

import numpy as np
import pytest

from brute_force import linear_problem
from gradnoise.measure import noise_spectrum
from gradnoise.measure.spectrum_distance import spectrum_distance, subspace_overlap
from measure.synthetic_spectrum import spectrum_of


def random_subspace(rng, size, count):
    return np.linalg.qr(rng.normal(size=(size, count)))[0]


def test_a_covariance_c_times_as_large_is_log10_c_away(rng):
    rows = rng.normal(size=(12, 7))
    assert spectrum_distance(spectrum_of(rows), spectrum_of(10 * rows)) == pytest.approx(2.0, abs=1e-9)
    assert spectrum_distance(spectrum_of(rows), spectrum_of(rows)) == 0


def test_it_is_the_mean_difference_of_sorted_logs_where_ranks_agree(rng):
    first, second = rng.normal(size=(20, 6)), rng.normal(size=(20, 6)) * [1, 2, 4, 8, 16, 32]
    logs = [np.sort(np.log10(np.linalg.eigvalsh(np.cov(rows.T, bias=True)))) for rows in (first, second)]
    expected = np.abs(logs[0] - logs[1]).mean()
    assert spectrum_distance(spectrum_of(first), spectrum_of(second)) == pytest.approx(expected, rel=1e-9)


def test_zeros_are_left_out(rng):
    rows = rng.normal(size=(5, 9))  # rank 4 of 9
    wider = np.concatenate([rows, np.zeros((5, 20))], axis=1)
    assert spectrum_distance(spectrum_of(rows), spectrum_of(wider)) == pytest.approx(0, abs=1e-9)


def test_equal_eigenvalues_do_not_mean_one_covariance(rng):
    """D and a rotation of it: no distance between the spectra, hardly any overlap of the leading directions."""
    rows = rng.normal(size=(40, 30)) * np.logspace(0, -3, 30)
    turned = rows @ np.linalg.qr(rng.normal(size=(30, 30)))[0]
    assert spectrum_distance(spectrum_of(rows), spectrum_of(turned)) < 1e-9
    first, second = (np.linalg.svd(each - each.mean(axis=0))[2][:3].T for each in (rows, turned))
    found = subspace_overlap(first, second)
    assert found.value < found.random_mean + 4.5 * found.random_spread < 0.6
    assert subspace_overlap(first, first).value == pytest.approx(1)


def test_from_lanczos_only_the_leading_eigenvalues_are_compared(rng):
    exact = spectrum_of(rng.normal(size=(60, 50)) / np.arange(1, 51))
    lanczos = exact._replace(method="lanczos", eigenvalues=exact.eigenvalues[:10])
    assert spectrum_distance(lanczos, exact) == 0
    assert spectrum_distance(exact._replace(eigenvalues=exact.eigenvalues[:10]), exact) > 0.1


def test_the_synthetic_spectrum_of_these_tests_is_the_measured_one(rng):
    rows = rng.normal(size=(9, 5))
    measured, made = noise_spectrum(linear_problem(rows), np.zeros(5)), spectrum_of(rows)
    np.testing.assert_allclose(made.eigenvalues, measured.eigenvalues)
    for name in ("trace", "mean", "spread", "participation_ratio", "stable_rank"):
        np.testing.assert_allclose(getattr(made, name).value, getattr(measured, name).value)
    assert made.rank == measured.rank
    assert made.rank_threshold == pytest.approx(measured.rank_threshold)


@pytest.mark.parametrize(("size", "count"), [(6, 1), (10, 3), (9, 9)])
def test_random_subspaces_have_the_stated_mean_and_spread(rng, size, count):
    fixed = np.eye(size)[:, :count]
    found = [subspace_overlap(fixed, random_subspace(rng, size, count)) for _ in range(4000)]
    values, spread = np.array([each.value for each in found]), found[0].random_spread
    if size == count:
        np.testing.assert_allclose(values, 1)
        assert spread == 0
        assert np.isnan(found[0].standard_scores)
        return
    assert abs(values.mean() - count / size) < 4.5 * spread / len(values) ** 0.5
    fourth = np.mean((values - values.mean()) ** 4)
    error_of_variance = ((fourth - values.var() ** 2) / len(values)) ** 0.5
    assert abs(values.var() - spread**2) < 4.5 * error_of_variance


def test_the_basis_of_a_subspace_does_not_matter(rng):
    first, second = random_subspace(rng, 12, 4), random_subspace(rng, 12, 4)
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    np.testing.assert_allclose(subspace_overlap(first @ turn, second).value, subspace_overlap(first, second).value)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (np.eye(4)[:, :2], np.eye(4)[:, :3], "expected one shape"),
        (2 * np.eye(4)[:, :2], np.eye(4)[:, :2], "off orthonormal by 3"),
        (np.ones(4), np.eye(4), "expected \\(P, k\\)"),
        (np.full((3, 1), np.nan), np.eye(3)[:, :1], "off orthonormal"),
    ],
)
def test_wrong_vectors_are_refused(first, second, told):
    with pytest.raises(ValueError, match=told):
        subspace_overlap(first, second)


def test_a_point_without_noise_has_no_distance(rng):
    with pytest.raises(ValueError, match="there is no noise"):
        spectrum_distance(spectrum_of(np.ones((4, 3))), spectrum_of(rng.normal(size=(4, 3))))
