"""Excess power 1, all directions: against the path's one-loop recursion, and against the sum over embeddings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradnoise as gn
from gradnoise.predict.path.landscape import landscape
from gradnoise.predict.resummed import predict_resummed
from gradnoise.predict.resummed.derivatives import DerivativeTensors
from gradnoise.predict.resummed.diagram_curve import diagram_curve, summed_diagrams
from gradnoise.predict.resummed.propagator import propagator
from gradnoise.predict.resummed.responses import loss_responses
from gradnoise.predict.resummed.tables import measure_slopes, measure_tables
from gradnoise.stationary.minimum import find_minimum
from predict.resummed.landscapes import POOL, SPACETIMES, bent, bent_loss


@pytest.fixture(scope="module")
def minimum():
    return find_minimum(bent(), np.zeros(2)).params


CASES = [(name, momentum) for name in SPACETIMES for momentum in (0.0, 0.5)]
FIRST = ("reshuffle, cut", 0.5)


@pytest.mark.parametrize(
    ("name", "momentum"), [FIRST, *(pytest.param(*case, marks=pytest.mark.slow) for case in CASES if case != FIRST)]
)
def test_at_a_minimum_it_is_one_loop_around_the_resting_path(minimum, name, momentum):
    path = gn.predict_path(bent(), minimum, SPACETIMES[name], 0.1, momentum)
    for target in ("test", "train", "gap", "displacement"):
        curve = predict_resummed(bent(), minimum, SPACETIMES[name], 0.1, target, momentum)
        np.testing.assert_allclose(curve.value, path.curve(target).value, rtol=1e-9, atol=1e-13)


OWN = [(name, 0.5 * (name == "fixed"), False) for name in SPACETIMES]
HELD_OUT = [(name, momentum, True) for name, momentum, _ in OWN]


@pytest.mark.parametrize(
    ("name", "momentum", "held_out"),
    [*OWN, HELD_OUT[1], *(pytest.param(*case, marks=pytest.mark.slow) for case in HELD_OUT if case != HELD_OUT[1])],
)
def test_away_from_a_minimum_it_is_the_sum_over_embeddings(name, momentum, held_out):
    """All six diagrams and the tied one, two weights, other test examples and another measured function."""
    problem, point, spacetime = bent(held_out, held_out), np.array([0.4, -0.3]), SPACETIMES[name]
    with jax.enable_x64(True):
        tensors = DerivativeTensors(landscape(problem, point, 3), point, problem.pool, problem.test_pool)
        edge = propagator(tensors.mean(2), 0.1, momentum)
    for target in ("test", "train", "gap", "displacement"):
        diagrams = summed_diagrams(1, target, has_slope=True, root_has_slope=True, is_held_out=held_out)
        curve = predict_resummed(problem, point, spacetime, 0.1, target, momentum)
        assert curve.diagrams == diagrams
        summed = diagram_curve(diagrams, spacetime, edge, tensors, target)
        np.testing.assert_allclose(curve.value, summed, rtol=1e-11, atol=1e-14)


def test_before_the_first_step_nothing_has_happened():
    point, none = np.array([0.4, -0.3]), SPACETIMES["fixed"].truncate(0)
    with jax.enable_x64(True):
        loss = np.mean([bent_loss(point, x) for x in POOL])
    for target, value in {"test": loss, "train": loss, "gap": 0.0, "displacement": [0.0, 0.0]}.items():
        np.testing.assert_allclose(predict_resummed(bent(), point, none, 0.1, target).value, [value], rtol=1e-12)


def test_test_less_train_is_the_gap():
    problem, point = bent(True, True), np.array([0.4, -0.3])
    curves = {t: predict_resummed(problem, point, SPACETIMES["fixed"], 0.1, t).value for t in ("test", "train", "gap")}
    np.testing.assert_allclose(curves["test"] - curves["train"], curves["gap"], rtol=1e-11, atol=1e-14)


@pytest.mark.slow
def test_the_first_two_orders_of_the_series_are_in_it():
    """Through eta^2 it is the plain series, wherever the start: the next order is of its size, eta^3."""
    point, spacetime = np.array([0.4, -0.3]), SPACETIMES["fixed"]
    values = gn.diagram_values(bent(), point, max_order=2)
    off = []
    for rate in (1e-3, 5e-4):
        series = gn.predict_curve(values, spacetime, rate).value[-1, -1]
        off.append(predict_resummed(bent(), point, spacetime, rate).value[-1] - series)
    assert off[0] / off[1] == pytest.approx(8, rel=0.05)


BAD_CALLS = [
    ({"target": "variance"}, ValueError, "target='variance'"),
    ({"spacetime": (4, 2)}, TypeError, "spacetime"),
    ({"learning_rate": -0.1}, ValueError, "learning_rate"),
    ({"momentum": 1.0}, ValueError, "momentum"),
    ({"excess_power": 3}, ValueError, "excess_power"),
    ({"rank": 0}, ValueError, "rank"),
    ({"rank": 3}, ValueError, "rank"),
    ({"rank": 1, "target": "displacement"}, ValueError, "rank=1"),
    ({"rank": 1, "excess_power": 2}, ValueError, "excess_power=2"),
    ({"rank": 1, "problem": bent(measured=True)}, ValueError, "measures another"),
    ({"problem": gn.testbeds.helix(), "params": np.zeros(3)}, ValueError, "pool"),
    ({"problem": None}, TypeError, "problem"),
]


@pytest.mark.parametrize(("change", "error", "word"), BAD_CALLS)
def test_a_wrong_call_is_one_sentence_that_names_the_argument(change, error, word):
    arguments = {
        "problem": bent(), "params": np.zeros(2), "spacetime": gn.Spacetime(4, 2), "learning_rate": 0.1, **change
    }  # fmt: skip
    with pytest.raises(error) as raised:
        predict_resummed(**arguments)
    assert word in str(raised.value)


def test_losses_feel_few_directions_and_all_that_they_feel():
    """Forty weights: third derivatives along a third as many directions, the curve of all of them."""
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((12, 40)) * np.geomspace(1, 0.05, 40)
    loss = lambda w, x: (x @ w) ** 2 / 2 + (x @ w) ** 3 / 6 + x @ w + w @ w / 50  # noqa: E731
    problem = gn.from_arrays(loss, lambda key: np.zeros(40), rows - rows.mean(axis=0), measured=lambda w, x: w.sum())
    point, spacetime = np.zeros(40), gn.Spacetime(30, 1)
    curve = predict_resummed(problem, point, spacetime, 0.1)
    moved = predict_resummed(problem, point, spacetime, 0.1, "displacement")
    np.testing.assert_allclose(curve.value, moved.value.sum(axis=1), rtol=1e-9, atol=1e-12)
    with jax.enable_x64(True):
        view = landscape(problem, jnp.asarray(point), 12)
        arguments = view, jnp.asarray(point), jnp.asarray(problem.pool)
        slopes = measure_slopes(*arguments, None)
        tables = measure_tables(*arguments, None, slopes, True)
    assert len(loss_responses(tables, spacetime, 0.1, 0.0).directions) < 14


def test_too_many_weights_are_refused_with_what_to_do():
    many = gn.from_arrays(lambda w, x: w @ w * x, lambda key: np.zeros(301), np.ones(2))
    with pytest.raises(ValueError, match="at most 300 with third derivatives"):
        predict_resummed(many, np.zeros(301), gn.Spacetime(4, 2), 0.1, "displacement")
    few = gn.from_arrays(lambda w, x: w @ w * x, lambda key: np.zeros(13), np.ones(2))
    with pytest.raises(ValueError, match="at most 12 for excess_power=2"):
        predict_resummed(few, np.zeros(13), gn.Spacetime(4, 2), 0.1, excess_power=2)
