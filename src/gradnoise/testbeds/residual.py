"""Residual networks for small images, with group normalization: per example, and smooth."""

from collections.abc import Callable
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp

from gradnoise import _checks
from gradnoise._types import Key
from gradnoise.testbeds.image_layers import Convolution, divisor_of_width, group_norm
from gradnoise.testbeds.networks import ACTIVATIONS, Model, network_model, shape_of_image

NUM_STAGES = 3


def resnet(
    num_features: int,
    num_outputs: int,
    depth: int = 8,
    width: int = 8,
    norm_groups: int = 4,
    image_shape: tuple[int, int, int] | None = None,
    activation: str = "gelu",
    task: str = "classification",
    weight_l2: float = 0.0,
) -> Model:
    """Residual network of `depth` = 6n + 2 layers: a convolution, three stages of n blocks, the mean over places, linear.

        h <- act(norm(W act(norm(V h))) + S h)

    Stages have `width`, 2 width and 4 width channels; the second and third begin with stride 2, where S is a 1 x 1
    convolution with that stride, elsewhere the identity. Norms are group norms with gain and offset, so that an example's
    loss is its own. CIFAR's ResNet-20 has depth=20, width=16. x, loss and penalty as in `networks.conv`.

    >>> params = jax.eval_shape(resnet(num_features=64, num_outputs=10).init, jax.random.key(0))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    19714

    Raises ValueError for a depth that is no 6n + 2, norm_groups that do not divide width, features that are no square
    image, an unknown activation or task.

    Source: He, Zhang, Ren, Sun 2015, "Deep Residual Learning for Image Recognition", section 4.2 (with batch norm, ReLU).
    """
    network = _network(num_features, num_outputs, depth, width, norm_groups, image_shape, activation, False)
    return network_model(network, task, weight_l2)


def preresnet(
    num_features: int,
    num_outputs: int,
    depth: int = 8,
    width: int = 8,
    norm_groups: int = 4,
    image_shape: tuple[int, int, int] | None = None,
    activation: str = "gelu",
    task: str = "classification",
    weight_l2: float = 0.0,
) -> Model:
    """Residual network whose blocks normalize and activate first; sizes and options as in `resnet`.

        a = act(norm(h)),    h <- W act(norm(V a)) + (S a where the stride is 2, h elsewhere)

    A last norm and activation come before the mean over places.

    >>> params = jax.eval_shape(preresnet(num_features=64, num_outputs=10).init, jax.random.key(0))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    19714

    Raises what `resnet` raises.

    Source: He, Zhang, Ren, Sun 2016, "Identity Mappings in Deep Residual Networks".
    """
    network = _network(num_features, num_outputs, depth, width, norm_groups, image_shape, activation, True)
    return network_model(network, task, weight_l2)


def _network(
    num_features: int,
    num_outputs: int,
    depth: int,
    width: int,
    norm_groups: int,
    image_shape: tuple[int, int, int] | None,
    activation: str,
    norm_first: bool,
) -> Callable[[Key], "_Residual"]:
    outputs = _checks.integer("num_outputs", num_outputs)
    shape = shape_of_image(_checks.integer("num_features", num_features), image_shape)
    blocks, rest = divmod(_checks.integer("depth", depth, minimum=8) - 2, 2 * NUM_STAGES)
    if rest:
        raise ValueError(f"depth={depth} is no 6n + 2, expected 8, 14, 20, 26, 32, ... Give one of these.")
    width = _checks.integer("width", width)
    groups = divisor_of_width(norm_groups, width)
    function = ACTIVATIONS[_checks.one_of("activation", activation, ACTIVATIONS)]
    return lambda key: _Residual(shape, outputs, blocks, width, groups, function, norm_first, key)


class _Block(eqx.Module):
    """Two convolutions and the way around them."""

    convolutions: tuple[Convolution, Convolution]
    norms: tuple[eqx.nn.GroupNorm, eqx.nn.GroupNorm]
    shortcut: Convolution | None
    activation: Callable[[jax.Array], jax.Array] = eqx.field(static=True)
    norm_first: bool = eqx.field(static=True)

    def __init__(
        self,
        before: int,
        after: int,
        groups: int,
        activation: Callable[[jax.Array], jax.Array],
        norm_first: bool,
        key: Key,
    ) -> None:
        self.activation, self.norm_first = activation, norm_first
        stride = 1 if before == after else 2
        first, second, around = jax.random.split(key, 3)
        self.convolutions = Convolution(before, after, first, stride=stride), Convolution(after, after, second)
        self.norms = group_norm(before if norm_first else after, groups), group_norm(after, groups)
        self.shortcut = None if stride == 1 else Convolution(before, after, around, kernel=1, stride=stride)

    def __call__(self, maps: jax.Array) -> jax.Array:
        (first, second), (norm, second_norm), act = self.convolutions, self.norms, self.activation
        if not self.norm_first:
            around = maps if self.shortcut is None else self.shortcut(maps)
            return act(second_norm(second(act(norm(first(maps))))) + around)
        ready = act(norm(maps))
        around = maps if self.shortcut is None else self.shortcut(ready)
        return second(act(second_norm(first(ready)))) + around


class _Residual(eqx.Module):
    """The whole network; the norm outside of the blocks stands after the first layer, or with norms first at the end."""

    first: Convolution
    norm: eqx.nn.GroupNorm
    blocks: tuple[_Block, ...]
    last: eqx.nn.Linear
    image_shape: tuple[int, int, int] = eqx.field(static=True)
    activation: Callable[[jax.Array], jax.Array] = eqx.field(static=True)
    norm_first: bool = eqx.field(static=True)

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_outputs: int,
        blocks_per_stage: int,
        width: int,
        groups: int,
        activation: Callable[[jax.Array], jax.Array],
        norm_first: bool,
        key: Key,
    ) -> None:
        self.image_shape, self.activation, self.norm_first = image_shape, activation, norm_first
        channels = [width] + [width * 2**stage for stage in range(NUM_STAGES) for _ in range(blocks_per_stage)]
        first, last, *keys = jax.random.split(key, 1 + len(channels))
        self.first = Convolution(image_shape[0], width, first)
        self.norm = group_norm(channels[-1] if norm_first else width, groups)
        self.blocks = tuple(
            _Block(*pair, groups, activation, norm_first, own)
            for pair, own in zip(pairwise(channels), keys, strict=True)
        )
        self.last = eqx.nn.Linear(channels[-1], num_outputs, dtype=jnp.float32, key=last)

    def __call__(self, x: jax.Array) -> jax.Array:
        maps = self.first(jnp.reshape(x, self.image_shape))
        if not self.norm_first:
            maps = self.activation(self.norm(maps))
        for block in self.blocks:
            maps = block(maps)
        if self.norm_first:
            maps = self.activation(self.norm(maps))
        return self.last(maps.mean(axis=(1, 2)))
