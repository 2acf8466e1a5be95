"""The series in the learning rate, with measured values, against exact enumeration of training sets."""

import json
from fractions import Fraction
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradnoise as gn
from gradnoise.testbeds.polynomial import polynomial_landscape

TABLE = json.loads((Path(__file__).parents[1] / "exact_table.json").read_text())
SAMPLING = {None: "fixed", "reshuffle": "reshuffle", "iid_subset": "subset", "replacement": "with_replacement"}


def spacetime_of(hyper):
    epochs = Fraction(hyper["E"])
    return gn.Spacetime(int(hyper["N"]), int(hyper["B"]), int(epochs), SAMPLING[hyper.get("scheme")])


@pytest.fixture(scope="module")
def measured():
    found = {}
    for name, landscape in TABLE["landscapes"].items():
        problem = polynomial_landscape(landscape["points"], landscape["theta0"])
        found[name] = gn.diagram_values(problem, problem.init(jax.random.key(0)), max_order=3)
    return found


@pytest.mark.parametrize("target", ["test", "train", "gap"])
@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: "-".join(map(str, case["hyper"].values())))
def test_series_equals_the_enumeration_through_order_3(measured, case, target):
    """Every scheme of the table, plain, with momentum and with the hessian-based update: to 1e-10 in float64."""
    hyper = case["hyper"]
    series = gn.series_coefficients(
        measured[case["landscape"]],
        spacetime_of(hyper),
        target,
        momentum=float(Fraction(hyper.get("beta", "0"))),
        hessian_damping=float(Fraction(hyper.get("lam", "0"))),
    )
    expected = [float(Fraction(entry)) for entry in case[target][:4]]
    np.testing.assert_allclose(series.value, expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(series.stderr, 0)


@pytest.mark.slow
def test_series_equals_the_enumeration_at_order_4():
    """The 389 values through order 4 of cubic1, in every scheme of the table."""
    landscape = TABLE["landscapes"]["cubic1"]
    problem = polynomial_landscape(landscape["points"], landscape["theta0"])
    values = gn.diagram_values(problem, problem.init(jax.random.key(0)), max_order=4)
    for case in TABLE["cases"]:
        if case["landscape"] == "cubic1":
            options = {"momentum": case["hyper"].get("beta", 0), "hessian_damping": case["hyper"].get("lam", 0)}
            for target in ("test", "train", "gap"):
                series = gn.series_coefficients(values, spacetime_of(case["hyper"]), target, **options)
                expected = [float(Fraction(entry)) for entry in case[target]]
                np.testing.assert_allclose(series.value, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("sampling", ["fixed", "reshuffle", "subset", "with_replacement"])
def test_the_last_row_of_the_curve_is_the_series_and_the_first_the_loss_itself(measured, sampling):
    values, spacetime, rate = measured["cubic1"], gn.Spacetime(4, 2, 2, sampling), 0.01
    for target in ("test", "train", "gap"):
        curve = gn.predict_curve(values, spacetime, rate, target, momentum=0.5)
        series = gn.series_coefficients(values, spacetime, target, momentum=0.5)
        assert curve.value.shape == (5, 4)
        np.testing.assert_allclose(curve.value[-1], np.cumsum(series.value * rate ** np.arange(4)), rtol=1e-12)
        np.testing.assert_array_equal(curve.value[0], curve.value[0][0])


def test_test_minus_train_is_the_gap_also_when_held_out():
    rng = np.random.default_rng(3)
    pool, test_pool = rng.normal(size=(5, 2)), rng.normal(loc=0.3, size=(4, 2))
    problem = gn.from_arrays(
        lambda w, x: jnp.sin(w @ x) + w[0] ** 2, lambda key: jnp.zeros(2), pool,
        measured=lambda w, x: jnp.cos(w @ x), test_pool=test_pool,
    )  # fmt: skip
    values = gn.diagram_values(problem, np.array([0.3, -0.8]))
    curves = {t: gn.predict_curve(values, gn.Spacetime(6, 2, 2), 0.05, t).value for t in ("test", "train", "gap")}
    np.testing.assert_allclose(curves["test"] - curves["train"], curves["gap"], rtol=1e-10, atol=1e-14)
    gap_at_start = np.mean(np.cos(test_pool @ [0.3, -0.8])) - np.mean(np.cos(pool @ [0.3, -0.8]))
    np.testing.assert_allclose(curves["gap"][0], gap_at_start, rtol=1e-12)


def test_errors_of_the_series_use_the_covariance_of_the_values(getkey):
    """Two diagrams that share all their noise: treating them as independent would give another error."""
    problem = gn.Problem(
        lambda w, x: (w - x) ** 2 / 2, lambda key, n: jax.random.normal(key, (n,)), lambda key: jnp.asarray(0.0)
    )
    values = gn.diagram_values(problem, 0.5, max_order=2, method="unbiased", num_draws=50, key=getkey())
    series = gn.series_coefficients(values, gn.Spacetime(10, 1))
    weights = np.zeros((3, len(values)))
    for k, diagram in enumerate(values.diagrams):
        weights[diagram.order, k] = float(gn.coefficient(diagram, gn.Spacetime(10, 1)))
    by_hand = weights @ values.covariance @ weights.T
    np.testing.assert_allclose(series.covariance, by_hand, rtol=1e-10)
    np.testing.assert_allclose(series.stderr, np.sqrt(np.diag(by_hand)), rtol=1e-10)


BAD_CALLS = [
    ({"target": "validation"}, ValueError, "target='validation'"),
    ({"spacetime": (10, 1)}, TypeError, "spacetime"),
    ({"values": {}}, TypeError, "values"),
    ({"momentum": float("nan")}, ValueError, "momentum"),
    ({"learning_rate": float("nan")}, ValueError, "learning_rate"),
    ({"learning_rate": -0.1}, ValueError, "learning_rate"),
]


@pytest.mark.parametrize(("change", "error", "word"), BAD_CALLS)
def test_a_wrong_call_is_one_sentence_that_names_the_argument(measured, change, error, word):
    arguments = {"values": measured["cubic1"], "spacetime": gn.Spacetime(4, 2), "learning_rate": 0.1, **change}
    with pytest.raises(error) as raised:
        gn.predict_curve(**arguments)
    assert word in str(raised.value)
