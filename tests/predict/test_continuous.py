"""Gradient flow's and the SDE's series against the exact table, operator exponentials, and simulated SDEs."""

from fractions import Fraction

import numpy as np
import pytest

import gradnoise as gn
from cases import CASES
from diagrams.brute_force import every_diagram
from diagrams.landscape import TABLE, landscape, value
from gradnoise.predict.continuous import ode_coefficient, sde_coefficient


def case_name(case):
    return case["landscape"] + " " + " ".join(f"{key}={given}" for key, given in case["hyper"].items())


def series(land, order, factor):
    return sum((factor(diagram) * value(land, diagram) for diagram in every_diagram(order)), Fraction(0))


@pytest.mark.parametrize("case", TABLE["cases"], ids=case_name)
def test_the_factors_times_values_are_the_exact_table_through_order_4(case):
    """Without momentum and damping: the table's flow and SDE are those of plain SGD in every case."""
    land, steps, batch = landscape(case["landscape"]), int(case["hyper"]["T"]), int(case["hyper"]["B"])
    for order in range(5):
        assert series(land, order, lambda d: ode_coefficient(d, steps)) == Fraction(case["ode"][order])
        assert series(land, order, lambda d: sde_coefficient(d, steps, batch)) == Fraction(case["sde"][order])


def test_the_sdes_c_h_term_is_sgds_and_its_discretization_term_is_missing():
    """SGD - SDE at order 2 is -(T/2) GHG alone; SGD - ODE has (T/2B) C:H too."""
    pair, chain = gn.Diagram.parse("(01-2)(02-12)"), gn.Diagram.parse("(0-1-2)(01-12)")
    grid = gn.Spacetime(6, 2)
    assert sde_coefficient(pair, 3, 2) == gn.coefficient(pair, grid) == Fraction(3, 4)
    assert ode_coefficient(pair, 3) == 0
    fork = gn.Diagram.parse("(0-1-2)(02-12)")
    assert gn.coefficient(chain, grid) - sde_coefficient(chain, 3, 2) == 3 - Fraction(9, 2)
    assert gn.coefficient(fork, grid) == sde_coefficient(fork, 3, 2) == Fraction(9, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["logistic", "two_weights"])
def test_by_number_of_parts_the_top_column_of_sgd_is_the_odes(name):
    """At fixed physical time learning_rate T, refining the steps leaves the diagrams without ties, at their volumes."""
    case = CASES[name]()
    values = gn.diagram_values(case.problem, case.params, max_order=3)
    fine = 10_000
    ode = gn.ode_coefficients(values, fine).value / fine ** np.arange(4)
    sgd = gn.series_coefficients(values, gn.Spacetime(fine, 1)).value / fine ** np.arange(4)
    np.testing.assert_allclose(sgd, ode, rtol=0, atol=20 * np.abs(ode).max() / fine)


@pytest.mark.slow
def test_simulated_sdes_on_the_population_have_the_predicted_series(getkey):
    """|z| < 4.5 plus twice the last term, whose order is left out, and Euler's error by halving its step."""
    case = CASES["logistic"]()
    values, steps, batch, rate = gn.diagram_values(case.problem, case.params, max_order=3), 6, 2, 0.08
    series = gn.sde_coefficients(values, steps, batch).value * rate ** np.arange(4)
    means = {}
    for substeps in (8, 16):
        runs = gn.simulate(
            gn.sde(case.problem, substeps), case.params, gn.Spacetime(steps * batch, batch), rate, 20_000, getkey(),
            every=steps, training_set="population", dtype="float64",
        )  # fmt: skip
        means[substeps] = runs.mean("test_loss")[-1]
    found = 2 * means[16].value - means[8].value
    error = np.hypot(2 * means[16].stderr, means[8].stderr)
    assert abs(found - series.sum()) < 4.5 * error + 2 * abs(series[3])
    assert abs(series[1]) > 20 * error


@pytest.mark.parametrize("bad", [0, -1, 2.5])
def test_steps_and_batches_are_whole_numbers(bad):
    values = gn.diagram_values(CASES["logistic"]().problem, CASES["logistic"]().params, max_order=1)
    with pytest.raises((ValueError, TypeError), match="num_steps"):
        gn.ode_coefficients(values, bad)
    with pytest.raises((ValueError, TypeError), match="batch_size"):
        gn.sde_coefficients(values, 3, bad)
    with pytest.raises(TypeError, match="DiagramValues"):
        gn.sde_coefficients(series, 3, 1)
