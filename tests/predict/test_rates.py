"""Per-parameter rates and schedules in the series: against enumeration, against reparameterized weights, and wrong ones."""

from fractions import Fraction

import numpy as np
import optax
import pytest

import gradnoise as gn
from brute_force import gradient_rows
from cases import TWO_WEIGHTS, two_weights
from diagrams.landscape import enumerate_sgd, landscape
from diagrams.many_weights import enumerate_runs, read_points
from gradnoise.predict.rates import read_rate
from gradnoise.problem import penalized

METRIC = np.array([0.5, 2.0])
START = [Fraction(1, 3), Fraction(-1, 2)]


@pytest.fixture(scope="module")
def measured():
    problem, params = two_weights()
    return gn.diagram_values(problem, params, max_order=2, metric=METRIC)


def check(values, spacetime, order, **options):
    """Series of test loss, gap (and variance) against training runs with these rates on every training set."""
    rates = [Fraction(rate) for rate in options.get("schedule", [1] * spacetime.num_steps)]
    factors = [Fraction(rate) for rate in METRIC.tolist()]
    momentum = Fraction(str(options.get("momentum", 0)))
    truth = enumerate_runs(read_points(TWO_WEIGHTS), START, spacetime, order, factors, rates, momentum)
    for target in ("test", "gap", "variance") if values.has_variance else ("test", "gap"):
        found = gn.series_coefficients(values, spacetime, target, **options).value
        np.testing.assert_allclose(found, [float(x) for x in truth[target]], rtol=1e-10, atol=1e-12, err_msg=target)


def test_per_parameter_rates_and_a_schedule_are_the_enumeration_at_order_2(measured):
    check(measured, gn.Spacetime(2, 1, 2), 2, schedule=[1, 0.5, 0.25, 2], momentum=0.5)


@pytest.mark.slow
def test_per_parameter_rates_and_a_schedule_are_the_enumeration_at_order_3():
    problem, params = two_weights()
    values = gn.diagram_values(problem, params, max_order=3, metric=METRIC, variance=True)
    check(values, gn.Spacetime(3, 1), 3)
    check(values, gn.Spacetime(2, 1, 2), 3, schedule=[1, 0.5, 0.25, 2], momentum=0.5)


@pytest.mark.parametrize(
    "options",
    [{"momentum": 0.5, "dampening": 0.25}, {"momentum": 0.5, "nesterov": True, "schedule": [1, 0.5, 0.25, 2]}],
    ids=["dampened", "nesterov and scheduled"],
)
def test_the_measured_series_of_an_optimizer_is_the_enumeration_at_order_2(options):
    problem = gn.testbeds.polynomial_landscape(
        [("1/3", {"1": "2", "2": "1/2", "3": "1/3", "4": "1/5"}), ("2/3", {"0": 1, "1": -1, "2": "3/2", "3": "-1/2"})],
        theta0=["1/2"],
    )
    values, grid = gn.diagram_values(problem, np.array([0.5]), max_order=2), gn.Spacetime(2, 1, 2)
    numbers = {key: Fraction(given) for key, given in options.items() if key in ("momentum", "dampening")}
    rates = [Fraction(rate) for rate in options.get("schedule", [1] * 4)]
    truth = enumerate_sgd(landscape("cubic1"), grid, 2, nesterov=options.get("nesterov", False), rates=rates, **numbers)
    for target in ("test", "train", "gap"):
        found = gn.series_coefficients(values, grid, target, **options).value
        np.testing.assert_allclose(found, [float(x) for x in truth[target]], rtol=1e-10, atol=1e-12, err_msg=target)


def test_weight_decay_is_a_penalty_that_measured_leaves_out():
    problem, params = two_weights()
    values = gn.diagram_values(penalized(problem, 0.25), params, max_order=2)
    grid = gn.Spacetime(2, 1, 2)
    truth = enumerate_runs(read_points(TWO_WEIGHTS), START, grid, 2, weight_decay=Fraction(1, 4))
    for target in ("test", "gap"):
        found = gn.series_coefficients(values, grid, target).value
        np.testing.assert_allclose(found, [float(x) for x in truth[target]], rtol=1e-10, atol=1e-12, err_msg=target)


