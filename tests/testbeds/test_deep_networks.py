"""ResNet, PreResNet and VGG: their layers are the known ones, their sizes by formula, and they have no kinks."""

from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradnoise as gn
from gradnoise.problem import probe_problem
from gradnoise.smoothness import kinks
from gradnoise.testbeds import datasets
from gradnoise.testbeds.catalogue import MODELS
from gradnoise.testbeds.image_layers import Convolution, group_norm, mean_pool
from gradnoise.testbeds.residual import preresnet, resnet
from gradnoise.testbeds.vgg import vgg

TINY = {
    "resnet": lambda **options: resnet(16, 3, width=2, norm_groups=1, **options),
    "preresnet": lambda **options: preresnet(16, 3, width=2, norm_groups=1, **options),
    "vgg": lambda **options: vgg(16, 3, stages=(1, 1), width=2, norm_groups=1, **options),
}


def size(model):
    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(model.init, jax.random.key(0))))


def problem_of(model, num_features=16, num_examples=3):
    random = np.random.default_rng(0)
    pool = {"x": random.normal(size=(num_examples, num_features)), "y": np.arange(num_examples, dtype=np.int32) % 3}
    return gn.from_arrays(model.loss, model.init, pool, "deep", model.measured, metrics=model.metrics)


# Layers


