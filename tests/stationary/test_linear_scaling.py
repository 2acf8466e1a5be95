"""The critical batch size of linear scaling."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradnoise.estimate import Estimate
from gradnoise.stationary.linear_scaling import NAMES, critical_batch


@given(st.floats(1e-3, 1e3), st.floats(0, 1e3), st.integers(1, 10_000), st.floats(1.01, 5))
def test_the_three_forms_are_the_formulas(G, N, batch_size, closeness):
    critical, square = critical_batch(G, N, batch_size, closeness), closeness**2
    assert critical.printed.value == pytest.approx(batch_size * square * (1 + N / G))
    assert critical.sharp.value == pytest.approx(batch_size * (square + (square - 1) * N / G))
    assert critical.approximate.value == pytest.approx(batch_size * square * N / G)
    assert [form.stderr for form in critical[:3]] == [0, 0, 0]


def _toy_radius(kappa, rate=1e-2, decay=1e-4, signal=0.36, noise=1.0):
    """R = |x|^2 at equilibrium of the toy of A7 scaled by kappa: |g|^2 = (signal + noise/kappa) / |x|^2, tangential."""
    return math.sqrt(kappa * rate * (signal + noise / kappa) / (decay * (2 - kappa * rate * decay)))


@pytest.mark.parametrize("kappa", [1, 4])
def test_the_toys_radius_is_where_its_steps_end(kappa):
    rate, decay, squared = 0.1 * kappa, 0.1, 1.0
    for _ in range(3000):
        squared = (1 - rate * decay) ** 2 * squared + rate**2 * (0.36 + 1 / kappa) / squared
    assert squared == pytest.approx(_toy_radius(kappa, 0.1, 0.1), rel=1e-12)


@pytest.mark.parametrize(
    ("kappa", "closeness", "sharp", "printed"),
    [(2, 1.12459, 2.0, 4.778), (4, 1.33945, 4.0, 6.778), (8, 1.68907, 8.0, 10.778), (32, 3.03414, 32.0005, 34.778)],
)
def test_the_toy_attains_the_sharp_bound_and_misses_the_printed_one_by_n_over_g(kappa, closeness, sharp, printed):
    """In the run scaled by kappa, R'/R = G/G' = N/(kappa N'): the smallest C that is kept. Erratum 6."""
    radius = _toy_radius(1)
    kept = _toy_radius(kappa) / radius
    critical = critical_batch(0.36 / radius, 1 / radius, 1, kept)
    assert kept == pytest.approx(closeness, abs=6e-6)
    assert critical.sharp.value == pytest.approx(sharp, abs=6e-5)
    assert critical.printed.value == pytest.approx(printed, abs=6e-4)
    assert critical.printed.value - critical.sharp.value == pytest.approx(1 / 0.36, rel=1e-12)
    assert critical.sharp.value == pytest.approx(kappa, rel=1e-4)  # attained; the printed form would still allow kappa


@given(st.floats(0.1, 10), st.floats(0.1, 100), st.integers(1, 500))
def test_in_terms_of_the_simple_noise_scale_only_a_multiple_of_the_batch_remains(G, simple_noise_scale, batch_size):
    critical = critical_batch(G, simple_noise_scale * G / batch_size, batch_size, 2.0)
    assert critical.printed.value == pytest.approx(4 * (batch_size + simple_noise_scale))
    assert critical.sharp.value == pytest.approx(4 * batch_size + 3 * simple_noise_scale)
    assert critical.approximate.value == pytest.approx(4 * simple_noise_scale)


@pytest.mark.parametrize("correlation", [0.0, 0.8, -0.5])
def test_errors_are_those_of_simulated_averages(correlation):
    random = np.random.default_rng(0)
    matrix = np.array([[0.02**2, correlation * 0.02 * 0.1], [correlation * 0.02 * 0.1, 0.1**2]])
    pairs = random.multivariate_normal([1.0, 4.0], matrix, 20_000)
    critical = critical_batch(Estimate(1.0, 0.02, 50), Estimate(4.0, 0.1, 50), 16, covariance=matrix[0, 1])
    for name in NAMES:
        spread = np.std([getattr(critical_batch(G, N, 16), name).value for G, N in pairs[:3000]])
        assert getattr(critical, name).stderr == pytest.approx(spread, rel=0.06)
    assert critical.sharp.num_samples == 50


def _interval(G, N, name="sharp", level=0.95, **options):
    return critical_batch(G, N, 1, **options).interval(name, level)


def test_the_interval_is_where_fiellers_pivot_is_within_t():
    G, N, t = Estimate(1.0, 0.2, 1000), Estimate(4.0, 0.5, 1000), 1.9623415
    ends = np.array(_interval(G, N, "approximate")) / 2
    np.testing.assert_allclose(np.abs(4.0 - ends * 1.0) / np.sqrt(0.25 + ends**2 * 0.04), t, rtol=1e-6)


def test_with_an_exact_signal_the_interval_is_the_noises():
    t = 2.0930241  # Student, 19 degrees
    np.testing.assert_allclose(_interval(2.0, Estimate(4.0, 0.5, 20), "approximate"), (4 - t * 0.5, 4 + t * 0.5))


def test_a_signal_not_told_from_zero_leaves_the_interval_unbounded():
    low, high = _interval(Estimate(1.0, 0.6, 40), Estimate(4.0, 0.1, 40))
    assert 2 < low < math.inf
    assert high == math.inf
    assert _interval(Estimate(1.0, 0.6, 40), Estimate(4.0, 5.0, 40)) == (2.0000000000000004, math.inf)


def test_a_signal_below_zero_gives_an_infinite_value_and_a_lower_bound():
    critical = critical_batch(Estimate(-0.1, 0.3, 40), Estimate(4.0, 0.1, 40), 8)
    assert critical.sharp.value == critical.printed.value == math.inf
    assert math.isnan(critical.sharp.stderr)
    low, high = critical.interval()
    assert 16 < low < high == math.inf


@given(st.floats(0.5, 2), st.floats(0.01, 0.2), st.floats(1, 10), st.floats(0.01, 1))
def test_intervals_contain_the_value_and_nest(G, G_error, N, N_error):
    signal, noise = Estimate(G, G_error, 100), Estimate(N, N_error, 100)
    for name in NAMES:
        value = getattr(critical_batch(signal, noise, 1), name).value
        narrow, wide = _interval(signal, noise, name, 0.5), _interval(signal, noise, name, 0.95)
        assert wide[0] <= narrow[0] <= value <= narrow[1] <= wide[1]


def test_exact_numbers_have_an_interval_of_one_point():
    low, high = _interval(1.0, 4.0)
    assert low == high == pytest.approx(6)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"G": 0.0}, ValueError, "G=0 does not do"),
        ({"G": float("nan")}, ValueError, "G=nan does not do"),
        ({"G": "big"}, TypeError, "G='big' is not a number"),
        ({"N": -1.0}, ValueError, "N=-1 does not do"),
        ({"N": Estimate(np.nan, 0.1, 5)}, ValueError, "N=.* is not finite"),
        ({"N": Estimate([1.0, 2.0], [0.1, 0.1], 5)}, ValueError, r"N has shape \(2,\), expected one number"),
        ({"G": Estimate(1.0, -0.1, 5)}, ValueError, "G=.* is not finite"),
        ({"batch_size": 0}, ValueError, "batch_size=0 is below 1"),
        ({"closeness": 1.0}, ValueError, "closeness=1 does not do. Give one finite number above 1"),
        ({"covariance": 0.1}, ValueError, "covariance=0.1 exceeds the product"),
    ],
)
def test_wrong_calls_are_one_sentence(wrong, error, words):
    with pytest.raises(error, match=words):
        critical_batch(**({"G": 1.0, "N": 4.0, "batch_size": 32} | wrong))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("flat",), "name='flat' is unknown"),
        (("sharp", 0.0), "level=0 does not do"),
        (("sharp", 1.5), "level=1.5 is not"),
    ],
)
def test_wrong_intervals_are_one_sentence(arguments, words):
    with pytest.raises(ValueError, match=words):
        critical_batch(1.0, 4.0, 32).interval(*arguments)
