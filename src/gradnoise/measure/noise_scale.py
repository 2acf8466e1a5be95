"""Signal and noise of the gradient: |G|^2, tr D and their ratio, the simple noise scale, with errors and intervals."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gradnoise import _checks, _tree
from gradnoise._types import Key, Params
from gradnoise.estimate import Estimate, exact
from gradnoise.measure.gradients import ExampleGradients, example_gradients
from gradnoise.measure.noise_moments import Moments, group_moments
from gradnoise.problem import Problem

METHODS = ("population", "unbiased")
_UNKNOWN = (math.nan, math.nan, math.nan, math.nan, (math.nan, math.nan, math.nan))


class Sampling(NamedTuple):
    """What the intervals need beside the values. `drawn`: whether the examples are a sample; if not, all else is zero.

    `signal_slope` = 4 G^T D G / (n |G|^2): how the variance of |G|^2 grows with |G|^2. `signal_floor` =
    2 tr(D^2) / (n(n-1)): that variance at G = 0. `trace_variance` and `shared` are the jackknife's variance of tr D and
    its covariance with |G|^2. `skewness`: third standardised moments of the estimates of |G|^2, tr D and
    |G|^2 - phi tr D at the estimated phi, to first order. `num_draws` is n. They are nan, unknown, for two examples, and
    for a sample whose gradients are all equal: what a sample does not show has no error bar.
    """

    drawn: bool
    signal_slope: float
    signal_floor: float
    trace_variance: float
    shared: float
    skewness: tuple[float, float, float]
    num_draws: int


class NoiseScale(NamedTuple):
    """Signal and noise at one point, for all parameters and (in `groups`) for each group; see `noise_scale`."""

    gradient_norm_squared: Estimate
    """|G|^2, the squared norm of the population's mean gradient; may come out negative. loss^2 / parameter^2."""
    noise_trace: Estimate
    """tr D, the summed variance of one example's gradient. loss^2 / parameter^2."""
    noise_to_signal: Estimate
    """tr D / (B |G|^2) at batch size B, drawn with replacement."""
    simple_noise_scale: Estimate
    """tr D / |G|^2, in examples."""
    gradient_diversity: Estimate
    """sum_i |g_i|^2 / |sum_i g_i|^2 over a set of `num_examples`, that is (1 + tr D/|G|^2) / num_examples."""
    groups: Mapping[str, "NoiseScale"]
    """The same for each parameter group (leaf of params), whose traces and squared norms add up to the whole."""
    batch_size: int
    num_examples: int
    """The pool's size, or without a pool the number of draws."""
    sampling: Sampling

    @property
    def note(self) -> str:
        """What to keep in mind when reading the numbers, in one sentence."""
        signal, count = self.gradient_norm_squared, self.sampling.num_draws
        came = f"|G|^2 = {signal.value:.3g} +- {signal.stderr:.2g}"
        if not self.sampling.drawn:
            if signal.value <= 0:
                return f"{came}: the mean gradient is zero, so the ratios are infinite."
            return "The pool is taken as the population: the values are exact."
        if count > 2 and math.isnan(self.sampling.trace_variance):
            return f"All {count} draws have the same gradient: they show no noise, and the errors are unknown."
        if signal.value <= 0:
            return (
                f"{came}: the noise of the mean was subtracted and nothing is left, so {count} draws cannot tell G "
                "from zero; the negative value is kept because averages of it are unbiased. The ratios are only "
                "bounded from below: see noise_scale_interval."
            )
        if signal.value < 2 * signal.stderr:
            return f"|G|^2 is within two standard errors of zero: {count} draws barely bound the ratios from above."
        return f"Unbiased parts from {count} draws; the ratios have a bias of order 1/{count}."


