"""Epochs and batch sizes compared: closed forms in fractions, the exact table, and zeros that are zero."""

import re
import runpy
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradnoise as gn
from cases import CASES
from diagrams.landscape import TABLE, enumerate_sgd, landscape
from gradnoise.diagrams import Diagram, enumerate_diagrams
from gradnoise.predict.epochs import batch_size_effect, epochs_effect, series_difference

CHAIN, FORK = Diagram.parse("(0-1-2)(01-12)"), Diagram.parse("(0-1-2)(02-12)")
TIED_CHAIN, PAIR, TRIPLE = (Diagram.parse(text) for text in ("(01-2)(01-12)", "(01-2)(02-12)", "(012)(02-12)"))


def case_of(n, b, e):
    """The test loss of the table's case of plain SGD on cubic1 in a fixed order."""
    wanted = {"N": str(n), "B": str(b), "E": str(e), "T": str(e * n // b), "M": str(Fraction(e, b))}
    (case,) = [case for case in TABLE["cases"] if case["landscape"] == "cubic1" and case["hyper"] == wanted]
    return [float(Fraction(value)) for value in case["test"]]


@pytest.fixture(scope="module")
def values():
    case = CASES["one_weight"]()
    return gn.diagram_values(case.problem, case.params, max_order=2)


def order_2(values):
    """GHG, C:H, D = (1/2) G.d tr C and kappa(g, g, h) of the values."""
    return [float(values[d].value) for d in (CHAIN, PAIR, TIED_CHAIN, TRIPLE)]


@settings(max_examples=40)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 4))
def test_more_epochs_at_the_same_time_add_ghg_and_the_share_of_d(tau, b, e):
    """(N (E-1)/(2BE)) [GHG + D/B], from the factors alone: C:H and the first order cancel."""
    many, one, ratio = gn.Spacetime(tau * b, b, e), gn.Spacetime(tau * b, b), Fraction(1, e)

    def change(diagram):
        return ratio**diagram.order * gn.coefficient(diagram, many) - gn.coefficient(diagram, one)

    share = Fraction(tau * (e - 1), 2 * e)
    assert change(CHAIN) + change(FORK) == share
    assert change(TIED_CHAIN) == share / b
    assert change(PAIR) == 0
    assert all(change(diagram) == 0 for order in (0, 1) for diagram in enumerate_diagrams(order))


@pytest.mark.parametrize(("n", "b", "m"), [(6, 1, 3), (4, 2, 2), (6, 3, 4)])
def test_in_the_drafts_m_it_is_n_m_less_one_over_two_m(values, n, b, m):
    """M = E/B: M B epochs at eta/M against B epochs; the later version's form without GHG fails."""
    ghg, _, d, _ = order_2(values)
    found = series_difference(values, gn.Spacetime(n, b, m * b), gn.Spacetime(n, b, b), rate_ratio=Fraction(1, m))
    np.testing.assert_allclose(found.value[2], n * (m - 1) / (2 * m) * (ghg + d / b), rtol=1e-12)
    assert abs(found.value[2] - n * (m - 1) / (2 * m) * d / b) > 0.1 * abs(found.value[2])
    np.testing.assert_array_equal(found.value[:2], 0)


@pytest.mark.parametrize(
    ("n", "b", "e", "other"), [(6, 1, 1, 6), (6, 1, 2, 2), (4, 2, 2, 4), (4, 2, 2, 1), (6, 2, 4, 3)]
)
def test_another_batch_size_changes_the_test_loss_by_d_and_the_gap_by_the_third_cumulant(values, n, b, e, other):
    """(MN/2)(1/B-1/B') D and (M/2)(1/B'-1/B) kappa(g,g,h); draft 1's M(N-1)/(2N) for B' = N fails."""
    _, _, d, triple = order_2(values)
    grid, m, step = gn.Spacetime(n, b, e), e / b, 1 / b - 1 / other
    test, gap, train = (batch_size_effect(values, grid, other, target).value for target in ("test", "gap", "train"))
    np.testing.assert_allclose(test[2], m * n / 2 * step * d, rtol=1e-12)
    np.testing.assert_allclose(gap[2], -m / 2 * step * triple, rtol=1e-12)
    np.testing.assert_allclose(train, test - gap, atol=1e-12 * np.abs(test).max())
    assert not test[:2].any()
    assert not gap[:2].any()
    if (b, other) == (1, n):
        assert abs(test[2] - m * (n - 1) / (2 * n) * d) > 0.5 * abs(test[2])


