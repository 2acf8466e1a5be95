"""Draft 1, from Proposition 2 on: what is printed fails on exact enumeration, the corrected form passes.

One weight, the landscape cubic1, rational numbers. The table of all items: docs/theory/errata_diagrams.md.
"""

from fractions import Fraction
from itertools import product
from math import prod

import numpy as np
import pytest
from numpy.polynomial import Polynomial
from scipy.integrate import solve_ivp

from diagrams.landscape import derivative, enumerate_sgd, run_sgd
from gradnoise.spacetime import Spacetime
from predict.raw_moments import GHG, LAND, OWN, C, G, H, J, S, mean, sgd


@pytest.mark.parametrize(("N", "B", "E"), [(3, 1, 1), (2, 1, 2), (4, 2, 1), (4, 2, 2), (2, 2, 2)])
def test_proposition_2_holds_in_raw_moments_or_in_cumulants_but_not_mixed(N, B, E):
    """9.3; where B = 1 and E = 1 hold, this is also block B of errata.md."""
    M, T, truth = Fraction(E, B), Fraction(E * N, B), sgd(N, B, E)["test"][2]
    printed = M * N * (M * (N - 1) - (1 - Fraction(1, B)) / 2)
    own = M * N / 2 * (M - Fraction(1, B))
    assert truth == printed * GHG + M**2 * N / 2 * mean(1, 1) * H + own * mean(1, 2) * G
    assert truth == T * (T - Fraction(1, 2)) * GHG + M**2 * N / 2 * C * H + own * OWN
    assert truth != printed * GHG + M**2 * N / 2 * C * H + own * OWN


def test_any_shuffling_does_not_mean_draws_with_replacement():
    """9.3: 2.5's coefficients there, not Proposition 2's."""
    N, T = 2, 4
    drawn = enumerate_sgd(LAND, Spacetime(N, 1, sampling="with_replacement", num_steps=T), 2)["test"][2]
    pairs = Fraction(T * (T - 1), 2)
    assert drawn == T * (T - Fraction(1, 2)) * GHG + (T + pairs * 2 / N) / 2 * C * H + pairs / N * OWN
    assert drawn != sgd(N, 1, 2)["test"][2]


def test_corollary_1_has_twice_the_untied_term_and_the_opposite_sign_of_skewness():
    """SGD less ODE at order 2 and the non-Gaussian part at order 3, T = N = 3: 29351/18000 and -(T/6) S:J. (9.4)"""
    T, truth = 3, sgd(3, 1, order=3)["test"]
    assert truth[2] - T**2 * GHG == Fraction(T, 2) * (mean(1, 1) * H - 2 * GHG) == Fraction(29351, 18000)
    assert Fraction(T, 2) * (mean(1, 1) * H - GHG) == Fraction(83167, 18000)
    pairs, HH = Fraction(T * (T - 1), 2), H * H
    gaussian = pairs * (4 * G * HH * G + 2 * J * G**3) * Fraction(T - 2, 3)
    gaussian += pairs / 2 * (2 * mean(1, 1) * HH + 2 * mean(1, 2) * G * H + 3 * mean(1, 1) * J * G)
    gaussian += Fraction(T, 6) * (3 * mean(1, 1) * G - 2 * G**3) * J
    assert truth[3] == -gaussian - Fraction(T, 6) * S * J
    assert truth[3] != -gaussian + Fraction(T, 6) * S * J


@pytest.mark.parametrize(("N", "M"), [(2, 1), (3, 1), (2, 2)])
def test_corollary_3_has_m_times_n_less_1_over_2(N, M):
    """Batch N less batch 1 at equal N, M, eta; N = 3, M = 1: 37169/54000, printed 37169/162000. (9.5)"""
    small, full = sgd(N, 1, M)["test"][2], sgd(N, N, M * N)["test"][2]
    assert full - small == Fraction(M * (N - 1), 2) * OWN
    assert full - small != Fraction(M * (N - 1), 2 * N) * OWN
    if (N, M) == (3, 1):
        assert full - small == Fraction(37169, 54000)