def noise_scale(
    problem: Problem,
    params: Params,
    batch_size: int = 1,
    num_draws: int | None = None,
    key: Key | None = None,
    *,
    method: str | None = None,
    memory: int | str | None = None,
) -> NoiseScale:
    """|G|^2, tr D and their ratios, whole and by parameter group.

    method="population" (the default without num_draws): the pool is the population and the values are exact (stderr 0),
    G = (1/N) sum_i g_i and D = (1/N) sum_i (g_i - G)(g_i - G)^T. "unbiased" (the default with num_draws): the n
    examples are a sample, num_draws = n of them drawn (from a pool with replacement) or, without num_draws, the pool's
    own, of an unknown population. The parts are then unbiased, and stay so where they come out negative,

        tr D ~ s2 = sum_i |g_i - gbar|^2 / (n - 1),        |G|^2 ~ |gbar|^2 - s2 / n,

    ratios are ratios of these (bias O(1/n)), and `stderr` is a delete-one jackknife (nan for n = 2, and where all gradients
    are equal). At G = 0 the
    jackknife overstates the error of |G|^2 by sqrt(2); `noise_scale_interval` does not. Where the corrected |G|^2 is
    not positive the ratios are inf with stderr nan, and `.note` says why. `gradient_diversity` is that of the whole
    pool, or of n examples without a pool. Two passes in chunks; `memory` bounds the peak of the process (bytes or
    "2GiB", the default).

    >>> import gradnoise.problem as gp
    >>> problem = gp.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: 0.0, np.array([1.0, 3.0]))
    >>> noise_scale(problem, 0.0, batch_size=2).noise_to_signal       # tr D = 1, |G|^2 = 4
    Estimate(0.125 +- 0, num_samples=2)
    >>> noise_scale(problem, 0.0, method="unbiased").noise_trace      # divisor n - 1
    Estimate(2 +- nan, num_samples=2)

    Raises ValueError without a pool and num_draws, for fewer than 2 examples of a sample, for an unknown method or
    method="population" with num_draws, and for a key without num_draws.

    Source: McCandlish et al. 2018, "An Empirical Model of Large-Batch Training", eqs 2.9 and A; diversity: Yin et al.
    2018, "Gradient Diversity: a Key Ingredient for Scalable Distributed Learning", definition 2.
    """
    batch_size = _checks.integer("batch_size", batch_size)
    method = _checked_method(method, num_draws)
    gradients = example_gradients(problem, params, num_draws, key, memory, "noise_scale")
    if method == "unbiased":
        gradients = _as_sample(gradients)
    size = problem.num_pool or gradients.num_examples
    names, moments = list(_tree.group_slices(gradients.params)), group_moments(gradients)
    groups = {
        name: _noise_scale(Moments(*(part[..., g] for part in moments)), gradients.drawn, batch_size, size, {})
        for g, name in enumerate(names)
    }
    whole = Moments(*(part.sum(axis=-1) for part in moments))
    return _noise_scale(whole, gradients.drawn, batch_size, size, groups)


def _checked_method(method: str | None, num_draws: int | None) -> str:
    if method is None:
        return "population" if num_draws is None else "unbiased"
    method = _checks.one_of("method", method, METHODS)
    if method == "population" and num_draws is not None:
        raise ValueError(
            f'num_draws={num_draws} has no meaning for method="population", which uses the whole pool. '
            'Leave it out, or give method="unbiased".'
        )
    return method


def _as_sample(gradients: ExampleGradients) -> ExampleGradients:
    """The same gradients, marked as those of a sample of the population."""
    if gradients.num_examples < 2:
        raise ValueError(
            'method="unbiased" needs a sample of at least 2 examples, and the pool holds 1. Give num_draws and key, or '
            'method="population".'
        )
    return replace(gradients, drawn=True)


def noise_scale_from_gradients(per_example_grads: Float[np.ndarray, "n P"]) -> Estimate:
    """Simple gradient noise scale B = tr(C) / |G|^2, in examples.

    |G|^2 is corrected for the n-sample noise of the mean, |g|^2 - tr(C)/n; numerator and denominator are unbiased,
    their ratio is not (bias O(1/n)). `stderr` is a delete-one jackknife (nan for n = 2). Raises ValueError for n < 2.
    Gives inf, stderr nan, if the corrected |G|^2 is not positive: n is then too small to tell G from zero, as near a
    minimum.

    >>> float(noise_scale_from_gradients(np.array([[1.0], [3.0]])).value)      # tr C = 2, |G|^2 = 4 - 1 = 3
    0.667

    Source: McCandlish et al. 2018, "An Empirical Model of Large-Batch Training".
    """
    rows = np.asarray(per_example_grads, dtype=float)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise ValueError(f"per_example_grads has shape {rows.shape}, expected (n, P). Give one flat gradient a row.")
    if len(rows) < 2:
        raise ValueError(f"per_example_grads has {len(rows)} row, expected at least 2. One gradient shows no noise.")
    _checks.floating_tree("per_example_grads", rows)
    mean = rows.mean(axis=0)
    centred = rows - mean
    moments = Moments(mean @ mean, np.square(centred).sum(axis=1), centred @ mean, np.zeros(0))
    return _noise_scale(moments, True, 1, len(rows), {}).simple_noise_scale


