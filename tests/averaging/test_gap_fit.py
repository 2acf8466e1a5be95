"""The fit of the gap against temperature: exact curves, scales, boundaries, coverage."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from gradnoise.averaging.gap_fit import fit_gap, gap_curve, least_squares

T = np.geomspace(0.2, 30, 10) * 1e-4
TRUE = {"a": 2e-5, "b": 0.1, "c": 3e-3}


def gap(temperature):
    return (TRUE["a"] / temperature + TRUE["b"]) * np.exp(-temperature / TRUE["c"])


@given(a=st.floats(1e-3, 10), b=st.floats(1e-3, 10), c=st.floats(0.5, 30), scale=st.floats(1e-6, 1e3))
@settings(max_examples=12)
def test_an_exact_curve_gives_its_own_parameters_in_any_unit(a, b, c, scale):
    temperature = np.geomspace(0.2, 20, 9)
    fit = fit_gap(temperature * scale, (a / temperature + b) * np.exp(-temperature / c), num_resamples=100)
    assert (fit.a.value, fit.c.value) == pytest.approx((a * scale, c * scale), rel=1e-3)
    assert fit.b.value == pytest.approx(b, rel=1e-2, abs=1e-4 * a)


def test_in_units_of_1e_minus_4_a_and_c_are_1e4_times_as_large_and_b_is_the_same():
    """V: raw a = a'/1e4, c = c'/1e4, b unchanged; the caption that multiplies has it wrong by 1e8."""
    raw, scaled = fit_gap(T, gap(T)), fit_gap(1e4 * T, gap(T))
    assert scaled.a.value / 1e4 == pytest.approx(raw.a.value, rel=1e-9)
    assert scaled.c.value / 1e4 == pytest.approx(raw.c.value, rel=1e-6)
    assert scaled.b.value == pytest.approx(raw.b.value, rel=1e-6)
    printed = scaled.a.value * 1e4
    assert printed == pytest.approx(1e8 * TRUE["a"], rel=1e-6)


def test_no_local_search_in_log_parameters_from_many_starts_finds_a_better_fit(rng):
    y = gap(T) + 0.02 * rng.normal(size=len(T))
    weights = rng.uniform(0.5, 2, len(T))
    ours = least_squares(1e4 * T, y[None], weights)[0]
    loss = (weights * np.square(y - gap_curve(1e4 * T, *ours))).sum()
    residual = lambda p: np.sqrt(weights) * (y - gap_curve(1e4 * T, *np.exp(p)))  # noqa: E731
    starts = np.log([0.2, 0.1, 1 / 30]) + rng.normal(size=(20, 3))
    found = [2 * optimize.least_squares(residual, start).cost for start in starts]
    assert loss <= min(found) * (1 + 1e-6)
    assert min(found) == pytest.approx(loss, rel=1e-3)


def test_positivity_binds_at_zero_and_says_so(rng):
    rising = fit_gap(T, 0.1 * np.exp(-T / 1e-3) - 1e-6 / T)
    assert rising.a.value == 0
    assert "a is zero" in rising.warning
    noisy = (2e-5 / T * np.exp(-T / 1e-3))[:, None] + 1e-3 * rng.normal(size=(10, 40))
    at_zero = np.flatnonzero(least_squares(1e4 * T, noisy.T, np.ones(10))[:, 1] == 0)
    assert 5 < len(at_zero) < 35  # half of 40
    assert "b is zero" in fit_gap(T, noisy[:, at_zero[0]], 100).warning
    assert fit_gap(T, -gap(T)).a.value == fit_gap(T, -gap(T)).b.value == 0


def test_without_decay_c_is_not_identified_and_its_interval_has_no_end(rng):
    fit = fit_gap(T, (2e-5 / T + 0.1)[:, None] + 0.003 * rng.normal(size=(10, 6)))
    assert not fit.c_identified
    assert fit.interval("c")[1] > 10 * T.max()
    assert fit.warning.startswith("c is not identified")


def test_a_decay_far_beyond_the_temperatures_is_not_identified_and_one_within_is(rng):
    noise = 1e-4 * rng.normal(size=(10, 6))
    for c, told in ((30 * T.max(), False), (T.max(), True)):
        assert fit_gap(T, gap_curve(T, 2e-5, 0.1, 1 / c)[:, None] + noise).c_identified == told


def test_the_prediction_is_the_curve_with_an_error_that_grows_outside(rng):
    fit = fit_gap(T, gap(T)[:, None] + 0.01 * rng.normal(size=(10, 5)))
    inside, outside = fit.predict(5e-4), fit.predict(2e-6)
    assert inside.value == pytest.approx(
        float(gap_curve(np.array(5e-4), fit.a.value, fit.b.value, 1 / fit.c.value)), rel=1e-12
    )
    assert outside.stderr > 5 * inside.stderr
    assert fit.predict(T.reshape(2, 5)).value.shape == (2, 5)


def test_noisy_temperatures_weigh_less(rng):
    spread = np.where(np.arange(10) < 5, 0.1, 0.001)[:, None]  # rising spread towards low temperatures
    noise = spread * rng.normal(size=(10, 400))
    fit = fit_gap(T, gap(T)[:, None] + noise, num_resamples=100)
    plain = least_squares(T, (gap(T)[:, None] + noise).mean(axis=1)[None], np.ones(10))[0]
    assert abs(fit.b.value - TRUE["b"]) < 4.5 * fit.b.stderr
    drawn = least_squares(T, gap(T) + 0.05 * spread[:, 0] * rng.normal(size=(200, 10)), np.ones(10))
    assert fit.b.stderr < 0.7 * drawn[:, 1].std()
    assert abs(plain[1] - TRUE["b"]) < 4.5 * drawn[:, 1].std()


def test_rows_may_come_in_any_order_and_repeat(rng):
    y = gap(T)[:, None] + 0.01 * rng.normal(size=(10, 4))
    order = rng.permutation(10)
    assert fit_gap(T[order], y[order]).a.value == pytest.approx(fit_gap(T, y).a.value, rel=1e-9)
    assert fit_gap(np.r_[T, T], np.r_[y, y]).a.value == pytest.approx(fit_gap(T, y).a.value, rel=1e-6)


def test_shared_shifts_of_a_seed_are_in_the_error(rng):
    """Errors come from whole columns: a shift of all temperatures by one seed does not average out over temperatures."""
    common = 0.02 * rng.normal(size=12)
    fit = fit_gap(T, gap(T)[:, None] + common + 1e-4 * rng.normal(size=(10, 12)))
    alone = fit_gap(T, gap(T)[:, None] + 1e-4 * rng.normal(size=(10, 12)))
    assert fit.b.stderr > 10 * alone.b.stderr


@pytest.mark.slow
@pytest.mark.parametrize("common", [0.0, 0.8])
@pytest.mark.parametrize("seeds", [1, 3, 6])
def test_intervals_cover(seeds, common, rng):
    """95 % nominal, with one value a temperature as well; a point is allowed for the linearization."""
    hits, repetitions = np.zeros(3), 200
    for _ in range(repetitions):
        noise = math.sqrt(1 - common) * rng.normal(size=(10, seeds)) + math.sqrt(common) * rng.normal(size=seeds)
        y = gap(T)[:, None] * (1 + 0.05 * noise) if seeds > 1 else gap(T)[:, None] + 0.01 * rng.normal(size=(10, 1))
        fit = fit_gap(T, y, num_resamples=100)
        hits += [low <= TRUE[name] <= high for name in "abc" for low, high in [fit.interval(name)]]
    share = hits / repetitions
    assert np.all(share > 0.95 - 0.01 - 4.5 * math.sqrt(0.95 * 0.05 / repetitions))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([1.0, 2.0], [1.0, 2.0]), "gap has 2 rows and 1 seeds, expected at least 3"),
        (([1.0, 2.0, 4.0], [1.0, 2.0, 3.0]), "gap has 3 temperatures and 1 seeds, expected 3 with two seeds or 4"),
        (([1.0, 1.0, 2.0, 2.0], np.ones((4, 2))), "gap has 2 temperatures"),
        (([0.1 / 8, 0.3 / 24, 0.2 / 8], np.ones((3, 2))), "gap has 2 temperatures"),  # the first two differ by rounding
        (([1.0, 2.0, -4.0], np.ones((3, 2))), "temperature holds numbers that are not positive"),
        (([1.0, 2.0, 4.0], [1.0, np.nan, 1.0]), "gap holds NaN or infinity"),
        (([1.0, 2.0, 4.0], np.ones((2, 3))), r"temperature has shape \(3,\) and gap \(2, 3\)"),
    ],
)
def test_wrong_calls_are_one_sentence(arguments, words):
    with pytest.raises(ValueError, match=words):
        fit_gap(*arguments)


def test_where_every_gap_is_negative_there_is_no_curve_and_c_is_anything(rng):
    fit = fit_gap(T, rng.normal(-1, 0.01, size=(len(T), 3)))
    assert (fit.a.value, fit.b.value) == (0, 0)
    assert fit.interval("c") == (0, math.inf)
    assert not fit.c_identified


def test_an_unknown_name_or_temperature_is_refused():
    fit = fit_gap(T, gap(T))
    with pytest.raises(ValueError, match="name='d' is unknown"):
        fit.interval("d")
    with pytest.raises(ValueError, match="temperature holds numbers that are not positive"):
        fit.predict([1.0, 0.0])
