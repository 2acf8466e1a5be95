"""SGD less ODE and SDE: the exact table, the closed forms of diagrams.md 4.1 and 4.2, and operator exponentials."""

from fractions import Fraction
from itertools import combinations, product
from math import factorial, prod

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import Polynomial

import gradnoise as gn
from diagrams.brute_force import every_diagram
from diagrams.landscape import TABLE, derivative, enumerate_sgd, landscape, value
from gradnoise.predict.continuous import sde_coefficient
from gradnoise.predict.differences import process_differences, process_factors
from gradnoise.predict.fixed_time import fixed_time_coefficients
from gradnoise.testbeds.polynomial import polynomial_landscape

SAMPLINGS = {"reshuffle": "reshuffle", "iid_subset": "subset", "replacement": "with_replacement"}
PLAIN = [case for case in TABLE["cases"] if not {"beta", "lam"} & set(case["hyper"])]


def case_name(case):
    return case["landscape"] + " " + " ".join(f"{key}={given}" for key, given in case["hyper"].items())


def grid_of(case):
    sizes = (int(case["hyper"][name]) for name in "NBE")
    return gn.Spacetime(*sizes, sampling=SAMPLINGS.get(case["hyper"].get("scheme"), "fixed"))


@pytest.fixture(scope="module")
def measured():
    found = {}
    for name, stated in TABLE["landscapes"].items():
        problem = polynomial_landscape(stated["points"], stated["theta0"])
        found[name] = gn.diagram_values(problem, problem.init(jax.random.key(0)), max_order=3)
    return found


@pytest.mark.parametrize("case", PLAIN, ids=case_name)
def test_the_differences_are_those_of_the_exact_table_through_order_3(measured, case):
    found = process_differences(measured[case["landscape"]], grid_of(case))
    sgd, ode, sde = (np.array([float(Fraction(entry)) for entry in case[name][:4]]) for name in ("test", "ode", "sde"))
    scale = np.abs([sgd, ode, sde]).max()
    for name, exact in {"sgd_minus_ode": sgd - ode, "sgd_minus_sde": sgd - sde, "sde_minus_ode": sde - ode}.items():
        np.testing.assert_allclose(getattr(found, name).value, exact, rtol=0, atol=1e-13 * scale, err_msg=name)
    causes = found.between_epochs.value + found.non_gaussian.value + found.finite_steps.value
    np.testing.assert_allclose(causes, found.sgd_minus_sde.value, rtol=0, atol=1e-13 * scale)


def one_weight(name, steps):
    """G, H, J, C, S, kappa(h, g) and T of a landscape of one weight at its start."""
    land = landscape(name)
    mean = {k: sum(p * derivative(f, k, land.start) for p, f in land.points) for k in (1, 2, 3)}

    def moment(degrees):
        return sum(p * prod(derivative(f, k, land.start) - mean[k] for k in degrees) for p, f in land.points)

    return (*mean.values(), moment((1, 1)), moment((1, 1, 1)), moment((1, 2)), steps)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_one_epoch_of_single_examples_has_the_closed_forms(steps):
    """4.1 and 4.2, in rationals, against SGD enumerated; only -(T/6) S:J is non-Gaussian."""
    land, grid = landscape("cubic1"), gn.Spacetime(steps, 1)
    G, H, J, C, S, hg, T = one_weight("cubic1", steps)
    truth = enumerate_sgd(land, grid, 3)["test"]
    rows = process_factors(3, grid)

    def total(order, factor):
        return sum((factor(row) * value(land, row.diagram) for row in rows if row.diagram.order == order), Fraction(0))

    flow, equation = (lambda row: row.ode), (lambda row: row.sde)
    assert truth[2] - total(2, flow) == Fraction(T, 2) * (C * H - G * H * G)
    assert truth[2] - total(2, equation) == -Fraction(T, 2) * G * H * G
    pairs, GHHG, JGGG = Fraction(T * (T - 1), 2), G * H * H * G, J * G**3
    short = JGGG / 6 + GHHG * Fraction(2, 3) + C * J * G / 4 + C * H * H / 2 + hg * G * H / 2 - S * J / 6
    assert truth[3] - total(3, equation) == pairs * (JGGG / 2 + 2 * GHHG) + T * short
    skewed = total(3, lambda row: row.sgd if row.is_non_gaussian else 0)
    assert skewed == -Fraction(T, 6) * S * J
    assert skewed != 0


def test_over_several_epochs_the_sde_misses_the_ties_between_them():
    """Order 2: C01 altogether, and of V01 the part N (E^2 - E)/(2 B^2); order 3: the listed diagrams."""
    grid = gn.Spacetime(6, 2, 3)
    missed = {str(row.diagram): row.between_epochs for row in process_factors(3, grid) if row.between_epochs}
    assert missed["(01-2)(01-12)"] == Fraction(6 * 3, 4)
    assert missed["(01-2)(02-12)"] == Fraction(6 * (9 - 3), 8)
    untied = {str(row.diagram) for row in process_factors(3, grid) if len(row.diagram.parts) == row.diagram.order + 1}
    assert not untied & set(missed)
    tied = {str(row.diagram) for row in process_factors(3, grid)[1:]} - untied
    assert set(missed) == tied
    assert not any(row.between_epochs for row in process_factors(3, gn.Spacetime(6, 2)))


