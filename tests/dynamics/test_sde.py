"""The SDE: moments of a substep exactly, its series exactly, its runs by z-scores."""

from fractions import Fraction

import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from brute_force import linear_problem
from cases import one_weight
from diagrams.landscape import TABLE, cumulant, landscape
from dynamics.one_step import (
    PARAMS,
    RATE,
    WITH,
    WITHOUT,
    affine_in_draws,
    assert_equal,
    batch_noise,
    displacements,
    every_pair,
    five_points,
    third,
    three_symmetric,
)
from dynamics.power_series import euler_maruyama_series, extrapolated
from gradnoise.dynamics.momentum import MomentumState
from gradnoise.dynamics.noisy_gd import noisy_gd
from gradnoise.dynamics.sde import sde
from gradnoise.dynamics.simulate import simulate
from gradnoise.dynamics.svag import svag
from gradnoise.spacetime import Spacetime

SHORT = [case for case in TABLE["cases"] if int(case["hyper"]["T"]) <= 6]
ONE_EPOCH = [case for case in SHORT if case["hyper"]["E"] == "1"]
FLAT = np.array([0.6, -0.8, 0.25])


def case_name(case):
    return case["landscape"] + " " + " ".join(f"{key}={given}" for key, given in case["hyper"].items())


def hessian_of_the_mean():
    problem = five_points()
    with jax.enable_x64(True):
        flat, unravel = ravel_pytree(jax.tree.map(jax.numpy.asarray, PARAMS))
        mean = lambda at: jax.vmap(problem.loss, (None, 0))(unravel(at), problem.pool).mean()  # noqa: E731
        return np.asarray(jax.jit(jax.hessian(mean))(flat))


# One substep.


@pytest.mark.parametrize("spacetime", [WITH, WITHOUT], ids=lambda s: s.sampling)
@pytest.mark.parametrize("m", [1, 3, 16])
def test_a_substep_has_the_mean_covariance_and_third_moment_of_euler_maruyama(m, spacetime):
    mu, matrix = affine_in_draws(sde(five_points(), m).step, spacetime)
    g, sigma, _ = batch_noise(spacetime)
    assert_equal(mu, -RATE / m * g)
    assert_equal(matrix @ matrix.T, RATE**2 / m * sigma)
    raw = three_symmetric(mu, matrix @ matrix.T) + np.einsum("a,b,c->abc", mu, mu, mu)
    expected = -(RATE**3) / m**2 * three_symmetric(g, sigma) - (RATE / m) ** 3 * np.einsum("a,b,c->abc", g, g, g)
    assert_equal(raw, expected)


def test_a_substep_differs_from_svags_in_the_third_moment_by_its_lambda_alone():
    l = 8
    skewness = batch_noise(WITH).third
    moves = displacements(svag(five_points(), l), WITH, every_pair(WITH))
    mu, matrix = affine_in_draws(sde(five_points(), l).step, WITH)
    assert_equal(mu, moves.mean(0))
    assert_equal(matrix @ matrix.T, np.cov(moves.T, bias=True))
    raw = three_symmetric(mu, matrix @ matrix.T) + np.einsum("a,b,c->abc", mu, mu, mu)
    assert_equal(third(moves) - raw, -(RATE**3) / l**2 * (3 - 1 / l) / 2 * skewness)


@pytest.mark.slow
def test_one_substep_is_noisy_gd_number_for_number(getkey):
    key, start, spacetime = getkey(), five_points().init(None), Spacetime(6, 2, 2)
    problem, options = five_points(), {"momentum": 0.5, "weight_decay": 0.1, "injected_noise": 0.2}
    runs = [
        simulate(process, start, spacetime, RATE, 4, key).observables["test_loss"]
        for process in (sde(problem, 1, **options), noisy_gd(problem, **options))
    ]
    np.testing.assert_array_equal(*runs)


def test_the_second_order_drift_adds_half_the_hessian_times_the_step():
    """-grad(L + (eta/4)|grad L|^2) = -(G + (eta/2) H G), with rates by weight -E (G + (1/2) H E G); noise as before."""
    decay, m, rates = 0.4, 4, np.array([0.1, 0.4, 0.7])
    g = batch_noise(WITH).mean + decay * FLAT
    h = hessian_of_the_mean() + decay * np.eye(3)
    for rate, by_weight in ((RATE, np.full(3, RATE)), ({"a": np.array([0.1, 0.4]), "b": np.array(0.7)}, rates)):
        maps = [
            affine_in_draws(sde(five_points(), m, order=order, weight_decay=decay).step, WITH, rate) for order in (1, 2)
        ]
        assert_equal(maps[0][0], -by_weight / m * g)
        assert_equal(maps[1][0], -by_weight / m * (g + h @ (by_weight * g) / 2))
        assert_equal(maps[0][1], maps[1][1])