def _noise_scale(
    moments: Moments, drawn: bool, batch_size: int, num_examples: int, groups: Mapping[str, NoiseScale]
) -> NoiseScale:
    count = len(moments.spread)
    noise = float(moments.spread.sum()) / (count - 1 if drawn else count)
    signal = float(moments.mean_squared) - (noise / count if drawn else 0.0)
    ratio = noise / signal if signal > 0 else math.inf
    if drawn:
        known = count > 2 and not _coincide(moments, count)
        errors = _jackknife(moments, count, signal) if known else (math.nan,) * 3
        sampling = _sampling(moments, count, noise) if known else Sampling(True, *_UNKNOWN, count)
        estimates = [Estimate(*pair, count) for pair in zip((signal, noise, ratio), errors, strict=True)]
    else:
        sampling = Sampling(False, 0.0, 0.0, 0.0, 0.0, (0.0, 0.0, 0.0), count)
        unknown = exact(ratio, count) if signal > 0 else Estimate(ratio, math.nan, count)
        estimates = [exact(signal, count), exact(noise, count), unknown]
    ratio, error = estimates[2].value, estimates[2].stderr
    return NoiseScale(
        estimates[0],
        estimates[1],
        Estimate(ratio / batch_size, error / batch_size, count),
        estimates[2],
        Estimate((1 + ratio) / num_examples, error / num_examples, count),
        groups,
        batch_size,
        num_examples,
        sampling,
    )


def _coincide(moments: Moments, count: int) -> bool:
    """Whether all gradients are equal up to the rounding of their mean."""
    rounding = count * float(np.finfo(float).eps)
    return bool(moments.spread.max() <= rounding**2 * moments.mean_squared)


def _leave_one_out(moments: Moments, count: int) -> tuple[np.ndarray, np.ndarray]:
    """|G|^2 and tr D without example i, for every i."""
    rest = count - 1
    mean_squared = moments.mean_squared - 2 * moments.along_mean / rest + moments.spread / rest**2
    noise = (moments.spread.sum() - moments.spread * count / rest) / (count - 2)
    return mean_squared - noise / rest, noise


def _jackknife(moments: Moments, count: int, signal: float) -> tuple[float, float, float]:
    """Delete-one standard errors of |G|^2, tr D and, if |G|^2 is positive, of their ratio."""
    without = _leave_one_out(moments, count)
    error = lambda each: math.sqrt((count - 1) / count * np.square(each - each.mean()).sum())  # noqa: E731
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = error(without[1] / without[0]) if signal > 0 else math.nan
    return error(without[0]), error(without[1]), ratio


def _sampling(moments: Moments, count: int, noise: float) -> Sampling:
    covariance = (count - 1) ** 2 / count * np.cov(_leave_one_out(moments, count))
    along = float(np.square(moments.along_mean).sum()) / (count - 1)
    slope = 4 * along / (count * moments.mean_squared) if moments.mean_squared > 0 else 0.0
    frobenius = float(np.square(moments.pairs + noise / count).mean()) if moments.pairs.size else math.nan
    floor = 2 * frobenius / (count * (count - 1))
    signal = max(float(moments.mean_squared) - noise / count, 0.0)
    quadratic = np.array([[floor + slope * signal, covariance[0, 1]], [covariance[0, 1], covariance[1, 1]]])
    terms = np.stack([2 * moments.along_mean, moments.spread - moments.spread.mean()])  # |G|^2, tr D to first order

    def skewness(*combination: float) -> float:
        weights = np.array(combination)
        variance = float(weights @ quadratic @ weights)
        return float(np.mean((weights @ terms) ** 3)) / (count**2 * variance**1.5) if variance > 0 else 0.0

    ratio = signal / noise if noise > 0 else 0.0
    skews = (skewness(1.0, 0.0), skewness(0.0, 1.0), skewness(1.0, -ratio))
    return Sampling(True, slope, floor, float(covariance[1, 1]), float(covariance[0, 1]), skews, count)
