"""The part of 1/B^2 of a prediction: from pairs of probes, or fitted to a simulation at one batch size.

A fit takes c2 = B^2 (simulated - one loop) at the batch size B that was simulated. At another size B'

    predicted = l + L1 / B' + (B / B')^2 (simulated - l - L1 / B),

so the error of L1 enters by 1/B' - B/B'^2: at B' = B the prediction is the simulation.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradnoise.estimate import Estimate, from_samples
from gradnoise.predict.path.noise_weights import gap_weight, noise_weights
from gradnoise.spacetime import Spacetime

if TYPE_CHECKING:
    from gradnoise.predict.path.prediction import PathPrediction


class FittedLoop(NamedTuple):
    """The simulation that a second loop was fitted to: `spacetime`, number of runs, and mean test loss, train loss and gap
    at the recorded `steps`, (record,)."""

    spacetime: Spacetime
    num_replicas: int
    steps: np.ndarray
    test: Estimate
    train: Estimate
    gap: Estimate

    def __repr__(self) -> str:
        return f"FittedLoop({self.num_replicas} runs of {self.spacetime}, {len(self.steps)} records)"

    def between(self, values: np.ndarray) -> np.ndarray:
        """From records (..., record) to every step (..., num_steps + 1), linearly."""
        steps = np.arange(self.steps[-1] + 1)
        after = np.searchsorted(self.steps, steps).clip(1)
        before = after - 1
        share = (steps - self.steps[before]) / (self.steps[after] - self.steps[before])
        return values[..., before] * (1 - share) + values[..., after] * share


def two_loops(prediction: "PathPrediction", target: str, spacetime: Spacetime) -> Estimate | None:
    """The loss through 1/B^2 at every step, with all errors; None for a prediction of one loop."""
    if prediction.fitted is not None:
        return _fitted(prediction, prediction.fitted, target, spacetime)
    if prediction.samples.pairs is None:
        return None
    pool, test, tied = prediction.samples.pairs
    batch = spacetime.batch_size
    tie = tied * float(gap_weight(spacetime, prediction.training_set, prediction.num_pool)) / batch
    test, pool = test / batch**2, pool / batch**2
    pairs = from_samples({"test": test, "train": pool + tie, "gap": test - pool - tie}[target])
    one = prediction.one_loop(target, spacetime)
    errors = np.hypot(one.stderr, pairs.stderr)  # its own probes
    return Estimate(prediction.base(target) + one.value + pairs.value, errors, pairs.num_samples)


def _fitted(prediction: "PathPrediction", fitted: FittedLoop, target: str, spacetime: Spacetime) -> Estimate:
    _check_columns(prediction, fitted.spacetime, target, spacetime)
    factor = (fitted.spacetime.batch_size / spacetime.batch_size) ** 2
    one = prediction.one_loop_samples(target, spacetime)
    return _with_residual(prediction, fitted, target, one, factor, prediction.base(target))


def _with_residual(
    prediction: "PathPrediction", fitted: FittedLoop, target: str, samples: np.ndarray | float, factor: float,
    base: np.ndarray | float,
) -> Estimate:  # fmt: skip
    """base + samples + factor (simulated - path - one loop) at every step; the residual interpolated between records."""
    at, simulated = fitted.steps, getattr(fitted, target)
    there = prediction.one_loop_samples(target, fitted.spacetime)[:, at]
    part = prediction.estimate(samples - factor * fitted.between(there))
    change, error = (fitted.between(each) for each in (simulated.value - prediction.base(target)[at], simulated.stderr))
    return Estimate(base + part.value + factor * change, np.hypot(part.stderr, factor * error), fitted.num_replicas)


def _check_columns(prediction: "PathPrediction", own: Spacetime, target: str, spacetime: Spacetime) -> None:
    """The second loop scales as 1/B^2 with N/B fixed; or, for a training set of any size, with fresh noise."""
    fixed = own.num_examples * spacetime.batch_size == own.batch_size * spacetime.num_examples
    kinds = set(noise_weights(spacetime, prediction.training_set, prediction.num_pool))
    if fixed or (kinds <= {"fresh"} and (target == "test" or prediction.training_set != "drawn")):
        return
    raise ValueError(
        f"num_examples={spacetime.num_examples} with batch_size={spacetime.batch_size}: the second loop of {target} was "
        f"fitted at {own.num_examples} with {own.batch_size}, and scales as 1/B^2 with their ratio kept. Keep "
        f"num_examples / batch_size = {own.num_examples / own.batch_size:g}."
    )


def second_coefficient(prediction: "PathPrediction", target: str) -> Estimate:
    """B^2 (two loops - one loop) of test, N B (...) of the gap, at every step, with the errors of all that enters."""
    spacetime = prediction.spacetime if prediction.fitted is None else prediction.fitted.spacetime
    size = spacetime.batch_size * (spacetime.batch_size if target == "test" else spacetime.num_examples)
    if prediction.fitted is not None:
        return _with_residual(prediction, prediction.fitted, target, 0.0, size, 0.0)
    if prediction.samples.pairs is None:
        raise ValueError("num_loops=1 has no second coefficient. Predict with num_loops=2, or fit it (fit_two_loops).")
    pairs = prediction.samples.pairs
    scale = -size / spacetime.batch_size  # of the weight of tied rows over B
    tie = scale * float(gap_weight(spacetime, prediction.training_set, prediction.num_pool)) * pairs.tied
    own = pairs.test if target == "test" else tie + size / spacetime.batch_size**2 * (pairs.test - pairs.pool)
    return from_samples(own)


def second_loop_at_one(prediction: "PathPrediction", target: str) -> tuple[float, np.ndarray, float]:
    """c2 of the last step, its slopes in the constant part and the 1/B part of one loop, and the variance beside them."""
    if prediction.fitted is None and prediction.samples.pairs is None:
        return 0.0, np.zeros(2), 0.0
    coefficient = second_coefficient(prediction, target)[-1]
    if prediction.fitted is None:
        return float(coefficient.value), np.zeros(2), float(coefficient.stderr**2)
    batch = prediction.fitted.spacetime.batch_size
    error = batch**2 * np.asarray(getattr(prediction.fitted, target).stderr)[-1]
    return float(coefficient.value), np.array([-(batch**2), -batch], dtype=float), float(error**2)
