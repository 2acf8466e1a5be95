"""Joint moments and joint cumulants of two numbers, one into the other, in float64.

An array (order + 1, order + 1) holds at [i, j] what belongs to a^i b^j, for i + j up to `order`; the rest is zero.
"""

from collections.abc import Iterator
from math import comb

import numpy as np
from jaxtyping import Float

Table = Float[np.ndarray, "orders orders"]


def pool_moments(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"], order: int) -> Table:
    """E a^i b^j over n equally likely pairs (a_n, b_n).

    >>> pool_moments(np.array([0.0, 2.0]), np.array([1.0, 3.0]), 2)
    array([[1., 2., 5.],
           [1., 3., 0.],
           [2., 0., 0.]])
    """
    moments = np.zeros((order + 1, order + 1))
    for i, j in _orders(order):
        moments[i, j] = np.mean(a**i * b**j)
    return moments


def cumulants_of(moments: Table) -> Table:
    """The joint cumulants kappa_ij of numbers with these joint moments; kappa_00 = 0.

    >>> cumulants_of(pool_moments(np.array([0.0, 2.0]), np.array([1.0, 3.0]), 2))        # means, variances 1, covariance 1
    array([[0., 2., 1.],
           [1., 1., 0.],
           [1., 0., 0.]])
    """
    cumulants = np.zeros_like(moments)
    for i, j in _orders(len(moments) - 1):
        if i + j:
            cumulants[i, j] = moments[i, j] - _moment(cumulants, moments, i, j)
    return cumulants


def moments_of(cumulants: Table) -> Table:
    """The joint moments of numbers with these joint cumulants, the inverse of `cumulants_of`.

    >>> moments_of(cumulants_of(pool_moments(np.array([0.0, 2.0]), np.array([1.0, 3.0]), 2)))[1]
    array([1., 3., 0.])
    """
    moments = np.zeros_like(cumulants)
    for i, j in _orders(len(cumulants) - 1):
        moments[i, j] = _moment(cumulants, moments, i, j) if i + j else 1.0
    return moments


def _moment(cumulants: Table, moments: Table, i: int, j: int) -> float:
    """sum_{k < i, q <= j} C(i-1, k) C(j, q) kappa_{k+1, q} m_{i-1-k, j-q}: m_ij from lower moments, i + j > 0."""
    if i == 0:
        return _moment(cumulants.T, moments.T, j, i)
    terms = [
        comb(i - 1, k) * comb(j, q) * cumulants[k + 1, q] * moments[i - 1 - k, j - q]
        for k in range(i)
        for q in range(j + 1)
    ]
    return float(sum(terms))


def _orders(order: int) -> Iterator[tuple[int, int]]:
    """Every (i, j) with i + j <= order, lower sums first."""
    return ((i, total - i) for total in range(order + 1) for i in range(total + 1))
