"""Scale-invariant versions of the stock networks: every trained layer is normalized, the last layer is fixed.

Each weight tensor W is followed by a normalization without gain or offset, z -> (z - mean z)/sqrt(var z + tiny), and has no
bias, so that the loss is the same for c W, c > 0: each tensor is a scale-invariant group of its own. tiny = 1e-24 keeps
an input of zeros from dividing zero by zero; against variances above 1e-7 neither float32 nor float64 sees it. The readout
is drawn once from a fixed seed and is no parameter.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _checks
from gradnoise._types import Key
from gradnoise.testbeds.networks import ACTIVATIONS, Model, image_patches, network_model, shape_of_image, sides_after

TINY = 1e-24
GAIN = 2.0
"""The length of a readout's rows: 32 units of size 0.8 along one of them give a logit of 9, so losses near zero exist."""

READOUT_SEED = 0


def normalized_mlp(
    num_features: int,
    num_outputs: int,
    width: int = 32,
    depth: int = 2,
    activation: str = "tanh",
    task: str = "classification",
    weight_l2: float = 0.0,
) -> Model:
    """Fully connected network without biases, `depth` hidden layers of `width`, each normalized over its units.

        h <- act(normalize(W h)),    outputs = V h, V fixed

    Loss and penalty as in `networks.logistic`; the penalty, and only it, breaks the invariance.

    >>> params = normalized_mlp(num_features=64, num_outputs=10).init(jax.random.key(0))
    >>> [leaf.shape for leaf in jax.tree.leaves(params)]
    [(32, 64), (32, 32)]

    Raises ValueError for a width below 3 (two normalized units are +-1 whatever the weights), an unknown activation or task.

    Source: layer normalization: Ba, Kiros, Hinton 2016; the fixed last layer: Hoffer, Hubara, Soudry 2018.
    """
    inputs, outputs = _checks.integer("num_features", num_features), _checks.integer("num_outputs", num_outputs)
    width, depth = _checks.integer("width", width, 3), _checks.integer("depth", depth)
    function = ACTIVATIONS[_checks.one_of("activation", activation, ACTIVATIONS)]
    readout = _readout(outputs, width)
    sizes = [inputs, *(width,) * depth]

    def network(key: Key) -> _Normalized:
        return _Normalized(_weights(key, sizes), readout, lambda W, h: function(normalize(W @ h)))

    return network_model(network, task, weight_l2)


def normalized_conv(
    num_features: int,
    num_outputs: int,
    channels: int = 16,
    depth: int = 2,
    kernel: int = 3,
    stride: int = 2,
    norm_groups: int = 2,
    image_shape: tuple[int, int, int] | None = None,
    activation: str = "tanh",
    task: str = "classification",
    weight_l2: float = 0.0,
) -> Model:
    """Convolutional network without biases, each layer normalized over the places of `norm_groups` groups of channels.

    Layers and x as in `networks.conv`, the last layer fixed as in `normalized_mlp`. Scaling the kernels of one group of
    channels alone leaves the loss as it is, too.

    >>> params = normalized_conv(num_features=64, num_outputs=10).init(jax.random.key(0))
    >>> [leaf.shape for leaf in jax.tree.leaves(params)]
    [(16, 9), (16, 144)]

    Raises ValueError if norm_groups does not divide channels or leaves fewer than 3 numbers to normalize, and what
    `networks.conv` raises.

    Source: group normalization: Wu and He 2018.
    """
    outputs = _checks.integer("num_outputs", num_outputs)
    shape = shape_of_image(_checks.integer("num_features", num_features), image_shape)
    channels, depth = _checks.integer("channels", channels), _checks.integer("depth", depth)
    kernel, stride = _checks.integer("kernel", kernel), _checks.integer("stride", stride)
    groups = _checks.integer("norm_groups", norm_groups)
    function = ACTIVATIONS[_checks.one_of("activation", activation, ACTIVATIONS)]
    places = math.prod(sides_after(shape, depth, kernel, stride))
    if channels % groups or channels // groups * places < 3:
        raise ValueError(
            f"norm_groups={groups} with channels={channels} and {places} places in the last layer: expected a divisor of "
            "channels that leaves at least 3 numbers a group. Use fewer groups."
        )
    readout = _readout(outputs, channels * places)
    sizes = [shape[0], *(channels,) * depth]

    def layer(W: jax.Array, h: jax.Array) -> jax.Array:
        maps = image_patches(h.reshape(shape) if h.ndim == 1 else h, kernel, stride)
        flat = (W @ maps.reshape(len(maps), -1)).reshape(groups, -1)
        return function(jax.vmap(normalize)(flat)).reshape(channels, *maps.shape[1:])

    def network(key: Key) -> _Normalized:
        return _Normalized(_weights(key, sizes, kernel**2), readout, layer)

    return network_model(network, task, weight_l2)


class _Normalized(eqx.Module):
    """Layers, one after the other, then a fixed readout, which as part of a function is no parameter."""

    layers: tuple[jax.Array, ...]
    readout: Callable[[jax.Array], jax.Array]
    layer: Callable[[jax.Array, jax.Array], jax.Array]

    def __call__(self, x: jax.Array) -> jax.Array:
        for weights in self.layers:
            x = self.layer(weights, x)
        return self.readout(x.reshape(-1))


def normalize(z: jax.Array) -> jax.Array:
    """(z - mean z)/sqrt(var z + 1e-24) over all numbers of z.

    >>> normalize(jnp.array([1.0, 2.0, 3.0]))
    Array([-1.224..., 0. , 1.224...], dtype=float32)
    """
    centred = z - jnp.mean(z)
    return centred / jnp.sqrt(jnp.mean(jnp.square(centred)) + TINY)


def _weights(key: Key, sizes: list[int], patch: int = 1) -> tuple[jax.Array, ...]:
    """Normal matrices (out, in * patch) of variance 1/(in * patch), float32."""
    keys = jax.random.split(key, len(sizes) - 1)
    shapes = [(after, before * patch) for before, after in pairwise(sizes)]
    return tuple(
        jax.random.normal(own, shape, jnp.float32) / math.sqrt(shape[1])
        for own, shape in zip(keys, shapes, strict=True)
    )


def _readout(num_outputs: int, num_units: int) -> Callable[[jax.Array], jax.Array]:
    """h -> V h with rows of length about GAIN, the same for every key."""
    rows = GAIN / math.sqrt(num_units) * np.random.default_rng(READOUT_SEED).normal(size=(num_outputs, num_units))
    return lambda h: jnp.asarray(rows, h.dtype) @ h
