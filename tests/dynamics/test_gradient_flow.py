"""Gradient flow against the exact table, against algebra, and against scipy's solvers."""

import subprocess
import sys
from fractions import Fraction

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from brute_force import gradient_rows
from cases import one_weight
from diagrams.landscape import TABLE, landscape
from dynamics.one_step import PARAMS, POOL, RATE, WITH, assert_equal, batch_noise, displacements, five_points
from dynamics.power_series import flow_series
from gradnoise.dynamics.discrete import gradient_descent
from gradnoise.dynamics.gradient_flow import gradient_flow
from gradnoise.dynamics.momentum import MomentumState
from gradnoise.dynamics.simulate import simulate
from gradnoise.problem import from_arrays
from gradnoise.process import Batches
from gradnoise.spacetime import Spacetime

pytestmark = pytest.mark.slow  # compiling takes a minute in all

CASES = {(case["hyper"]["T"], case["hyper"]["B"]): case for case in TABLE["cases"] if case["landscape"] == "cubic1"}


def gradient_by_hand(flat, examples):
    """Of the mean of (tanh(x.a + b) - y)^2 / 2."""
    value = np.tanh(examples["x"] @ flat[:2] + flat[2])
    slope = (value - examples["y"]) * (1 - value**2)
    return np.append(slope @ examples["x"], slope.sum()) / len(slope)


@pytest.mark.parametrize("hyper", CASES, ids=lambda hyper: f"T={hyper[0]} B={hyper[1]}")
def test_the_flow_on_the_population_is_the_exact_table(hyper):
    """Orders 0 to 4 exactly as rational numbers, and a run at two rates: the rest is the next order and falls as it."""
    case, steps, batch = CASES[hyper], *map(int, hyper)
    series = flow_series(landscape("cubic1"), steps, 5)
    assert series[:5] == [Fraction(value) for value in case["ode"]]
    problem, start = one_weight()
    for scale in (2e-2, 1e-2):
        rate = scale / steps
        runs = simulate(
            gradient_flow(problem, tolerance=1e-12), start, Spacetime(batch * steps, batch), rate, 2, jax.random.key(0),
            every=steps, training_set="population", dtype="float64",
        )  # fmt: skip
        found = runs.observables["test_loss"][:, -1]
        assert found[0] == found[1]
        table = sum(float(Fraction(value)) * rate**k for k, value in enumerate(case["ode"]))
        next_order = float(series[5]) * rate**5
        assert abs(found[0] - table - next_order) < 0.3 * abs(next_order) + 1e-12
        assert abs(next_order) < 2e-6


def test_a_quadratic_decays_exponentially_in_the_sum_of_the_rates_with_rates_by_weight_and_by_step():
    """theta_i(T) = exp(-(h_i + decay) sum_t eta_ti) theta_i(0): schedules count effective steps, the decay enters once."""
    curvature, decay, steps = np.array([0.5, 2.0]), 0.3, 4
    problem = from_arrays(lambda w, x: (x * w) @ w / 2, lambda key: np.ones(2), curvature[None])
    observe = {"w0": lambda w, e: w[0], "w1": lambda w, e: w[1]}
    schedule = np.array([0.4, 0.3, 0.2, 0.1])
    for rate, sums in (
        (lambda step: schedule[step], np.full(2, schedule.sum())),
        ((np.array([0.1, 0.7]),), steps * np.array([0.1, 0.7])),
    ):
        whole = rate if callable(rate) else rate[0]
        runs = simulate(
            gradient_flow(problem, weight_decay=decay, tolerance=1e-11), np.ones(2), Spacetime(1, 1, steps), whole, 1,
            jax.random.key(0), observe, dtype="float64",
        ).observables  # fmt: skip
        found = [runs[name][0, -1] for name in observe]
        np.testing.assert_allclose(found, np.exp(-(curvature + decay) * sums), rtol=1e-9)


@pytest.mark.parametrize("nesterov", [False, True])
def test_with_momentum_the_whole_state_flows(nesterov):
    """A quadratic: d(theta, v)/ds is linear, so the answer is a matrix exponential."""
    mu, h, eta, steps = 0.8, 0.7, 0.3, 6
    v_row = [h, mu - 1]
    theta_row = [-eta * (h + mu * h), -eta * mu * mu] if nesterov else [-eta * h, -eta * mu]
    problem = from_arrays(lambda w, x: h * w**2 / 2, lambda key: np.array(1.0), np.zeros(1))
    runs = simulate(
        gradient_flow(problem, mu, nesterov, tolerance=1e-11), np.array(1.0), Spacetime(1, 1, steps), eta, 1,
        jax.random.key(0), {"w": lambda w, e: w}, steps, dtype="float64",
    )  # fmt: skip
    exact = expm(np.array([theta_row, v_row]) * steps) @ [1.0, 0.0]
    np.testing.assert_allclose(runs.observables["w"][0, -1], exact[0], rtol=1e-9)


def test_the_flow_of_a_drawn_training_set_is_scipys(getkey):
    """Each replica flows along its own set: checked against an eighth-order solver and the gradient by hand."""
    problem, steps, observe = five_points(), 3, {"b": lambda w, e: w["b"], "x": lambda w, e: e["x"][0, 0]}
    observe |= {f"x{n}": lambda w, e, n=n: e["x"][n, 0] for n in range(4)}
    process, start = gradient_flow(problem, tolerance=1e-11), problem.init(None)
    runs = simulate(process, start, Spacetime(4, 4, steps), 0.7, 3, getkey(), observe, steps, dtype="float64")
    for replica in range(3):
        seen = [np.flatnonzero(POOL["x"][:, 0] == runs.observables[f"x{n}"][replica, 0])[0] for n in range(4)]
        drawn = {name: leaf[seen] for name, leaf in POOL.items()}

        def field(t, flat, drawn=drawn):
            return -gradient_by_hand(flat, drawn)

        exact = solve_ivp(field, (0, 0.7 * steps), [0.6, -0.8, 0.25], method="DOP853", rtol=1e-11, atol=1e-12).y[2, -1]
        np.testing.assert_allclose(runs.observables["b"][replica, -1], exact, atol=1e-9)


