"""Antisymmetric lag covariances: what they measure, and the test of time reversal."""

import numpy as np
import pytest
from scipy import stats

from gradnoise.measure.circulation import lag_covariance
from gradnoise.measure.irreversibility import irreversibility_test
from gradnoise.stationary.linear import circulation, linear_decomposition
from measure.linear_paths import D, F, paths, reversible_twin, stationary_covariance, transition

TURNING = np.array([[1.0, -2.0], [2.0, 1.0]])


def symmetric_paths(coefficients, num_records, rng, replicas):
    """Reversible: independent autoregressions, mixed into one more weight than there are of them."""
    modes = np.array(coefficients)
    mixed = paths(np.diag(modes), np.diag(1 / (1 - modes**2)), num_records, rng, replicas)
    return mixed @ rng.normal(size=(len(modes), len(modes) + 1))


def test_the_area_of_increments_is_the_antisymmetric_lag_one_covariance(rng):
    path = np.cumsum(rng.normal(size=(1, 50, 3)), axis=1)
    x = path[0] - path[0].mean(axis=0)
    dx = np.diff(x, axis=0)
    area = (np.einsum("ti,tj->ij", x[:-1], dx) - np.einsum("ti,tj->ji", x[:-1], dx)) / 49
    C = lag_covariance(path, 1)
    np.testing.assert_allclose(C.T - C, area, rtol=1e-10, atol=1e-12)


def test_reversing_time_reverses_the_circulation_and_nothing_else(rng):
    path = paths(*transition(TURNING, np.eye(2), 0.1), 1000, rng)
    forth, back = (lag_covariance(each, 1) for each in (path, path[:, ::-1]))
    np.testing.assert_allclose(back - back.T, -(forth - forth.T), rtol=1e-9, atol=1e-12)
    one, other = (irreversibility_test(p) for p in (path, path[:, ::-1]))
    np.testing.assert_allclose(one.variances, other.variances, rtol=1e-12)
    assert one.antisymmetry.value[0, 1] ** 2 == pytest.approx(other.antisymmetry.value[0, 1] ** 2, rel=1e-9)


def test_the_test_finds_the_current_that_spectra_do_not_show(rng):
    turning, twin = (
        irreversibility_test(paths(*transition(*pair, 0.1), 4000, rng, replicas=5))
        for pair in ((F, D), reversible_twin())
    )
    assert turning.p_value == pytest.approx(0.001)
    assert turning.conclusion.startswith("irreversible: p = 0.001")
    assert turning.statistic > twin.statistic


def test_components_are_principal_for_few_and_many_weights(rng):
    path = symmetric_paths((0.9, 0.5), 300, rng, 1)
    found = irreversibility_test(path)
    values = np.linalg.eigvalsh(np.cov(path[0].T, ddof=0))[::-1]
    np.testing.assert_allclose(found.variances, values[:2], rtol=1e-9)
    wide = path @ rng.normal(size=(3, 400))
    few = irreversibility_test(wide)
    centred = wide[0] - wide[0].mean(axis=0)
    np.testing.assert_allclose(np.square(centred @ few.directions.T).mean(axis=0), few.variances, rtol=1e-9)
    np.testing.assert_allclose(few.directions @ few.directions.T, np.eye(2), atol=1e-9)


def test_a_reversible_run_is_near_zero_and_a_turning_one_near_its_closed_form(rng):
    """V: about 0 (0.003) reversible, of order one (1.06) rotating; here 2 a sin(phi) of unit variances."""
    a, angle = 0.9, 0.7
    A = a * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = irreversibility_test(paths(A, np.eye(2), 4000, rng, replicas=5)).antisymmetry
    assert 2 * a * np.sin(angle) == pytest.approx(1.16, abs=0.01)
    assert abs(abs(found.value[0, 1]) - 2 * a * np.sin(angle)) < 4.5 * found.stderr[0, 1] + 0.01  # of the whitening
    still = irreversibility_test(paths(a * np.eye(2), np.eye(2), 4000, rng, replicas=5)).antisymmetry
    assert abs(still.value[0, 1]) < 4.5 * still.stderr[0, 1]
    assert still.stderr[0, 1] < 0.02


