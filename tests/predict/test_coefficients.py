"""Coefficients against an enumeration of training sets and schedules without diagrams, and against closed forms."""

from fractions import Fraction

import numpy as np
import pytest
import sympy

from diagrams.brute_force import every_diagram
from diagrams.landscape import TABLE, enumerate_sgd, landscape, root_tied, value
from gradnoise.diagrams import Diagram, embedding_count
from gradnoise.predict.coefficients import coefficient, coefficient_curve, coefficient_formula
from gradnoise.spacetime import Spacetime

SAMPLINGS = {"reshuffle": "reshuffle", "iid_subset": "subset", "replacement": "with_replacement"}
EPS = np.finfo(float).eps


def every_rooted_diagram(*orders):
    yield from every_diagram(*orders)
    for order in orders:
        yield from root_tied(order)


def predicted(land, spacetime, target, order, **optimizer):
    """sum over distinct diagrams of coefficient times value."""
    with_root = target != "displacement"
    return sum(
        (
            factor * value(land, diagram, with_root)
            for diagram in every_rooted_diagram(order)
            if (factor := coefficient(diagram, spacetime, target, **optimizer))
        ),
        Fraction(0),
    )


def case_name(case):
    return case["landscape"] + " " + " ".join(f"{key}={given}" for key, given in case["hyper"].items())


@pytest.mark.parametrize("case", TABLE["cases"], ids=case_name)
def test_coefficients_times_values_are_the_exact_table_through_order_4(case):
    hyper, land = case["hyper"], landscape(case["landscape"])
    sampling = SAMPLINGS.get(hyper.get("scheme"), "fixed")
    spacetime = Spacetime(int(hyper["N"]), int(hyper["B"]), int(hyper["E"]), sampling)
    optimizer = {"momentum": hyper.get("beta", 0), "hessian_damping": hyper.get("lam", 0)}
    for order in range(5):
        for target in ("test", "gap"):
            assert predicted(land, spacetime, target, order, **optimizer) == Fraction(case[target][order])
        start = land.start if order == 0 else 0
        assert start + predicted(land, spacetime, "displacement", order, **optimizer) == Fraction(
            case["theta"][0][order]
        )


def test_train_is_test_less_gap():
    case, land = TABLE["cases"][3], landscape("cubic1")
    spacetime = Spacetime(3, 1, 2, sampling="reshuffle")
    for order in range(5):
        assert predicted(land, spacetime, "train", order) == Fraction(case["train"][order])
    for diagram in every_rooted_diagram(0, 1, 2, 3):
        test, train, gap = (coefficient(diagram, spacetime, target) for target in ("test", "train", "gap"))
        assert train == test - gap
        assert (test == 0 and gap != 0) if diagram.is_root_tied and train else gap == 0


@pytest.mark.parametrize(
    ("spacetime", "optimizer"),
    [
        (Spacetime(2, 1, 2), {"momentum": "1/3", "nesterov": True}),
        (Spacetime(2, 1, 2, sampling="reshuffle"), {"momentum": "1/2", "dampening": "1/4"}),
        (Spacetime(2, 1, 2, sampling="reshuffle").truncate(3), {"momentum": "1/3", "nesterov": True}),
        (Spacetime(3, 1, 2).truncate(4), {"momentum": "1/2", "dampening": 1}),
        (Spacetime(2, 2, 3), {"momentum": "2/3", "dampening": "1/3", "hessian_damping": "1/2"}),
        (Spacetime(2, 1, sampling="subset", num_steps=3), {"momentum": "1/3"}),
        (Spacetime(2, 2, sampling="with_replacement", num_steps=2), {"momentum": "1/3", "hessian_damping": 1}),
        (Spacetime(2, 1, 2, sampling="reshuffle"), {"hessian_damping": "1/2"}),
        (Spacetime(2, 1, 2), {"schedule": [1, "1/2", "1/3", "1/4"]}),
        (Spacetime(2, 1, 2), {"schedule": [1, "1/2", "1/3", 2], "momentum": "1/2", "hessian_damping": "1/3"}),
        (Spacetime(2, 1, 2), {"dampening": "1/2"}),
    ],
    ids=str,
)
def test_optimizers_are_those_of_pytorch_run_on_every_training_set(spacetime, optimizer):
    land = landscape("cubic1")
    numbers = {key: Fraction(given) for key, given in optimizer.items() if key not in ("nesterov", "schedule")}
    rates = [Fraction(rate) for rate in optimizer.get("schedule", [1] * spacetime.num_steps)]
    truth = enumerate_sgd(land, spacetime, 3, nesterov=optimizer.get("nesterov", False), rates=rates, **numbers)
    for target, series in truth.items():
        for order, exact in enumerate(series):
            assert predicted(land, spacetime, target, order, **optimizer) == exact, (target, order)


