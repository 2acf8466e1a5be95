"""The tail index: stable laws, what a finite variance looks like, and how pooled coordinates mislead."""

import numpy as np
import pytest
from scipy import stats

from gradnoise.measure.tails import tail_index

COUNT, BLOCK = 1_000_000, 100


def z(alpha, truth):
    return (alpha.value - truth) / alpha.stderr


def inverse_z(alpha, truth):
    """The same on the scale of 1/alpha, where the estimate is a mean over blocks: for few of them."""
    return (1 / alpha.value - 1 / truth) / (alpha.stderr / alpha.value**2)


# Stable draws.


def test_gaussian_draws_have_index_two(rng):
    alpha = tail_index(rng.normal(size=COUNT), BLOCK)
    assert abs(z(alpha, 2)) < 4.5
    assert abs(alpha.value - 1.999) < 0.05  # the number of dynamics.md A9, and its tolerance
    assert alpha.num_samples == COUNT


@pytest.mark.parametrize(("index", "printed"), [(1.0, 1.005), (1.5, 1.515)])
def test_stable_draws_have_their_own_index(index, printed, rng):
    alpha = tail_index(stats.levy_stable.rvs(index, 0, size=COUNT, random_state=rng), BLOCK, mean=0)
    assert abs(z(alpha, index)) < 4.5
    assert abs(alpha.value - printed) < 0.05


@pytest.mark.parametrize("index", [0.6, 1.5])
def test_with_a_known_centre_the_error_is_right_for_infinite_variance(index, rng):
    draws = stats.levy_stable.rvs(index, 0, size=(100, 10_000), random_state=rng)
    scores = inverse_z(tail_index(draws, BLOCK, axis=1, mean=0), index)
    assert np.abs(scores).max() < 5.5  # Student's t of 99 degrees, a hundred times
    assert abs(scores.var() - 1) < 4.5 * np.sqrt(2 / 100)


def test_with_infinite_variance_the_centre_must_be_known(rng):
    """One large draw moves the sample mean, and so every sum K times as much: the index comes out as one, whatever it is."""
    draws = rng.normal(size=10_000)
    draws[0] = 1e6
    known, own = tail_index(draws, BLOCK, mean=0), tail_index(draws, BLOCK)
    assert abs(inverse_z(known, 2)) < 4.5
    assert abs(own.value - 1) < 0.01
    assert abs(inverse_z(own, 2)) > 20  # and the stated error does not see it


@pytest.mark.parametrize("index", [1.0, 2.0])
def test_the_stated_error_is_the_spread_over_repetitions(index, rng):
    """200 repetitions: variance of z within 4.5 errors of one, mean within 4.5 of zero."""
    draws = stats.levy_stable.rvs(index, 0, size=(200, 5000), random_state=rng)
    alpha = tail_index(draws, 20, axis=1, mean=0)
    scores = inverse_z(alpha, index)
    assert abs(scores.mean()) < 4.5 / np.sqrt(200)
    assert abs(scores.var() - 1) < 4.5 * np.sqrt((2 + 0.3) / 200)


@pytest.mark.parametrize(("block", "printed"), [(10, 1.66), (100, 1.75), (1000, 1.82)])
def test_a_finite_variance_can_give_less_than_two_at_every_block_size(block, printed):
    """Student's t with three degrees of freedom; both numbers are simulated, hence the root of two."""
    alpha = tail_index(np.random.default_rng(1).standard_t(3, size=COUNT), block)
    assert abs(alpha.value - printed) < 4.5 * np.sqrt(2) * alpha.stderr + 0.005
    assert z(alpha, 2) < -4.5


# Pooled coordinates: wrong, and by how much.


def pooled(rows):
    """The index from sums over the coordinates of one gradient, averaged over gradients: what not to do."""
    return tail_index(rows.ravel(), rows.shape[1], mean=0)


def pooled_by_variances(variances):
    """2 / (1 + J / log K), J = E log(block mean variance) - E log(variance) >= 0."""
    spread = np.log(variances.mean(axis=1)).mean() - np.log(variances).mean()
    return 2 / (1 + spread / np.log(variances.shape[1]))


def pooled_by_correlation(rho, block):
    return 2 / (1 + np.log(1 + (block - 1) * rho) / np.log(block))


