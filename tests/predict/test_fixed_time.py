"""The series by number of parts and at a fixed time: sums give the series, the first column gradient flow."""

import jax
import numpy as np
import pytest

import gradnoise as gn
from diagrams.landscape import TABLE
from gradnoise.predict.fixed_time import fixed_time_coefficients, series_by_parts
from gradnoise.testbeds.polynomial import polynomial_landscape
from predict.raw_moments import GHG


@pytest.fixture(scope="module")
def values():
    given = TABLE["landscapes"]["cubic1"]
    problem = polynomial_landscape(given["points"], given["theta0"])
    return gn.diagram_values(problem, problem.init(jax.random.key(0)), max_order=3)


def test_by_parts_the_rows_add_up_to_the_series_and_the_untied_are_the_odes_in_the_limit(values):
    grid = gn.Spacetime(6, 2, 3)
    parts = series_by_parts(values, grid)
    np.testing.assert_allclose(parts.value.sum(axis=1), gn.series_coefficients(values, grid).value, rtol=1e-13)
    assert not np.triu(parts.value, 1).any()
    for steps in (10, 1000):
        untied = np.diag(series_by_parts(values, gn.Spacetime(steps, 1)).value)
        ode = gn.ode_coefficients(values, steps).value
        assert np.abs(untied / ode - 1).max() < 3 / steps
    assert np.abs(untied / ode - 1).max() > 0


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("process", ["sgd", "sde"])
def test_at_a_fixed_time_the_powers_of_the_rate_add_up_to_the_series(values, batch_size, process):
    steps = 7
    table = fixed_time_coefficients(values, batch_size, process).value
    powers = np.array([[float(steps) ** max(d - k, 0) for k in range(4)] for d in range(4)])
    series = {
        "sgd": gn.series_coefficients(values, gn.Spacetime(steps * batch_size, batch_size)),
        "sde": gn.sde_coefficients(values, steps, batch_size),
    }[process]
    np.testing.assert_allclose((table * powers).sum(axis=1), series.value, rtol=1e-12)
    flow = gn.ode_coefficients(values, 1).value
    np.testing.assert_allclose(table[:, 0], flow, rtol=1e-12)
    np.testing.assert_array_equal(fixed_time_coefficients(values, batch_size, "ode").value[:, 1:], 0)


def test_the_sdes_and_sgds_first_correction_differ_by_the_discretization(values):
    sgd, sde = (fixed_time_coefficients(values, 1, process).value for process in ("sgd", "sde"))
    assert sgd[2, 1] - sde[2, 1] == pytest.approx(-float(GHG) / 2)


@pytest.mark.parametrize("table", [series_by_parts, lambda values, grid: fixed_time_coefficients(values, 1)])
def test_errors_of_the_tables_are_those_of_the_values(table, getkey):
    """Entries that are fixed multiples of one value have that multiple of its error; empty ones none."""
    problem = gn.testbeds.mean_estimation(law="normal")
    values = gn.diagram_values(problem, np.array([0.5]), max_order=1, method="unbiased", num_draws=50, key=getkey())
    found = table(values, gn.Spacetime(1, 1))
    slope = values[gn.Diagram.parse("(0-1)(01)")]
    assert np.abs(found.value[1]).max() == pytest.approx(slope.value)
    assert found.stderr[1].max() == pytest.approx(slope.stderr)
    assert slope.stderr > 0
    assert found.stderr[0, 1] == 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda values: series_by_parts(values, 3), "spacetime"),
        (lambda values: series_by_parts(3, gn.Spacetime(4, 2)), "values is int"),
        (lambda values: fixed_time_coefficients(values, 0), "batch_size=0"),
        (lambda values: fixed_time_coefficients(values, 1, "flow"), "process='flow'"),
    ],
)
def test_a_wrong_call_is_one_sentence_that_names_the_argument(values, call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call(values)