@pytest.mark.parametrize(("num_examples", "batch", "epochs"), [(3, 1, 1), (4, 2, 3), (5, 5, 4), (6, 1, 2)])
def test_the_gap_of_order_2_has_its_closed_form(num_examples, batch, epochs):
    """N gap_2 = -{T2 [C:H + D] + T^2 D + (N E (2E-1)/(2 B^2)) kappa(g,g,h)}: diagrams.md 2.3, tensors told by value."""
    spacetime = Spacetime(num_examples, batch, epochs)
    steps = spacetime.num_steps
    pairs = Fraction(steps * (steps - 1), 2)
    found = {str(diagram): -num_examples * coefficient(diagram, spacetime, "gap") for diagram in root_tied(2)}
    third = Fraction(num_examples * epochs * (2 * epochs - 1), 2 * batch**2)
    assert found["(02-1)(01-12)"] == pairs  # C:H
    assert found["(0-12)(01-12)"] == pairs  # D
    assert found["(02-1)(02-12)"] == steps**2  # D again, both leaves
    assert found["(012)(01-12)"] + found["(012)(02-12)"] == third


def test_momentum_of_order_1_has_its_closed_form():
    for momentum in (Fraction(1, 3), Fraction(9, 10)):
        for steps in (1, 2, 7, 40):
            got = coefficient(Diagram.parse("(0-1)(01)"), Spacetime(steps, 1), momentum=momentum)
            assert got == -(steps - momentum * (1 - momentum**steps) / (1 - momentum)) / (1 - momentum)


def test_with_momentum_shuffling_matters_at_order_2():
    fixed, shuffled = (Spacetime(3, 1, 2, sampling=sampling) for sampling in ("fixed", "reshuffle"))
    test = [predicted(landscape("cubic1"), grid, "test", 2, momentum="1/3") for grid in (fixed, shuffled)]
    assert test[0] - test[1] == Fraction(35279921, 177147000)


@pytest.mark.parametrize(
    ("grid", "at_order_4"),
    [
        ((3, 1, 2), Fraction(-16037, 4500)),
        ((4, 2, 2), Fraction(-60649097, 583200000)),
        ((2, 1, 3), Fraction(-16037, 6000)),
    ],
)
def test_without_momentum_shuffling_matters_at_order_4(grid, at_order_4):
    fixed, shuffled = (Spacetime(*grid, sampling=sampling) for sampling in ("fixed", "reshuffle"))
    land = landscape("cubic1")
    for order, difference in enumerate([0, 0, 0, 0, at_order_4]):
        assert predicted(land, fixed, "test", order) - predicted(land, shuffled, "test", order) == difference


def test_a_single_tie_is_enough_for_shuffling_to_matter_at_order_4():
    """diagrams.md 2.4 speaks of two interleaved ties: in one weight they cancel here, and one tie does it all."""
    fixed, shuffled = (Spacetime(3, 1, 2, sampling=sampling) for sampling in ("fixed", "reshuffle"))
    land, by_ties = landscape("cubic1"), {1: Fraction(0), 2: Fraction(0)}
    for diagram in every_diagram(4):
        difference = coefficient(diagram, fixed) - coefficient(diagram, shuffled)
        if difference:
            by_ties[sum(len(part) > 1 for part in diagram.parts)] += difference * value(land, diagram)
    assert by_ties == {1: Fraction(-16037, 4500), 2: 0}


@pytest.mark.parametrize(("sampling", "batch"), [("subset", 3), ("with_replacement", 3), ("with_replacement", 7)])
def test_sampling_without_epochs_has_its_closed_form_at_order_2(sampling, batch):
    """T(T-1/2) GHG + (1/2)[T a + T(T-1)/N] C:H + (T2/N) (1/2) G.d trC: diagrams.md 2.5."""
    examples, steps = 5, 8
    grid = Spacetime(examples, batch, sampling=sampling, num_steps=steps)
    own = (
        Fraction(1, batch) + (1 - Fraction(1, batch)) / examples
        if sampling == "with_replacement"
        else Fraction(1, batch)
    )
    found = {str(diagram): coefficient(diagram, grid) for diagram in every_diagram(2)}
    assert found["(0-1-2)(01-12)"] + found["(0-1-2)(02-12)"] == steps * (steps - Fraction(1, 2))
    assert found["(01-2)(02-12)"] == (steps * own + Fraction(steps * (steps - 1), examples)) / 2
    assert found["(01-2)(01-12)"] == Fraction(steps * (steps - 1), 2 * examples)


