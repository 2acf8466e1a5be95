"""The later public versions: what they state fails on exact enumeration or an exact recursion, the correction passes.

The table of all items: docs/theory/errata_diagrams.md.
"""

from fractions import Fraction

import pytest

from diagrams.brute_force import every_diagram
from diagrams.landscape import TABLE, enumerate_sgd, landscape, value
from gradnoise.diagrams import Diagram
from gradnoise.predict.coefficients import coefficient
from gradnoise.predict.continuous import ode_coefficient, sde_coefficient
from gradnoise.spacetime import Spacetime
from predict.raw_moments import AT_A_MINIMUM, GHG, LAND, OWN, C, G, H, J, S, mean, sgd

PAIR = Diagram.parse("(01-2)(02-12)")


def skewness_of_the_loss(h, rate, num_steps):
    """S J-part of E l after T steps from 0, J to first order, by the recursion of moments: no diagrams, no tensors.

    l = h w^2/2 + J w^3/6, gradient noise x fresh each step: w <- K w - rate (J w^2/2 + x), K = 1 - rate h. In units S J.
    """
    K, second, third = 1 - rate * h, 0.0, 0.0  # E w^2 to order S J; E w^3 to order S
    for _ in range(num_steps):
        second, third = K**2 * second - K * rate * third, K**3 * third - rate**3
    return h / 2 * second + third / 6


def skewness_by_diagrams(h, rate, num_steps):
    """The star, -(eta^3/6) sum k^{3u}, and the diagram that ties {0,1,2} with 0, 1 below an untied node 3. In S J."""
    k = 1 - rate * h
    star = -(rate**3) / 6 * sum(k ** (3 * u) for u in range(num_steps))
    pairs = [(u, w) for u in range(num_steps - 1) for w in range(num_steps - 1 - u)]
    return star, rate**4 / 2 * h * k * sum(k ** (3 * u + 2 * w) for u, w in pairs)


@pytest.mark.parametrize("num_steps", [1, 2, 5, 30])
def test_the_two_diagrams_of_skewness_are_the_recursion_of_moments_at_any_time(num_steps):
    h, rate = 0.7, 0.3
    star, other = skewness_by_diagrams(h, rate, num_steps)
    assert star + other == pytest.approx(skewness_of_the_loss(h, rate, num_steps), rel=1e-12)
    assert num_steps == 1 or abs(other) > 0.01 * abs(star)


@pytest.mark.parametrize("h", [0.5, 2.0])
def test_at_large_times_skewness_raises_the_loss_by_s_j_over_36_h(h):
    """+eta^2 S J/(36 h), with a correction of order eta h; printed -S J/(18 h), the star alone. (10.1)"""
    found = [skewness_of_the_loss(h, rate, round(40 / (rate * h))) * h / rate**2 for rate in (0.01 / h, 0.02 / h)]
    assert 2 * found[0] - found[1] == pytest.approx(1 / 36, abs=1e-5)
    assert min(found) > 0.02
    rate = 0.01 / h
    star, _ = skewness_by_diagrams(h, rate, 400)
    assert star * h / rate**2 == pytest.approx(-1 / 18, rel=0.02)


def test_the_sdes_test_loss_exceeds_the_odes_by_the_same_noise_as_sgds():
    """SGD - SDE is -(T/2) GHG, SGD - ODE (T/2)(C:H - GHG); "both by (T/2) C:H" is stated. (10.2)"""
    T, found = 3, sgd(3, 1)["test"][2]
    sde, ode = (
        sum((factor(d) * value(LAND, d) for d in every_diagram(2)), Fraction(0))
        for factor in (lambda d: sde_coefficient(d, T, 1), lambda d: ode_coefficient(d, T))
    )
    assert found - sde == -Fraction(T, 2) * GHG != Fraction(T, 2) * C * H
    assert found - ode == Fraction(T, 2) * (C * H - GHG) != Fraction(T, 2) * C * H
    assert sde_coefficient(PAIR, T, 1) == Fraction(T, 2)


@pytest.mark.parametrize(("N", "M"), [(2, 1), (3, 1), (2, 2)])
def test_the_displacement_between_descent_and_sgd_grows_with_the_number_of_steps(N, M):
    """theta_GD - theta_SGD = (M (N-1)/4) dC at order 2; (N-1)/(4N) dC is the gradient of the penalty. (10.3)"""
    slope_of_noise = 2 * (mean(1, 2) - G * H)
    small, full = sgd(N, 1, M)["displacement"][2], sgd(N, N, M * N)["displacement"][2]
    assert full - small == Fraction(M * (N - 1), 4) * slope_of_noise
    assert full - small != Fraction(N - 1, 4 * N) * slope_of_noise


