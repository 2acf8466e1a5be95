"""Fieller's interval of a ratio."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradnoise.estimate import fieller_interval


@given(st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0.01, 3), st.floats(0.01, 3), st.floats(-0.9, 0.9))
def test_the_interval_is_the_hull_of_the_ratios_that_are_not_rejected(n, d, n_error, d_error, correlation):
    covariance, t = correlation * n_error * d_error, 1.7
    low, high = fieller_interval(n, d, n_error**2, d_error**2, covariance, t)
    is_told_from_zero = n > t * n_error or d > t * d_error  # else the set may have a hole
    for ratio in np.geomspace(1e-3, 1e3, 101):
        excess = (n - ratio * d) ** 2 - t**2 * (n_error**2 - 2 * ratio * covariance + ratio**2 * d_error**2)
        if abs(excess) > 1e-9 * (1 + ratio**2):
            assert (low < ratio < high) or excess > 0
            assert not (low < ratio < high and excess > 0 and is_told_from_zero)
    assert is_told_from_zero or (low, high) == (0, math.inf)


@given(st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0.01, 3), st.floats(0.01, 3))
def test_that_of_the_inverse_ratio_is_the_inverse(n, d, n_error, d_error):
    low, high = fieller_interval(n, d, n_error**2, d_error**2, 0.0, 2.0)
    back = fieller_interval(d, n, d_error**2, n_error**2, 0.0, 2.0)
    inverse = (0.0 if math.isinf(high) else 1 / high if high else math.inf, 1 / low if low else math.inf)
    np.testing.assert_allclose(back, inverse, rtol=1e-6, atol=1e-12)


def test_small_errors_are_not_lost_to_cancellation():
    low, high = fieller_interval(1.0, 1.0, 1e-24, 0.0, 0.0, 2.0)
    assert (high - low) / 4e-12 == pytest.approx(1, rel=1e-3)


def test_each_side_has_its_own_quantile():
    assert fieller_interval(4.0, 1.0, 0.25, 0.0, 0.0, (-1.0, 3.0)) == pytest.approx((2.5, 4.5))


def test_what_is_not_told_from_zero_leaves_its_end_open():
    assert fieller_interval(0.1, 0.1, 1.0, 1.0, 0.0, 2.0) == (0.0, math.inf)
    assert fieller_interval(9.0, 0.1, 1.0, 1.0, 0.0, 2.0)[1] == math.inf
    assert fieller_interval(0.1, 9.0, 1.0, 1.0, 0.0, 2.0)[0] == 0.0
