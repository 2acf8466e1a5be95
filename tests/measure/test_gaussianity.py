"""Gaussianity of batch noise: exact shapes by enumeration, false positives, power, and the pooled estimator's mistake."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from brute_force import covariance, gradient_rows, linear_problem
from gradnoise.measure import projections
from gradnoise.measure.cumulant_scaling import cumulant_scaling
from gradnoise.measure.directions import chosen_directions
from gradnoise.measure.gaussianity import gaussianity
from gradnoise.measure.normality import anderson_darling, excess_kurtosis, holm, jarque_bera, skewness
from gradnoise.measure.projections import projected_noise
from gradnoise.measure.tails import tail_index
from gradnoise.problem import Problem, from_arrays

ROWS = np.array([[0.0, 1.0], [2.0, -1.0], [-1.0, 0.5], [5.0, 0.0]])
POOL = linear_problem(ROWS)


def dot(params, example):
    return params @ example


TREE = {"a": np.zeros(2), "b": np.zeros(2)}


def tree_dot(params, example):
    return params["a"] @ example[:2] + params["b"] @ example[2:]


def fresh_gaussian(scales):
    """Independent Gaussian gradients of these standard deviations: nothing finite about them."""
    scales = np.asarray(scales)
    return Problem(
        dot, lambda key, n: scales * jax.random.normal(key, (n, len(scales))), lambda key: np.zeros(len(scales))
    )


def every_batch_mean(rows, size):
    return np.array([np.mean(rows[list(batch)], axis=0) for batch in product(range(len(rows)), repeat=size)])


def cumulants(x):
    x = x - x.mean(axis=0)
    second, third, fourth = ((x**order).mean(axis=0) for order in (2, 3, 4))
    return np.stack([second, third, fourth - 3 * second**2], axis=-1)


# The central limit theorem at finite sizes.


@pytest.mark.parametrize("size", [2, 3, 5])
def test_cumulants_of_a_batch_fall_with_its_size_exactly(size):
    """kappa_p / B^(p-1), over all batches with replacement; and so skewness / B^(1/2), excess kurtosis / B."""
    means = every_batch_mean(ROWS, size)
    np.testing.assert_allclose(cumulants(means), cumulants(ROWS) / size ** np.array([1, 2, 3]), atol=1e-12)
    np.testing.assert_allclose(stats.skew(means), stats.skew(ROWS) / np.sqrt(size))
    np.testing.assert_allclose(stats.kurtosis(means), stats.kurtosis(ROWS) / size)


def test_expected_shapes_are_those_of_all_batches(getkey):
    found = gaussianity(POOL, np.zeros(2), 3, 100, np.eye(2), getkey())
    means = every_batch_mean(ROWS, 3)
    np.testing.assert_allclose(found.expected_skewness, stats.skew(means))
    np.testing.assert_allclose(found.expected_kurtosis, stats.kurtosis(means))


def test_measured_cumulants_are_the_exact_ones_within_their_errors(getkey):
    found = cumulant_scaling(POOL, np.zeros(2), [1, 3], 4000, np.eye(2), getkey())
    assert found.measured.value.shape == found.expected.shape == (2, 2, 3)
    np.testing.assert_allclose(found.expected[0], cumulants(ROWS), atol=1e-12)
    np.testing.assert_allclose(found.expected[1], cumulants(every_batch_mean(ROWS, 3)), atol=1e-12)
    assert np.abs((found.measured.value - found.expected) / found.measured.stderr).max() < 4.5


# What is drawn.


def test_draws_have_the_covariance_of_a_batch_with_replacement(getkey):
    """Mean zero about the full gradient and variance u.D.u / B, both within 4.5 of their errors."""
    params, size, count = np.array([0.3, -0.2]), 3, 4000
    problem = from_arrays(lambda w, x: jnp.tanh(w @ x) ** 2, lambda key: params, ROWS)
    found = projected_noise(problem, params, 4, getkey())
    vectors, x = found.directions.vectors, found.samples(size, count)
    rows = gradient_rows(problem, params)
    variance = np.sum(vectors * (covariance(rows) @ vectors), axis=0) / size
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=0), 1)
    assert np.abs(x.mean(axis=0) / np.sqrt(variance / count)).max() < 4.5
    spread = np.square(x)
    assert np.abs((spread.mean(axis=0) - variance) / (spread.std(axis=0) / np.sqrt(count))).max() < 4.5
    np.testing.assert_allclose(found.singles, (rows - rows.mean(axis=0)) @ vectors, atol=1e-12)


def test_every_draw_is_the_mean_gradient_of_one_batch_and_batches_are_independent(getkey):
    """With one example a batch the draws are the pool's own gradients, each as often; successive ones are uncorrelated."""
    count = 4000
    x = projected_noise(POOL, np.zeros(2), np.eye(2), getkey()).samples(1, count)
    distance = np.abs(x[:, None] - (ROWS - ROWS.mean(axis=0))).sum(axis=-1)
    assert distance.min(axis=1).max() < 1e-12
    counts = np.bincount(distance.argmin(axis=1), minlength=4)
    assert np.abs((counts - count / 4) / np.sqrt(count * 3 / 16)).max() < 4.5
    products = x[1:, 0] * x[:-1, 0] / x[:, 0].var()
    assert abs(products.mean()) < 4.5 / np.sqrt(count)


