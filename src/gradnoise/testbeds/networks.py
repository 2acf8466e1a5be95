"""Stock models: a per-example loss and an init, smooth in the weights (tanh, GELU, softplus; no kinks)."""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from gradnoise import _checks
from gradnoise._types import Key, Params
from gradnoise.problem import Loss

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
    "softplus": jax.nn.softplus,
}
TASKS = ("classification", "regression")


class Model(NamedTuple):
    """What a problem needs of a model: `loss`, `measured` and `metrics` take (params, {"x": ..., "y": ...})."""

    init: Callable[[Key], Params]
    loss: Loss
    measured: Loss | None
    metrics: Mapping[str, Loss]


def logistic(num_features: int, num_outputs: int, task: str = "classification", weight_l2: float = 0.0) -> Model:
    """Softmax regression, logits = W x + b; for `task="regression"` the linear model with half the squared error.

        l_x = log sum_k exp(logits_k) - logits_y + (weight_l2/2) |params|^2,      measured without the penalty

    >>> model = logistic(num_features=64, num_outputs=10)
    >>> {name: leaf.shape for name, leaf in vars(model.init(jax.random.key(0))).items() if name in ("weight", "bias")}
    {'weight': (10, 64), 'bias': (10,)}
    """
    inputs, outputs = _checks.integer("num_features", num_features), _checks.integer("num_outputs", num_outputs)
    return network_model(lambda key: eqx.nn.Linear(inputs, outputs, dtype=jnp.float32, key=key), task, weight_l2)


def mlp(
    num_features: int,
    num_outputs: int,
    width: int = 32,
    depth: int = 1,
    activation: str = "tanh",
    task: str = "classification",
    weight_l2: float = 0.0,
) -> Model:
    """Fully connected network with `depth` hidden layers of `width`; loss and penalty as in `logistic`.

    >>> params = mlp(num_features=64, num_outputs=10).init(jax.random.key(0))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    2410

    Raises ValueError for an unknown activation or task.
    """
    inputs, outputs = _checks.integer("num_features", num_features), _checks.integer("num_outputs", num_outputs)
    width, depth = _checks.integer("width", width), _checks.integer("depth", depth)
    function = ACTIVATIONS[_checks.one_of("activation", activation, ACTIVATIONS)]

    def network(key: Key) -> eqx.nn.MLP:
        return eqx.nn.MLP(inputs, outputs, width, depth, activation=function, dtype=jnp.float32, key=key)

    return network_model(network, task, weight_l2)


def conv(
    num_features: int,
    num_outputs: int,
    channels: int = 8,
    depth: int = 2,
    kernel: int = 3,
    stride: int = 2,
    image_shape: tuple[int, int, int] | None = None,
    activation: str = "tanh",
    task: str = "classification",
    weight_l2: float = 0.0,
) -> Model:
    """Convolutional network: `depth` layers of `channels` kernels with `stride`, no padding, then a linear layer.

    x is an image (C, H, W), or the same flat. `image_shape` (C, H, W) is a square with one channel, or else with three,
    unless given. Loss and penalty as in `logistic`.

    >>> params = conv(num_features=28 * 28, num_outputs=10).init(jax.random.key(0))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    3554

    Raises ValueError for features that are no square image, an image that the layers use up, an unknown activation or task.
    """
    outputs = _checks.integer("num_outputs", num_outputs)
    shape = shape_of_image(_checks.integer("num_features", num_features), image_shape)
    width, count = _checks.integer("channels", channels), _checks.integer("depth", depth)
    window = _checks.integer("kernel", kernel), _checks.integer("stride", stride)
    function = ACTIVATIONS[_checks.one_of("activation", activation, ACTIVATIONS)]
    return network_model(
        lambda key: _Convolutional(shape, outputs, (width,) * count, window, function, key), task, weight_l2
    )


