"""Autonomous equations through given derivatives: against Runge-Kutta, closed solutions, and simulated descent."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import gradnoise as gn
from gradnoise.estimate import Estimate
from gradnoise.predict.curve_fit import extended_curve, fit_curve

NUMBERS = st.floats(-2, 2).filter(lambda x: abs(x) > 0.05)


def series(*coefficients, stderr=0.0):
    value = np.array(coefficients)
    return Estimate(value, np.full(len(value), stderr), 1, np.diag(np.full(len(value), stderr**2)))


def taylor(a, b, c, y0):
    """Coefficients of 1, t, t^2, t^3 of the solution of y' = c y^2 + b y + a."""
    first = c * y0**2 + b * y0 + a
    second = (2 * c * y0 + b) * first
    third = (2 * c * y0 + b) * second + 2 * c * first**2
    return first, second / 2, third / 6


@settings(max_examples=40, deadline=None)
@given(a=NUMBERS, b=NUMBERS, c=st.floats(-2, 2), y0=NUMBERS)
def test_through_three_derivatives_it_is_the_solution_that_runge_kutta_finds(a, b, c, y0):
    first, *rest = taylor(a, b, c, y0)
    if abs(first) < 0.05:
        return
    fit = fit_curve(series(y0, first, *rest))
    end = min(0.8 * fit.blow_up, 3.0)
    run = solve_ivp(lambda t, y: c * y**2 + b * y + a, (0, end), [y0], rtol=1e-11, atol=1e-11, dense_output=True)
    times = np.linspace(0, end, 7)
    assert fit.discriminant == pytest.approx(b**2 - 4 * a * c, abs=1e-8 * (1 + abs(first) ** -2))
    np.testing.assert_allclose(fit(times).value, run.sol(times)[0], rtol=2e-7, atol=2e-7)


@pytest.mark.parametrize("coefficients", [(1.0, -0.5), (1.0, -0.5, 0.3), (1.0, 0.5, 0.3), (2.0, -1.0, 0.5, -1 / 6)])
def test_it_has_the_derivatives_it_was_given(coefficients):
    fit, h = fit_curve(series(*coefficients)), 1e-2
    points = fit(h * np.arange(8)).value
    fitted = np.polynomial.polynomial.polyfit(h * np.arange(8), points, 7)
    np.testing.assert_allclose(fitted[: len(coefficients)], coefficients, rtol=1e-5)


def test_an_exponential_of_order_two_and_its_signs_as_the_draft_prints_them():
    """y' = b y + a: y = (y0 + a/b) e^(bt) - a/b; the draft has both signs flipped."""
    y0, first, second = 1.0, -0.5, 0.4
    b = second / first
    a = first - b * y0
    t = 1.3
    assert fit_curve(series(y0, first, second / 2))(t).value == pytest.approx((y0 + a / b) * math.exp(b * t) - a / b)
    assert abs((y0 - a / b) * math.exp(b * t) + a / b - fit_curve(series(y0, first, second / 2))(t).value) > 0.05


@pytest.mark.parametrize(
    ("coefficients", "blow_up"),
    [
        ((1.0, 1.0, 1.0, 1.0), 1.0),  # 1/(1 - t)
        ((0.0, 1.0, 0.0, 1 / 3), math.pi / 2),  # tan t
        ((0.0, -1.0, 0.0, 1 / 3), math.inf),  # -tanh t
        ((1.0, 1.0, 0.5), math.inf),  # e^t
        ((2.0, 2.0, 3.0, 13 / 3), math.log(2)),  # y' = y^2 - y from 2
    ],
)
def test_blow_up_is_found_and_values_end_there(coefficients, blow_up):
    fit = fit_curve(series(*coefficients))
    assert fit.blow_up == pytest.approx(blow_up)
    if math.isfinite(blow_up):
        assert np.all(np.isnan(fit(np.array([blow_up * 1.001, 2 * blow_up])).value))
        assert np.isfinite(fit(0.99 * blow_up).value)