@pytest.mark.parametrize(("N", "B"), [(2, 1), (3, 1), (2, 2), (4, 2)])
def test_more_epochs_at_a_smaller_rate_also_differ_by_the_discretization(N, B):
    """(M, eta/M) less (1, eta), M = 2: N (M-1)/(2M) [GHG + (1/B) OWN]; not without GHG, not with (B+1)/B. (10.4)"""
    M = 2
    difference = sgd(N, B, M * B)["test"][2] / M**2 - sgd(N, B, B)["test"][2]
    front = Fraction(N * (M - 1), 2 * M)
    assert difference == front * (GHG + OWN / B)
    assert difference != front * OWN / B
    assert difference != front * (GHG + Fraction(B + 1, B) * OWN)


def test_one_differenced_factor_gives_the_covariance_without_a_half():
    """E (g_x - g_y) g_x = C; the half belongs to E (g_x - g_y)^2 / 2 = C. (10.5)"""
    slopes = [(p, sum(k * c * LAND.start ** (k - 1) for k, c in enumerate(f) if k)) for p, f in LAND.points]
    pairs = [(p * q, a, b) for p, a in slopes for q, b in slopes]
    assert sum(p * (a - b) * a for p, a, b in pairs) == C != C / 2
    assert sum(p * (a - b) ** 2 for p, a, b in pairs) / 2 == C


def test_the_propagator_is_one_less_eta_h():
    """Mean estimation from theta0: l = (h/2) K^{2T} theta0^2 and noise; K = I + eta H fails from order 1. (10.6)"""
    case = next(case for case in TABLE["cases"] if case["landscape"] == "mean_estimation")
    land = landscape("mean_estimation")
    h = 2 * sum(p * f[2] for p, f in land.points)
    rates = [Fraction(k, 100) for k in range(7)]  # displacement of the mean: K^T theta0, a polynomial of degree T = 6
    exact = [sum(Fraction(c) * rate**k for k, c in enumerate(case["theta"][0])) for rate in rates]
    right, wrong = ([(1 + sign * rate * h) ** 6 * land.start for rate in rates] for sign in (-1, 1))
    assert max(abs(a - b) for a, b in zip(exact, right, strict=True)) < 6 * (0.06 * h) ** 5 * land.start
    assert abs(exact[1] - wrong[1]) > 0.1 * land.start


@pytest.mark.parametrize("T", [2, 3])
def test_at_a_minimum_the_tie_of_two_gradients_and_minus_the_skewness_make_order_3(T):
    """-[C(T,2) C:HH + (T/6) S:J]: the product of two gradients does not average to zero, the sign is minus. (10.7)"""
    spread, skewed = (
        value(AT_A_MINIMUM, Diagram.parse(d)) for d in ("(02-1-3)(01-13-23)", "(012-3)(03-13-23)")
    )  # C:HH, S:J
    truth = enumerate_sgd(AT_A_MINIMUM, Spacetime(T, 1), 3)["test"]
    pairs = Fraction(T * (T - 1), 2)
    assert truth[1] == 0
    assert truth[3] == -pairs * spread - Fraction(T, 6) * skewed
    assert truth[3] != -pairs * spread + Fraction(T, 6) * skewed
    assert truth[3] != -Fraction(T, 6) * skewed


def test_the_root_is_no_link():
    """A root with one child would be one by the words; without its diagrams order 1 is lost. (10.8)"""
    edge = Diagram.parse("(0-1)(01)")
    assert edge.links == ()
    assert Diagram.parse("(0-1-2)(01-12)").links == (1,)
    assert coefficient(edge, Spacetime(3, 1)) * G * G == sgd(3, 1, order=1)["test"][1] != 0


def test_strict_embeddings_go_with_raw_values_alone():
    """E = B = 1, order 2: T(T-1) GHG + (T/2) E[gg]:H; with C in the place of E[gg] it fails. (10.9)"""
    T, truth = 3, sgd(3, 1)["test"][2]
    assert truth == T * (T - 1) * GHG + Fraction(T, 2) * mean(1, 1) * H
    assert truth != T * (T - 1) * GHG + Fraction(T, 2) * C * H


def test_the_gap_subtracts_the_untied_value_in_raw_moments_only():
    """Order 1: (T/N)(raw tied - raw untied) = (T/N) tr C; tied cumulant less untied fails. (10.10)"""
    for N, E in ((3, 1), (2, 2)):
        gap = sgd(N, 1, E, order=1)["gap"][1]
        assert gap == E * (mean(1, 1) - G * G) == E * C
        assert gap != E * (C - G * G)


def test_non_gaussian_noise_affects_sgd_and_not_the_sde():
    """SGD sees S:J with -(T/6), the SDE with 0. (9.13)"""
    star = Diagram.parse("(012-3)(03-13-23)")
    assert coefficient(star, Spacetime(5, 1)) * S * J == -Fraction(5, 6) * S * J != 0
    assert sde_coefficient(star, 5, 1) == 0
