"""Signal |grad L|^2 and noise tr Sigma from batch or example gradients: pure functions that engines share."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradnoise import _tree
from gradnoise._types import Examples, Params, PyTree


class SignalNoise(NamedTuple):
    """|grad L|^2 and tr Sigma of ONE batch's mean gradient, in loss^2 / parameter^2; the signal may be negative."""

    signal: jax.Array
    noise: jax.Array


def split(mean_square: Any, square_of_mean: Any, num_batches: int) -> SignalNoise:
    """From q = mean_b |g_b|^2 and s = |mean_b g_b|^2 of m independent batches: (m s - q)/(m - 1) and (m/(m - 1))(q - s).

    >>> split(3.0, 2.0, 2)
    SignalNoise(signal=1.0, noise=2.0)
    """
    noise = num_batches / (num_batches - 1) * (mean_square - square_of_mean)
    return SignalNoise(mean_square - noise, noise)


def squares(gradients: PyTree) -> tuple[jax.Array, jax.Array]:
    """mean_b |g_b|^2 and |mean_b g_b|^2 of gradients stacked along the leading axis of every leaf."""
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(gradients)]
    mean_square = sum(jnp.sum(jnp.square(leaf)) / len(leaf) for leaf in leaves)
    return jnp.asarray(mean_square), squared_norm([jnp.mean(leaf, axis=0) for leaf in leaves])


def squared_norm(tree: PyTree) -> jax.Array:
    """The sum of squares of all leaves."""
    return jnp.asarray(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)))


def example_squares(gradient: Any, params: Params, examples: Examples, chunk: int) -> tuple[jax.Array, jax.Array]:
    """(1/n) sum_i |g_i|^2 and |(1/n) sum_i g_i|^2 for gradient(params, example), `chunk` examples at a time."""
    num = _tree.num_examples(examples)
    chunk = min(chunk, num)
    whole = num - num % chunk

    def sums(block: Examples) -> tuple[PyTree, jax.Array]:
        rows = jax.vmap(gradient, (None, 0))(params, block)
        return jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), rows), squared_norm(rows)

    blocks = jax.tree.map(lambda leaf: leaf[:whole].reshape(-1, chunk, *leaf.shape[1:]), examples)
    first = sums(jax.tree.map(lambda leaf: leaf[0], blocks))
    rest = jax.tree.map(lambda leaf: leaf[1:], blocks)
    total = jax.lax.scan(lambda so_far, block: (jax.tree.map(jnp.add, so_far, sums(block)), None), first, rest)[0]
    if whole < num:
        total = jax.tree.map(jnp.add, total, sums(jax.tree.map(lambda leaf: leaf[whole:], examples)))
    summed, square = total
    return square / num, squared_norm(summed) / num**2


def noise_fraction(num_examples: int, batch_size: int, replacement: bool = False) -> float:
    """Covariance of a batch mean gradient over D/B: 1 with replacement, (N - B)/(N - 1) without.

    >>> noise_fraction(num_examples=4, batch_size=2)
    0.666...
    """
    if replacement:
        return 1.0
    return (num_examples - batch_size) / (num_examples - 1) if num_examples > 1 else 0.0


def batch_noise(trace: Any, num_examples: int, batch_size: int, replacement: bool) -> Any:
    """tr Sigma of one batch from tr D: tr D / B, without replacement times (N - B)/(N - 1).

    >>> batch_noise(6.0, num_examples=4, batch_size=2, replacement=False)
    2.0
    """
    return trace / batch_size * noise_fraction(num_examples, batch_size, replacement)
