"""The stock convolutional network: the same as equinox's convolutions, smooth, and as easy to study as the others."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradnoise as gn
from gradnoise.problem import probe_problem
from gradnoise.smoothness import kinks
from gradnoise.testbeds import networks


def size(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def problem_of(model, num_features, rng, num_examples=4):
    x, y = rng.normal(size=(num_examples, num_features)), np.arange(num_examples, dtype=np.int32) % 3
    return gn.from_arrays(model.loss, model.init, {"x": x, "y": y}, "conv", model.measured, metrics=model.metrics)


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "depth"),
    [pytest.param((1, 8, 8), 3, 2, 2, marks=pytest.mark.slow), ((3, 7, 9), 2, 1, 3)],
)
def test_it_is_equinox_convolutions_and_a_linear_layer(shape, kernel, stride, depth, rng):
    model = networks.conv(np.prod(shape), 3, 4, depth, kernel, stride, image_shape=shape, task="regression")
    params, maps = model.init(jax.random.key(1)), jnp.asarray(rng.normal(size=shape), jnp.float32)
    x, before = maps, shape[0]
    for layer in params.layers[:-1]:
        other = eqx.nn.Conv2d(before, 4, kernel, stride, key=jax.random.key(0))
        assert other.bias is not None
        weights = layer.weight.reshape(other.weight.shape), layer.bias.reshape(other.bias.shape)
        maps = jnp.tanh(eqx.tree_at(lambda c: (c.weight, c.bias), other, weights)(maps))
        before = 4
    expected = params.layers[-1].weight @ maps.reshape(-1) + params.layers[-1].bias
    loss = model.loss(params, {"x": x, "y": jnp.zeros(3)})
    assert float(loss) == pytest.approx(float((expected**2).sum() / 2), rel=1e-5)


def test_an_image_may_come_flat_or_in_its_shape(rng):
    model = networks.conv(3 * 6 * 6, 2, depth=1)
    params, x = model.init(jax.random.key(0)), jnp.asarray(rng.normal(size=(3, 6, 6)), jnp.float32)
    flat, shaped = (float(model.loss(params, {"x": image, "y": 1})) for image in (x.reshape(-1), x))
    assert flat == shaped


@pytest.mark.parametrize(("features", "weights"), [(64, 754), (14 * 14, 994), (28 * 28, 3554)])
def test_it_is_small_and_starts_near_the_uniform_guess(features, weights, rng):
    problem = problem_of(networks.conv(features, 10), features, rng)
    params = problem.init(jax.random.key(0))
    assert size(params) == weights
    assert float(jax.vmap(problem.loss, (None, 0))(params, problem.pool).mean()) == pytest.approx(np.log(10), abs=0.4)


@pytest.mark.parametrize("activation", networks.ACTIVATIONS)
def test_it_passes_the_probe_in_float64_and_has_no_kinks(activation, rng):
    problem = problem_of(networks.conv(64, 3, channels=2, activation=activation, weight_l2=0.1), 64, rng)
    params = problem.init(jax.random.key(0))
    with jax.enable_x64(True):
        probe_problem(problem, params, problem.pool)
    assert not kinks(problem, params)


@pytest.mark.slow
def test_it_can_be_simulated_and_predicted(rng, getkey):
    problem = problem_of(networks.conv(36, 3, channels=2, depth=1), 36, rng)
    params, grid = problem.init(getkey()), gn.Spacetime(4, 2)
    path = gn.predict_path(problem, params, grid, learning_rate=0.1)
    runs = gn.simulate(gn.sgd(problem), params, grid, 0.1, 500, getkey())
    found, curve = runs.mean("test_loss"), path.curve()
    assert abs(found.value[-1] - curve.value[-1]) < 5 * found.stderr[-1]


def test_a_file_of_images_will_do(rng, tmp_path):
    np.savez(tmp_path / "images.npz", x=rng.normal(size=(5, 3, 6, 6)), y=[0, 1, 2, 0, 1])
    problem = gn.testbeds.problem_from_data(tmp_path / "images.npz", "conv", depth=1, channels=2)
    assert size(problem.init(jax.random.key(0))) == 3 * 9 * 2 + 2 + 2 * 4 * 3 + 3
    np.savez(tmp_path / "rows.npz", x=rng.normal(size=(5, 7)), y=[0, 1, 2, 0, 1])
    with pytest.raises(ValueError, match="num_features=7 is no square image"):
        gn.testbeds.problem_from_data(tmp_path / "rows.npz", "conv")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_features": 60}, "num_features=60 is no square image"),
        ({"num_features": 64, "image_shape": (1, 8, 9)}, r"image_shape=\(1, 8, 9\)"),
        ({"num_features": 64, "image_shape": (8, 8)}, r"image_shape=\(8, 8\)"),
        ({"num_features": 64, "depth": 3}, "depth=3 layers with kernel=3 and stride=2 use up an image of 8 x 8"),
        ({"num_features": 64, "activation": "relu"}, "activation='relu' is unknown"),
        ({"num_features": 64, "channels": 0}, "channels=0"),
        ({"num_features": 64, "stride": 0}, "stride=0"),
    ],
)
def test_wrong_options_are_told_before_any_weights_are_drawn(options, words):
    with pytest.raises(ValueError, match=words):
        networks.conv(num_outputs=3, **options)