def test_half_a_unit_of_damping_removes_the_discretization_term():
    """lam = 1/2 cancels -(T/2) GHG: the chain and the fork together are T^2, as for gradient flow."""
    grid = Spacetime(12, 2, 3)
    both = sum(
        coefficient(Diagram.parse(text), grid, hessian_damping=0.5) for text in ("(0-1-2)(01-12)", "(0-1-2)(02-12)")
    )
    assert both == grid.num_steps**2


def test_what_a_target_does_not_see_has_coefficient_0():
    grid = Spacetime(4, 2, 2)
    alone, tied, fork = (Diagram.parse(text) for text in ("(0-1-2)(01-12)", "(02-1)(01-12)", "(0-1-2)(02-12)"))
    assert coefficient(alone, grid, "gap") == coefficient(tied, grid, "test") == 0
    assert coefficient(fork, grid, "displacement") == coefficient(tied, grid, "displacement") == 0
    assert coefficient(alone, grid, "displacement") == coefficient(alone, grid, "test") != 0


def test_order_0_is_the_loss_at_the_start():
    lone = Diagram.parse("(0)()")
    for options in ({}, {"momentum": 0.9}, {"schedule": lambda step: 1}):
        grid = Spacetime(4, 2, sampling="reshuffle")
        assert [coefficient(lone, grid, t, **options) for t in ("test", "train", "gap", "displacement")] == [1, 1, 0, 0]
        assert coefficient_curve(lone, grid, **options).tolist() == [1, 1, 1]


def test_a_floats_shortest_decimal_is_what_is_meant():
    chain, grid = Diagram.parse("(01-2)(01-12)"), Spacetime(4, 2, 2)
    same = [0.1, "0.1", "1/10", Fraction(1, 10), np.float64(0.1), np.float32(0.1), np.array(0.1)]
    assert len({coefficient(chain, grid, momentum=given) for given in same}) == 1
    assert coefficient(chain, grid, hessian_damping=1e-20) == coefficient(
        chain, grid, hessian_damping="1/100000000000000000000"
    )


def test_a_constant_schedule_scales_the_learning_rate():
    for sampling in ("fixed", "reshuffle", "subset", "with_replacement"):
        grid = Spacetime(4, 2, 2, sampling=sampling)
        for diagram in every_rooted_diagram(1, 2):
            for options in ({}, {"momentum": "1/2"}):
                scaled = coefficient(diagram, grid, "train", schedule=lambda step: "1/3", **options)
                assert scaled * 3**diagram.order == coefficient(diagram, grid, "train", **options)


def test_dampening_by_the_momentum_leaves_the_first_gradient_its_full_weight():
    """At order 1 and two steps: w_0 a_2 + w_1 a_1 = (1 + m) + (1 - m) = 2."""
    assert coefficient(Diagram.parse("(0-1)(01)"), Spacetime(2, 1), momentum="3/7", dampening="3/7") == -2


@pytest.mark.parametrize("sampling", ["fixed", "reshuffle", "subset", "with_replacement"])
def test_the_curve_is_the_coefficient_of_every_truncated_grid(sampling):
    grid = Spacetime(9, 3, 3, sampling=sampling)
    for diagram in every_rooted_diagram(0, 1, 2, 3):
        exact = [float(coefficient(diagram, grid.truncate(t), "train")) for t in range(grid.num_steps + 1)]
        np.testing.assert_allclose(coefficient_curve(diagram, grid, "train"), exact, rtol=100 * EPS)


@pytest.mark.parametrize("sampling", ["fixed", "reshuffle", "subset", "with_replacement"])
@pytest.mark.parametrize(
    "options",
    [{"momentum": 0.9, "nesterov": True}, {"momentum": 0.5, "dampening": 0.25}, {"schedule": lambda t: 1 / (1 + t)}],
    ids=["nesterov", "dampened", "scheduled"],
)
def test_the_curve_of_any_optimizer_is_the_coefficient_of_every_truncated_grid(sampling, options):
    grid = Spacetime(6, 2, 2, sampling=sampling)
    for diagram in every_rooted_diagram(1, 2):
        exact = [float(coefficient(diagram, grid.truncate(t), "train", **options)) for t in range(grid.num_steps + 1)]
        np.testing.assert_allclose(coefficient_curve(diagram, grid, "train", **options), exact, rtol=200 * EPS)


def test_a_long_curve_with_momentum_ends_at_the_exact_coefficient():
    grid = Spacetime(100, 4, 8)
    for text in ("(01-2)(01-12)", "(0-12-3)(01-13-23)"):
        end = coefficient_curve(Diagram.parse(text), grid, momentum=0.9)[-1]
        assert end == pytest.approx(float(coefficient(Diagram.parse(text), grid, momentum=0.9)), rel=200 * 12 * EPS)


