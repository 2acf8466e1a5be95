"""Larger batches at the same number of examples: the path read at earlier times."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from gradnoise.estimate import Estimate
from gradnoise.predict.path.domain import NOISE_SHARE
from gradnoise.predict.path.noise_weights import noise_weights
from gradnoise.predict.path.prediction import PathPrediction
from gradnoise.spacetime import Spacetime


class FixedExamples(NamedTuple):
    """Test loss after steps = examples / batch updates, at the learning rate of the path.

    `doubling`: what going from batch_sizes[i] to the double, at half the steps, adds to the test loss (NaN where the
    double is not among batch_sizes). `in_domain`: the run up to there stays inside the expansion.
    """

    batch_sizes: Int[np.ndarray, " b"]
    num_steps: Int[np.ndarray, " b"]
    test_loss: Estimate
    in_domain: Bool[np.ndarray, " b"]
    doubling: Estimate


class _Point(NamedTuple):
    """One batch size: its loss, its one-loop part by probe (R,), variance of a second loop, whether it is inside."""

    size: int
    loss: Estimate
    samples: Float[np.ndarray, " R"]
    second_variance: float
    inside: bool


def fixed_examples(prediction: PathPrediction, batch_sizes: Any = None) -> FixedExamples | None:
    """The curve of final test loss at T B examples, T and B those of the prediction, for batch sizes B' >= B.

    One epoch, or samplings without epochs: only then is the prediction of fewer steps the same path cut earlier. None
    otherwise, and where the learning rate changes with the step (a cut schedule is another schedule).
    """
    own, rate = prediction.spacetime, prediction.learning_rate
    is_array = not callable(rate) and jax.tree.structure(rate) == jax.tree.structure(0)
    changing = callable(rate) or (is_array and np.shape(rate) == (own.num_steps,))
    allowed = {"fresh"} if prediction.fitted is not None else {"fresh", "same"}
    if changing or not set(prediction.kinds) <= allowed or own.num_steps < 2:
        return None
    total = own.num_steps * own.batch_size
    wanted = [own.batch_size * 2**k for k in range(40)] if batch_sizes is None else np.atleast_1d(batch_sizes)
    most = total if own.sampling == "with_replacement" else min(total, own.num_examples)
    sizes = [int(size) for size in wanted if own.batch_size <= size <= most and total % size == 0]
    if not sizes:
        return None
    points = {size: _point(prediction, size, total // size) for size in sizes}
    doubling = [_difference(prediction, points[size], points.get(2 * size)) for size in sizes]
    return FixedExamples(
        np.array(sizes),
        np.array([total // size for size in sizes]),
        joined([point.loss for point in points.values()]),
        np.array([point.inside for point in points.values()]),
        joined(doubling),
    )


def told_fixed(fixed: FixedExamples | None) -> list[str]:
    """Lines that say what a doubling costs, where the expansion holds."""
    if fixed is None:
        return []
    lines = []
    for size, loss, change, inside in zip(
        fixed.batch_sizes, np.asarray(fixed.test_loss.value), np.asarray(fixed.doubling.value), fixed.in_domain,
        strict=True,
    ):  # fmt: skip
        if inside and np.isfinite(change):
            lines.append(
                f"{size:5d} to {2 * size}: test loss {loss:.5g} changes by {change:+.3g} ({change / loss:+.1%})"
            )
    total = int(fixed.batch_sizes[0] * fixed.num_steps[0])
    return [f"At the same {total} examples and rate a doubling of the batch halves the steps:", *lines] if lines else []


def joined(values: list[Estimate]) -> Estimate:
    """Scalars as one vector, without their covariance."""
    return Estimate([v.value for v in values], [v.stderr for v in values], min(v.num_samples for v in values))


def _point(prediction: PathPrediction, size: int, num_steps: int) -> _Point:
    own = prediction.spacetime
    if own.has_epochs:
        grid = Spacetime(size * num_steps, size, sampling=own.sampling)  # one epoch of the examples used
    else:
        grid = Spacetime(own.num_examples, size, sampling=own.sampling, num_steps=num_steps)
    assert set(noise_weights(grid, prediction.training_set, prediction.num_pool)) <= set(prediction.kinds)
    sums = prediction.losses("test", grid)
    last, before = (np.asarray(each.value)[: num_steps + 1] for each in (sums[-1], sums[-2]))
    inside = bool(np.all(np.abs(last - before) <= NOISE_SHARE * np.abs(before)))
    loss = sums[-1][num_steps]
    second = max(float(loss.stderr**2 - sums[1][num_steps].stderr ** 2), 0.0) if len(sums) > 2 else 0.0
    return _Point(size, loss, prediction.one_loop_samples("test", grid)[:, num_steps], second, inside)


def _difference(prediction: PathPrediction, point: _Point, double: _Point | None) -> Estimate:
    """The double's loss minus this one's: one loop probe by probe, second loops taken as independent."""
    if double is None:
        return Estimate(np.nan, np.nan, point.loss.num_samples)
    spread = float(prediction.estimate((double.samples - point.samples)[:, None]).stderr[0])
    error = np.sqrt(spread**2 + point.second_variance + double.second_variance)
    return Estimate(double.loss.value - point.loss.value, error, point.loss.num_samples)
