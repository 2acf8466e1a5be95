"""The best batch sizes for a budget of examples: as the square root of what the noise of each step costs."""

import heapq
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from gradnoise import _checks
from gradnoise.estimate import Estimate, exact, from_samples
from gradnoise.predict.path.attribution import StepAttribution

SMALLEST = 4
"""The smallest batch is the constant one over this, unless said otherwise."""


class BatchSchedule(NamedTuple):
    """Batch sizes by step and what they are predicted to give; see `best_batch_schedule`."""

    batch_sizes: Int[np.ndarray, " num_steps"]
    loss: Estimate
    constant_loss: Estimate
    saving: Estimate

    def __str__(self) -> str:
        sizes, total = self.batch_sizes, int(self.batch_sizes.sum())
        error = f" +- {self.saving.stderr:.1g}" if self.saving.stderr else ""
        return (
            f"{total} examples in {len(sizes)} steps of {sizes.min()} to {sizes.max()}: test loss {self.loss.value:.5g}, "
            f"{self.saving.value:.3g}{error} below that of a constant batch of {total / len(sizes):g}."
        )


def best_batch_schedule(
    attribution: StepAttribution, num_examples: int, minimum: int | None = None, num_stages: int | None = None
) -> BatchSchedule:
    """The batch sizes B_t that give the smallest predicted final test loss for a budget of examples.

        minimize sum_t a_t / B_t  with  sum_t B_t <= num_examples, B_t >= minimum:      B_t = max(minimum, c sqrt(a_t))

    in whole examples, exactly the best (stages of unequal length: to one example a step). A step whose a_t is negative
    gets `minimum`: to this order noise there lowers the loss, and none is bought away. But a_t is what is left of two
    effects that may nearly cancel, and says nothing of the next order: with batches too small for the expansion the gain
    is not there. So `minimum` is a quarter of the constant batch unless given; 1 is allowed.

    `num_stages`: one size for each of so many equal stretches of the run. `saving`: against the constant batch of as many
    examples as are used; for probes the same probes choose and judge, so it is a little too good: ask `step_attribution`
    with another key.

    >>> steps = np.array([[0.0, 1.0, 4.0]])
    >>> attribution = StepAttribution(steps[0], 0 * steps[0], 9, batch_size=7, path_loss=1.0, samples=steps)
    >>> best_batch_schedule(attribution, 22, minimum=1).batch_sizes
    array([ 1,  7, 14])

    Raises TypeError for another attribution; ValueError for fewer examples than `minimum` a step, and where probes do not
    tell the contribution of a stage from zero: its batch size would be chance.

    Source: Lagrange; sum_t a_t / B_t is loop.md's one loop for one epoch.
    """
    if not isinstance(attribution, StepAttribution):
        told = type(attribution).__name__
        raise TypeError(f"attribution is {told}, expected that of step_attribution.")
    steps = np.atleast_1d(np.asarray(attribution.value))
    num_examples = _checks.integer("num_examples", num_examples)
    if len(steps) == 0:
        raise ValueError("attribution is that of a run without steps, expected at least one. Attribute a longer run.")
    if minimum is None:
        minimum = max(1, -(-num_examples // (SMALLEST * len(steps))))
    minimum = _checks.integer("minimum", minimum)
    stages = _checks.integer("num_stages", len(steps) if num_stages is None else num_stages, maximum=len(steps))
    if num_examples < minimum * len(steps):
        raise ValueError(
            f"num_examples={num_examples} does not give {len(steps)} steps {minimum} each. Use at least "
            f"{minimum * len(steps)}, or fewer steps."
        )
    pieces = np.array_split(np.arange(len(steps)), stages)
    samples = np.asarray(attribution.samples)
    parts = np.stack([samples[:, piece].mean(1) for piece in pieces], axis=1)
    _check_told(parts)
    lengths = np.array([len(piece) for piece in pieces])
    sizes = np.repeat(_allocate(parts.mean(0), lengths, num_examples, minimum), lengths)
    constant = sizes.sum() / len(sizes)

    def told(weights: np.ndarray) -> Estimate:
        sums = samples @ np.broadcast_to(weights, steps.shape)
        return from_samples(sums) if len(sums) > 1 else exact(sums[0], attribution.num_samples)

    def loss(weights: np.ndarray) -> Estimate:
        part = told(weights)
        return Estimate(attribution.path_loss + part.value, part.stderr, part.num_samples)

    return BatchSchedule(sizes, loss(1 / sizes), loss(np.array(1 / constant)), told(1 / constant - 1 / sizes))


def _check_told(parts: np.ndarray) -> None:
    count = len(parts)
    if count == 1:
        return
    spread = parts.std(0, ddof=1) / np.sqrt(count)
    score = parts.mean(0) / (spread + np.finfo(float).tiny)
    unclear = np.flatnonzero((np.abs(score) < 2) & (spread > 0))  # a rate of zero gives exactly zero
    if len(unclear):
        raise ValueError(
            f"attribution: the contribution of stage {unclear[0] + 1} of {parts.shape[1]} is {score[unclear[0]]:.1f} "
            "standard errors from zero, so its batch size would be chance. Use more probes, fewer stages or the dense form."
        )


def _allocate(
    parts: Float[np.ndarray, " s"], lengths: Int[np.ndarray, " s"], budget: int, minimum: int
) -> Int[np.ndarray, " s"]:
    """Whole sizes: all increments k-1 -> k whose gain an example, a (1/(k-1) - 1/k), passes a price; then the next best."""
    positive = np.clip(parts, 0, None)

    def at(price: float) -> np.ndarray:
        size = np.floor((1 + np.sqrt(1 + 4 * positive / price)) / 2)
        return np.maximum(minimum, np.where(positive > 0, size, minimum)).astype(np.int64)

    if not positive.any():
        return np.full(len(parts), minimum)
    low, high = 1e-30 * positive.max(), positive.max()  # at `high` no step has more than 1
    while at(low) @ lengths <= budget:
        low /= 1e6
    for _ in range(200):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if at(middle) @ lengths > budget else (low, middle)
    sizes = at(high)
    left = budget - int(sizes @ lengths)
    queue = [(-a / (k * (k + 1)), s) for s, (a, k) in enumerate(zip(positive, sizes, strict=True)) if a > 0]
    heapq.heapify(queue)
    while queue:
        _, s = heapq.heappop(queue)
        if lengths[s] <= left:
            left -= int(lengths[s])
            sizes[s] += 1
            heapq.heappush(queue, (-positive[s] / (sizes[s] * (sizes[s] + 1)), s))
    return sizes