@pytest.mark.parametrize(
    ("shape", "kernel", "stride"),
    [
        ((3, 7, 6), 3, 2),
        ((3, 7, 6), 1, 2),
        pytest.param((3, 7, 6), 3, 1, marks=pytest.mark.slow),
        pytest.param((1, 8, 8), 5, 2, marks=pytest.mark.slow),
    ],
)
def test_a_convolution_on_patches_is_the_one_of_lax(kernel, stride, shape, rng):
    weight = rng.normal(size=(4, shape[0], kernel, kernel)).astype(np.float32)
    maps = rng.normal(size=shape).astype(np.float32)
    layer = eqx.tree_at(
        lambda layer: (layer.weight, layer.bias),
        Convolution(shape[0], 4, jax.random.key(0), kernel, stride, bias=True),
        (weight.reshape(4, -1), np.arange(4, dtype=np.float32)),
    )
    pad = [(kernel // 2, kernel // 2)] * 2
    other = jax.lax.conv_general_dilated(maps[None], weight, (stride, stride), pad)[0] + np.arange(4.0)[:, None, None]
    np.testing.assert_allclose(layer(maps), other, rtol=1e-5, atol=1e-5)


def test_weights_begin_with_variance_2_over_fan_in():
    weight = np.asarray(Convolution(16, 64, jax.random.key(0)).weight)
    spread = np.sqrt(2 / weight.size)  # of an estimated variance, relative
    assert abs(weight.var() / (2 / (16 * 9)) - 1) < 4.5 * spread


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_norm_forgets_scale_and_shift_of_each_group(groups, rng):
    """Up to epsilon: norm(c z + s) at epsilon c^2 is norm(z) at epsilon, so c = 1000 leaves z's rounding and epsilon."""
    maps = rng.normal(size=(4, 3, 2))
    factors, shifts = (
        np.repeat(part, 4 // groups)[:, None, None] for part in (1e3 ** rng.random(groups), rng.normal(size=groups))
    )
    with jax.enable_x64(True):
        norm = group_norm(4, groups)
        plain, moved = (np.asarray(norm(jnp.asarray(each))) for each in (maps, factors * maps + shifts))
        bound = 1e-5 / 2 / maps.reshape(groups, -1).var(axis=1).min() * np.abs(plain).max() + 1e-6
        np.testing.assert_allclose(moved, plain, atol=bound)
        np.testing.assert_allclose(plain.reshape(groups, -1).mean(axis=1), 0, atol=1e-12)


def test_pooling_is_the_mean_of_windows_and_leaves_out_an_odd_end(rng):
    maps = rng.normal(size=(2, 5, 4))
    expected = [
        [[maps[c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean() for j in (0, 1)] for i in (0, 1)] for c in (0, 1)
    ]
    np.testing.assert_allclose(mean_pool(jnp.asarray(maps)), expected, rtol=1e-5)


# Sizes


@pytest.mark.parametrize("depth", [8, 14, 20])
@pytest.mark.parametrize("width", [4, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_residual_networks_have_their_number_of_weights(depth, width, channels):
    """Of each stage 2n 3 x 3 convolutions, 2n norms, a shortcut where the width doubles; the first layer; the last."""
    n = (depth - 2) // 6
    w = [width, width, 2 * width, 4 * width]
    convolutions = sum(9 * before * after + (2 * n - 1) * 9 * after**2 for before, after in pairwise(w))
    shortcuts = width * 2 * width + 2 * width * 4 * width
    ends = 9 * channels * width + 4 * width * 10 + 10
    norms = 2 * width + 2 * sum(2 * n * after for after in w[1:])
    for model in (resnet, preresnet):
        assert size(model(channels * 64, 10, depth, width)) == convolutions + shortcuts + ends + norms


def test_the_networks_of_the_papers_have_the_known_sizes():
    """ResNet-20 has 269,722 weights and two 1 x 1 shortcuts more; VGG-16 for CIFAR 14,728,266 with biases and norms."""
    assert size(resnet(3072, 10, 20, 16)) == 269_722 + 16 * 32 + 32 * 64
    options, units = {"stages": (2, 2, 3, 3, 3), "width": 64}, 4224
    assert size(vgg(3072, 10, **options)) == 14_728_266 - units
    assert size(vgg(3072, 10, norm_groups=None, **options)) == 14_728_266 - 2 * units


# Networks


@pytest.mark.slow
@pytest.mark.parametrize("kind", TINY)
def test_gradients_are_finite_in_every_layer_and_none_is_idle(kind):
    problem = problem_of(TINY[kind]())
    gradient = jax.jit(jax.grad(lambda w: jax.vmap(problem.loss, (None, 0))(w, problem.pool).mean()))
    leaves = jax.tree.leaves(gradient(problem.init(jax.random.key(0))))
    assert all(np.all(np.isfinite(leaf)) and np.any(leaf != 0) for leaf in leaves)


@pytest.mark.parametrize(
    "kind", [*(pytest.param(kind, marks=pytest.mark.slow) for kind in ("resnet", "preresnet")), "vgg"]
)
def test_they_have_no_kinks(kind):
    problem = problem_of(TINY[kind]())
    assert not kinks(problem, problem.init(jax.random.key(0)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", TINY)
def test_they_pass_the_probe_in_float64(kind):
    problem = problem_of(TINY[kind](weight_l2=0.1))
    with jax.enable_x64(True):
        probe_problem(problem, problem.init(jax.random.key(0)), problem.pool)


def test_a_layer_before_a_norm_may_be_scaled(rng):
    """Norms forget the scale of the layer before them, but for epsilon = 1e-5 beside variances near one."""
    model = vgg(64, 3, stages=(2,), width=4, norm_groups=2)
    params = model.init(jax.random.key(0))
    scaled = eqx.tree_at(lambda p: p.stages[0][0][0].weight, params, replace_fn=lambda weight: 3 * weight)
    example = {"x": rng.normal(size=64).astype(np.float32), "y": 1}
    loss = jax.jit(model.loss)
    assert float(loss(scaled, example)) == pytest.approx(float(loss(params, example)), abs=1e-3)
    assert abs(float(loss(jax.tree.map(lambda leaf: 3 * leaf, params), example) - loss(params, example))) > 0.1


@pytest.mark.parametrize("norm_first", [False, True])
def test_blocks_whose_last_gain_or_layer_is_zero_are_their_way_around(norm_first, rng):
    """With W = 0 a pre-activated block is the identity; with gain 0 of its last norm a plain one is its activation."""
    from gradnoise.testbeds.residual import _Block

    block = _Block(4, 4, 2, jnp.tanh, norm_first, jax.random.key(0))
    maps = jnp.asarray(rng.normal(size=(4, 3, 3)), jnp.float32)
    if norm_first:
        still = eqx.tree_at(lambda b: b.convolutions[1].weight, block, replace_fn=jnp.zeros_like)
        np.testing.assert_array_equal(still(maps), maps)
    else:
        still = eqx.tree_at(lambda b: b.norms[1].weight, block, replace_fn=jnp.zeros_like)
        np.testing.assert_array_equal(still(maps), jnp.tanh(maps))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: resnet(64, 3, depth=10), "depth=10 is no 6n \\+ 2, expected 8, 14, 20"),
        (lambda: resnet(64, 3, depth=2), "depth=2 is below 8"),
        (lambda: preresnet(64, 3, width=6), "norm_groups=4 does not divide width=6"),
        (lambda: resnet(60, 3), "num_features=60 is no square image"),
        (lambda: resnet(64, 3, activation="relu"), "activation='relu' is unknown"),
        (lambda: vgg(64, 3, stages=(1, 1, 1, 1)), "halve an image of 8 x 8 4 times, expected .* at most 3"),
        (lambda: vgg(64, 3, stages=()), "at least one stage"),
        (lambda: vgg(64, 3, stages=(1, 0)), "stages=0 is below 1"),
        (lambda: vgg(64, 3, width=3), "norm_groups=4 does not divide width=3"),
        (lambda: vgg(64, 3, task="ranking"), "task='ranking' is unknown"),
    ],
)
def test_wrong_options_are_told(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_one_number_for_the_stages_is_told():
    with pytest.raises(TypeError, match=r"stages=3 is one number, expected one for each stage"):
        vgg(64, 3, stages=3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", TINY)
def test_they_learn_the_digits_within_120_steps(kind, getkey):
    data, built = datasets.digits(num_test=297), MODELS[kind](64, 10)
    problem = gn.from_arrays(built.loss, built.init, data.pool, kind, test_pool=data.test_pool, metrics=built.metrics)
    grid = gn.Spacetime(1500, 50, sampling="with_replacement", num_steps=120)
    runs = gn.simulate(
        gn.sgd(problem, momentum=0.9), problem.init(getkey()), grid, 0.05, 1, getkey(), training_set="given", every=120
    )
    assert runs.observables["train_accuracy"][0, -1] > 0.95
    assert runs.observables["test_accuracy"][0, -1] > 0.85
