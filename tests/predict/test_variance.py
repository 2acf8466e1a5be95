"""The variance of the test loss over training sets and orders: forests of two roots against exact enumeration."""

from dataclasses import replace
from fractions import Fraction
from math import prod

import jax
import numpy as np
import pytest
import sympy

import gradnoise as gn
from cases import TWO_WEIGHTS, two_weights
from diagrams.landscape import TABLE, cumulant, enumerate_sgd, landscape
from diagrams.many_weights import enumerate_runs, read_points
from gradnoise.diagrams import Diagram
from gradnoise.diagrams.forests import enumerate_forests, two_roots
from gradnoise.predict.coefficients import coefficient, coefficient_curve, coefficient_formula
from gradnoise.spacetime import Spacetime

SAMPLINGS = {"reshuffle": "reshuffle", "iid_subset": "subset", "replacement": "with_replacement"}
FIRST = Diagram.parse("(02-1-3-4)(01-14-23-34)")
"""G C G: two edges, their leaves tied."""


@pytest.fixture(scope="module")
def measured():
    problem, params = two_weights()
    return gn.diagram_values(problem, params, max_order=2, variance=True)


def spacetime_of(hyper):
    sampling = SAMPLINGS.get(hyper.get("scheme"), "fixed")
    return Spacetime(int(hyper["N"]), int(hyper["B"]), int(hyper["E"]), sampling)


def forest_value(land, diagram):
    """The product over parts of the cumulant of what stands there; the formal root and its edges are nothing."""
    roots = diagram.children(diagram.root)
    parts = [part for part in diagram.parts if part != (diagram.root,)]
    degrees = [tuple(sorted(diagram.degree(node) - (node in roots) for node in part)) for part in parts]
    return prod((cumulant(land, each) for each in degrees), start=Fraction(1))


def predicted(land, spacetime, order, **optimizer):
    return sum(
        (
            factor * forest_value(land, forest)
            for forest in enumerate_forests(order)
            if (factor := coefficient(forest, spacetime, "variance", **optimizer))
        ),
        Fraction(0),
    )


@pytest.mark.parametrize(
    "case", TABLE["cases"], ids=lambda case: case["landscape"] + "-" + "-".join(map(str, case["hyper"].values()))
)
def test_forests_give_the_exact_variance_through_order_4(case):
    hyper, land = case["hyper"], landscape(case["landscape"])
    optimizer = {"momentum": hyper.get("beta", 0), "hessian_damping": hyper.get("lam", 0)}
    for order, exact in enumerate(case["var_test"]):
        assert predicted(land, spacetime_of(hyper), order, **optimizer) == Fraction(exact)


def test_the_first_term_has_its_closed_form():
    """eta^2 (N E^2/B^2) G C G: diagrams.md section 1."""
    examples, batch, epochs = sympy.symbols("N B E")
    assert coefficient_formula(FIRST, "variance") == examples * epochs**2 / batch**2
    for grid in ((6, 2, 3), (5, 1, 2), (4, 4, 3)):
        spacetime = Spacetime(*grid)
        assert coefficient(FIRST, spacetime, "variance") == Fraction(grid[0] * grid[2] ** 2, grid[1] ** 2)


def test_the_formula_is_the_coefficient_on_whole_epochs():
    symbols = sympy.symbols("N B E")
    for order in (2, 3):
        for forest in enumerate_forests(order):
            formula = coefficient_formula(forest, "variance")
            for grid in ((4, 2, 1), (6, 2, 3)):
                got = formula.subs(dict(zip(symbols, grid, strict=True)))
                assert got == coefficient(forest, Spacetime(*grid), "variance")


def test_trees_without_a_joint_tie_covary_only_through_random_orders():
    """Two chains C01, counted together: their counts are one number for a fixed order, and vary for drawn subsets."""
    forest = Diagram.parse("(01-34-2-5-6)(01-12-26-34-45-56)")
    assert two_roots(forest).apart is not None
    assert coefficient(forest, Spacetime(3, 1, 2), "variance") == 0
    assert coefficient(forest, Spacetime(3, 1, sampling="subset", num_steps=3), "variance") > 0
    assert (
        coefficient(forest, Spacetime(3, 1, 2, sampling="reshuffle"), "variance") == 0
    )  # C01 has the same count in each
    assert coefficient(forest, Spacetime(3, 1, 2, sampling="reshuffle"), "variance", momentum="1/2") > 0


def test_what_is_no_forest_has_coefficient_0_and_a_forest_is_also_a_diagram():
    grid = Spacetime(4, 2, 2)
    assert coefficient(Diagram.parse("(0-1)(01)"), grid, "variance") == 0
    assert coefficient(Diagram.parse("(0)()"), grid, "variance") == 0
    assert coefficient_formula(Diagram.parse("(01-2)(02-12)"), "variance") == 0
    assert coefficient(FIRST, grid, "test") != coefficient(FIRST, grid, "variance")


