"""The hessian-damped update: each batch by dense algebra in numpy, its series by enumeration of training sets."""

from fractions import Fraction
from itertools import product

import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from brute_force import gradient_rows
from cases import one_weight
from diagrams.landscape import TABLE
from dynamics.one_step import (
    PARAMS,
    POOL,
    RATE,
    WITH,
    WITHOUT,
    assert_equal,
    displacements,
    every_batch,
    five_points,
    loss,
    third,
)
from gradnoise.dynamics.discrete import sgd
from gradnoise.dynamics.hessian_sgd import hessian_sgd
from gradnoise.dynamics.simulate import simulate
from gradnoise.problem import from_arrays
from gradnoise.process import Batches
from gradnoise.spacetime import Spacetime

pytestmark = pytest.mark.slow  # compiling takes a minute in all

FLAT = np.array([0.6, -0.8, 0.25])
BY_WEIGHT, AS_VECTOR = {"a": np.array([0.1, 0.0]), "b": np.array(0.7)}, np.array([0.1, 0.0, 0.7])


def hessian_rows():
    with jax.enable_x64(True):
        flat, unravel = ravel_pytree(jax.tree.map(jax.numpy.asarray, PARAMS))
        one = jax.hessian(lambda at, example: loss(unravel(at), example))
        return np.asarray(jax.vmap(one, (None, 0))(flat, jax.tree.map(jax.numpy.asarray, POOL)))


def by_hand(spacetime, damping, rates, decay=0.0):
    """-E (1 + lam H E)^-1 g for every batch, dense and unsymmetric."""
    g, h = gradient_rows(five_points(), PARAMS), hessian_rows()
    moves = []
    for batch in every_batch(spacetime):
        mean_g, mean_h = g[batch].mean(0) + decay * FLAT, h[batch].mean(0) + decay * np.eye(3)
        moves.append(-np.diag(rates) @ np.linalg.solve(np.eye(3) + damping * mean_h @ np.diag(rates), mean_g))
    return np.array(moves)


@pytest.mark.parametrize("spacetime", [WITH, WITHOUT], ids=lambda s: s.sampling)
@pytest.mark.parametrize("solver", ["dense", "cg"])
@pytest.mark.parametrize(
    ("rate", "rates"), [(RATE, np.full(3, RATE)), (BY_WEIGHT, AS_VECTOR)], ids=["one", "by weight"]
)
def test_every_batch_gives_the_step_of_dense_algebra_and_so_all_moments(spacetime, solver, rate, rates):
    """Mean, covariance and third moment over all batches, with decay in gradient and hessian; a weight may stand still."""
    process = hessian_sgd(five_points(), 0.8, weight_decay=0.4, solver=solver)
    moves = displacements(process, spacetime, every_batch(spacetime)[:, None], rate=rate)
    expected = by_hand(spacetime, 0.8, rates, decay=0.4)
    digits = 1e-14 if solver == "dense" else 1e-10
    assert_equal(moves, expected, digits)
    assert_equal(moves.mean(0), expected.mean(0), digits)
    assert_equal(np.cov(moves.T, bias=True), np.cov(expected.T, bias=True), digits)
    assert_equal(third(moves), third(expected), digits)


def test_no_damping_is_sgd():
    batches = every_batch(WITH)[:, None]
    for options in ({}, {"momentum": 0.6, "weight_decay": 0.2}, {"injected_noise": 0.5}):
        moves = [
            displacements(process, WITH, batches)
            for process in (hessian_sgd(five_points(), 0.0, **options), sgd(five_points(), **options))
        ]
        assert_equal(*moves)


def test_injected_noise_is_damped_like_the_gradient():
    """g + beta xi: the step is linear in beta, with the slope of a damped normal draw."""
    batch, h = np.array([[[0, 1]]]), hessian_rows()[[0, 1]].mean(0)
    damped = [displacements(hessian_sgd(five_points(), 0.8, injected_noise=b), WITH, batch)[0] for b in (0.0, 1.0)]
    plain = [displacements(sgd(five_points(), injected_noise=b), WITH, batch)[0] for b in (0.0, 1.0)]
    noise = plain[1] - plain[0]
    assert_equal(damped[1] - damped[0], np.linalg.solve(np.eye(3) + 0.8 * RATE * h, noise))