def test_a_metric_is_a_change_of_weights(measured):
    """Values with the inverse metric M are those of the weights u = M^(-1/2) theta."""
    problem, params = two_weights()
    roots = np.sqrt(METRIC)
    other = gn.from_arrays(lambda u, x: problem.loss(roots * u, x), problem.init, problem.pool)
    changed = gn.diagram_values(other, params / roots, max_order=1)
    assert measured.entries[: len(changed.entries)] == changed.entries
    np.testing.assert_allclose(measured.table.value[: len(changed.entries)], changed.table.value, rtol=1e-12)


def test_a_rate_of_zero_holds_its_weight():
    """G.G and tr C are those of the other weight alone."""
    problem, params = two_weights()
    held = gn.diagram_values(problem, params, max_order=1, metric=np.array([1.0, 0.0]))
    first = gradient_rows(problem, params)[:, 0]
    np.testing.assert_allclose(held[gn.Diagram.parse("(0-1)(01)")].value, first.mean() ** 2, rtol=1e-12)
    np.testing.assert_allclose(held[gn.Diagram.parse("(01)(01)")].value, first.var(), rtol=1e-12)


def test_a_tree_of_rates_and_the_base_rate_are_the_same_curve(measured):
    grid = gn.Spacetime(4, 2, 2)
    by_tree = gn.predict_curve(measured, grid, 0.02 * METRIC)
    by_base = gn.predict_curve(measured, grid, 0.02)
    np.testing.assert_allclose(by_tree.value, by_base.value, rtol=1e-12)
    np.testing.assert_allclose(by_base.learning_rate, 0.02 * METRIC)


def test_a_schedule_of_optax_is_taken_relative_to_the_base_rate(measured):
    grid, rate = gn.Spacetime(4, 2, 2), 0.02
    schedule = optax.cosine_decay_schedule(1.0, grid.num_steps)
    rates = [float(schedule(step)) for step in range(grid.num_steps)]
    curve = gn.predict_curve(measured, grid, rate, schedule=schedule)
    np.testing.assert_allclose(curve.value, gn.predict_curve(measured, grid, rate, schedule=rates).value, rtol=1e-6)
    assert np.all(np.diff(gn.predict_curve(measured, grid, rate, schedule=[1, 0, 0, 0]).value[1:], axis=0) == 0)


def test_the_learning_rate_of_a_curve_is_what_its_simulation_takes():
    assert read_rate(0.1, None, 3, None).simulated == 0.1
    np.testing.assert_allclose(read_rate(0.1, None, 2, [1, Fraction(1, 2)]).simulated, [0.1, 0.05])
    assert read_rate({"a": 0.2}, {"a": np.array([1.0, 1.0])}, 2, None).base == 0.2
    assert read_rate({"a": 0.2, "b": 0.2}, None, 2, None).base == 0.2


@pytest.mark.parametrize(
    ("rate", "metric", "error", "word"),
    [
        ({"a": 0.1, "b": 0.2}, None, ValueError, "metric=learning_rate"),
        ({"a": 0.1, "b": 0.2}, {"a": 1.0, "b": 1.0}, ValueError, "no multiple"),
        ({"a": 0.1}, {"a": 1.0, "b": 1.0}, ValueError, "another structure"),
        ({"a": -0.1}, None, ValueError, "negative"),
        ({"a": "fast"}, None, TypeError, "'fast'"),
        (lambda step: 0.1, None, TypeError, "schedule"),
        (np.array([0.1, 0.2, 0.3]), None, ValueError, "schedule"),
        (-0.1, {"a": 1.0}, ValueError, "learning_rate=-0.1"),
        (float("nan"), None, ValueError, "learning_rate=nan"),
    ],
    ids=["uneven", "other direction", "other tree", "negative", "text", "function", "by step", "below zero", "nan"],
)
def test_rates_that_do_not_do_are_named(rate, metric, error, word):
    with pytest.raises(error) as caught:
        read_rate(rate, metric, 3, None)
    assert "learning_rate" in str(caught.value)
    assert word in str(caught.value)


@pytest.mark.parametrize(
    ("metric", "error", "word"),
    [
        ({"a": 1.0}, ValueError, "structure"),
        (np.array([1.0, -1.0]), ValueError, "negative"),
        (np.array([1.0, np.inf]), ValueError, "not finite"),
        (np.ones(3), ValueError, r"\(3,\)"),
        (np.zeros(2), ValueError, "zero everywhere"),
        ("fast", TypeError, "'fast'"),
    ],
)
def test_a_metric_that_does_not_do_is_named(metric, error, word):
    problem, params = two_weights()
    with pytest.raises(error, match=word):
        gn.diagram_values(problem, params, max_order=1, metric=metric)