@pytest.mark.parametrize("t", [1.0, 3.0, 20.0, 40.0, 200.0])
def test_an_exponential_is_one_however_far_it_grows_or_falls(t):
    grown, fallen = fit_curve(series(0.0, 1.0, 0.5, stderr=1e-3)), fit_curve(series(0.0, 1.0, -0.5))
    assert grown(t).value == pytest.approx(math.expm1(t), rel=1e-12)
    assert math.isfinite(grown(t).stderr)
    assert fallen(t).value == pytest.approx(-math.expm1(-t), rel=1e-12)


def test_where_it_ends_up():
    assert fit_curve(series(0.0, -1.0, 0.0, 1 / 3)).limit == pytest.approx(-1)  # -tanh t
    assert fit_curve(series(0.0, -1.0, 0.0, 1 / 3))(400.0).value == pytest.approx(-1)
    assert math.isnan(fit_curve(series(1.0, 1.0, 1.0, 1.0)).limit)


def test_errors_are_those_of_redrawn_coefficients():
    centre, error = np.array([1.0, -0.5, 0.3, -0.1]), 1e-4
    draws = np.random.default_rng(0).normal(centre, error, (2000, 4))
    spread = np.std([float(fit_curve(series(*draw))(2.0).value) for draw in draws[:200]], ddof=1)
    # 200 draws: the standard deviation is known to 5 %, five of these
    assert fit_curve(series(*centre, stderr=error))(2.0).stderr == pytest.approx(spread, rel=0.25)


def test_it_stays_near_descent_where_the_polynomial_has_left():
    problem = gn.from_arrays(
        lambda w, x: (w - x) ** 2 / 2 + (w - x) ** 4 / 8, lambda key: np.float64(0.0), np.array([1.0, 1.0])
    )
    values = gn.diagram_values(problem, 0.0, max_order=3)
    spacetime, rate = gn.Spacetime(12, 1), 0.15
    w, losses = 0.0, []
    for _ in range(13):
        losses.append((w - 1) ** 2 / 2 + (w - 1) ** 4 / 8)
        w -= rate * ((w - 1) + (w - 1) ** 3 / 2)
    fitted = extended_curve(values, spacetime, rate).value
    polynomial = gn.predict_curve(values, spacetime, rate).value[:, -1]
    assert abs(fitted[-1] - losses[-1]) < 0.05
    assert abs(polynomial[-1] - losses[-1]) > 1
    np.testing.assert_allclose(fitted[:3], losses[:3], atol=0.01)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("target", ["test", "gap"])
def test_the_extended_curve_is_the_fit_of_the_run_cut_after_each_step(target, momentum):
    problem = gn.from_arrays(
        lambda w, x: (w - x) ** 2 / 2 + x * w**3, lambda key: np.float64(0.5), np.array([0.0, 2.0])
    )
    values, spacetime, rate = gn.diagram_values(problem, 0.5, max_order=3), gn.Spacetime(4, 2, 2), 0.01
    found = extended_curve(values, spacetime, rate, target, momentum=momentum)
    for step in range(1, 5):
        cut = fit_curve(gn.series_coefficients(values, spacetime.truncate(step), target, momentum))(rate)
        assert found.value[step] == pytest.approx(cut.value, rel=1e-12)


def test_an_order_that_was_not_measured_is_told_with_what_was():
    problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float64(0.5), np.array([0.0, 2.0]))
    with pytest.raises(ValueError, match="order=0 is out of range, expected 1 to 3"):
        extended_curve(gn.diagram_values(problem, 0.5, max_order=0), gn.Spacetime(4, 2), 0.1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fit_curve(series(1.0)), "expected 2 to 4"),
        (lambda: fit_curve(series(1.0, 0.0, 1.0)), "coefficient of t is 0"),
        (lambda: fit_curve(series(1.0, np.nan)), "finite"),
        (lambda: fit_curve(series(1.0, 1.0))(-1.0), "at least 0"),
    ],
)
def test_bad_input_gets_a_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_other_coefficients_are_refused():
    with pytest.raises(TypeError, match="expected an Estimate"):
        fit_curve(np.ones(3))  # type: ignore[arg-type]
