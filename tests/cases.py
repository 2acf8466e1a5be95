"""A few small problems that feed every quantity in the tests: same numbers on every run, weights in float64.

from cases import CASES
case = CASES["two_weights"]()
case.problem, case.params
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from gradnoise.problem import Problem, from_arrays
from gradnoise.testbeds import networks, polynomial_landscape

CUBIC1 = [
    ("1/3", {"1": "2", "2": "1/2", "3": "1/3", "4": "1/5"}),
    ("2/3", {"0": "1", "1": "-1", "2": "3/2", "3": "-1/2"}),
]
"""The landscape cubic1 of exact_table.json; start 1/2."""

TWO_WEIGHTS = [
    ("1/4", {"1,0": "1", "2,0": "1/2", "0,2": "1", "2,1": "1/3"}),
    ("1/4", {"0,1": "-1", "1,1": "1/2", "2,0": "1", "0,3": "1/4"}),
    ("1/2", {"1,0": "-1/2", "0,1": "1", "0,2": "1/2", "1,2": "-1/4", "3,0": "1/5"}),
]
THREE_WEIGHTS = [
    ("1/5", {"1,0,0": 1, "2,0,0": "1/2", "0,1,1": "1/3", "1,1,1": "1/2"}),
    ("2/5", {"0,1,0": -1, "0,2,0": 1, "0,0,3": "1/3", "1,0,1": "1/4"}),
    ("2/5", {"0,0,1": "1/2", "0,0,2": 1, "2,1,0": "-1/3", "0,0,0": 2, "1,0,0": "-1/2"}),
]


class Case(NamedTuple):
    """A problem with a pool, and the weights at which to look at it."""

    problem: Problem
    params: Any


def one_weight() -> Case:
    """cubic1: one weight, degree 4, three examples of two kinds."""
    return _at_start(polynomial_landscape(CUBIC1, ["1/2"], name="cubic1"))


def two_weights() -> Case:
    """Two weights, mixed monomials to degree 3, four examples of three kinds."""
    return _at_start(polynomial_landscape(TWO_WEIGHTS, ["1/3", "-1/2"], name="two weights"))


def three_weights() -> Case:
    """Three weights, mixed monomials to degree 3, five examples of three kinds."""
    return _at_start(polynomial_landscape(THREE_WEIGHTS, ["1/4", "1/2", "-1/3"], name="three weights"))


def logistic() -> Case:
    """Softmax regression: six examples, two features, three classes; nine weights."""
    model = networks.logistic(num_features=2, num_outputs=3)
    return _at_start(from_arrays(model.loss, model.init, _labelled(6, 2, 3), "logistic", metrics=model.metrics))


def penalized_held_out() -> Case:
    """Softmax regression with a penalty that `measured` leaves out, and five held-out examples."""
    model = networks.logistic(num_features=2, num_outputs=3, weight_l2=0.1)
    pool, test_pool = _labelled(6, 2, 3), _labelled(5, 2, 3, seed=1)
    return _at_start(
        from_arrays(model.loss, model.init, pool, "penalized", model.measured, test_pool, metrics=model.metrics)
    )


def mlp() -> Case:
    """A tanh network 2-3-2 on five examples; 17 weights."""
    model = networks.mlp(num_features=2, num_outputs=2, width=3)
    return _at_start(from_arrays(model.loss, model.init, _labelled(5, 2, 2), "mlp", metrics=model.metrics))


CASES: Mapping[str, Callable[[], Case]] = {
    "one_weight": one_weight,
    "two_weights": two_weights,
    "three_weights": three_weights,
    "logistic": logistic,
    "penalized_held_out": penalized_held_out,
    "mlp": mlp,
}


def _at_start(problem: Problem) -> Case:
    params = problem.init(jax.random.key(0))
    return Case(problem, jax.tree.map(lambda leaf: np.asarray(leaf, dtype=np.float64), params))


def _labelled(num_examples: int, num_features: int, num_classes: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Features of two decimals, labels 0, 1, ..., in turn."""
    features = np.random.default_rng(seed).normal(size=(num_examples, num_features)).round(2)
    return {"x": features, "y": np.arange(num_examples, dtype=np.int32) % num_classes}
