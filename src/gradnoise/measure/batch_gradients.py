"""Signal |grad L|^2 and noise tr Sigma at one point from the gradients of a few batches; pure, for use inside jit."""

from typing import Any

import jax
import jax.numpy as jnp

from gradnoise import _checks, _tree
from gradnoise._signal_noise import SignalNoise, batch_noise, example_squares, split, squares
from gradnoise._types import Examples, Params, PyTree
from gradnoise.problem import Loss

CHUNK = 64
"""Examples whose gradients are held at a time."""


def signal_noise_from_batches(batch_gradients: PyTree) -> SignalNoise:
    """|grad L|^2 and tr Sigma of one batch from the gradients of m independent batches at one point.

        signal = (m s - q)/(m - 1)      noise = (m/(m - 1)) (q - s)      q = mean_b |g_b|^2,  s = |mean_b g_b|^2

    `batch_gradients`: a tree like the weights, or an array (m, P), with a leading axis of m >= 2 batches. Both are
    unbiased for independent batches, whatever the sampling inside a batch (Sigma is that sampling's). The signal may
    come out negative: keep it, average over time, and only then take ratios. Without error bars: those come from many
    points (`bootstrap.time_averages`). For batches that share no example see `signal_noise_from_disjoint_batches`.

    >>> found = signal_noise_from_batches(jnp.array([[1.0], [3.0]]))        # q = 5, s = 4
    >>> float(found.signal), float(found.noise)
    (3.0, 2.0)

    Raises ValueError for fewer than 2 batches or leaves that disagree on their number.

    Source: docs/theory/noise_scale.md; McCandlish et al. 2018, appendix A.1.
    """
    return split(*squares(batch_gradients), _num_batches(batch_gradients))


def signal_noise_from_disjoint_batches(batch_gradients: PyTree, num_examples: int) -> SignalNoise:
    """The same from m disjoint batches of a random order of N examples, as an epoch gives them.

        signal = S + noise_0 B/N      noise = noise_0 (1 - B/N)      S, noise_0 as for independent batches

    With m batches of B the plain S has the mean |grad L|^2 - tr S2/N and noise_0 exactly tr S2/B. `noise` is that of
    one batch without replacement, (tr S2/B)(1 - B/N). The batch size is N/m: the m batches are the whole epoch; for
    fewer give `batch_size` to `correct_for_disjoint_batches`.

    >>> found = signal_noise_from_disjoint_batches(jnp.array([[1.0], [3.0]]), num_examples=2)
    >>> float(found.signal), float(found.noise)                          # the whole set: |grad L|^2 = 4 exactly
    (4.0, 1.0)

    Raises ValueError for fewer than 2 batches, or if their number does not divide num_examples.

    Source: docs/theory/noise_scale.md (the correction is ours).
    """
    count = _num_batches(batch_gradients)
    num_examples = _checks.integer("num_examples", num_examples, 2)
    if num_examples % count:
        raise ValueError(
            f"{count} batches do not share out num_examples={num_examples}. Use correct_for_disjoint_batches with the "
            "batch size, or give the gradients of a whole epoch."
        )
    return correct_for_disjoint_batches(signal_noise_from_batches(batch_gradients), num_examples // count, num_examples)


def correct_for_disjoint_batches(found: SignalNoise, batch_size: int, num_examples: int) -> SignalNoise:
    """signal + noise B/N and noise (1 - B/N): what `signal_noise_from_batches` lacks for disjoint batches.

    >>> correct_for_disjoint_batches(SignalNoise(3.0, 2.0), batch_size=1, num_examples=2)
    SignalNoise(signal=4.0, noise=1.0)
    """
    share = batch_size / num_examples
    return SignalNoise(found.signal + share * found.noise, found.noise * (1 - share))


def signal_noise_from_two_sizes(
    small_square: Any, large_square: Any, small_batch: int, large_batch: int, batch_size: int = 1
) -> SignalNoise:
    """|grad L|^2 and tr Sigma = tr D / batch_size from mean squared batch gradients of two batch sizes.

        signal = (B q_B - b q_b)/(B - b)      tr D = (q_b - q_B)/(1/b - 1/B)      q_b = mean |g_b|^2 at size b

    Unbiased for batches drawn with replacement (E q_b = |grad L|^2 + tr D / b); it needs no gradients, only norms.

    >>> signal_noise_from_two_sizes(small_square=5.0, large_square=4.5, small_batch=1, large_batch=2)
    SignalNoise(signal=4.0, noise=1.0)

    Raises ValueError unless small_batch < large_batch.

    Source: McCandlish et al. 2018, appendix A.1.
    """
    small, large = _checks.integer("small_batch", small_batch), _checks.integer("large_batch", large_batch)
    if small >= large:
        raise ValueError(f"small_batch={small} is not below large_batch={large}. Give two different sizes, in order.")
    signal = (large * large_square - small * small_square) / (large - small)
    trace = (small_square - large_square) / (1 / small - 1 / large)
    return SignalNoise(signal, trace / _checks.integer("batch_size", batch_size))


def signal_noise_of_examples(
    loss: Loss, params: Params, examples: Examples, batch_size: int = 1, replacement: bool = True, chunk: int = CHUNK
) -> SignalNoise:
    """The exact values over all N examples: |gbar|^2 and tr D/B, without replacement (tr S2/B)(1 - B/N).

    Two sums, of g_i and of |g_i|^2, over `chunk` examples at a time: nothing of size N x P. Where |gbar|^2 exceeds tr D
    by more than the inverse rounding unit (1e7 in float32) the difference of the two sums loses its digits.

    >>> loss = lambda w, x: (w - x) ** 2 / 2
    >>> found = signal_noise_of_examples(loss, jnp.float32(0), jnp.array([1.0, 3.0]), batch_size=2)
    >>> float(found.signal), float(found.noise)
    (4.0, 0.5)

    Raises ValueError for a batch above N without replacement.
    """
    num = _tree.num_examples(examples)
    batch_size = _checks.integer("batch_size", batch_size, 1, None if replacement else num)
    square, mean_squared = example_squares(jax.grad(loss), params, examples, _checks.integer("chunk", chunk))
    return SignalNoise(mean_squared, batch_noise(square - mean_squared, num, batch_size, replacement))


def _num_batches(gradients: PyTree) -> int:
    lengths = {jnp.shape(leaf)[0] if jnp.ndim(leaf) else 0 for leaf in jax.tree.leaves(gradients)}
    if len(lengths) != 1 or min(lengths) < 2:
        told = ", ".join(map(str, sorted(lengths))) or "no"
        raise ValueError(f"batch_gradients has leading axes {told}, expected one common number of at least 2 batches.")
    return lengths.pop()