def emulated(N, M, factor):
    """Order 2 of the test loss of full-batch descent on mean l_n + eta factor C_hat, C_hat = sum (g - g_bar)^2/(N-1)."""
    total = Fraction(0)
    for chosen in product(LAND.points, repeat=N):
        slopes = [derivative(f, 1, LAND.start) for _, f in chosen]
        curvatures = [derivative(f, 2, LAND.start) for _, f in chosen]
        average = sum(slopes) / N
        gradient = 2 * sum((g - average) * h for g, h in zip(slopes, curvatures, strict=True)) / (N - 1)
        plain = run_sgd([[f for _, f in chosen]] * (M * N), LAND.start, 3)
        moved = (
            plain[2] - M * N * factor * gradient
        )  # the penalty acts at order 2 first: T times its gradient at the start
        total += prod(p for p, _ in chosen) * (G * moved + H / 2 * plain[1] ** 2)
    return total


@pytest.mark.parametrize(("N", "M"), [(2, 1), (3, 1), (2, 2), (3, 2)])
def test_the_loss_that_emulates_batches_of_one_has_n_less_1_over_4_n(N, M):
    """Full-batch descent with that penalty has SGD's test loss at order 2; with (N-1)/(4 N^2) it has not. (9.5)"""
    truth = sgd(N, 1, M)["test"][2]
    assert emulated(N, M, Fraction(N - 1, 4 * N)) == truth
    assert emulated(N, M, Fraction(N - 1, 4 * N**2)) != truth


def test_the_gap_of_order_2_has_three_times_the_chain_and_four_times_the_untied():
    """N = 3: -2650771/144000, printed -2056067/144000. (9.6; it needs T = N, "N <= T" is printed)"""
    N = T = 3
    pairs, own = Fraction(T * (T - 1), 2), -Fraction(T, 2) * (mean(1, 1, 2) - mean(1, 1) * H)
    gap = sgd(N, 1)["gap"][2]
    assert N * gap == own - pairs * (mean(1, 1) * H + 3 * mean(1, 2) * G - 4 * GHG) == Fraction(-2650771, 144000)
    assert own - pairs * (mean(1, 1) * H + mean(1, 2) * G - 2 * GHG) == Fraction(-2056067, 144000)


def test_m_epochs_means_m_times_b_passes():
    """The printed slope -M N G.G at M = E/B; with M = E it fails as soon as B > 1. (9.10)"""
    for N, B, E in ((2, 1, 2), (4, 2, 2), (2, 2, 2)):
        slope = sgd(N, B, E, order=1)["test"][1]
        assert slope == -Fraction(E, B) * N * G * G
        assert (slope == -E * N * G * G) == (B == 1)


WEIGHT = Polynomial([0.0, 1.0])
LOSSES = [Polynomial([*map(float, f)]) for _, f in LAND.points]


def frozen(rate, loss, acted_on):
    """exp(-rate g d) applied to a polynomial through order 2, g = loss' not differentiated: s(w - rate g(w))."""
    slope = loss.deriv()
    return acted_on - rate * slope * acted_on.deriv() + rate**2 / 2 * slope**2 * acted_on.deriv(2)


def remainder(product_of, rate):
    """|composed update - claimed operator| on s = l_1 after two updates, with the losses l_0, then l_1."""
    w = float(LAND.start)
    for loss in LOSSES:
        w = w - rate * loss.deriv()(w)
    return abs(LOSSES[1](w) - product_of(rate)(float(LAND.start)))