def test_a_short_run_cannot_tell(rng):
    found = irreversibility_test(paths(*transition(F, D, 0.01), 200, rng))
    assert found.conclusion.startswith("cannot tell: the run holds")
    assert np.isnan(found.p_value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("coefficients", "num_records", "components"),
    [((0.9, 0.5), 2000, 2), ((0.9, 0.8, 0.7, 0.6), 2000, 4), ((0.97, 0.9, 0.0), 6000, 3), ((0.5, 0.5), 200, 2)],
)
def test_false_alarms_are_at_most_the_level_on_reversible_autoregressions(coefficients, num_records, components, rng):
    alarms, runs = [], 2000
    for seed, path in enumerate(
        path for _ in range(20) for path in symmetric_paths(coefficients, num_records, rng, runs // 20)
    ):
        alarms.append(irreversibility_test(path, components, num_resamples=199, seed=seed).p_value)
    for level in (0.05, 0.2):
        assert np.mean(np.array(alarms) <= level) <= level + 4.5 * np.sqrt(level * (1 - level) / runs)


@pytest.mark.slow
def test_power_on_a_turning_process_is_that_of_its_closed_form(rng):
    """The mean of the products follows from Q, their long-run variance from Isserlis' theorem, the power from both by the
    non-central t law of as many blocks."""
    dt, records, runs = 0.2, 2000, 1000
    force = np.array([[1.0, -0.12], [0.12, 1.0]])
    A, S = transition(force, np.eye(2), dt)
    mean = (A @ S - S @ A.T)[0, 1]
    lags = [np.linalg.matrix_power(A, k) @ S for k in range(400)]
    variance = sum((1 if s == 0 else 2) * _product_covariance(lags, s) for s in range(390))
    shift = abs(mean) / np.sqrt(variance / records)
    found = [
        irreversibility_test(path, num_resamples=199, seed=seed)
        for seed, path in enumerate(paths(A, S, records, rng, replicas=runs))
    ]
    freedom = found[0].num_blocks - 1
    bound = stats.t.ppf(0.975, freedom)
    predicted = stats.nct.sf(bound, freedom, shift) + stats.nct.cdf(-bound, freedom, shift)
    power = np.mean([one.p_value <= 0.05 for one in found])
    assert 0.5 < predicted < 0.95
    assert abs(power - predicted) < 4.5 * np.sqrt(predicted * (1 - predicted) / runs)
    assert mean == pytest.approx(-circulation(linear_decomposition(force, np.eye(2)))[0, 1] * dt, rel=0.25)


def _product_covariance(lags, s):
    """Cov(p_t, p_{t+s}) of p = x_0(t+1) x_1(t) - x_1(t+1) x_0(t) for E x_{t+k} x_t^T = lags[k]."""

    def at(i, t, j, u):
        return lags[t - u][i, j] if t >= u else lags[u - t][j, i]

    def four(a, b, c, d):
        return at(*a, *c) * at(*b, *d) + at(*a, *d) * at(*b, *c)

    terms = [(1, (0, 1), (1, 0)), (-1, (1, 1), (0, 0))]
    return sum(
        sign * other * four(a, b, (c[0], c[1] + s), (d[0], d[1] + s)) for sign, a, b in terms for other, c, d in terms
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: irreversibility_test(np.zeros((3, 2))), r"weights has shape \(3, 2\)"),
        (lambda: irreversibility_test(np.eye(9), 1), "num_components=1 is below 2"),
        (lambda: irreversibility_test(np.outer(np.arange(9.0), [1, 2])), "the weights move in 1 directions"),
        (lambda: irreversibility_test(np.eye(9), lag=9), "lag=9 is above 8"),
        (lambda: irreversibility_test(np.eye(9), level=0), "level=0 does not do"),
    ],
)
def test_wrong_calls_are_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_the_stationary_covariance_of_these_tests_is_that_of_the_library():
    np.testing.assert_allclose(stationary_covariance(F, D), linear_decomposition(F, D).S, rtol=1e-12)
