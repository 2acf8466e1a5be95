"""Plain deep convolutional networks in the manner of VGG, with or without group normalization: per example, and smooth."""

import math
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp

from gradnoise import _checks
from gradnoise._types import Key
from gradnoise.testbeds.image_layers import Convolution, divisor_of_width, group_norm, mean_pool
from gradnoise.testbeds.networks import ACTIVATIONS, Model, network_model, shape_of_image

WIDEST = 8


def vgg(
    num_features: int,
    num_outputs: int,
    stages: Sequence[int] = (1, 1, 2),
    width: int = 8,
    norm_groups: int | None = 4,
    image_shape: tuple[int, int, int] | None = None,
    activation: str = "gelu",
    task: str = "classification",
    weight_l2: float = 0.0,
) -> Model:
    """Stages of 3 x 3 convolutions, each stage followed by a mean over 2 x 2 places, then a linear layer.

    `stages` says how many layers each has; their channels are width, 2 width, 4 width, 8 width, 8 width, ... VGG-11 for
    CIFAR has stages=(1, 1, 2, 2, 2), VGG-16 (2, 2, 3, 3, 3), both width=64. With `norm_groups` each layer is followed by a
    group norm with gain and offset; with None it has a bias instead. x, loss and penalty as in `networks.conv`.

    >>> params = jax.eval_shape(vgg(num_features=64, num_outputs=10).init, jax.random.key(0))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    15554

    Raises ValueError for stages that use up the image, norm_groups that do not divide width, features that are no square
    image, an unknown activation or task.

    Source: Simonyan and Zisserman 2014, "Very Deep Convolutional Networks" (with maximum pooling and ReLU: kinks).
    """
    outputs = _checks.integer("num_outputs", num_outputs)
    shape = shape_of_image(_checks.integer("num_features", num_features), image_shape)
    if isinstance(stages, int):
        raise TypeError(f"stages={stages} is one number, expected one for each stage. Give (1, 1, 2), say.")
    counts = tuple(_checks.integer("stages", count) for count in stages)
    if not counts or min(shape[1:]) >> len(counts) == 0:
        raise ValueError(
            f"stages={counts} halve an image of {shape[1]} x {shape[2]} {len(counts)} times, expected at least one stage "
            f"and at most {min(shape[1:]).bit_length() - 1}. Give fewer."
        )
    width = _checks.integer("width", width)
    groups = None if norm_groups is None else divisor_of_width(norm_groups, width)
    function = ACTIVATIONS[_checks.one_of("activation", activation, ACTIVATIONS)]
    return network_model(lambda key: _VGG(shape, outputs, counts, width, groups, function, key), task, weight_l2)


class _VGG(eqx.Module):
    stages: tuple[tuple[tuple[Convolution, eqx.nn.GroupNorm | None], ...], ...]
    last: eqx.nn.Linear
    image_shape: tuple[int, int, int] = eqx.field(static=True)
    activation: Callable[[jax.Array], jax.Array] = eqx.field(static=True)

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_outputs: int,
        counts: tuple[int, ...],
        width: int,
        groups: int | None,
        activation: Callable[[jax.Array], jax.Array],
        key: Key,
    ) -> None:
        self.image_shape, self.activation = image_shape, activation
        last, *keys = jax.random.split(key, 1 + sum(counts))
        stages, before = [], image_shape[0]
        for number, count in enumerate(counts):
            after, layers = width * min(2**number, WIDEST), []
            for _ in range(count):
                norm = None if groups is None else group_norm(after, groups)
                layers.append((Convolution(before, after, keys.pop(0), bias=groups is None), norm))
                before = after
            stages.append(tuple(layers))
        self.stages = tuple(stages)
        places = math.prod(side >> len(counts) for side in image_shape[1:])
        self.last = eqx.nn.Linear(before * places, num_outputs, dtype=jnp.float32, key=last)

    def __call__(self, x: jax.Array) -> jax.Array:
        maps = jnp.reshape(x, self.image_shape)
        for stage in self.stages:
            for convolution, norm in stage:
                maps = convolution(maps)
                maps = self.activation(maps if norm is None else norm(maps))
            maps = mean_pool(maps)
        return self.last(maps.reshape(-1))
