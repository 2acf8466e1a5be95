"""Layers of deep image networks, one example at a time: padded convolution, mean pooling, equinox's group norm."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp

from gradnoise import _checks
from gradnoise._types import Key
from gradnoise.testbeds.networks import image_patches


class Convolution(eqx.Module):
    """(C, H, W) -> (C', ceil(H/stride), ceil(W/stride)): linear on the patches of a zero-padded image.

    The same as eqx.nn.Conv2d(C, C', kernel, stride, padding=kernel // 2) for odd kernels, but a matrix product also where
    runs have weights of their own. Weights are normal of variance 2/(C kernel^2), biases zero.
    """

    weight: jax.Array
    bias: jax.Array | None
    kernel: int = eqx.field(static=True)
    stride: int = eqx.field(static=True)

    def __init__(self, before: int, after: int, key: Key, kernel: int = 3, stride: int = 1, bias: bool = False) -> None:
        self.kernel, self.stride = kernel, stride
        fan_in = before * kernel**2
        self.weight = math.sqrt(2 / fan_in) * jax.random.normal(key, (after, fan_in), jnp.float32)
        self.bias = jnp.zeros(after, jnp.float32) if bias else None

    def __call__(self, maps: jax.Array) -> jax.Array:
        patches = image_patches(maps, self.kernel, self.stride, self.kernel // 2)
        flat = self.weight @ patches.reshape(len(patches), -1)
        if self.bias is not None:
            flat = flat + self.bias[:, None]
        return flat.reshape(-1, *patches.shape[1:])


def mean_pool(maps: jax.Array) -> jax.Array:
    """(C, H, W) -> (C, H // 2, W // 2): means over windows of 2 x 2, an odd last row or column left out.

    >>> mean_pool(jnp.arange(6.0).reshape(1, 2, 3))
    Array([[[2.]]], dtype=float32)
    """
    height, width = (side // 2 for side in maps.shape[1:])
    cut = maps[:, : 2 * height, : 2 * width]
    return cut.reshape(-1, height, 2, width, 2).mean(axis=(2, 4))


def group_norm(channels: int, groups: int) -> eqx.nn.GroupNorm:
    """(z - mean z)/sqrt(var z + 1e-5) over the places of each group of channels, then a gain and an offset a channel.

    Source: Wu and He 2018, "Group Normalization", equations (1), (2), (7).
    """
    return eqx.nn.GroupNorm(groups, channels, dtype=jnp.float32)


def divisor_of_width(norm_groups: int, width: int) -> int:
    """`norm_groups` if it divides `width`, and so the wider layers too."""
    groups = _checks.integer("norm_groups", norm_groups)
    if width % groups:
        raise ValueError(
            f"norm_groups={groups} does not divide width={width}, expected groups of equal size. Give a divisor."
        )
    return groups
