"""The rule itself: linkless diagrams with resummed edges, against the exact series of SGD."""

import json
from fractions import Fraction
from pathlib import Path

import jax
import numpy as np
import pytest

import gradnoise as gn
from diagrams.landscape import landscape as rational_landscape
from diagrams.landscape import root_tied, value
from gradnoise.diagrams import enumerate_diagrams
from gradnoise.predict.path.landscape import landscape
from gradnoise.predict.resummed.derivatives import DerivativeTensors
from gradnoise.predict.resummed.diagram_curve import diagram_curve
from gradnoise.predict.resummed.propagator import propagator
from gradnoise.testbeds.polynomial import polynomial_landscape

TABLE = json.loads((Path(__file__).parents[2] / "exact_table.json").read_text())
SAMPLING = {None: "fixed", "reshuffle": "reshuffle", "iid_subset": "subset", "replacement": "with_replacement"}
CASES = [case for case in TABLE["cases"] if case["landscape"] == "cubic1" and "lam" not in case["hyper"]]
QUICK = [case for case in CASES if case["hyper"]["T"] == "2"]
RADIUS, POINTS = 0.005, 8


def taylor(curve, order):
    """Coefficients of eta^0..eta^order of a polynomial with real coefficients, from its values on a circle."""
    half = np.array([curve(RADIUS * np.exp(2j * np.pi * k / POINTS)) for k in range(POINTS // 2 + 1)])
    return np.fft.irfft(half.conj())[: order + 1] / RADIUS ** np.arange(order + 1)


@pytest.mark.parametrize(
    "case",
    [*QUICK[:1], *(pytest.param(case, marks=pytest.mark.slow) for case in CASES if case is not QUICK[0])],
    ids=lambda case: "-".join(map(str, case["hyper"].values())),
)
def test_linkless_diagrams_with_resummed_edges_have_the_exact_series(case):
    """Test loss through order 4, gap through order 3: all edges to that order, 1e-6 of the coefficient.

    Joint cumulants of four are not means of centred products; those diagrams are added from the plain counts: their
    links come an order later.
    """
    hyper, land = case["hyper"], rational_landscape("cubic1")
    spacetime = gn.Spacetime(int(hyper["N"]), int(hyper["B"]), int(hyper["E"]), SAMPLING[hyper.get("scheme")])
    momentum = Fraction(hyper.get("beta", "0"))
    raw = TABLE["landscapes"]["cubic1"]
    problem = polynomial_landscape(raw["points"], raw["theta0"])
    with jax.enable_x64(True):
        start = np.array([0.5])
        tensors = DerivativeTensors(landscape(problem, start, 3), start, problem.pool)
    for target, order, every in (
        ("test", 4, [d for k in range(1, 5) for d in enumerate_diagrams(k)]),
        ("gap", 3, [d for k in range(1, 4) for d in root_tied(k)]),
    ):
        large = [diagram for diagram in every if max(map(len, diagram.parts)) > 3]
        few = [diagram for diagram in every if not diagram.links and diagram not in large]
        curve = lambda rate, few=few, target=target: diagram_curve(  # noqa: E731
            few, spacetime, propagator(tensors.mean(2), rate, float(momentum)), tensors, target
        )[-1]
        found = taylor(curve, order)
        for diagram in large:
            found[diagram.order] += float(value(land, diagram) * gn.coefficient(diagram, spacetime, target, momentum))
        wanted = [float(Fraction(each)) for each in case[target][: order + 1]]
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9)
