"""A number, or an array of numbers, that knows how far to trust it."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Estimate:
    """A value with its standard error, the number of independent samples behind it, and (for vectors) its covariance.

    `value` and `stderr` have one shape, any; `covariance`, where it is kept, is that of the flattened value. A zero
    error means exact by definition (a finite pool taken as the population); NaN means unknown. Errors combine only
    through the functions of this module, whose names say what they assume.

    >>> Estimate(0.5, 0.1, 100)
    Estimate(0.5 +- 0.1, num_samples=100)
    """

    value: Any
    stderr: Any
    num_samples: int
    covariance: Any = None

    def __post_init__(self) -> None:
        value, stderr = np.asarray(self.value, dtype=float), np.asarray(self.stderr, dtype=float)
        if value.shape != stderr.shape:
            raise ValueError(
                f"stderr has shape {stderr.shape}, expected the value's {value.shape}. Give one error each."
            )
        object.__setattr__(self, "value", value[()])
        object.__setattr__(self, "stderr", stderr[()])

    def __repr__(self) -> str:
        if np.ndim(self.value) == 0:
            return f"Estimate({self.value:.6g} +- {self.stderr:.2g}, num_samples={self.num_samples})"
        return f"Estimate(value={self.value!r}, stderr={self.stderr!r}, num_samples={self.num_samples})"

    def __getitem__(self, index: Any) -> "Estimate":
        """The entries at `index` of value and stderr (the covariance of a slice is not kept)."""
        return Estimate(np.asarray(self.value)[index], np.asarray(self.stderr)[index], self.num_samples)


def exact(value: Any, num_samples: int) -> Estimate:
    """An estimate without error: `value` is what it is by definition."""
    return Estimate(value, np.zeros(np.shape(value)), num_samples)


def from_samples(samples: Float[np.ndarray, "n ..."]) -> Estimate:
    """The mean of n independent samples along the first axis; `stderr` is their standard deviation (n-1) over sqrt(n).

    >>> from_samples(np.array([1.0, 3.0]))
    Estimate(2 +- 1, num_samples=2)
    """
    samples = np.asarray(samples, dtype=float)
    n = len(samples)
    if n == 0:
        raise ValueError("samples is empty, expected at least one. Give an array whose first axis counts the samples.")
    spread = samples.std(axis=0, ddof=1) if n > 1 else np.full(samples.shape[1:], np.nan)
    return Estimate(samples.mean(axis=0), spread / np.sqrt(n), n)


def linear_combination(weights: Float[np.ndarray, "k v"], values: Estimate) -> Estimate:
    """`weights @ values` for values of shape (v,), with their covariance (or, without one, taken as independent)."""
    weights = np.asarray(weights, dtype=float)
    covariance = np.diag(np.square(values.stderr)) if values.covariance is None else values.covariance
    combined = weights @ covariance @ weights.T
    stderr = np.sqrt(np.clip(np.diag(combined), 0, None))
    return Estimate(weights @ values.value, stderr, values.num_samples, combined)


def independent_difference(a: Estimate, b: Estimate) -> Estimate:
    """a - b for independent a and b: variances add.

    >>> independent_difference(Estimate(3.0, 0.3, 10), Estimate(1.0, 0.4, 20))
    Estimate(2 +- 0.5, num_samples=10)
    """
    return Estimate(np.asarray(a.value) - b.value, np.hypot(a.stderr, b.stderr), min(a.num_samples, b.num_samples))


def fieller_interval(
    numerator: float,
    denominator: float,
    numerator_variance: float,
    denominator_variance: float,
    covariance: float,
    t: float | tuple[float, float],
) -> tuple[float, float]:
    """The smallest interval, perhaps unbounded, of all ratios r >= 0 that n and d do not reject: Fieller's theorem.

        (n - r d)^2 <= t^2 (Var n - 2 r Cov + r^2 Var d)

    `t` is a quantile of Student's t, or a pair (low, high), low <= 0 <= high, of what the pivot (n - r d) / error may
    reach on either side. The upper end is inf where d is not told from zero, the lower end 0 where n is not.

    >>> fieller_interval(4.0, 2.0, 0.25, 0.0, 0.0, t=2.0)                # (4 +- 1) / 2
    (1.5, 2.5)
    >>> fieller_interval(4.0, 1.0, 0.25, 0.36, 0.0, t=2.0)
    (1.713..., inf)

    Source: Fieller 1954, "Some problems in interval estimation".
    """
    low, high = t if isinstance(t, tuple) else (-t, t)

    def sum_and_reach(t: float) -> float:
        joint = numerator_variance * denominator_variance - covariance**2
        spread = numerator**2 * denominator_variance + denominator**2 * numerator_variance
        spread -= 2 * numerator * denominator * covariance + t**2 * joint
        return numerator * denominator - t**2 * covariance + abs(t) * math.sqrt(max(spread, 0.0))

    known_numerator = numerator**2 - high**2 * numerator_variance
    known_denominator = denominator**2 - low**2 * denominator_variance
    least, most = 0.0, math.inf
    if known_numerator > 0:
        inverse = sum_and_reach(high)  # 1/r solves the same equation with n and d exchanged
        least = known_numerator / inverse if inverse > 0 else math.inf if numerator > 0 else 0.0
    if known_denominator > 0 and denominator > 0:
        most = max(sum_and_reach(low) / known_denominator, 0.0)
    return least, most
