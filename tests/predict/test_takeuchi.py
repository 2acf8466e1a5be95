"""The stabilized Takeuchi term: by numpy, by all probes, by finite differences; weight decay found on toy and digits."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradnoise as gn
from brute_force import covariance, gradient_rows
from cases import CASES
from gradnoise import _tree
from gradnoise.predict.takeuchi import takeuchi_term
from gradnoise.predict.takeuchi_forms import DENSE_FORMS, dense_takeuchi, flat_problem, probed_takeuchi
from gradnoise.predict.travelled import travelled
from gradnoise.predict.tune_weight_decay import tune_weight_decay
from gradnoise.testbeds.quadratic import gap
from scripts import load_script

RATE, STEPS, DECAY = 0.3, 13, 0.2


@given(st.floats(-0.5, 8.0), st.integers(0, 40))
def test_travelled_is_the_sum_over_steps_whatever_the_curvature(h, steps):
    with jax.enable_x64(True):
        found = float(travelled(h, 0.25, steps))
    np.testing.assert_allclose(found, 0.25 * sum((1 - 0.25 * h) ** t for t in range(steps)), rtol=1e-12, atol=1e-14)


def toy(h=1.0, s=1.0, mu=2.0, signs=(-1.0, 1.0) * 50):
    """l_x = (H/2)(theta - mu)^2 + x S theta on this training set; balanced signs by default."""
    pool = np.asarray(signs, dtype=float)
    return gn.from_arrays(lambda w, x: h / 2 * (w - mu) ** 2 + x * s * w, lambda key: np.float64(0), pool, "toy")


@pytest.mark.parametrize("decay", [0.0, 0.7])
def test_on_mean_estimation_it_is_the_exact_gap(decay):
    """(1/N) sum_i C_ii (1 - (1 - eta h_i)^T)/h_i at h + lam, one of them 0 without decay: eta T C/N there."""
    pool = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    h, s = np.array([2.0, 0.0]), np.array([0.5, 1.5])
    problem = gn.from_arrays(lambda w, x: (h * w**2 / 2 + x * s * w).sum(), lambda key: np.zeros(2), pool)
    found = takeuchi_term(problem, np.ones(2), 0.1, 7, decay)
    assert found.stderr == 0
    assert found.value == pytest.approx(gap(h + decay, 4 / 3 * s**2, 0.1, 4, 7), rel=1e-13)


def whole_matrix(problem, params, decay):
    with jax.enable_x64(True):
        loss, flat, examples = flat_problem(problem, params)
        mean = lambda w: jax.vmap(loss, (None, 0))(w, examples).mean()  # noqa: E731
        hessian = np.asarray(jax.hessian(mean)(flat)) + decay * np.eye(len(flat))
    return sum(RATE * np.linalg.matrix_power(np.eye(len(hessian)) - RATE * hessian, t) for t in range(STEPS))


@pytest.mark.parametrize("name", ["two_weights", pytest.param("logistic", marks=pytest.mark.slow)])
def test_it_is_the_trace_with_all_matrices_formed(name):
    case = CASES[name]()
    rows = gradient_rows(case.problem, case.params)
    by_hand = np.trace(covariance(rows, ddof=1) @ whole_matrix(case.problem, case.params, DECAY)) / len(rows)
    assert takeuchi_term(case.problem, case.params, RATE, STEPS, DECAY).value == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("form", DENSE_FORMS)
def test_its_derivative_in_weights_and_decay_is_that_of_differences(form):
    """Along a direction, where curvatures coincide (shifting all logits is flat), forwards and backwards."""
    case = CASES["logistic"]()
    with jax.enable_x64(True):
        loss, flat, examples = flat_problem(case.problem, case.params)
        value = jax.jit(lambda at: DENSE_FORMS[form](loss, RATE, STEPS, at[:-1], at[-1], examples))
        at = jnp.append(flat, DECAY)
        along = jnp.asarray(np.random.default_rng(0).normal(size=len(at)))
        slope = float(jax.jvp(value, (at,), (along,))[1])
        steps = 1e-3 * np.array([1.0, 2.0])
        differences = [(value(at + e * along) - value(at - e * along)) / (2 * e) for e in steps]
        assert slope == pytest.approx(float(4 * differences[0] - differences[1]) / 3, rel=1e-8)
        assert slope == pytest.approx(float(jax.grad(value)(at) @ along), rel=1e-12)


@pytest.mark.slow
def test_over_all_signs_the_probes_are_the_trace_and_so_are_their_derivatives():
    """Lanczos of depth T/2 is exact, and the mean over all 2^n sign vectors leaves no noise."""
    case = CASES["logistic"]()
    with jax.enable_x64(True):
        loss, flat, examples = flat_problem(case.problem, case.params)
        signs = jnp.array(list(product([-1.0, 1.0], repeat=_tree.num_examples(examples))))[1:-1]
        share = len(signs) / (len(signs) + 2)  # the two constant sign vectors give nothing, and have no direction
        at = jnp.append(flat, DECAY)
        dense = jax.jit(lambda at: dense_takeuchi(loss, RATE, 8, at[:-1], at[-1], examples))
        probed = jax.jit(
            lambda at: share * probed_takeuchi(loss, RATE, 8, 4, at[:-1], at[-1], examples, signs)[:, 0].mean()
        )
        assert float(probed(at)) == pytest.approx(float(dense(at)), rel=1e-12)
        np.testing.assert_allclose(jax.grad(probed)(at), jax.grad(dense)(at), rtol=1e-7, atol=1e-12)
        last, one_less = share * probed_takeuchi(loss, RATE, 8, 3, at[:-1], at[-1], examples, signs).mean(0)
        assert abs(last - dense(at)) < abs(last - one_less)  # what the stated error of Lanczos rests on


@pytest.mark.parametrize("curvatures", [(1.0,), (2.0, 1.0, 1.0)])
def test_probes_are_right_where_lanczos_runs_out_of_directions(curvatures):
    """Fewer different curvatures than steps of Lanczos; of the probes two have no length, two look along an axis."""
    h, axes = np.array(curvatures), np.eye(len(curvatures))
    problem = gn.from_arrays(
        lambda w, x: (h * (w - x) ** 2).sum() / 2, lambda key: 0 * h, np.concatenate([axes, -axes])
    )
    with jax.enable_x64(True):
        loss, flat, examples = flat_problem(problem, 0 * h)
        signs = jnp.array(list(product([-1.0, 1.0], repeat=len(examples))))
        dense = dense_takeuchi(loss, RATE, 20, flat, 0.0, examples)
        probed = probed_takeuchi(loss, RATE, 20, len(h), flat, 0.0, examples, signs)
        np.testing.assert_allclose(probed[:, 0].mean(), dense, rtol=1e-12)
    found = takeuchi_term(problem, 0 * h, RATE, 20, num_probes=4, key=jax.random.key(0))
    assert np.isfinite([found.value, found.stderr]).all()


@pytest.mark.slow
def test_probes_find_the_dense_term_within_their_error(getkey):
    """A tanh network on digits with 650 weights, once formed and once by Lanczos, whose own error is far smaller."""
    problem = gn.testbeds.digits_mlp(60, width=8)
    params = problem.init(jax.random.key(0))
    dense = takeuchi_term(problem, params, 0.1, 60, 0.01)
    found = takeuchi_term(problem, params, 0.1, 60, 0.01, num_probes=60, key=getkey())
    assert dense.stderr == 0
    assert 0 < found.stderr < 0.2 * dense.value
    assert abs(found.value - dense.value) < 4.5 * found.stderr


@pytest.mark.slow
def test_leaving_out_by_formula_is_leaving_out_by_refitting():
    """Ridge regression, 12 examples, 6 weights: within a tenth of the refits, where the Takeuchi term is half of them."""
    x, noise = np.random.default_rng(1).normal(size=(12, 6)), np.random.default_rng(2).normal(size=12)
    y, lam = x @ np.arange(1.0, 7.0) + 3 * noise, 0.1

    def fit(rows):
        return np.linalg.solve(x[rows].T @ x[rows] / len(rows) + lam * np.eye(6), x[rows].T @ y[rows] / len(rows))

    whole, everyone = fit(np.arange(12)), np.arange(12)
    losses = [[(x[i] @ w - y[i]) ** 2 / 2 for w in (fit(everyone[everyone != i]), whole)] for i in everyone]
    refitted = float(np.mean([out - inside for out, inside in losses]))
    problem = gn.from_arrays(lambda w, e: (e["x"] @ w - e["y"]) ** 2 / 2, lambda key: np.zeros(6), {"x": x, "y": y})
    removal, plain = (
        takeuchi_term(problem, whole, 0.1, 5000, lam, form=form).value for form in ("removal", "takeuchi")
    )
    assert abs(removal - refitted) < 0.1 * refitted
    assert plain < 0.6 * refitted


# Weight decay on the toy: lam* = S^2/(N H mu^2)


def test_over_all_training_sets_the_objective_has_its_minimum_at_the_best_decay():
    """E R = E test = (H/2)[lam^2 mu^2 + S^2/N]/(H + lam)^2: the slope of R, theta following, vanishes in the mean."""
    h, s, mu, n = 1.5, 0.7, 1.2, 4
    best = s**2 / (n * h * mu**2)
    with jax.enable_x64(True):
        sets = jnp.array(list(product([-1.0, 1.0], repeat=n)))

        def objective(decay, x):
            loss = lambda w, e: h / 2 * (w[0] - mu) ** 2 + e * s * w[0]  # noqa: E731
            fitted = jnp.array([(h * mu - s * x.mean()) / (h + decay)])
            return jax.vmap(loss, (None, 0))(fitted, x).mean() + dense_takeuchi(loss, 0.3, 400, fitted, decay, x)

        mean = lambda decay: jax.vmap(objective, (None, 0))(decay, sets).mean()  # noqa: E731
        value, slope = jax.jit(jax.value_and_grad(mean))(best)
    assert abs(float(slope)) < 1e-12
    assert float(value) == pytest.approx(h * s**2 * mu**2 / (2 * (n * h**2 * mu**2 + s**2)), rel=1e-12)


def test_in_weights_and_decay_as_if_free_there_is_no_minimum():
    """min over theta of (H/2)(theta-mu)^2 + (lam/2) theta^2 + S^2/(N(H+lam)) rises or falls throughout in lam."""
    lam = np.logspace(-4, 3, 50)
    for h, s, mu, n in ((1.0, 1.0, 2.0, 100), (1.0, 3.0, 0.2, 10)):
        at_best_weights = h * mu**2 * lam / (2 * (h + lam)) + s**2 / (n * (h + lam))
        assert len(set(np.sign(np.diff(at_best_weights)))) == 1


@pytest.mark.parametrize(
    ("h", "s", "mu", "form", "start"),
    [(1.0, 1.0, 2.0, "takeuchi", 1.0), pytest.param(2.0, 1.5, 1.0, "removal", 1e-4, marks=pytest.mark.slow)],
)
def test_descent_finds_the_best_decay_of_the_toy_within_five_per_cent(h, s, mu, form, start):
    best = s**2 / (100 * h * mu**2)
    found = tune_weight_decay(toy(h, s, mu), np.float64(0), 0.1, 4000, start, form=form)
    assert abs(found.weight_decay / best - 1) < 0.05
    assert found.params == pytest.approx(h * mu / (h + found.weight_decay), rel=1e-3)
    assert np.abs(found.slopes[-5:]).max() < 1e-2 * np.abs(found.slopes).max()


# Digits


@pytest.fixture(scope="module")
def script():
    return load_script("tune_l2")


@pytest.mark.slow
def test_on_digits_it_is_within_one_grid_step_of_the_best_held_out_or_better(script):
    """A hundred digits, a fifth of them with random labels: 650 weights, far more than examples."""
    found = script.one_seed(seed=1, num_examples=100, mislabelled=0.2)
    assert script.within_one_step(found)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"problem": "digits"}, TypeError, "problem is a str"),
        ({"problem": toy(signs=[1.0])}, ValueError, "pool holds one example"),
        ({"learning_rate": 0}, ValueError, "learning_rate=0"),
        ({"num_steps": -1}, ValueError, "num_steps=-1"),
        ({"weight_decay": -0.1}, ValueError, "weight_decay"),
        ({"form": "akaike"}, ValueError, "form='akaike' is unknown"),
        ({"key": jax.random.key(0)}, ValueError, "key has no meaning"),
        ({"num_probes": 5}, ValueError, "key is missing"),
        ({"num_probes": 5, "form": "removal"}, ValueError, "form='removal' came with num_probes=5"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        takeuchi_term(**{"problem": toy(), "params": 0.0, "learning_rate": 0.1, "num_steps": 5, **arguments})


def test_what_cannot_be_tuned_is_said():
    with pytest.raises(ValueError, match="num_adjustments=40 does not divide num_steps=50"):
        tune_weight_decay(toy(), np.float64(0), 0.1, 50)
    wide = gn.from_arrays(lambda w, x: x * (w**2).sum(), lambda key: np.zeros(1001), np.ones(3))
    with pytest.raises(ValueError, match="params holds 1001 weights"):
        tune_weight_decay(wide, np.zeros(1001), 0.1, 40)


def test_a_descent_that_diverges_is_said():
    with pytest.raises(ValueError, match=r"learning_rate=5\.0 .* infinite after 100 of 4000 steps"):
        tune_weight_decay(toy(), np.float64(0), 5.0, 4000)


def test_removal_has_no_value_where_one_example_holds_all_the_curvature():
    """Only the first example curves the loss: without it the model has no minimum."""
    examples = {"h": np.array([2.0, 0.0]), "g": np.array([1.0, -1.0])}
    problem = gn.from_arrays(lambda w, e: e["h"] * w**2 / 2 + e["g"] * w, lambda key: np.float64(0.0), examples)
    with pytest.raises(ValueError, match="without one of the examples"):
        takeuchi_term(problem, 0.0, learning_rate=0.1, num_steps=100_000, form="removal")