def test_the_solvers_agree_and_the_default_turns_at_64_weights():
    """A quadratic in 70 weights: conjugate gradients by default, equal to the dense solution to their tolerance."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(6, 70))
    problem = from_arrays(lambda w, x: (x @ w - 1) ** 2 / 2, lambda key: np.ones(70), rows, "seventy")
    observe = {"norm": lambda w, e: jax.numpy.sum(w**2), "first": lambda w, e: w[0]}
    runs = [
        simulate(
            hessian_sgd(problem, 0.5, solver=solver), np.ones(70), Spacetime(6, 3, 2), 0.05, 2, jax.random.key(0),
            observe, training_set="given", dtype="float64",
        ).observables
        for solver in (None, "cg", "dense")
    ]  # fmt: skip
    for name in observe:
        np.testing.assert_array_equal(runs[0][name], runs[1][name])
        np.testing.assert_allclose(runs[1][name], runs[2][name], rtol=1e-8)


def test_the_series_of_the_update_is_the_exact_table():
    """cubic1, N = 2, B = 1, E = 2, lam = 1/2: mean test loss over all nine training sets; the rest falls as eta^5."""
    case = next(c for c in TABLE["cases"] if "lam" in c["hyper"])
    lam, epochs = float(Fraction(case["hyper"]["lam"])), int(case["hyper"]["E"])
    series = [float(Fraction(value)) for value in case["test"]]
    rest = []
    for rate in (4e-3, 2e-3, 1e-3):
        exact = mean_test_loss(lam, epochs, rate)
        rest.append(exact - sum(c * rate**k for k, c in enumerate(series)))
        assert abs(mean_test_loss(0.0, epochs, rate) - exact) > 1e3 * abs(rest[-1])
    np.testing.assert_allclose(np.divide(rest[:-1], rest[1:]), 32, rtol=0.15)


def mean_test_loss(lam, epochs, rate):
    """E test loss after `epochs` passes in a fixed order over two examples drawn from three, all draws enumerated."""
    problem, start = one_weight()
    process, spacetime = hessian_sgd(problem, lam), Spacetime(2, 1, epochs)
    with jax.enable_x64(True):
        pool = jax.numpy.asarray(problem.pool)

        @jax.jit
        @jax.vmap
        def run(drawn):
            state = process.init(jax.numpy.asarray(start))
            for row in (0, 1) * epochs:
                batches = Batches(pool[drawn[row]][None, None], pool[drawn], spacetime)
                state = process.step(jax.random.key(0), state, batches, rate)
            return jax.vmap(problem.loss, (None, 0))(process.params(state), pool).mean()

        return float(run(np.array(list(product(range(3), repeat=2)))).mean())


def test_half_damping_follows_gradient_flow_to_second_order_without_noise():
    """lam = 1/2 cancels -(T/2) GHG: the error per unit time falls as eta^2, that of lam = 0 as eta."""
    errors = {0.0: [], 0.5: []}
    for lam, found in errors.items():
        for rate in (0.04, 0.02, 0.01):
            observe = {"w": lambda w, e: w}
            problem = from_arrays(lambda w, x: w**4 / 4 - x * w, lambda key: np.array(1.5), np.ones(1), "quartic")
            steps = round(0.4 / rate)
            runs = simulate(
                hessian_sgd(problem, lam), np.array(1.5), Spacetime(1, 1, steps), rate, 1, jax.random.key(0), observe,
                steps, dtype="float64",
            )  # fmt: skip
            found.append(runs.observables["w"][0, -1] - quartic_flow())
    ratios = {lam: np.divide(found[:-1], found[1:]) for lam, found in errors.items()}
    np.testing.assert_allclose(ratios[0.5], 4, rtol=0.1)
    np.testing.assert_allclose(ratios[0.0], 2, rtol=0.1)


def quartic_flow():
    from scipy.integrate import solve_ivp

    return solve_ivp(lambda t, w: 1 - w**3, (0, 0.4), [1.5], rtol=1e-12, atol=1e-14).y[0, -1]


@pytest.mark.parametrize("solver", ["dense", "cg"])
def test_a_step_onto_the_pole_is_reported_as_divergence(solver):
    """Hessian -1 and lam eta = 1: there is no step."""
    problem = from_arrays(lambda w, x: x * w - w**2 / 2, lambda key: np.array(0.5), np.ones(2), "hilltop")
    start, spacetime = np.array(0.5), Spacetime(2, 1)
    runs = simulate(hessian_sgd(problem, 4.0, solver=solver), start, spacetime, 0.25, 3, jax.random.key(0))
    assert (runs.diverged_at == 1).all()


def test_a_run_repeats_for_its_key_and_takes_rates_by_weight_and_by_step(getkey):
    problem, spacetime, key = five_points(), Spacetime(6, 2, 2, "reshuffle"), getkey()
    process, start = hessian_sgd(problem, 0.5, momentum=0.5, nesterov=True), problem.init(None)
    runs = [simulate(process, start, spacetime, 0.1, 4, key).observables["test_loss"] for _ in range(2)]
    np.testing.assert_array_equal(*runs)
    for rate in ({"a": np.full(2, 0.1), "b": np.array(0.1)}, np.full(6, 0.1)):
        same = simulate(process, start, spacetime, rate, 4, key).observables["test_loss"]
        np.testing.assert_allclose(same, runs[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"problem": "digits"}, TypeError, "problem is a str"),
        ({"hessian_damping": -0.5}, ValueError, "hessian_damping=-0.5"),
        ({"hessian_damping": float("inf")}, ValueError, "hessian_damping=inf"),
        ({"hessian_damping": "half"}, TypeError, "hessian_damping='half'"),
        ({"hessian_damping": None}, TypeError, "hessian_damping=None"),
        ({"solver": "lu"}, ValueError, "solver='lu' is unknown"),
        ({"momentum": 1}, ValueError, "momentum=1"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        hessian_sgd(**{"problem": five_points(), "hessian_damping": 0.5, **arguments})