@pytest.mark.parametrize("sampling", ["fixed", "reshuffle", "subset", "with_replacement"])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.5}], ids=["plain", "momentum"])
def test_the_curve_is_the_coefficient_of_every_truncated_grid(sampling, options):
    grid = Spacetime(4, 2, 2, sampling=sampling)
    for forest in (FIRST, *list(enumerate_forests(3))[:2], Diagram.parse("(01-34-2-5-6)(01-12-26-34-45-56)")):
        exact = [float(coefficient(forest, grid.truncate(t), "variance", **options)) for t in range(grid.num_steps + 1)]
        np.testing.assert_allclose(
            coefficient_curve(forest, grid, "variance", **options), exact, rtol=1e-12, atol=1e-13
        )


def test_the_measured_series_is_the_enumeration_in_two_weights_at_order_2(measured):
    check_against_enumeration(measured, Spacetime(2, 1, 2), 2)
    assert measured.forests == (FIRST,)
    assert FIRST not in measured


@pytest.mark.slow
def test_the_measured_series_is_the_enumeration_in_two_weights_at_order_3():
    problem, params = two_weights()
    values = gn.diagram_values(problem, params, max_order=3, variance=True)
    for grid in (Spacetime(2, 1, 2), Spacetime(2, 1, sampling="with_replacement", num_steps=3)):
        check_against_enumeration(values, grid, 3)


def check_against_enumeration(values, spacetime, order):
    start = [Fraction(1, 3), Fraction(-1, 2)]
    truth = enumerate_runs(read_points(TWO_WEIGHTS), start, spacetime, order)
    for target in ("test", "gap", "variance"):
        series = gn.series_coefficients(values, spacetime, target)
        exact = [float(x) for x in truth[target]]
        np.testing.assert_allclose(series.value, exact, rtol=1e-10, atol=1e-12, err_msg=target)


def test_the_enumeration_with_one_weight_is_the_one_of_several():
    land = landscape("cubic1")
    points = [(p, {(k,): c for k, c in enumerate(f)}) for p, f in land.points]
    truth = enumerate_runs(points, [land.start], Spacetime(2, 1, 2), 3, momentum=Fraction(1, 3))
    other = enumerate_sgd(land, Spacetime(2, 1, 2), 3, momentum=Fraction(1, 3))
    assert truth["test"] == other["test"]
    assert truth["gap"] == other["gap"]


@pytest.mark.slow
def test_held_out_and_unbiased_values_of_forests_are_those_of_the_parts(getkey):
    """G C G with G of the measured function over the test pool; unbiased: z-score of the mean over draws of its error."""
    rng = np.random.default_rng(3)
    pool, test_pool = rng.normal(size=(5, 2)), rng.normal(loc=0.3, size=(4, 2))

    def loss(w, x):
        return jax.numpy.sin(w @ x) + w[0] ** 2 * x[1]

    def measured(w, x):
        return jax.numpy.cos(w @ x)

    start = np.array([0.3, -0.8])
    with jax.enable_x64(True):
        noise = np.asarray(jax.vmap(jax.grad(loss), (None, 0))(start, pool))
        slope = np.asarray(jax.vmap(jax.grad(measured), (None, 0))(start, test_pool)).mean(axis=0)
    covariance = np.cov(noise.T, ddof=0)
    problem = gn.from_arrays(loss, lambda key: np.zeros(2), pool, measured=measured, test_pool=test_pool)
    exact = gn.diagram_values(problem, start, max_order=2, variance=True)
    place = exact.index(FIRST, "variance")
    assert exact.table.value[place] == pytest.approx(slope @ covariance @ slope, rel=1e-12)
    drawn = gn.diagram_values(problem, start, 2, "unbiased", num_draws=2000, key=getkey(), variance=True)
    found = drawn.table[place]
    assert abs(found.value - exact.table.value[place]) < 4.5 * found.stderr


def test_values_without_forests_say_how_to_measure_them(measured):
    with pytest.raises(ValueError, match=r"variance=True"):
        gn.series_coefficients(replace(measured, has_variance=False), Spacetime(4, 2), "variance")


def test_a_curve_of_the_variance_starts_at_zero_and_ends_at_the_series(measured):
    grid, rate = Spacetime(4, 2, 2), 0.01
    curve = gn.predict_curve(measured, grid, rate, "variance")
    np.testing.assert_array_equal(curve.value[0], 0)
    series = gn.series_coefficients(measured, grid, "variance").value
    np.testing.assert_allclose(curve.value[-1], np.cumsum(series * rate ** np.arange(3)), rtol=1e-12)
