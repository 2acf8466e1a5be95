"""The spectrum of the gradient noise."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brute_force import covariance, fixed_draws, gradient_rows, linear_problem
from cases import CASES
from gradnoise import Problem
from gradnoise.measure import spectrum as module
from gradnoise.measure.spectrum import noise_spectrum

ESTIMATES = ("trace", "mean", "spread", "participation_ratio", "stable_rank", "density")


@pytest.mark.parametrize("name", ["three_weights", "mlp"])
def test_numbers_are_those_of_the_matrix_formed(name):
    problem, params = CASES[name]()
    dense = covariance(gradient_rows(problem, params))
    values, size = np.linalg.eigvalsh(dense)[::-1], len(dense)
    found = noise_spectrum(problem, params)
    assert (found.which, found.method, found.num_parameters) == ("D", "exact", size)
    np.testing.assert_allclose(found.eigenvalues, values, atol=1e-12 * values[0])
    np.testing.assert_allclose(found.trace.value, np.trace(dense))
    np.testing.assert_allclose(found.mean.value, values.mean())
    np.testing.assert_allclose(found.spread.value, values.std())
    np.testing.assert_allclose(found.participation_ratio.value, np.trace(dense) ** 2 / np.square(dense).sum())
    np.testing.assert_allclose(found.stable_rank.value, np.trace(dense) / values[0])
    assert found.rank == np.linalg.matrix_rank(dense)
    assert found.rank_threshold == pytest.approx(values[0] * size * 2.220446e-16)
    assert found.trace.stderr == found.spread.stderr == found.participation_ratio.stderr == 0


@pytest.mark.parametrize(("count", "size", "rank"), [(6, 30, 5), (40, 12, 12), (40, 12, 3), (50, 2, 1), (700, 600, 7)])
def test_rank_is_found_at_the_stated_threshold(count, size, rank):
    random = np.random.default_rng(rank)
    rows = random.normal(size=(count, rank)) @ random.normal(size=(rank, size)) + 5.0
    assert noise_spectrum(linear_problem(rows), np.zeros(size)).rank == rank


def test_no_noise_is_rank_zero():
    found = noise_spectrum(linear_problem(np.ones((4, 3))), np.zeros(3))
    assert found.rank == found.trace.value == found.participation_ratio.value == found.stable_rank.value == 0
    np.testing.assert_array_equal(found.density.value, 0)


def test_draws_have_divisor_n_minus_one():
    rows = np.random.default_rng(0).normal(size=(9, 4))
    found = noise_spectrum(fixed_draws(rows), np.zeros(4), 2, num_draws=9, key=jax.random.key(0))
    assert found.which == "S2"
    assert len(found.eigenvalues) == 2
    values = np.linalg.eigvalsh(covariance(rows, 1))[::-1]
    np.testing.assert_allclose(found.eigenvalues, values[:2])
    np.testing.assert_allclose(found.spread.value, values.std())


def test_the_sampling_error_of_draws_is_not_known_and_not_called_zero():
    rows = np.random.default_rng(0).normal(size=(9, 4))
    found = noise_spectrum(fixed_draws(rows), np.zeros(4), num_draws=9, key=jax.random.key(0))
    for name in ESTIMATES:
        assert np.all(np.isnan(getattr(found, name).stderr)), name
        assert np.all(np.isfinite(getattr(found, name).value)), name


def test_the_number_of_samples_is_that_of_the_examples(both_ways):
    for found in both_ways:
        assert {getattr(found, name).num_samples for name in ESTIMATES} == {400}


@settings(max_examples=4, deadline=None)
@given(st.integers(2, 12), st.integers(1, 12), st.floats(0.01, 100))
def test_shape_numbers_do_not_depend_on_scale_and_lie_between_one_and_the_rank(count, size, factor):
    rows = np.random.default_rng(count * size).normal(size=(count, size))
    found = noise_spectrum(linear_problem(rows), np.zeros(size))
    scaled = noise_spectrum(linear_problem(factor * rows), np.zeros(size))
    for name in ("participation_ratio", "stable_rank"):
        value = getattr(found, name).value
        assert 1 - 1e-9 <= value <= found.rank + 1e-9
        np.testing.assert_allclose(getattr(scaled, name).value, value, rtol=1e-9)
    np.testing.assert_allclose(found.eigenvalues.sum(), found.trace.value)
    np.testing.assert_allclose(scaled.density.value, found.density.value, atol=1e-9)


def test_density_integrates_to_the_share_of_eigenvalues_on_the_grid():
    rows = np.random.default_rng(0).normal(size=(30, 50))
    found = noise_spectrum(linear_problem(rows), np.zeros(50))
    assert np.trapezoid(found.density.value, np.log10(found.grid)) == pytest.approx(29 / 50, rel=1e-3)


@pytest.fixture(scope="module")
def both_ways():
    """One spectrum that falls by a power law, exactly and by Lanczos."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(400, 300)) / np.arange(1, 301)
    problem, params = linear_problem(rows), np.zeros(300)
    exact = noise_spectrum(problem, params)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "is_exact", lambda gradients: False)
        return exact, noise_spectrum(problem, params, 20)