@pytest.mark.parametrize(("log_sd", "printed", "predicted"), [(1, 1.811, 1.807), (2, 1.425, 1.420)])
def test_pooled_gaussian_coordinates_of_unequal_variance_look_heavy_tailed(log_sd, printed, predicted, rng):
    """`log_sd` is that of the variances. Along draws, the same numbers have index two."""
    variances = np.exp(log_sd * rng.normal(size=(COUNT // BLOCK, BLOCK)))
    alpha = pooled(np.sqrt(variances) * rng.normal(size=variances.shape))
    assert abs(z(alpha, pooled_by_variances(variances))) < 4.5
    assert pooled_by_variances(variances) == pytest.approx(predicted, abs=0.005)
    assert abs(alpha.value - printed) < 0.05
    along_draws = tail_index(np.sqrt(variances[0]) * rng.normal(size=variances.shape), BLOCK, mean=0)
    scores = inverse_z(along_draws, 2)
    assert np.abs(scores).max() < 4.5
    assert abs(scores.mean()) < 4.5 / np.sqrt(BLOCK)


@pytest.mark.parametrize(
    ("rho", "printed", "predicted"), [(0.01, 1.738, 1.740), (0.1, 1.319, 1.317), (0.5, 1.077, 1.080)]
)
def test_pooled_gaussian_coordinates_that_are_correlated_look_heavy_tailed(rho, printed, predicted, rng):
    size = (COUNT // BLOCK, BLOCK)
    rows = np.sqrt(rho) * rng.normal(size=(size[0], 1)) + np.sqrt(1 - rho) * rng.normal(size=size)
    alpha = pooled(rows)
    assert abs(z(alpha, pooled_by_correlation(rho, BLOCK))) < 4.5
    assert pooled_by_correlation(rho, BLOCK) == pytest.approx(predicted, abs=5e-4)
    assert abs(alpha.value - printed) < 0.05


def test_pooled_coordinates_that_are_one_number_give_exactly_one(rng):
    alpha = pooled(np.repeat(rng.normal(size=(50, 1)), BLOCK, axis=1))
    assert alpha.value == pytest.approx(1, abs=1e-12)
    assert alpha.value == pytest.approx(pooled_by_correlation(1.0, BLOCK))


def test_unequal_variances_can_only_lower_a_pooled_index(rng):
    """J >= 0, zero for equal ones."""
    assert pooled_by_variances(np.full((3, 10), 7.0)) == pytest.approx(2)
    assert all(pooled_by_variances(rng.exponential(size=(3, 10))) < 2 for _ in range(20))


# Form.


def test_the_estimate_is_the_formula_by_hand():
    x = np.array([1.0, 2.0, -4.0, 3.0, 5.0, -1.0, 9.0])  # the last one fills no block
    growth = np.log([3, 1, 4]) - np.log([1 * 2, 4 * 3, 5 * 1]) / 2
    alpha = tail_index(x, 2, mean=0)
    assert alpha.value == pytest.approx(np.log(2) / growth.mean())
    assert alpha.stderr == pytest.approx(alpha.value**2 * growth.std(ddof=1) / np.sqrt(3) / np.log(2))
    assert alpha.num_samples == 6
    assert tail_index(x, 2).value == pytest.approx(tail_index(x - x.mean(), 2, mean=0).value)


def test_values_that_are_exactly_zero_are_dropped(rng):
    x = rng.normal(size=1000)
    with_zeros = np.insert(x, rng.integers(0, 1000, 300), 0.0)
    assert tail_index(with_zeros, 10, mean=0).value == tail_index(x, 10, mean=0).value


def test_a_block_whose_sum_is_zero_is_left_out():
    x = np.array([1.0, -1.0, 2.0, 3.0, -1.0, 4.0])
    assert tail_index(x, 2, mean=0).value == tail_index(x[2:], 2, mean=0).value


def test_draws_without_noise_have_no_index():
    alpha = tail_index(np.full(100, 3.0), 10)
    assert np.isnan(alpha.value)
    assert np.isnan(alpha.stderr)


def test_the_raw_value_is_kept_and_the_clipped_one_beside_it(rng):
    alpha = tail_index(rng.normal(size=(200, 40)), 10, mean=0)
    assert (alpha.value > 2).any()
    np.testing.assert_array_equal(alpha.clipped, np.minimum(alpha.value, 2))


def test_quantities_are_apart_along_any_axis(rng):
    x = rng.standard_t(3, size=(4, 500, 3))
    whole = tail_index(x, 20, axis=1)
    assert whole.value.shape == (4, 3)
    for i, j in np.ndindex(4, 3):
        one = tail_index(x[i, :, j], 20)
        np.testing.assert_allclose((whole.value[i, j], whole.stderr[i, j]), (one.value, one.stderr), rtol=1e-9)
    np.testing.assert_array_equal(whole.value, tail_index(x, 20, axis=-2, mean=x.mean(axis=1)).value)


def test_scale_and_shift_change_nothing(rng):
    x = rng.standard_t(3, size=500)
    assert tail_index(1e-9 * x + 5e-9, 20).value == pytest.approx(tail_index(x, 20).value)


def test_vectors_enter_by_their_norms(rng):
    x = rng.normal(size=(COUNT // 10, 10)) * np.logspace(-2, 1, 10)  # very unequal variances do no harm along draws
    alpha = tail_index(x, BLOCK, vector_axis=1)
    assert np.ndim(alpha.value) == 0
    assert abs(z(alpha, 2)) < 4.5
    turned = tail_index(x.T, BLOCK, axis=1, vector_axis=0, mean=x.mean(axis=0))
    assert turned.value == pytest.approx(alpha.value, abs=1e-12)
    line = tail_index(x[:, :1], BLOCK, vector_axis=1)
    assert line.value == pytest.approx(tail_index(x[:, 0], BLOCK).value, abs=1e-12)
    several = tail_index(np.stack([x, 2 * x], axis=1), BLOCK, vector_axis=2)
    np.testing.assert_allclose(several.value, alpha.value)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"block_size": 1}, ValueError, "block_size=1 is below 2"),
        ({"block_size": 2.5}, TypeError, "block_size=2.5"),
        ({"block_size": 60}, ValueError, "samples holds 100 draws along axis=0, expected at least two blocks"),
        ({"axis": 2}, ValueError, "axis=2 does not exist"),
        ({"axis": 0.5}, TypeError, "axis=0.5"),
        ({"vector_axis": 0}, ValueError, "axis=0 and vector_axis=0 are the same"),
        ({"vector_axis": -2}, ValueError, "are the same"),
        ({"mean": np.zeros(3)}, ValueError, r"mean has shape \(3,\), expected \(2,\)"),
        ({"samples": np.full((100, 2), np.nan)}, ValueError, "samples holds NaN"),
        ({"samples": "tails"}, TypeError, "samples is str"),
        ({"samples": np.float64(3)}, ValueError, "axis=0 does not exist"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        tail_index(**{"samples": np.ones((100, 2)), "block_size": 10, **arguments})
