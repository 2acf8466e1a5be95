"""What a problem is, and what is found before anything is measured."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradnoise as gn
from gradnoise.problem import penalized, probe_problem

POOL = np.random.default_rng(0).normal(size=(5, 2))


def init(key):
    return jnp.zeros(2)


def square(w, x):
    return (w @ x) ** 2


def probe(loss, params=(0.1, 0.2), **options):
    with jax.enable_x64(True):
        problem = gn.from_arrays(loss, init, POOL, **options)
        probe_problem(problem, np.array(params), jnp.asarray(POOL))


def random_loss():
    rng = np.random.default_rng(0)
    return lambda w, x: (w @ x) ** 2 * rng.uniform()


FAULTY = [
    (lambda w, x: w * x, "loss gives shape \\(2,\\)"),
    (lambda w, x: (w @ x).astype("float32") ** 2, "float32"),
    (lambda w, x: jnp.sum((w.astype("float32") * x) ** 2).astype("float64"), "drops to float32"),
    (lambda w, x: jnp.log(-jnp.abs(w @ x) - 1), "loss is nan at params on example 0"),
    (random_loss(), "loss is random"),
]


@pytest.mark.parametrize(("loss", "word"), FAULTY, ids=["no-scalar", "float32", "narrowing", "nan", "random"])
def test_a_loss_that_cannot_be_studied_is_found_before_anything_is_measured(loss, word):
    with pytest.raises((ValueError, TypeError), match=word):
        probe(loss)
    with pytest.raises((ValueError, TypeError), match=word):
        gn.diagram_values(gn.from_arrays(loss, init, POOL), np.array([0.1, 0.2]), max_order=1)


@pytest.mark.parametrize(("loss", "word"), FAULTY, ids=["no-scalar", "float32", "narrowing", "nan", "random"])
def test_the_measured_function_is_probed_too(loss, word):
    with pytest.raises((ValueError, TypeError), match=word.replace("loss", "(measured|loss)")):
        probe(square, measured=loss)


def test_a_sound_problem_passes():
    probe(square, measured=lambda w, x: jnp.tanh(w @ x))


@pytest.mark.parametrize("params", [(np.nan, 0.0), (np.inf, 1.0)])
def test_params_that_are_not_finite_are_named(params):
    with pytest.raises(ValueError, match=r"params.*NaN or infinity"):
        probe(square, params)


def test_draws_from_a_pool_are_uniform_with_replacement(getkey):
    problem = gn.from_arrays(lambda w, x: w * x, lambda key: 0.0, np.arange(4))
    counts = np.bincount(np.asarray(problem.sample(getkey(), 40_000)), minlength=4)
    assert np.all(np.abs(counts - 10_000) < 5 * np.sqrt(40_000 * 3 / 16))


def test_the_three_settings_say_their_names():
    assert gn.from_arrays(square, init, POOL).setting == "population"
    assert gn.from_arrays(square, init, POOL, test_pool=POOL[:2]).setting == "held out"
    given = gn.simulate(
        gn.sgd(gn.from_arrays(square, init, POOL)), np.ones(2), gn.Spacetime(5, 1), 0.01, 2, jax.random.key(0),
        training_set="given",
    )  # fmt: skip
    assert given.setting == "this training set"


def test_the_penalty_is_in_the_loss_and_not_in_what_is_measured():
    problem = penalized(gn.from_arrays(square, init, POOL), 0.5)
    w = np.array([1.0, 2.0])
    assert float(problem.loss(w, POOL[0])) == pytest.approx((w @ POOL[0]) ** 2 + 0.25 * 5)
    assert problem.measured_loss is square


BAD_CALLS = [
    (lambda: gn.Problem(3, lambda key, n: POOL, init), TypeError, "loss is int"),
    (lambda: gn.Problem(square, None, init), TypeError, "sample is NoneType"),
    (lambda: gn.Problem(square, lambda key, n: POOL, init, metrics={"accuracy": 1}), TypeError, "accuracy is int"),
    (lambda: gn.from_arrays(square, init, np.zeros((0, 2))), ValueError, "pool holds no examples"),
    (lambda: gn.from_arrays(square, init, {"x": POOL, "y": POOL[:3]}), ValueError, "lengths differ"),
    (lambda: gn.from_arrays(square, init, np.array([[1.0, np.nan]])), ValueError, "pool holds NaN"),
    (lambda: gn.from_arrays(square, init, np.array(["a", "b"])), TypeError, "pool has dtype"),
    (lambda: gn.from_arrays(square, init, POOL, test_pool={"x": POOL}), ValueError, "test_pool has another structure"),
    (lambda: gn.from_arrays(square, init, 3.0), ValueError, "pool is a single number"),
    (lambda: penalized(gn.from_arrays(square, init, POOL), -1), ValueError, "weight_decay=-1"),
    (lambda: gn.Estimate(np.zeros(2), 0.1, 3), ValueError, "stderr has shape"),
    (lambda: gn.diagram_values(square, np.zeros(2)), TypeError, "problem is a function"),
    (lambda: gn.noise_scale(square, np.zeros(2)), TypeError, "problem is a function"),
]


@pytest.mark.parametrize(("call", "error", "word"), BAD_CALLS, ids=[word for _, _, word in BAD_CALLS])
def test_a_wrong_call_is_one_sentence_that_names_the_argument(call, error, word):
    with pytest.raises(error, match=word):
        call()