def test_lanczos_eigenvalues_are_within_their_bounds(both_ways):
    exact, lanczos = both_ways
    assert lanczos.method == "lanczos"
    distance = np.abs(lanczos.eigenvalues[:, None] - exact.eigenvalues).min(axis=1)
    assert np.all(distance <= lanczos.eigenvalue_bounds + 1e-13)
    np.testing.assert_allclose(lanczos.eigenvalues[:10], exact.eigenvalues[:10], rtol=1e-6)


def test_the_stable_rank_errs_as_the_largest_eigenvalue_may(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(60, 40))
    exact = noise_spectrum(linear_problem(rows), np.zeros(40))
    monkeypatch.setattr(module, "is_exact", lambda gradients: False)
    rough = noise_spectrum(linear_problem(rows), np.zeros(40), 2)  # four steps: far from converged
    top, bound = rough.eigenvalues[0], rough.eigenvalue_bounds[0]
    assert bound > 0.01 * top
    np.testing.assert_allclose(rough.stable_rank.stderr, rough.stable_rank.value * bound / top)
    assert exact.stable_rank.stderr == rough.trace.stderr == 0


def test_lanczos_summary_agrees_within_its_errors(both_ways):
    exact, lanczos = both_ways
    np.testing.assert_allclose(lanczos.trace.value, exact.trace.value)
    np.testing.assert_allclose(lanczos.stable_rank.value, exact.stable_rank.value)
    for name in ("spread", "participation_ratio"):
        ours, truth = getattr(lanczos, name), getattr(exact, name)
        assert abs(ours.value - truth.value) <= 5 * ours.stderr + 1e-12 * truth.value
        assert ours.stderr < 0.01 * truth.value


def test_quadrature_density_agrees_within_its_errors(both_ways):
    exact, lanczos = both_ways
    difference = np.abs(lanczos.density.value - exact.density.value)
    assert np.mean(difference <= 3 * lanczos.density.stderr + 1e-4) > 0.9
    resolved = lanczos.density.stderr < 0.1 * exact.density.value
    assert resolved.sum() > 20
    assert np.all(difference[resolved] <= 8 * lanczos.density.stderr[resolved] + 1e-9)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"num_eigenvalues": 0}, ValueError, "num_eigenvalues=0 is below 1"),
        ({"num_eigenvalues": 1.5}, TypeError, "num_eigenvalues=1.5 is not an integer"),
        ({"key": jax.random.key(0)}, ValueError, "key has no meaning without num_draws: noise_spectrum then uses"),
        ({"num_eigenvalues": 4}, ValueError, "num_eigenvalues=4 exceeds the 3 parameters"),
        ({"params": np.array([np.inf, 0, 0])}, ValueError, "params holds NaN or infinity"),
    ],
)
def test_wrong_calls_are_one_sentence(wrong, error, words):
    arguments = {"problem": linear_problem(np.eye(3)), "params": np.zeros(3)} | wrong
    with pytest.raises(error, match=words):
        noise_spectrum(**arguments)


def test_without_a_pool_draws_are_asked_for():
    problem = Problem(lambda w, x: w @ x, lambda key, n: np.ones((n, 3)), lambda key: np.zeros(3))
    with pytest.raises(ValueError, match="num_draws is missing: noise_spectrum"):
        noise_spectrum(problem, np.zeros(3))


def test_what_lanczos_cannot_give_is_said(monkeypatch):
    monkeypatch.setattr(module, "is_exact", lambda gradients: False)
    problem = linear_problem(np.random.default_rng(0).normal(size=(9, 8)))
    with pytest.raises(ValueError, match="num_eigenvalues=5 exceeds 4, the most that Lanczos gives"):
        noise_spectrum(problem, np.zeros(8), 5)
    monkeypatch.setattr("gradnoise.measure.gradients._room", lambda memory: 20_000)
    with pytest.raises(MemoryError, match=r"num_eigenvalues=4 needs .* Ask for fewer"):
        noise_spectrum(problem, np.zeros(8))
