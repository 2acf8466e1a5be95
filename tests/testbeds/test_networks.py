"""The stock models: sizes, smooth losses per example, penalties left out of what is measured."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradnoise import testbeds
from gradnoise.testbeds import networks


def size(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def mean_loss(problem, params):
    return float(jax.jit(jax.vmap(problem.loss, (None, 0)))(params, problem.pool).mean())


@pytest.mark.parametrize(("name", "weights"), [("digits-mlp", 2410), ("digits-logistic", 650)])
def test_digits_models_start_near_the_uniform_guess(name, weights):
    problem = testbeds.problem(name)
    params = problem.init(jax.random.key(0))
    assert size(params) == weights
    assert mean_loss(problem, params) == pytest.approx(np.log(10), abs=0.1)


def test_one_key_gives_one_start_in_both_precision_modes():
    problem = testbeds.digits_mlp(num_pool=2)
    narrow = problem.init(jax.random.key(3))
    with jax.enable_x64(True):
        wide = problem.init(jax.random.key(3))
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(narrow), jax.tree.leaves(wide), strict=True))


def test_cross_entropy_is_minus_the_log_probability_of_the_label(rng):
    model = networks.logistic(num_features=4, num_outputs=3)
    params = model.init(jax.random.key(0))
    x = rng.normal(size=4)
    logits = np.asarray(params.weight) @ x + np.asarray(params.bias)
    expected = -np.log(np.exp(logits[2]) / np.exp(logits).sum())
    assert float(model.loss(params, {"x": jnp.asarray(x), "y": 2})) == pytest.approx(expected, rel=1e-5)


def test_accuracy_is_one_exactly_where_the_label_has_the_largest_logit():
    model = networks.logistic(num_features=1, num_outputs=3)
    params = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0)))
    biased = jax.tree_util.tree_map(lambda leaf: jnp.array([0.0, 2.0, 1.0]) if leaf.shape == (3,) else leaf, params)
    values = [float(model.metrics["accuracy"](biased, {"x": jnp.zeros(1), "y": label})) for label in range(3)]
    assert values == [0.0, 1.0, 0.0]


def test_regression_is_half_the_squared_error_and_has_no_accuracy(rng):
    model = networks.mlp(num_features=2, num_outputs=3, task="regression")
    params = model.init(jax.random.key(0))
    x, y = jnp.asarray(rng.normal(size=2)), jnp.asarray(rng.normal(size=3))
    first, second = params.layers
    output = second.weight @ jnp.tanh(first.weight @ x + first.bias) + second.bias
    assert float(model.loss(params, {"x": x, "y": y})) == pytest.approx(float(((output - y) ** 2).sum() / 2), rel=1e-5)
    assert model.metrics == {}


@pytest.mark.parametrize("make", [networks.logistic, networks.mlp])
def test_the_penalty_is_in_the_loss_and_not_in_what_is_measured(make):
    model = make(num_features=2, num_outputs=3, weight_l2=0.01)
    params, example = model.init(jax.random.key(0)), {"x": jnp.ones(2), "y": 1}
    square = sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(params))
    difference = float(model.loss(params, example) - model.measured(params, example))
    assert difference == pytest.approx(0.005 * square, rel=1e-4)


@pytest.mark.parametrize("activation", networks.ACTIVATIONS)
def test_every_stock_network_stays_in_float64(activation):
    model = networks.mlp(num_features=2, num_outputs=3, activation=activation, width=4, depth=3, weight_l2=0.1)
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: leaf.astype(np.float64), model.init(jax.random.key(0)))
        value = jax.jit(model.loss)(params, {"x": np.ones(2), "y": np.int32(1)})
    assert value.dtype == np.float64
    assert np.isfinite(value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"activation": "relu"}, "activation='relu' is unknown"),
        ({"task": "ranking"}, "task='ranking' is unknown"),
        ({"width": 0}, "width=0"),
        ({"depth": 0}, "depth=0"),
        ({"weight_l2": -1.0}, "weight_l2=-1"),
    ],
)
def test_wrong_options_are_told(options, words):
    with pytest.raises(ValueError, match=words):
        networks.mlp(num_features=2, num_outputs=2, **options)