@pytest.mark.parametrize("nesterov", [False, True])
def test_with_momentum_a_substep_is_that_of_the_diffusion_of_the_whole_state(nesterov):
    """From (theta, v) with v = 1.5, in units of steps: d theta = -eta (mu v ds + dg), dv = (mu - 1) v ds + dg."""
    m, mu = 8, 0.7
    with jax.enable_x64(True):
        start = jax.tree.map(jax.numpy.asarray, PARAMS)
        velocity = jax.tree.map(lambda leaf: jax.numpy.full(np.shape(leaf), 1.5), PARAMS)
        state = MomentumState(start, velocity, jax.numpy.array(True))
    mean, matrix = affine_in_draws(sde(five_points(), m, momentum=mu, nesterov=nesterov).step, WITH, start=state)
    g, sigma, _ = batch_noise(WITH)
    fresh = mu * 1.5 + g
    theta, weight = (g + mu * fresh, 1 + mu) if nesterov else (fresh, 1)
    assert_equal(m * mean, np.concatenate([-RATE * theta, fresh - 1.5]))
    blocks = [[RATE**2 * weight**2 * sigma, -RATE * weight * sigma], [-RATE * weight * sigma, sigma]]
    assert_equal(m * matrix @ matrix.T, np.block(blocks))
    printed = np.abs(np.block(blocks)) * np.sign(np.block([[sigma, sigma], [sigma, sigma]]))  # + off the diagonal
    assert np.abs(m * matrix @ matrix.T - printed).max() > RATE * np.abs(sigma).max()


# Series in the learning rate, exact.


@pytest.mark.parametrize("case", SHORT, ids=case_name)
def test_the_series_of_euler_maruyama_extrapolated_is_the_exact_table(case):
    """Infinitely many of the substeps tested above, at training_set="population": orders 0 to 4 as rational numbers."""
    land, steps, batch = landscape(case["landscape"]), int(case["hyper"]["T"]), int(case["hyper"]["B"])
    series = extrapolated({m: euler_maruyama_series(land, steps, batch, m, order=4) for m in (1, 2, 3, 4)})
    assert series == [Fraction(value) for value in case["sde"]]


@pytest.mark.parametrize("case", ONE_EPOCH, ids=case_name)
def test_the_second_order_drift_removes_the_difference_from_sgd_of_order_two(case):
    land, steps, batch = landscape(case["landscape"]), int(case["hyper"]["T"]), int(case["hyper"]["B"])
    series = extrapolated({m: euler_maruyama_series(land, steps, batch, m, 3, drift_order=2) for m in (1, 2, 3)})
    sgd, plain = ([Fraction(value) for value in case[name]] for name in ("test", "sde"))
    assert series[:3] == sgd[:3]
    assert plain[2] != sgd[2]
    assert series[3] != sgd[3]


def test_sgd_minus_sde_has_its_closed_form_at_orders_2_and_3():
    """diagrams.md 4.2, E = B = 1: the C:H term is in both; the non-Gaussian term is -(T/6) S:J, not its mirror image."""
    case = TABLE["cases"][0]
    land, T = landscape("cubic1"), 3
    T2 = T * (T - 1) // 2
    g, h, j = (cumulant(land, (n,)) for n in (1, 2, 3))
    c, s, gh = cumulant(land, (1, 1)), cumulant(land, (1, 1, 1)), cumulant(land, (1, 2))
    difference = [Fraction(a) - Fraction(b) for a, b in zip(case["test"], case["sde"], strict=True)]
    assert difference[:3] == [0, 0, -Fraction(T, 2) * g * h * g]
    gaussian = T2 * (j * g**3 / 2 + 2 * g * h * h * g)
    gaussian += T * (j * g**3 / 6 + 2 * g * h * h * g / 3 + c * j * g / 4 + c * h * h / 2 + 2 * gh * g * h / 4)
    assert difference[3] == gaussian - Fraction(T, 6) * s * j
    assert difference[3] != gaussian + Fraction(T, 6) * s * j


# Runs.

RATES = 0.02
COUNT = 200_000