def test_a_step_has_no_noise_and_the_displacement_of_the_flow():
    """Mean: -eta G + (eta^2/2) H G to order 2; covariance and third moment: powers of the mean."""
    batches = np.zeros((4, 0, 2), int)
    small = 1e-3
    moves = displacements(gradient_flow(five_points(), tolerance=1e-13), WITH, batches, rate=small)
    assert (moves == moves[0]).all()
    g = batch_noise(WITH).mean
    shift = 1e-4 * g
    behind = gradient_rows(five_points(), {"a": PARAMS["a"] - shift[:2], "b": PARAMS["b"] - shift[2]}).mean(0)
    curved = (g - behind) / 1e-4  # H G
    np.testing.assert_allclose(moves[0], -small * g + small**2 / 2 * curved, atol=5 * small**3 * np.abs(g).max())


def test_gradient_descent_with_finer_steps_converges_to_it():
    problem, start, errors = five_points(), five_points().init(None), []
    spacetime = Spacetime(5, 5, 2)
    options = {"training_set": "given", "dtype": "float64"}
    flow = simulate(gradient_flow(problem), start, spacetime, RATE, 1, jax.random.key(0), **options)
    for fine in (4, 8, 16):
        steps = Spacetime(5, 5, 2 * fine)
        descent = simulate(gradient_descent(problem), start, steps, RATE / fine, 1, jax.random.key(0), **options)
        errors.append(descent.observables["test_loss"][0, -1] - flow.observables["test_loss"][0, -1])
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 2, rtol=0.05)


def test_the_default_tolerance_holds_in_float32():
    problem = from_arrays(lambda w, x: w**2 / 2, lambda key: np.float32(1.0), np.zeros(1))
    runs = simulate(
        gradient_flow(problem), np.float32(1), Spacetime(1, 1, 10), 0.3, 1, jax.random.key(0), {"w": lambda w, e: w}
    )
    np.testing.assert_allclose(runs.observables["w"][0], np.exp(-0.3 * np.arange(11)), atol=10 * 1e-5)


def test_stiff_directions_take_more_solver_steps_and_stay_stable():
    problem = from_arrays(lambda w, x: (x * w) @ w / 2, lambda key: np.ones(2), np.array([[1.0, 300.0]]))
    observe = {"slow": lambda w, e: w[0], "stiff": lambda w, e: w[1]}
    start, spacetime = np.ones(2), Spacetime(1, 1, 3)
    runs = simulate(gradient_flow(problem), start, spacetime, 0.5, 1, jax.random.key(0), observe, dtype="float64")
    np.testing.assert_allclose(runs.observables["slow"][0], np.exp(-0.5 * np.arange(4)), atol=1e-6)
    assert np.abs(runs.observables["stiff"][0, 1:]).max() < 1e-6


def test_a_flow_that_runs_off_to_infinity_is_reported_as_divergence():
    """dw/dt = w^3 from 1 blows up at t = 1/2, in the third step."""
    problem = from_arrays(lambda w, x: -(w**4) / 4, lambda key: np.array(1.0), np.zeros(1), "cliff")
    runs = simulate(gradient_flow(problem), np.array(1.0), Spacetime(1, 1, 6), 0.2, 2, jax.random.key(0))
    assert (runs.diverged_at == 3).all()
    assert np.isfinite(runs.observables["test_loss"][:, :3]).all()


def test_a_state_with_a_velocity_goes_on_where_it_was():
    """Two flows of one step are one flow of two: the buffer is part of the state."""
    process = gradient_flow(five_points(), 0.7, tolerance=1e-12)
    with jax.enable_x64(True):
        pool, params = jax.tree.map(jax.numpy.asarray, (POOL, PARAMS))
        batches = Batches(None, pool, WITH)
        step = jax.jit(lambda state, rate: process.step(jax.random.key(0), state, batches, rate))
        twice = step(step(process.init(params), RATE), RATE)
        assert isinstance(twice, MomentumState)

        def field(t, flat):
            g = gradient_by_hand(flat[:3], POOL)
            return np.concatenate([-RATE * (0.7 * flat[3:] + g), (0.7 - 1) * flat[3:] + g])

        exact = solve_ivp(field, (0, 2), [0.6, -0.8, 0.25, 0, 0, 0], method="DOP853", rtol=1e-11, atol=1e-12).y[:, -1]
        found = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves((twice.params, twice.velocity))])
    assert_equal(found, exact, 1e-9)


def test_the_solver_is_loaded_only_when_asked_for():
    code = "import sys, gradnoise.dynamics; sys.exit('diffrax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"problem": "digits"}, TypeError, "problem is a str"),
        ({"tolerance": 0}, ValueError, "tolerance=0"),
        ({"tolerance": -1e-6}, ValueError, "tolerance=-1e-06"),
        ({"tolerance": 1.0}, ValueError, "tolerance=1 is not below 1"),
        ({"tolerance": "fine"}, TypeError, "tolerance='fine'"),
        ({"momentum": 1.0}, ValueError, "momentum=1 is not below 1"),
        ({"nesterov": True}, ValueError, "nesterov=True"),
        ({"injected_noise": 0.1}, ValueError, "injected_noise=0.1 came with gradient_flow"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        gradient_flow(**{"problem": five_points(), **arguments})