class _Convolutional(eqx.Module):
    """Each layer is linear on the patches of its input, cut out by strided slices.

    That is the same as eqx.nn.Conv2d. But where runs or probes have weights of their own, convolutions become grouped
    ones, which are slow on CPU; these become matrix products.
    """

    layers: tuple[eqx.nn.Linear, ...]
    image_shape: tuple[int, int, int] = eqx.field(static=True)
    window: tuple[int, int] = eqx.field(static=True)
    activation: Callable[[jax.Array], jax.Array] = eqx.field(static=True)

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_outputs: int,
        channels: tuple[int, ...],
        window: tuple[int, int],
        activation: Callable[[jax.Array], jax.Array],
        key: Key,
    ) -> None:
        self.image_shape, self.window, self.activation = image_shape, window, activation
        sides = sides_after(image_shape, len(channels), *window)
        pairs = [(before * window[0] ** 2, after) for before, after in pairwise((image_shape[0], *channels))]
        pairs.append((channels[-1] * math.prod(sides), num_outputs))
        keys = jax.random.split(key, len(pairs))
        self.layers = tuple(
            eqx.nn.Linear(*pair, dtype=jnp.float32, key=own) for pair, own in zip(pairs, keys, strict=True)
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        maps = jnp.reshape(x, self.image_shape)
        for layer in self.layers[:-1]:
            assert layer.bias is not None
            patches = image_patches(maps, *self.window)
            flat = layer.weight @ patches.reshape(len(patches), -1) + layer.bias[:, None]
            maps = self.activation(flat).reshape(-1, *patches.shape[1:])
        return self.layers[-1](maps.reshape(-1))


def sides_after(image_shape: tuple[int, int, int], depth: int, kernel: int, stride: int) -> list[int]:
    """Height and width after `depth` layers; raises ValueError if nothing is left."""
    sides = list(image_shape[1:])
    for _ in range(depth):
        sides = [(side - kernel) // stride + 1 for side in sides]
    if min(sides) < 1:
        raise ValueError(
            f"depth={depth} layers with kernel={kernel} and stride={stride} use up an image of "
            f"{image_shape[1]} x {image_shape[2]}. Use fewer layers or a smaller kernel."
        )
    return sides


def image_patches(maps: jax.Array, kernel: int, stride: int, padding: int = 0) -> jax.Array:
    """(C, H, W) -> (C kernel^2, H', W'): what the kernel sees at each place, `padding` zeros around the image."""
    if padding:
        maps = jnp.pad(maps, ((0, 0), (padding, padding), (padding, padding)))
    height, width = ((side - kernel) // stride * stride + 1 for side in maps.shape[1:])
    places = [(i, j) for i in range(kernel) for j in range(kernel)]
    cut = jnp.stack([maps[:, i : i + height : stride, j : j + width : stride] for i, j in places], axis=1)
    return cut.reshape(-1, *cut.shape[2:])


def shape_of_image(num_features: int, image_shape: tuple[int, int, int] | None) -> tuple[int, int, int]:
    """(channels, height, width) of a flat image: as given, or square with one channel or three; ValueError if neither."""
    if image_shape is not None:
        shape = tuple(_checks.integer("image_shape", side) for side in image_shape)
        if len(shape) != 3 or math.prod(shape) != num_features:
            raise ValueError(
                f"image_shape={shape} is no (channels, height, width) with {num_features} numbers. Give one that has them."
            )
        return shape
    for channels in (1, 3):
        side = math.isqrt(num_features // channels)
        if channels * side**2 == num_features:
            return channels, side, side
    raise ValueError(
        f"num_features={num_features} is no square image of one or three channels. Give image_shape=(channels, height, "
        "width)."
    )


def network_model(network: Callable[[Key], Any], task: str, weight_l2: float) -> Model:
    """Loss and init around an equinox layer; its static part is closed over, params hold arrays only.

    Weights are drawn in float32, so that one key gives one start whether or not 64-bit mode is on.
    """
    _checks.one_of("task", task, TASKS)
    penalty = _checks.number("weight_l2", weight_l2, minimum=0.0)
    abstract = eqx.filter_eval_shape(network, jax.random.key(0))
    static = eqx.filter(abstract, lambda leaf: not isinstance(leaf, jax.ShapeDtypeStruct))
    point_loss = _cross_entropy if task == "classification" else _half_squared_error

    def init(key: Key) -> Params:
        return eqx.filter(network(key), eqx.is_array)

    def outputs(params: Params, example: Any) -> jax.Array:
        return eqx.combine(params, static)(example["x"])

    def data_loss(params: Params, example: Any) -> jax.Array:
        return point_loss(outputs(params, example), example["y"])

    def penalized_loss(params: Params, example: Any) -> jax.Array:
        square = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
        return data_loss(params, example) + penalty / 2 * square

    def accuracy(params: Params, example: Any) -> jax.Array:
        logits = outputs(params, example)
        return (jnp.argmax(logits) == example["y"]).astype(logits.dtype)

    metrics = {"accuracy": accuracy} if task == "classification" else {}
    if penalty == 0.0:
        return Model(init, data_loss, None, metrics)
    return Model(init, penalized_loss, data_loss, metrics)


def _cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
    # A one-hot product rather than logits[label]: its derivative is no scatter, which is slow on CPU under vmap.
    chosen = jax.nn.one_hot(label, logits.shape[-1], dtype=logits.dtype) @ logits
    return jax.nn.logsumexp(logits) - chosen


def _half_squared_error(prediction: jax.Array, target: jax.Array) -> jax.Array:
    return jnp.sum((prediction - target) ** 2) / 2