def test_draws_do_not_depend_on_how_many_fit_into_memory_nor_on_their_number(getkey, monkeypatch):
    key = getkey()
    whole = projected_noise(POOL, np.zeros(2), 2, key).samples(2, 100)
    noise = projected_noise(POOL, np.zeros(2), 2, key)
    np.testing.assert_allclose(noise.samples(2, 30), whole[:30], atol=1e-12)
    monkeypatch.setattr(projections, "traced_bytes", lambda *given: noise.gradients.room // 3)  # two at a time
    np.testing.assert_allclose(noise.samples(2, 100), whole, atol=1e-12)


def test_a_gradient_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr(projections, "traced_bytes", lambda *given: 2**60)
    with pytest.raises(MemoryError, match="the gradient of a batch of 2 needs"):
        gaussianity(POOL, np.zeros(2), 2, 100, 2, jax.random.key(0))


def test_directions_are_random_leading_or_given(getkey):
    rows = np.random.default_rng(0).normal(size=(9, 4)) * [5, 2, 1, 0.5]
    problem, key = from_arrays(tree_dot, lambda key: TREE, rows), getkey()
    gradients = projected_noise(problem, TREE, 1, key).gradients
    top = chosen_directions("top", gradients, key)
    assert top.names[:3] == ("eigenvector 1", "eigenvector 2", "random 1")
    assert len(top.names) == 12
    _, vectors = np.linalg.eigh(covariance(rows))
    np.testing.assert_allclose(np.abs(np.sum(top.vectors[:, :2] * vectors[:, :-3:-1], axis=0)), 1)
    tree = {"a": np.array([0.0, 2.0]), "b": np.zeros(2)}
    for given in (2.0 * np.eye(4)[1], np.eye(4)[:, 1:2], tree):
        found = chosen_directions(given, gradients, key)
        np.testing.assert_array_equal(found.vectors, np.eye(4)[:, 1:2])
        assert found.names == ("given 1",)


# Shapes with errors.


def test_shape_numbers_are_scipys_and_their_errors_the_normal_laws(rng):
    x = rng.normal(size=(100_000, 3))
    np.testing.assert_allclose(skewness(x).value, stats.skew(x))
    np.testing.assert_allclose(excess_kurtosis(x).value, stats.kurtosis(x))
    np.testing.assert_allclose(skewness(x).stderr, np.sqrt(6 / len(x)), rtol=0.1)
    np.testing.assert_allclose(excess_kurtosis(x).stderr, np.sqrt(24 / len(x)), rtol=0.1)


def test_their_errors_are_the_spread_over_repetitions_for_a_skewed_law(rng):
    """Squares of uniform numbers, moments 1/(2p + 1), 400 repetitions of 1000: variance of z within 4.5 errors of one."""
    raw = 1 / (2 * np.arange(5) + 1)
    second = raw[2] - raw[1] ** 2
    third = raw[3] - 3 * raw[1] * raw[2] + 2 * raw[1] ** 3
    fourth = raw[4] - 4 * raw[1] * raw[3] + 6 * raw[1] ** 2 * raw[2] - 3 * raw[1] ** 4
    x = rng.uniform(size=(1000, 400)) ** 2
    for found, truth in ((skewness(x), third / second**1.5), (excess_kurtosis(x), fourth / second**2 - 3)):
        scores = (found.value - truth) / found.stderr
        assert abs(np.mean(scores**2) - 1) < 4.5 * np.sqrt(2 / 400)


def test_anderson_darling_is_scipys_statistic(rng):
    x = rng.standard_t(4, size=(50, 3))
    n = len(x)
    found = anderson_darling(x)[0] / (1 + 0.75 / n + 2.25 / n**2)
    for column, statistic in zip(x.T, found, strict=True):
        z = np.sort(stats.zscore(column, ddof=1))
        weights = 2 * np.arange(1, n + 1) - 1
        by_hand = -n - np.mean(weights * (stats.norm.logcdf(z) + stats.norm.logsf(z[::-1])))
        assert statistic == pytest.approx(by_hand)


def test_anderson_darling_p_values_at_the_tabulated_points():
    """Upper points of A^2*, unknown mean and variance: 0.631, 0.752, 0.873, 1.035, 1.159 (Stephens' table)."""
    from gradnoise.measure.normality import _p_value

    points = np.array([0.631, 0.752, 0.873, 1.035, 1.159])
    np.testing.assert_allclose(_p_value(points), [0.1, 0.05, 0.025, 0.01, 0.005], rtol=0.02)
    grid = np.linspace(0, 20, 4001)
    steps = np.diff(_p_value(grid))
    assert np.all(steps <= 0.01)  # the fit's pieces meet
    assert np.all((_p_value(grid) >= 0) & (_p_value(grid) <= 1))


def test_holm_is_between_the_raw_values_and_bonferronis(rng):
    for _ in range(20):
        p = rng.uniform(size=7) ** 3
        adjusted = holm(p)
        assert np.all((p <= adjusted) & (adjusted <= np.minimum(7 * p, 1)))
        assert np.all(np.diff(adjusted[np.argsort(p)]) >= 0)
        assert adjusted.min() == min(7 * p.min(), 1)


# Verdicts.


def test_heteroscedastic_gaussian_noise_is_gaussian_along_draws_and_looks_heavy_when_pooled(getkey):
    """dynamics.md A9: 0 % of 20 directions rejected, index 1.994 along draws, 1.158 for the pooled coordinates of its data.

    Here the pooled index is compared with its closed form; how often a Gaussian is rejected is the slow tests' business.
    """
    size, count, block = 100, 2000, 100
    scales = np.exp(1.5 * np.linspace(-2, 2, size))[np.random.default_rng(0).permutation(size)]
    problem = fresh_gaussian(scales)
    found = gaussianity(problem, np.zeros(size), 4, count, 20, getkey(), block_size=block, level=7e-6)  # 4.5 errors
    assert not found.rejected.any()
    growth, error = 1 / found.tail_index.value, found.tail_index.stderr / found.tail_index.value**2
    assert np.abs((growth - 0.5) / error).max() < 4.5
    with jax.enable_x64(True):
        rows = np.asarray(problem.sample(getkey(), count))
    pooled = tail_index(rows.ravel(), size, mean=0)
    spread = np.log(np.mean(scales**2)) - np.mean(np.log(scales**2))
    assert abs(pooled.value - 2 / (1 + spread / np.log(size))) < 4.5 * pooled.stderr
    assert pooled.value < 1.4
    assert "is not told from a Gaussian along any of 20 directions" in found.sentence


@pytest.mark.parametrize("test", ["anderson_darling", pytest.param("jarque_bera", marks=pytest.mark.slow)])
def test_student_noise_is_rejected_along_every_direction(test, getkey):
    """dynamics.md A9: t(2.5), 100 % of directions."""
    pool = np.random.default_rng(2).standard_t(2.5, size=(2000, 10))
    found = gaussianity(linear_problem(pool), np.zeros(10), 1, 1500, 20, getkey(), test=test)
    assert found.rejected.all()
    assert "differs from a Gaussian along 20 of 20 directions" in found.sentence
    assert "A finite data set has bounded noise" in found.sentence
    assert np.all(found.max_to_sum > 2 * np.log(4000) / 4000)  # a Gaussian's is near that


def test_the_largest_square_over_the_sum_and_the_index_are_those_of_the_draws(getkey):
    key = getkey()
    found = gaussianity(POOL, np.zeros(2), 3, 100, np.eye(2), key)
    x = projected_noise(POOL, np.zeros(2), np.eye(2), key).samples(3, 100)
    np.testing.assert_allclose(found.max_to_sum, np.square(x).max(axis=0) / np.square(x).sum(axis=0))
    np.testing.assert_allclose(found.tail_index.value, tail_index(x, 10, mean=0).value)
    assert found.block_size == 10


@pytest.mark.slow
@pytest.mark.parametrize("count", [50, 1000])
def test_false_positives_on_heteroscedastic_gaussian_noise_stay_at_the_stated_level(count, rng):
    """2000 repetitions, 20 correlated directions each: any rejection at all at most 5 % of the time, plus 4.5 errors."""
    scales = np.exp(rng.normal(size=50))
    wrong = 0
    for _ in range(2000):
        directions = rng.normal(size=(50, 20))
        rows = rng.normal(size=(count, 50)) * scales
        wrong += holm(anderson_darling(rows @ directions)[1]).min() < 0.05
    assert wrong / 2000 < 0.05 + 4.5 * np.sqrt(0.05 * 0.95 / 2000)


@pytest.mark.slow
def test_jarque_beras_limit_is_reached_too_slowly_for_many_directions(rng):
    """0.0025 is the first step of 20 directions at 5 %. Anderson-Darling's p-values are true there."""
    samples = [rng.normal(size=(1000, 2000)) for _ in range(10)]
    rates = [np.mean([test(x)[1] < 0.0025 for x in samples]) for test in (jarque_bera, anderson_darling)]
    error = np.sqrt(0.0025 / 20_000)
    assert rates[0] > 0.0025 + 4.5 * error
    assert abs(rates[1] - 0.0025) < 4.5 * error


@pytest.mark.slow
def test_false_positives_of_the_whole_procedure_stay_at_the_stated_level(getkey):
    """The function itself, 300 repetitions on fresh Gaussian gradients."""
    problem = fresh_gaussian(np.exp(np.linspace(-2, 2, 12)))
    wrong = [gaussianity(problem, np.zeros(12), 2, 300, 10, getkey()).rejected.any() for _ in range(300)]
    assert np.mean(wrong) < 0.05 + 4.5 * np.sqrt(0.05 * 0.95 / 300)


# Wrong use.


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"problem": None}, TypeError, "problem is a NoneType"),
        ({"batch_size": 0}, ValueError, "batch_size=0"),
        ({"num_draws": 7}, ValueError, "num_draws=7 is below 8"),
        ({"directions": 0}, ValueError, "directions=0 is below 1"),
        ({"directions": "bottom"}, ValueError, "directions='bottom' is unknown"),
        ({"directions": np.ones(3)}, ValueError, r"directions have shape \(3,\), expected how many"),
        ({"directions": np.zeros(2)}, ValueError, "directions holds a zero vector"),
        ({"directions": None}, ValueError, "directions are None"),
        ({"directions": True}, ValueError, "directions are True"),
        ({"key": 3}, TypeError, "key=3"),
        ({"test": "shapiro"}, ValueError, "test='shapiro' is unknown"),
        ({"level": 1.0}, ValueError, "level=1 is not below 1"),
        ({"block_size": 60}, ValueError, "expected at least two blocks"),
        ({"memory": 1000}, MemoryError, "memory"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, words):
    given = {"problem": POOL, "params": np.zeros(2), "batch_size": 2, "num_draws": 100}
    with pytest.raises(error, match=words):
        gaussianity(**{**given, "directions": 2, "key": jax.random.key(0), **arguments})


def test_a_direction_without_noise_is_refused():
    flat = from_arrays(dot, lambda key: np.zeros(2), np.array([[1.0, 3.0], [2.0, 3.0]]))
    with pytest.raises(ValueError, match="along 'given 2' all draws are equal"):
        gaussianity(flat, np.zeros(2), 2, 100, np.eye(2), jax.random.key(0))


def test_no_batch_size_is_refused():
    with pytest.raises(ValueError, match="batch_sizes is empty"):
        cumulant_scaling(POOL, np.zeros(2), [], 100, 2, jax.random.key(0))
