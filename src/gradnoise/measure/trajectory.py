"""Fourier amplitudes and autocorrelations of recorded weights, and the norm of the gradient: what a trajectory looks like.

Neither the spectrum nor the autocorrelation tells equilibrium from a circulating current: see `irreversibility_test`.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from gradnoise import _checks, _tree
from gradnoise._signal_noise import example_squares
from gradnoise._types import Params
from gradnoise.estimate import Estimate, exact, from_samples
from gradnoise.measure.trajectory_nulls import (
    autoregression_autocorrelation,
    autoregression_band,
    white_noise_band,
)
from gradnoise.problem import Problem, require_pool, require_problem

CHUNK = 64
"""Examples whose gradients are held at a time."""


class IncrementSpectrum(NamedTuple):
    """Fourier amplitudes of the weights' increments at each frequency; see `increment_spectrum`."""

    frequency: Float[np.ndarray, " frequency"]
    """Cycles per record, from 0 to 1/2; cycles per epoch where records_per_epoch was given."""
    amplitude: Estimate
    """Mean over weights and replicas; the error is over replicas, NaN for one run (weights are not independent)."""
    spread: Float[np.ndarray, " frequency"]
    """Standard deviation of the amplitudes over all weights and replicas."""
    power: Estimate
    """Mean square amplitude: the variance of an increment, for white increments."""


class WeightAutocorrelation(NamedTuple):
    """Autocorrelation of the weights with two bands; see `weight_autocorrelation`."""

    autocorrelation: Estimate
    """(lag,): mean over weights and replicas; the error is over replicas, NaN for one run."""
    spread: Float[np.ndarray, " lag"]
    """Standard deviation over all weights and replicas."""
    white_noise_band: float
    """99 % of a white series' autocorrelations lie within +- this at any lag > 0. Weights are no white series."""
    coefficient: Estimate
    """The autocorrelation at lag 1, taken for a first-order autoregression's a."""
    autoregression: Float[np.ndarray, " lag"]
    """a^lag."""
    autoregression_band: Float[np.ndarray, " lag"]
    """99 % of the autocorrelations of one weight that follows the autoregression lie within a^lag +- this."""


def increment_spectrum(
    weights: ArrayLike, *, hann: bool = False, records_per_epoch: float | None = None
) -> IncrementSpectrum:
    """One-sided Fourier amplitudes of x_{t+1} - x_t, weight by weight, their mean and spread over the weights.

        A_f = |sum_t w_t (x_{t+1} - x_t) exp(-2 pi i f t)| / (sum_t w_t^2)^(1/2),     w_t = 1, or sin^2(pi t/n) with `hann`

    `weights` has shape (record, weight) or (replica, record, weight); n + 1 records give n increments. Without a window
    the divisor is sqrt(n). Frequencies from 0 to 1/2 are given and not doubled. White increments of variance v have
    power v at all of them and mean amplitude (pi v)^(1/2)/2 (at 0 and 1/2: (2 v/pi)^(1/2)); overlay
    `autoregression_increment_power` for weights that are pulled back. The slope of a drift leaks from frequency 0; a
    window confines it.

    >>> walk = np.cumsum(np.random.default_rng(0).normal(size=(1025, 200)), axis=0)
    >>> found = increment_spectrum(walk)
    >>> [round(float(part.value[1:-1].mean()), 2) for part in (found.power, found.amplitude)]         # 1, sqrt(pi)/2
    [1.0, 0.89]

    Raises ValueError for fewer than 4 records or numbers that are not finite.

    Source: Chaudhari and Soatto 2018, section 4.2.
    """
    rows = recorded_weights(weights)
    steps = np.diff(rows, axis=1)
    count = steps.shape[1]
    window = np.sin(np.pi * np.arange(count) / count) ** 2 if hann else np.ones(count)
    amplitudes = np.abs(np.fft.rfft(steps * window[:, None], axis=1)) / math.sqrt(float(window @ window))
    per_epoch = 1.0 if records_per_epoch is None else _checks.number("records_per_epoch", records_per_epoch, above=0.0)
    return IncrementSpectrum(
        np.fft.rfftfreq(count) * per_epoch,
        from_samples(amplitudes.mean(axis=-1)),
        amplitudes.std(axis=(0, 2)),
        from_samples(np.square(amplitudes).mean(axis=-1)),
    )