def test_the_earliest_step_stands_outermost_and_its_derivative_does_not_act_on_its_own_gradient():
    """exp(-eta g_0 d) exp(-eta g_1 d) s is s(theta_2) to o(eta^2); the other order, or d acting on g, is not. (9.9)"""

    def flow(rate, loss, s):
        once = -rate * loss.deriv() * s.deriv()
        return s + once - rate * loss.deriv() * once.deriv() / 2

    first, second = LOSSES
    forms = {
        "right": lambda rate: frozen(rate, first, frozen(rate, second, second)),
        "reversed": lambda rate: frozen(rate, second, frozen(rate, first, second)),
        "acting": lambda rate: flow(rate, first, flow(rate, second, second)),
    }
    rates = (1e-3, 2e-3)
    powers = {name: np.log2(remainder(form, rates[1]) / remainder(form, rates[0])) for name, form in forms.items()}
    assert powers == pytest.approx({"right": 3, "reversed": 2, "acting": 2}, abs=0.1)


def test_in_the_density_form_the_outer_derivative_acts_on_the_gradient_too():
    """int p s(w - eta g) = int s (p + eta (g p)' + eta^2 (g^2 p)''/2): p a normal density, order 2. (9.9)"""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    slope, s = LOSSES[0].deriv(), LOSSES[1]
    truth = weights @ (slope**2 * s.deriv(2))(nodes) / 2
    square = slope**2
    acting = square.deriv(2) - 2 * WEIGHT * square.deriv() + (WEIGHT**2 - 1) * square  # (g^2 p)'' / p
    assert weights @ (s * acting)(nodes) / 2 == pytest.approx(truth, rel=1e-10)
    not_acting = (WEIGHT**2 - 1) * square  # g^2 p'' / p
    assert weights @ (s * not_acting)(nodes) / 2 != pytest.approx(truth, rel=0.1)


def test_a_step_needs_the_one_half_of_the_key_lemma():
    """Order 2 of l(w - eta g) is (1/2!) g^2 H for each example: the example of section 3.1 leaves 1/2! out. (9.8)"""
    truth = sgd(1, 1)["test"][2]
    assert truth == mean(1, 1) * H / 2
    assert truth != mean(1, 1) * H


def test_two_frozen_gradients_on_the_squared_slope_give_the_values_of_the_example():
    """g g d d (G.G) = 2 gg J G + 2 gg HH with g held fixed. (9.8)"""
    loss = sum((float(p) * f for (p, _), f in zip(LAND.points, LOSSES, strict=True)), Polynomial([0.0]))
    at = float(LAND.start)
    found = float(mean(1, 1)) * (loss.deriv() ** 2).deriv(2)(at)
    assert found == pytest.approx(float(2 * mean(1, 1) * J * G + 2 * mean(1, 1) * H * H))


def test_the_solution_of_the_linear_fit_has_both_signs_flipped():
    """y' = b y + a from y0 = 1, a = 1/2, b = -3/2: off by 0.52 as printed at t = 1. (9.11)"""
    y0, a, b = 1.0, 0.5, -1.5
    truth = solve_ivp(lambda t, y: b * y + a, (0, 1), [y0], rtol=1e-11, atol=1e-12).y[0, -1]
    assert (y0 + a / b) * np.exp(b) - a / b == pytest.approx(truth, rel=1e-9)
    assert abs((y0 - a / b) * np.exp(b) + a / b - truth) > 0.5


@pytest.mark.parametrize("c", [0.4, -0.4, 0.0])
def test_one_formula_solves_the_constant_linear_and_quadratic_fits(c):
    """y = y0 + 2 y1 s/(1 - w s), w = y2/y1, Delta = 3 w^2 - 2 y3/y1 = b^2 - 4 a c. (9.11 and section 8)"""
    y0, a, b, t = 1.0, 0.5, -0.8, 0.9
    first = a + b * y0 + c * y0**2
    w = b + 2 * c * y0
    third = first * (w**2 + 2 * c * first)
    delta = 3 * w**2 - 2 * third / first
    assert delta == pytest.approx(b**2 - 4 * a * c)
    root = np.sqrt(complex(delta))
    s = (np.tanh(root * t / 2) / root).real if delta else t / 2
    truth = solve_ivp(lambda t, y: c * y**2 + b * y + a, (0, t), [y0], rtol=1e-11, atol=1e-12).y[0, -1]
    assert y0 + 2 * first * s / (1 - w * s) == pytest.approx(truth, rel=1e-9)