def test_the_formula_gives_the_coefficient_on_whole_epochs():
    symbols = sympy.symbols("N B E")
    for diagram in every_rooted_diagram(1, 2, 3):
        for target in ("test", "train", "gap", "displacement"):
            formula = coefficient_formula(diagram, target)
            for grid in ((4, 2, 1), (6, 2, 3), (5, 5, 2)):
                got = formula.subs(dict(zip(symbols, grid, strict=True)))
                assert Fraction(int(got.p), int(got.q)) == coefficient(diagram, Spacetime(*grid), target)


def test_from_order_4_on_the_formula_is_for_a_fixed_order():
    diagram = Diagram.parse("(02-13-4)(01-12-23-34)")
    got = coefficient_formula(diagram).subs(dict(zip(sympy.symbols("N B E"), (3, 1, 2), strict=True)))
    assert got == 3 == embedding_count(diagram, Spacetime(3, 1, 2))


@pytest.mark.slow
def test_the_formulas_of_order_4_give_the_coefficients_of_one_epoch_of_single_examples():
    size = sympy.Symbol("N")
    for diagram in every_diagram(4):
        formula = coefficient_formula(diagram).subs({"B": 1, "E": 1})
        for steps in (1, 4, 7):
            assert formula.subs(size, steps) == coefficient(diagram, Spacetime(steps, 1))


def test_counts_of_order_4_do_not_grow_with_the_grid():
    """MNIST's size: 60,000 examples, batches of 125, 90 epochs; leading order E^d N^d / d! of the untied star."""
    for sampling in ("fixed", "reshuffle"):
        grid = Spacetime(60000, 125, 90, sampling)
        found = {diagram: coefficient(diagram, grid) for diagram in every_diagram(4)}
        assert len(found) == 101
        assert found[Diagram.parse("(0-1-2-3-4)(04-14-24-34)")] == Fraction(grid.num_steps**4, 24)


def test_an_exact_sum_that_would_not_end_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match="Use coefficient_curve"):
        coefficient(Diagram.parse("(01-2)(01-12)"), Spacetime(60000, 1, 90), momentum=0.9)


@pytest.mark.parametrize("function", [coefficient, coefficient_curve])
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"target": "loss"}, ValueError, ("target='loss'", "'test', 'train', 'gap', 'displacement', 'variance'")),
        ({"target": None}, ValueError, ("target=None",)),
        ({"momentum": -0.1}, ValueError, ("momentum=-0.1", "negative")),
        ({"momentum": "fast"}, ValueError, ("momentum='fast'",)),
        ({"momentum": "1/0"}, ValueError, ("momentum='1/0'",)),
        ({"momentum": float("nan")}, ValueError, ("momentum=nan", "finite")),
        ({"momentum": float("inf")}, ValueError, ("momentum=inf", "finite")),
        ({"momentum": True}, TypeError, ("momentum=True",)),
        ({"momentum": None}, TypeError, ("momentum=None",)),
        ({"momentum": [0.9]}, TypeError, ("momentum=[0.9]",)),
        ({"momentum": 1j}, TypeError, ("momentum=1j",)),
        ({"nesterov": True}, ValueError, ("nesterov=True", "momentum=0")),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, ValueError, ("dampening=0.1",)),
        ({"dampening": "x"}, ValueError, ("dampening='x'",)),
        ({"hessian_damping": float("inf")}, ValueError, ("hessian_damping=inf",)),
        ({"schedule": [1]}, ValueError, ("schedule has 1 entries", "expected 2")),
        ({"schedule": "cosine"}, TypeError, ("schedule='cosine'",)),
        ({"schedule": 0.1}, TypeError, ("schedule=0.1",)),
        ({"schedule": [1, None]}, TypeError, ("schedule[1]=None",)),
        ({"schedule": lambda step: float("nan")}, ValueError, ("schedule(0)=nan",)),
        ({"diagram": "(0-1)(01)"}, TypeError, ("expected a Diagram",)),
        ({"spacetime": (4, 2)}, TypeError, ("expected a Spacetime",)),
    ],
    ids=lambda part: str(part).split(" at 0x")[0],  # no addresses: names are the same in every process
)
def test_wrong_arguments_are_named_with_what_came_and_what_to_do(function, options, error, words):
    with pytest.raises(error) as caught:
        function(**{"diagram": Diagram.parse("(0-1)(01)"), "spacetime": Spacetime(4, 2), **options})
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_an_unknown_target_has_no_formula():
    with pytest.raises(ValueError, match="target='loss'"):
        coefficient_formula(Diagram.parse("(0-1)(01)"), "loss")