def weight_autocorrelation(weights: ArrayLike, max_lag: int) -> WeightAutocorrelation:
    """Autocorrelation of each weight at lags 0, ..., max_lag, averaged over weights, beside two different null models.

        r_k = sum_t (x_t - xbar)(x_{t+k} - xbar) / sum_t (x_t - xbar)^2           (biased normalizer, own mean removed)

    `weights` as in `increment_spectrum`; weights that never change are left out. White noise: |r_k| < 2.576/sqrt(n). An
    autoregression x_{t+1} = a x_t + e: r_k = a^k +- 2.576 (Bartlett's variance)^(1/2), with a fitted at lag 1. Leaving the
    first band is no sign of structure: a reversible autoregression leaves it, and so does Brownian motion
    (`random_walk_autocorrelation`). Removing the mean biases r_k by about -(1 + a)/((1 - a) n).

    >>> white = np.random.default_rng(0).normal(size=(4096, 50))
    >>> found = weight_autocorrelation(white, 10)
    >>> found.white_noise_band, bool(np.all(np.abs(found.autocorrelation.value[1:]) < 0.02))
    (0.04025, True)

    Raises ValueError for fewer than 4 records, max_lag outside the records, numbers that are not finite, and weights
    none of which changes.

    Source: Chaudhari and Soatto 2018, section 4.2; Bartlett 1946 for the second band (docs/theory/trajectories.md).
    """
    rows = recorded_weights(weights)
    count = rows.shape[1]
    lags = np.arange(_checks.integer("max_lag", max_lag, maximum=count - 1) + 1)
    moving = np.ptp(rows, axis=1).min(axis=0) > 0
    if not moving.any():
        raise ValueError("weights holds no weight that changes in every replica. Give records of a run that moves.")
    rows = rows[..., moving]
    centred = rows - rows.mean(axis=1, keepdims=True)
    spectrum = np.abs(np.fft.rfft(centred, 2 * count, axis=1)) ** 2
    sums = np.fft.irfft(spectrum, 2 * count, axis=1)[:, lags]
    correlations = sums / sums[:, :1]
    mean = from_samples(correlations.mean(axis=-1))
    fitted = float(np.clip(mean.value[1], -1 + 1e-12, 1 - 1e-12))
    return WeightAutocorrelation(
        mean,
        correlations.std(axis=(0, 2)),
        white_noise_band(count),
        mean[1],
        autoregression_autocorrelation(fitted, lags),
        autoregression_band(fitted, lags, count),
    )


def normalized_gradient_norm(problem: Problem, params: Params) -> Estimate:
    """|grad L|/sqrt(d): the root mean square entry of the whole pool's mean gradient, in loss / parameter.

    L is the mean of `problem.loss` over the pool, d the number of weights; exact, so its error is zero.

    >>> from gradnoise.problem import from_arrays
    >>> problem = from_arrays(lambda w, x: w @ x, lambda key: np.zeros(4), np.ones((3, 4)))
    >>> normalized_gradient_norm(problem, np.zeros(4))
    Estimate(1 +- 0, num_samples=3)

    Raises TypeError for what is no Problem, ValueError without a pool.

    Source: Chaudhari and Soatto 2018, section 4.2.
    """
    require_problem(problem)
    pool = require_pool(problem, "normalized_gradient_norm")
    with jax.enable_x64(True):
        at, examples = _tree.cast(params, jnp.float64), _tree.cast(pool, jnp.float64)
        square = jax.jit(lambda w, pool: example_squares(jax.grad(problem.loss), w, pool, CHUNK)[1])(at, examples)
        size = sum(leaf.size for leaf in jax.tree.leaves(at))
        return exact(math.sqrt(float(square) / size), _tree.num_examples(pool))


def recorded_weights(weights: ArrayLike) -> Float[np.ndarray, "replica record weight"]:
    """The weights as (replica, record, weight) in float64; raises unless there are four finite records."""
    values = np.asarray(weights, dtype=float)
    if values.ndim not in (2, 3) or values.size == 0 or values.shape[-2] < 4:
        raise ValueError(
            f"weights has shape {values.shape}, expected (record, weight) or (replica, record, weight) with at least 4 "
            "records. Stack what was recorded of a run."
        )
    if not np.all(np.isfinite(values)):
        raise ValueError("weights holds NaN or infinity, expected finite numbers. Leave diverged replicas out.")
    return values if values.ndim == 3 else values[None]