def test_the_modified_drift_removes_the_difference_of_order_2_and_of_every_order_at_first_in_the_rate(measured):
    """The SDE on l + (rate/4)|grad l|^2, from its generator on polynomials: rate L1 + rate^2 L2, T steps."""
    land, batch, steps = landscape("cubic1"), 2, 5
    points = [(float(p), Polynomial([*map(float, f)])) for p, f in land.points]
    loss = sum((p * f for p, f in points), Polynomial([0.0]))
    mean, curvature = loss.deriv(), loss.deriv(2)
    noise = sum((p * f.deriv() ** 2 for p, f in points), Polynomial([0.0])) - mean**2

    def first(f):
        return -mean * f.deriv()

    def second(f, drift=0.5):
        return noise * f.deriv(2) / (2 * batch) - drift * mean * curvature * f.deriv()

    values, at = measured["cubic1"], float(land.start)
    sgd = gn.series_coefficients(values, gn.Spacetime(steps * batch, batch)).value
    flow = steps**2 / 2 * first(first(loss))
    assert (steps * second(loss) + flow)(at) == pytest.approx(sgd[2], rel=1e-12)
    plain = (steps * second(loss, drift=0.0) + flow)(at)
    assert plain == pytest.approx(gn.sde_coefficients(values, steps, batch).value[2], rel=1e-12)
    assert abs(plain - sgd[2]) > 1e-3
    column = (first(second(loss)) + second(first(loss))) / 2
    assert column(at) == pytest.approx(fixed_time_coefficients(values, batch).value[3, 1], rel=1e-12)


@settings(max_examples=20)
@given(batch=st.integers(1, 5), columns=st.integers(1, 6), epochs=st.integers(1, 5))
def test_only_ties_tell_an_epoch_more_and_only_three_nodes_tell_the_noise_is_no_gaussian(batch, columns, epochs):
    for row in process_factors(3, gn.Spacetime(batch * columns, batch, epochs)):
        largest = max(map(len, row.diagram.parts))
        assert row.between_epochs == 0 or (largest > 1 and epochs > 1)
        assert row.ode == 0 or largest == 1
        assert row.sde == 0 or not row.is_non_gaussian
        assert row.sde == row.ode or largest == 2


@pytest.mark.parametrize(("N", "B", "E"), [(2, 1, 1), (3, 1, 2), (4, 2, 1), (4, 2, 3), (3, 3, 2)])
def test_flow_on_the_training_loss_with_the_batches_squared_gradients_is_sgd_through_order_2(N, B, E):
    """l_hat + (rate/4) mean over batches of |grad l_batch|^2, the mean over training sets: for any number of epochs."""
    land, T, found = landscape("cubic1"), N * E // B, Fraction(0)
    G, H = (sum(p * derivative(f, k, land.start) for p, f in land.points) for k in (1, 2))
    for rows in product(land.points, repeat=N):
        pairs = [[derivative(f, k, land.start) for k in (1, 2)] for _, f in rows]
        g, h = (sum(column) / N for column in zip(*pairs, strict=True))
        batches = [[sum(column) / B for column in zip(*batch, strict=True)] for batch in combinations(pairs, B)]
        bent = sum(a * b for a, b in batches) / len(batches) / 2  # the gradient of the added loss, over the rate
        found += prod(p for p, _ in rows) * (G * (Fraction(T**2, 2) * h * g - T * bent) + H * (T * g) ** 2 / 2)
    assert found == enumerate_sgd(land, gn.Spacetime(N, B, E), 2)["test"][2]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_the_sdes_factors_have_a_part_for_each_power_of_the_time(order):
    for diagram in every_diagram(order):
        one, three = (sde_coefficient(diagram, steps, 1) for steps in (1, 3))
        assert three == one * 3 ** (len(diagram.parts) - 1)
    chain = next(every_diagram(order))
    assert sde_coefficient(chain, 1, 1) == Fraction((-1) ** order, factorial(order))


BAD_CALLS = [
    (lambda values: process_differences({}, gn.Spacetime(4, 2)), "values is dict"),
    (lambda values: process_differences(values, (4, 2)), "spacetime"),
    (lambda values: process_factors(7, gn.Spacetime(4, 2)), "max_order=7"),
]


@pytest.mark.parametrize(("call", "words"), BAD_CALLS)
def test_a_wrong_call_is_one_sentence_that_names_the_argument(measured, call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call(measured["cubic1"])