@pytest.mark.parametrize("order", [2, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("n", "b", "e"), [(3, 1, 2), (2, 1, 2)])
def test_the_series_are_those_of_the_enumeration(n, b, e, order):
    """All orders, from every training set."""
    case, land = CASES["one_weight"](), landscape("cubic1")
    values = gn.diagram_values(case.problem, case.params, max_order=order)
    many, one = (enumerate_sgd(land, gn.Spacetime(n, b, epochs), order) for epochs in (e, 1))
    full = enumerate_sgd(land, gn.Spacetime(n, n, n), order)
    for target in ("test", "train", "gap"):
        wanted = [float(m / e**k - o) for k, (m, o) in enumerate(zip(many[target], one[target], strict=True))]
        close(epochs_effect(values, gn.Spacetime(n, b, e), target).value, wanted)
        wanted = [float(f - o) for f, o in zip(full[target], one[target], strict=True)]
        close(batch_size_effect(values, gn.Spacetime(n, 1), n, target).value, wanted)


def test_the_table_has_the_difference_of_batches_of_two_and_of_four(values):
    """(N, B, E) = (4, 4, 4) less (4, 2, 2)."""
    large, small = case_of(4, 4, 4), case_of(4, 2, 2)
    wanted = np.subtract(large, small)[:3]
    assert wanted[2] == pytest.approx(421171 / 12000 - 375337 / 10800, rel=1e-12)
    close(batch_size_effect(values, gn.Spacetime(4, 2, 2), 4).value, wanted)


def close(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9 * np.abs(wanted).max())


@pytest.mark.slow
def test_held_out_the_gap_is_test_less_train():
    """There the gap has a part of its own: test and train are measured over different examples."""
    case = CASES["penalized_held_out"]()
    values = gn.diagram_values(case.problem, case.params, 2)
    grid, other = gn.Spacetime(6, 2, 2), gn.Spacetime(6, 3, 3)
    found = {target: series_difference(values, grid, other, target).value for target in ("test", "train", "gap")}
    np.testing.assert_allclose(found["gap"], found["test"] - found["train"], atol=1e-12)
    for target, one in found.items():
        series = [gn.series_coefficients(values, g, target).value for g in (grid, other)]
        np.testing.assert_allclose(one, series[0] - series[1], atol=1e-11)


@pytest.mark.slow
def test_errors_are_those_of_the_values(getkey):
    case = CASES["one_weight"]()
    values = gn.diagram_values(case.problem, case.params, 2, "unbiased", num_draws=30, key=getkey())
    found = epochs_effect(values, gn.Spacetime(6, 1, 2))
    weights = np.zeros(len(values.diagrams))
    for diagram in (CHAIN, TIED_CHAIN):
        weights[values.diagrams.index(diagram)] = 6 / 4
    np.testing.assert_allclose(found.stderr[2], np.sqrt(weights @ values.covariance @ weights), rtol=1e-12)
    assert found.stderr[2] > 0
    np.testing.assert_array_equal(found.stderr[:2], 0)


@pytest.mark.slow
def test_on_digits_runs_differ_as_predicted(capsys):
    """The figure, small: every line's z, of simulated less predicted, is below 4.5."""
    place = Path(__file__).parents[2] / "examples" / "fig_space_time_5_epochs.py"
    runpy.run_path(str(place))["main"](["--num-replicas", "200", "--epochs", "2"])
    scores = [abs(float(z)) for z in re.findall(r"\(z (.*)\)", capsys.readouterr().out)]
    assert len(scores) == 2
    assert max(scores) < 4.5


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda v: epochs_effect(v, gn.Spacetime(6, 2, sampling="subset")), ValueError, "no whole epochs"),
        (lambda v: epochs_effect(v, gn.Spacetime(6, 2, 2).truncate(4)), ValueError, "no whole epochs"),
        (lambda v: batch_size_effect(v, gn.Spacetime(6, 2), 1), ValueError, "takes 1/2 epochs .* multiple of 2 times"),
        (lambda v: batch_size_effect(v, gn.Spacetime(6, 2), 4), ValueError, "does not divide"),
        (lambda v: epochs_effect(v, gn.Spacetime(6, 2), "loss"), ValueError, "target='loss'"),
        (lambda v: epochs_effect(cast(Any, {}), gn.Spacetime(6, 2)), TypeError, "values is dict"),
        (lambda v: series_difference(v, gn.Spacetime(6, 2), cast(Any, 3)), TypeError, "spacetime is int"),
        (
            lambda v: series_difference(v, gn.Spacetime(6, 2), gn.Spacetime(6, 3), rate_ratio="two"),
            ValueError,
            "rate_ratio='two'",
        ),
    ],
)
def test_wrong_arguments_are_named(values, call: Any, error, words):
    with pytest.raises(error, match=words):
        call(values)
