"""The linear scaling rule of scale-invariant losses: the batch size above which it must fail."""

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from gradnoise import _checks
from gradnoise.estimate import Estimate, fieller_interval

NAMES = ("printed", "sharp", "approximate")


class CriticalBatch(NamedTuple):
    """Three forms of the critical batch size, in examples; see `critical_batch`."""

    printed: Estimate
    """B C^2 (1 + N/G): the theorem as printed."""
    sharp: Estimate
    """B (C^2 + (C^2 - 1) N/G): the same proof without a slack of B N/G."""
    approximate: Estimate
    """B C^2 N/G: for large N/G."""
    signal: Estimate
    noise: Estimate
    covariance: float
    batch_size: int
    closeness: float

    def interval(self, name: str = "sharp", level: float = 0.95) -> tuple[float, float]:
        """A confidence interval of the form `name`, perhaps unbounded, (low, inf): Fieller's theorem for r = N/G >= 0.

        r belongs to it where (N - r G)^2 <= t^2 (Var N - 2 r Cov + r^2 Var G), t of Student with degrees of freedom one
        below the fewest samples among G and N (those with an error). docs/coverage.md has the coverage.

        Raises ValueError for an unknown name or a level outside (0, 1).

        Source: Fieller 1954, "Some problems in interval estimation".
        """
        name = _checks.one_of("name", name, NAMES)
        level = _checks.number("level", level, above=0.0, below=1.0)
        ends = _ratio_interval(self.noise, self.signal, self.covariance, level)
        low, high = (self.batch_size * _factor(name, ratio, self.closeness) for ratio in ends)
        return float(low), float(high)


def critical_batch(
    G: float | Estimate,
    N: float | Estimate,
    batch_size: int,
    closeness: float = 2**0.5,
    *,
    covariance: float = 0.0,
) -> CriticalBatch:
    """The batch size above which linear scaling of a run with `batch_size` = B must fail, from G and N of that run.

        printed      B C^2 (1 + N/G)
        sharp        B (C^2 + (C^2 - 1) N/G)
        approximate  B C^2 N/G

    G and N are time averages at equilibrium of |grad L|^2 and of tr Sigma, the trace of the covariance of ONE batch of
    B, both of the data loss without weight decay; floats or Estimates, whose errors are independent unless `covariance`
    is given. C = `closeness`. Above `sharp` the (C, kappa)-invariance of R = E|x|^2, G and N must fail (R/R', G/G' and
    N/(kappa N') all within [1/C, C], the prime for the scaled run), if the loss is scale-invariant and the run
    stationary. Below it nothing is promised, and nothing is said about test error. `stderr` is by the delta method; for
    intervals use `.interval(name)`, which may be unbounded. G <= 0 as an Estimate (noise) gives inf with stderr nan.

    >>> critical = critical_batch(G=1.0, N=4.0, batch_size=32)
    >>> [round(float(form.value)) for form in critical[:3]]
    [320, 192, 256]
    >>> critical_batch(Estimate(1.0, 0.4, 20), Estimate(4.0, 0.5, 20), 32).interval("sharp")      # 2 B + B N/G
    (128.47..., 855.48...)

    Raises ValueError for closeness <= 1, G <= 0 or N < 0 as floats, NaN, or a covariance beyond the errors.

    Source: Li, Malladi, Arora 2021, theorem 5.6 and its discussion (printed, approximate); docs/theory/errata.md
    row 16 (sharp).
    """
    signal = G if isinstance(G, Estimate) else Estimate(_checks.number("G", G, above=0.0), 0.0, 1)
    noise = N if isinstance(N, Estimate) else Estimate(_checks.number("N", N, minimum=0.0), 0.0, 1)
    for name, estimate in {"G": signal, "N": noise}.items():
        _check_estimate(name, estimate)
    batch_size = _checks.integer("batch_size", batch_size)
    closeness = _checks.number("closeness", closeness, above=1.0)
    covariance = _checks.number("covariance", covariance)
    if abs(covariance) > signal.stderr * noise.stderr * (1 + 1e-9):
        raise ValueError(
            f"covariance={covariance:g} exceeds the product of G's and N's errors, {signal.stderr * noise.stderr:g}. "
            "Give Estimates of G and N with the errors that belong to it."
        )
    ratio = _ratio(noise, signal, covariance)
    forms = [_form(name, ratio, batch_size, closeness) for name in NAMES]
    return CriticalBatch(forms[0], forms[1], forms[2], signal, noise, covariance, batch_size, closeness)


def _check_estimate(name: str, estimate: Estimate) -> None:
    if np.ndim(estimate.value) != 0:
        raise ValueError(f"{name} has shape {np.shape(estimate.value)}, expected one number. Average over time first.")
    if not math.isfinite(estimate.value) or not (math.isfinite(estimate.stderr) and estimate.stderr >= 0):
        raise ValueError(f"{name}={estimate!r} is not finite, expected a value and a standard error. Mend its samples.")


def _factor(name: str, ratio: float, closeness: float) -> float:
    square = closeness**2
    forms = {"printed": square * (1 + ratio), "sharp": square + (square - 1) * ratio, "approximate": square * ratio}
    return forms[name]


def _form(name: str, ratio: Estimate, batch_size: int, closeness: float) -> Estimate:
    slope = closeness**2 - (name == "sharp")
    value = batch_size * _factor(name, float(ratio.value), closeness)
    return Estimate(value, batch_size * slope * ratio.stderr, ratio.num_samples)


def _ratio(noise: Estimate, signal: Estimate, covariance: float) -> Estimate:
    """N/G with the delta method's error; inf where G is not positive."""
    num_samples = min([e.num_samples for e in (noise, signal) if e.stderr > 0], default=1)
    if signal.value <= 0:
        return Estimate(math.inf, math.nan, num_samples)
    ratio = float(noise.value / signal.value)
    variance = noise.stderr**2 - 2 * ratio * covariance + ratio**2 * signal.stderr**2
    return Estimate(ratio, math.sqrt(max(variance, 0.0)) / float(signal.value), num_samples)


def _ratio_interval(noise: Estimate, signal: Estimate, covariance: float, level: float) -> tuple[float, float]:
    """Fieller's interval of r = N/G; a point where both are exact."""
    samples = [e.num_samples for e in (noise, signal) if e.stderr > 0]
    if not samples:
        return float(noise.value / signal.value), float(noise.value / signal.value)
    t = float(stats.t.ppf((1 + level) / 2, max(min(samples) - 1, 1)))
    variances = float(noise.stderr**2), float(signal.stderr**2)
    return fieller_interval(float(noise.value), float(signal.value), *variances, covariance, t)
