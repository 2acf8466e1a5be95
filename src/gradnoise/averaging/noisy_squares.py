"""Sums of squares with noise in them: intervals of what they would be without."""

import math
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

FAR = 1e4
"""A sum of squares above so many times its degrees of freedom has a root that is as good as normal."""


class NoisySquares(NamedTuple):
    """A sum of squares of means and the sum of squares over seeds that shows its noise, with their degrees of freedom.

    Both are v times chi-squared, noncentral the first; the true squares are v times the noncentrality. Where the noise has
    no one variance v, but some in each direction, `uneven` is how many times the smallest the largest may be.

    >>> found = NoisySquares(squares=30.0, freedom=1, error=1e6, error_freedom=1_000_000, uneven=1.0)
    >>> found.true_squares, [round(end, 1) for end in found.interval(0.95)]      # wider than (12.4, 55.3): two at 97.5 %
    (29.0, [10.4, 59.6])
    """

    squares: float
    freedom: int
    error: float
    error_freedom: int
    uneven: float

    @property
    def variance(self) -> float:
        return self.error / self.error_freedom

    @property
    def true_squares(self) -> float:
        """The sum of squares without its noise, unbiased but for the cut at zero."""
        return max(self.squares - self.freedom * self.variance, 0.0)

    def interval(self, level: float) -> tuple[float, float]:
        """Of the true squares: noncentral chi-squared at a given variance, united over an interval of the variance.

        Squares smaller than noise alone is expected to give have the upper limit of these: luck is no precision.
        """
        tail = (1 - level) / 4
        quantiles = stats.chi2.ppf([1 - tail, tail], self.error_freedom) * [self.uneven, 1 / self.uneven]
        variances = np.geomspace(self.error / quantiles[0], self.error / quantiles[1], 7)
        seen = np.maximum(self.squares / variances, self.freedom)
        ends = variances * np.array([noncentrality_interval(x, self.freedom, 1 - 2 * tail) for x in seen]).T
        return float(ends[0].min()), float(ends[1].max())


def noncentrality_interval(sum_of_squares: float, freedom: int, level: float) -> tuple[float, float]:
    """All noncentralities whose chi-squared law does not put `sum_of_squares` in a tail of (1 - level)/2.

    Far from zero, above 1e4 k, the root of the sum of squares is as good as normal: (sqrt(x) -+ z)^2 - (k - 1).

    >>> noncentrality_interval(30.0, 1, 0.95)                             # (sqrt(30) -+ 1.96)^2
    (12.4, 55.3)
    """
    tail = (1 - level) / 2
    if sum_of_squares > FAR * freedom:
        root, z = math.sqrt(sum_of_squares), float(stats.norm.isf(tail))
        return (root - z) ** 2 - (freedom - 1), (root + z) ** 2 - (freedom - 1)

    def above(noncentrality: float) -> float:
        if noncentrality == 0:
            return float(stats.chi2.sf(sum_of_squares, freedom))
        return float(stats.ncx2.sf(sum_of_squares, freedom, noncentrality))

    def reach(share: float) -> float:
        if above(0.0) >= share:
            return 0.0
        far = 4 * (sum_of_squares + freedom) + 30
        found = optimize.root_scalar(lambda noncentrality: above(noncentrality) - share, bracket=(0.0, far))
        return found.root

    return reach(tail), reach(1 - tail)