@pytest.fixture(scope="module")
def cubic1():
    return one_weight()


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 2])
def test_runs_on_the_population_have_the_series_of_the_exact_table(cubic1, batch, seed):
    """z-scores against the table's orders 0 to 4; the bound allows the exact bias of 24 substeps and twice order 5."""
    m, steps = 24, 3 if batch == 1 else 2
    case = next(c for c in TABLE["cases"] if (c["hyper"]["T"], c["hyper"]["B"]) == (str(steps), str(batch)))
    table, sgds = (series_at([Fraction(x) for x in case[name]]) for name in ("sde", "test"))
    own = euler_maruyama_series(landscape("cubic1"), steps, batch, m, order=5)
    bound = abs(series_at(own[:5]) - table) + 2 * abs(float(own[5])) * RATES**5
    process, spacetime = sde(cubic1.problem, m), Spacetime(batch * steps, batch)
    runs = simulate(
        process, cubic1.params, spacetime, RATES, COUNT, jax.random.key(seed), every=steps, training_set="population",
        dtype="float64",
    )  # fmt: skip
    mean = runs.mean("test_loss")[-1]
    assert abs(mean.value - table) < 4.5 * mean.stderr + bound
    assert bound < 2 * mean.stderr
    assert abs(mean.value - sgds) > 6 * mean.stderr  # the check can tell the SDE from SGD


def series_at(coefficients):
    return sum(float(c) * RATES**k for k, c in enumerate(coefficients))


def test_noise_in_the_last_direction_only_gives_brownian_motion_of_the_right_variance(getkey):
    """Linear losses: Var X_T = eta^2 (D/B) T (N - B)/(N - 1) on a given set, whatever the substeps."""
    rows = np.array([[0.4, 0.0], [-1.0, 0.0], [2.1, 0.0], [0.3, 0.0]])
    spacetime, count = Spacetime(4, 2, 3), 20_000
    observe = {"x": lambda w, e: w[0], "y": lambda w, e: w[1]}
    variance = RATE**2 * rows[:, 0].var() / 2 * (2 / 3) * spacetime.num_steps
    mean = -RATE * spacetime.num_steps * rows[:, 0].mean()
    for m in (1, 5):
        runs = simulate(
            sde(linear_problem(rows), m), np.zeros(2), spacetime, RATE, count, getkey(), observe, 6, "given"
        )
        x = runs.observables["x"][:, -1]
        assert abs(x.mean() - mean) < 4.5 * np.sqrt(variance / count)
        assert abs(x.var() - variance) < 4.5 * variance * np.sqrt(2 / count)
        assert (runs.observables["y"] == 0).all()


def test_a_run_repeats_for_its_key_and_takes_rates_by_weight_and_by_step(getkey):
    problem, spacetime, key = five_points(), Spacetime(6, 2, 2), getkey()
    process, start = sde(problem, 2, order=2, injected_noise=0.3), problem.init(None)
    runs = [simulate(process, start, spacetime, 0.1, 4, key).observables["test_loss"] for _ in range(2)]
    np.testing.assert_array_equal(*runs)
    for rate in ({"a": np.full(2, 0.1), "b": np.array(0.1)}, np.full(6, 0.1)):
        same = simulate(process, start, spacetime, rate, 4, key).observables["test_loss"]
        np.testing.assert_allclose(same, runs[0], rtol=1e-5)


def test_injected_noise_adds_eta_squared_over_b_beta_squared_an_effective_step(getkey):
    flat = linear_problem(np.zeros((1, 2)))
    spacetime, beta, count = Spacetime(12, 4, 2), 3.0, 20_000
    for m in (1, 4):
        runs = simulate(
            sde(flat, m, injected_noise=beta), np.zeros(2), spacetime, 0.5, count, getkey(),
            {"square": lambda w, e: w[0] ** 2}, every=6,
        )  # fmt: skip
        square = runs.mean("square")[-1]
        assert abs(square.value - 6 * 0.5**2 * beta**2 / 4) < 4.5 * square.stderr


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"problem": 3}, TypeError, "problem is a int"),
        ({"num_substeps": 0}, ValueError, "num_substeps=0 is below 1"),
        ({"num_substeps": 2.0}, TypeError, "num_substeps=2.0 is not an integer"),
        ({"order": 3}, ValueError, "order=3 is above 2"),
        ({"order": "second"}, TypeError, "order='second'"),
        ({"order": 2, "momentum": 0.9}, ValueError, "order=2 came with momentum=0.9"),
        ({"momentum": 1.0}, ValueError, "momentum=1 is not below 1"),
        ({"weight_decay": -1}, ValueError, "weight_decay=-1"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        sde(**{"problem": five_points(), **arguments})


def test_a_process_is_equal_to_its_twin():
    problem = five_points()
    assert sde(problem, 4) == sde(problem, 4) != sde(problem, 5)
    assert sde(problem, 4).step == sde(problem, 4).step
