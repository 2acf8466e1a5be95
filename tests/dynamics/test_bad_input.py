"""Every wrong call is answered before anything runs, by a sentence that names the argument."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradnoise._memory import parse_memory
from gradnoise.dynamics.cost import estimate_simulation
from gradnoise.dynamics.discrete import gradient_descent, sgd
from gradnoise.dynamics.gradient_flow import gradient_flow
from gradnoise.dynamics.prepare import make_inputs, make_setup
from gradnoise.dynamics.sde import sde
from gradnoise.dynamics.simulate import simulate
from gradnoise.dynamics.svag import svag
from gradnoise.problem import Problem, from_arrays
from gradnoise.spacetime import Spacetime

POOL = {"x": np.ones((5, 2)), "y": np.zeros(5)}
START = np.array([0.5, 0.5])
RANDOM = np.random.default_rng(0)


def loss(w, e):
    return (e["x"] @ w - e["y"]) ** 2


PROBLEM = from_arrays(loss, lambda key: START, POOL)
ENDLESS = Problem(loss, lambda key, n: {"x": jax.random.normal(key, (n, 2)), "y": jnp.zeros(n)}, lambda key: START)
GRID = Spacetime(4, 2, 3)


def changed(function):
    return sgd(from_arrays(function, lambda key: START, POOL))


SHARED = [
    ({"process": "sgd"}, TypeError, "process is str"),
    ({"process": sgd}, TypeError, "process is function"),
    ({"spacetime": (4, 2)}, TypeError, "spacetime is tuple"),
    ({"params": np.array([1, 2])}, TypeError, "params"),
    ({"params": np.array([np.nan, 1.0])}, ValueError, "params"),
    ({"params": {}}, ValueError, "params"),
    ({"num_replicas": 0}, ValueError, "num_replicas=0"),
    ({"num_replicas": 2.5}, TypeError, "num_replicas=2.5"),
    ({"num_replicas": True}, TypeError, "num_replicas=True"),
    ({"every": 0}, ValueError, "every=0"),
    ({"every": 4}, ValueError, r"every=4 does not divide num_steps=6.*2, 3, 6"),
    ({"every": "all"}, TypeError, "every='all'"),
    ({"training_set": "drwan"}, ValueError, "training_set='drwan'.*Did you mean 'drawn'"),
    ({"training_set": "given"}, ValueError, 'training_set="given".*num_examples=4 came with a pool of 5'),
    ({"training_set": "given", "process": sgd(ENDLESS)}, ValueError, "no pool"),
    ({"training_set": "population", "process": gradient_descent(ENDLESS)}, ValueError, "has no pool"),
    ({"observe": [len]}, TypeError, "observe is list"),
    ({"observe": {"norm": 3}}, TypeError, r"observe\['norm'\] is int"),
    ({"observe": {"gap": lambda w, e: w[0]}}, ValueError, r"observe\['gap'\]"),
    ({"observe": {"w": lambda w, e: w}}, ValueError, r"observe\['w'\] gives shape \(2,\)"),
    ({"dtype": "float16"}, ValueError, "dtype='float16'"),
    ({"dtype": float}, ValueError, "dtype"),
    ({"memory": "lots"}, ValueError, "memory='lots'"),
    ({"memory": -1}, ValueError, "memory=-1"),
    ({"memory": 2.5}, TypeError, "memory=2.5"),
    ({"memory": "100MiB"}, ValueError, "memory=100 MiB does not hold one run.*at least"),
    ({"num_test_draws": 10}, ValueError, "num_test_draws=10"),
    ({"num_test_draws": 0, "process": sgd(ENDLESS)}, ValueError, "num_test_draws=0"),
    ({"process": changed(lambda w, e: w)}, ValueError, r"loss gives shape \(2,\)"),
    ({"process": changed(lambda w, e: loss(w, e) * RANDOM.normal())}, ValueError, "loss is random"),
    ({"process": changed(lambda w, e: jnp.log(-w[0]))}, ValueError, "loss is nan"),
    ({"process": changed(lambda w, e: loss(w, e).astype("float32")), "dtype": "float64"}, TypeError, "float32"),
]

ONLY_SIMULATE = [
    ({"key": 0}, TypeError, "key=0"),
    ({"key": None}, TypeError, "key=None"),
    ({"key": jax.random.split(jax.random.key(0), 2)}, TypeError, "key="),
    ({"learning_rate": float("nan")}, ValueError, "learning_rate holds nan"),
    ({"learning_rate": -0.1}, ValueError, "learning_rate holds -0.1"),
    ({"learning_rate": "fast"}, TypeError, "learning_rate is 'fast'"),
    ({"learning_rate": {"w": 0.1}}, ValueError, "learning_rate has another structure"),
    ({"learning_rate": np.full(5, 0.1)}, ValueError, r"learning_rate has shape \(5,\)"),
    ({"learning_rate": lambda step: -1.0}, ValueError, "learning_rate holds -1"),
    ({"learning_rate": lambda step: "x"}, TypeError, "learning_rate gives 'x' at step 0"),
    (
        {"learning_rate": np.full(2, 0.1), "spacetime": Spacetime(4, 2)},
        ValueError,
        r"learning_rate has shape \(2,\), which",
    ),
    ({"progress": 5}, TypeError, "progress is int"),
    ({"checkpoint": 5}, TypeError, "checkpoint is int, expected"),
    ({"process": sgd(PROBLEM, weight_decay=4), "learning_rate": 0.5}, ValueError, "weight_decay=4 times .*=0.5 is 2,"),
    (
        {"process": svag(PROBLEM, 1, weight_decay=30)},
        ValueError,
        "weight_decay=30 times learning_rate=0.1 is 3, expected",
    ),
    ({"process": sde(PROBLEM, weight_decay=30)}, ValueError, "weight_decay=30 times learning_rate=0.1 is 3, expected"),
    (
        {"process": sgd(PROBLEM, weight_decay=4), "learning_rate": lambda step: 0.1 * step},
        ValueError,
        "weight_decay=4 times learning_rate=0.5 is 2,",
    ),
    (
        {"process": sgd(PROBLEM, weight_decay=4), "learning_rate": np.array([0.1, 0.6])},
        ValueError,
        "weight_decay=4 times learning_rate=0.6 is 2.4,",
    ),
]


def refused(function, arguments, error, words, **defaults):
    with pytest.raises(error) as raised:
        function(**{**defaults, **arguments})
    sentence = str(raised.value)
    assert re.search(words, sentence), sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(("arguments", "error", "words"), SHARED + ONLY_SIMULATE)
def test_simulate_says_what_is_wrong(arguments, error, words):
    refused(
        simulate, arguments, error, words, process=sgd(PROBLEM), params=START, spacetime=GRID, learning_rate=0.1,
        num_replicas=2, key=jax.random.key(0),
    )  # fmt: skip


@pytest.mark.parametrize(("arguments", "error", "words"), SHARED)
def test_estimate_simulation_says_what_is_wrong(arguments, error, words):
    refused(
        estimate_simulation, arguments, error, words, process=sgd(PROBLEM), params=START, spacetime=GRID, num_replicas=2
    )


@pytest.mark.parametrize("amount", ["", "GiB", "2 parsecs", "-1GiB", "nan", 0, 1.5, None, True])
def test_amounts_of_memory_that_are_none_are_refused(amount):
    with pytest.raises((TypeError, ValueError), match="memory="):
        parse_memory(amount)


def test_a_start_that_is_new_to_a_known_problem_is_still_checked():
    problem = from_arrays(lambda w, e: jnp.sum(jnp.sqrt(w)), lambda key: START, POOL)
    simulate(sgd(problem), START, GRID, 0.01, 2, jax.random.key(0))
    with pytest.raises(ValueError, match="loss is nan at params"):
        simulate(sgd(problem), -START, GRID, 0.01, 2, jax.random.key(0))


def test_decay_just_below_two_passes_and_a_flow_takes_any():
    for process, rate in ((sgd(PROBLEM, weight_decay=4), 0.499), (gradient_flow(PROBLEM, weight_decay=4), 0.6)):
        make_inputs(make_setup(process, GRID, "drawn", None, "float32", None), START, rate, jax.random.key(0))


@pytest.mark.parametrize(
    ("l", "error", "words"),
    [
        (0, ValueError, "l=0 is below 1"),
        (-3, ValueError, "l=-3 is below 1"),
        (1.5, TypeError, "l=1.5 is not an integer"),
        ("4", TypeError, "l='4' is not an integer"),
        (float("nan"), TypeError, "l=nan is not an integer"),
        (None, TypeError, "l=None is not an integer"),
        (True, TypeError, "l=True is not an integer"),
    ],
)
def test_svag_says_what_is_wrong_with_l(l, error, words):
    refused(svag, {"l": l}, error, words, problem=PROBLEM)


@pytest.mark.parametrize("sampling", ["fixed", "reshuffle", "subset"])
def test_a_batch_larger_than_the_training_set_needs_replacement(sampling):
    with pytest.raises(ValueError, match=r"batch_size=5.*num_examples=4") as raised:
        Spacetime(4, 5, 4, sampling)
    assert "\n" not in str(raised.value)
    assert Spacetime(4, 5, sampling="with_replacement", num_steps=3).batch_size == 5
