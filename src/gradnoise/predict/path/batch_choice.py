"""Which batch size: final test loss and gap against batch size, all read off one predicted path."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from gradnoise import _checks
from gradnoise.estimate import Estimate
from gradnoise.predict.path.fixed_examples import FixedExamples, fixed_examples, joined, told_fixed
from gradnoise.predict.path.prediction import PathPrediction
from gradnoise.predict.path.second_loop import second_loop_at_one
from gradnoise.spacetime import Spacetime

LEVEL = 0.95
LARGEST = 2.0**40


class BatchChoice(NamedTuple):
    """Final test loss and gap by batch size, and where a larger batch stops paying; see `batch_choice`."""

    batch_sizes: Int[np.ndarray, " b"]
    num_examples: Int[np.ndarray, " b"]
    test_loss: Estimate
    gap: Estimate
    in_domain: Bool[np.ndarray, " b"]
    batch_size: Estimate
    interval: tuple[float, float]
    share: float
    num_steps: int
    doubling_raises: bool
    fixed_examples: FixedExamples | None

    def __str__(self) -> str:
        low, high = self.interval
        verb = "raises" if self.doubling_raises else "lowers"
        told = [f"After {self.num_steps} steps:", "batch  examples  test loss            gap"]
        for i, size in enumerate(self.batch_sizes):
            loss, gap = _number(self.test_loss, i), _number(self.gap, i)
            note = "" if self.in_domain[i] else "   outside the expansion: no prediction"
            told.append(f"{size:5d} {self.num_examples[i]:9d}  {loss:20s} {gap:20s}{note}")
        if high < 1:
            told.append(f"At the same steps no doubling of the batch {verb} the test loss by {self.share:.2g} of it.")
        else:
            told.append(
                f"At the same steps one more doubling of the batch {verb} the test loss by {self.share:.2g} of it at "
                f"batch size {float(self.batch_size.value):.3g} ({low:.3g} to {high:.3g} with {LEVEL:.0%}); above, by less."
            )
        return "\n".join([*told, *told_fixed(self.fixed_examples)])


def batch_choice(prediction: PathPrediction, batch_sizes: Any = None, share: float = 0.01) -> BatchChoice:
    """Final test loss and gap for every batch size, and the size at which one more doubling changes the loss by `share`.

        loss(B) = c0 + c1/B + c2/B^2,      |loss(B) - loss(2B)| = share loss(B);      one loop: L1/(2B) = share (l + L1/B)

    All from one path and its coefficients; c2 only if the prediction has two loops. `batch_sizes`: increasing whole
    numbers, by default powers of two around the answer and the prediction's own; the training set grows with the batch
    where sampling has epochs. Errors are those of the prediction's probes; `interval` holds all batch sizes that they do
    not reject at 95 % (Student's t; an end of 0 or inf is open). `in_domain`: the whole run stays inside the expansion.

    `fixed_examples`: the same path read at T B / B' steps, B' >= B: as many examples in larger batches, at the same
    learning rate. None where noise is shared between epochs, or where the rate changes with the step.

    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: 0.0, np.array([0.0, 2.0]))
    >>> path = gn.predict_path(problem, np.float64(0.0), gn.Spacetime(64, 2), learning_rate=0.1)
    >>> choice = batch_choice(path, [1, 2, 4])
    >>> choice.test_loss.value.round(4), choice.batch_size          # l = .5006, L1 = .0263
    (array([0.5269, 0.5137, 0.5072]), Estimate(2.57... +- 0, num_samples=2))

    Raises TypeError for another prediction; ValueError for batch sizes that the path was not expanded for, for a training
    set that is given and used in epochs (its batch size is part of the path), for distinct examples of which two a step
    are more than the pool holds, and for a share outside (0, 0.25).

    Source: loop.md section 12, all (N, B) at once.
    """
    if not isinstance(prediction, PathPrediction):
        raise TypeError(f"prediction is {type(prediction).__name__}, expected that of predict_path.")
    share = _checks.number("share", share, above=0.0, below=0.25)
    if prediction.training_set == "given" and prediction.spacetime.has_epochs:
        raise ValueError(
            'training_set="given" with epochs has one batch size a path: the steps an epoch change with it. Predict a path '
            'for each, or use training_set="drawn".'
        )
    if prediction.training_set == "distinct" and not _fits(prediction, 2):
        steps = prediction.spacetime.steps_per_epoch
        raise ValueError(
            f'training_set="distinct" with {steps} steps an epoch has batch size 1 alone: two examples a step are more than '
            f'the pool\'s {prediction.num_pool}. Predict with fewer steps an epoch, or training_set="drawn".'
        )
    coefficients, covariance = noise_polynomial(prediction)
    size, interval, rising = _solve(coefficients, covariance, share, _num_samples(prediction))
    sizes = _read_sizes(prediction, batch_sizes, float(size.value))
    curves = [prediction.curve("test", batch_size=int(each)) for each in sizes]
    gaps = [prediction.curve("gap", batch_size=int(each)) for each in sizes]
    return BatchChoice(
        np.array(sizes), np.array([_grid(curve).num_examples for curve in curves]), _stack(curves), _stack(gaps),
        np.array([curve.domain is not None and curve.domain.end is None for curve in curves]),
        size, interval, share, prediction.spacetime.num_steps, rising, fixed_examples(prediction, batch_sizes),
    )  # fmt: skip


def noise_polynomial(prediction: PathPrediction) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, "3 3"]]:
    """c0, c1, c2 of the final test loss c0 + c1/B + c2/B^2 at any batch size B, and their covariance."""
    one, two = (prediction.one_loop_samples("test", prediction.resized(size))[:, -1] for size in (1, 2))
    samples = np.stack([2 * two - one, 2 * (one - two)])
    values, count = samples.mean(1), samples.shape[1]
    covariance = np.zeros((3, 3))
    if prediction.method == "probes":
        covariance[:2, :2] = np.cov(samples) / count
    second, slope, variance = second_loop_at_one(prediction, "test")
    covariance[2, :2] = covariance[:2, 2] = slope @ covariance[:2, :2]
    covariance[2, 2] = slope @ covariance[:2, :2] @ slope + variance
    return np.array([prediction.path_test[-1] + values[0], values[1], second]), covariance


def _solve(
    coefficients: np.ndarray, covariance: np.ndarray, share: float, count: int
) -> tuple[Estimate, tuple[float, float], bool]:
    """The largest B with |loss(B) - loss(2B)| = share loss(B), the interval that the errors leave, whether loss rises."""
    sign = np.sign(coefficients[1]) or 1.0

    def excess(size: Any) -> tuple[np.ndarray, np.ndarray]:
        powers = np.asarray(size, dtype=float)[..., None] ** -np.arange(3.0)
        factors = share * powers - sign * powers * np.array([0.0, 0.5, 0.75])
        return factors @ coefficients, np.sqrt(np.einsum("...i,ij,...j->...", factors, covariance, factors).clip(0))

    sizes = np.geomspace(1e-3, LARGEST, 4000)
    t = float(stats.t.ppf((1 + LEVEL) / 2, max(count - 1, 1)))
    # excess is share * loss > 0 for large B: the last change of sign counts
    root, low, high = (_last_root(lambda b, k=k: excess(b)[0] + k * excess(b)[1], sizes) for k in (0.0, t, -t))
    slope = (excess(root * 1.001)[0] - excess(root * 0.999)[0]) / (0.002 * root) if 0 < root < np.inf else np.nan
    error = excess(root)[1] / abs(slope) if np.isfinite(slope) and slope else 0.0 if root == 0 else np.nan
    return Estimate(root, error, count), (low, high), bool(sign < 0)


def _last_root(function: Any, sizes: np.ndarray) -> float:
    """Where function turns positive for good: 0 if it is so everywhere, inf if it never does."""
    negative = np.flatnonzero(function(sizes) <= 0)
    if len(negative) == 0:
        return 0.0
    if negative[-1] == len(sizes) - 1:
        return np.inf
    a, b = sizes[negative[-1]], sizes[negative[-1] + 1]
    for _ in range(60):
        middle = np.sqrt(a * b)
        a, b = (middle, b) if function(middle) <= 0 else (a, middle)
    return float(b)


def _num_samples(prediction: PathPrediction) -> int:
    """What is behind the errors: runs of a fit, probes, or the pool where there are none."""
    if prediction.fitted is not None:
        return prediction.fitted.num_replicas
    drawn = prediction.method == "probes"
    return len(prediction.samples.tied) if drawn else prediction.num_pool


def _read_sizes(prediction: PathPrediction, batch_sizes: Any, answer: float) -> list[int]:
    if batch_sizes is not None:
        sizes = [_checks.integer("batch_sizes", size) for size in np.atleast_1d(np.asarray(batch_sizes))]
        if not sizes or any(b <= a for a, b in pairwise(sizes)):
            raise ValueError(f"batch_sizes={sizes} do not increase. Give different batch sizes, smallest first.")
        return sizes
    own = prediction.spacetime.batch_size
    top = max(own, min(answer, 2**20)) * 2
    wanted = sorted({own, *(2**k for k in range(int(np.ceil(np.log2(top))) + 1))})
    return [size for size in wanted if size == own or _fits(prediction, size)]


def _fits(prediction: PathPrediction, size: int) -> bool:
    try:
        resized = prediction.resized(size)
    except ValueError:
        return False
    return prediction.training_set != "distinct" or resized.num_examples <= prediction.num_pool


def _grid(curve: Any) -> Spacetime:
    assert curve.spacetime is not None
    return curve.spacetime


def _stack(curves: list) -> Estimate:
    return joined([curve[-1] for curve in curves])


def _number(estimate: Estimate, i: int) -> str:
    value, error = np.asarray(estimate.value)[i], np.asarray(estimate.stderr)[i]
    return f"{value:.5g} +- {error:.1g}" if error else f"{value:.5g}"
