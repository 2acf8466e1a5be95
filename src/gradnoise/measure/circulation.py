"""Lag covariances of a trajectory and their antisymmetric part, which is zero at equilibrium, in blocks."""

import math
from itertools import combinations

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from gradnoise import _checks
from gradnoise.autocorrelation import autocorrelation_time
from gradnoise.bootstrap import block_length
from gradnoise.estimate import Estimate
from gradnoise.measure.trajectory import recorded_weights

FEWEST_BLOCKS = 10
"""Fewer blocks than this bound nothing."""


def lag_covariance(weights: ArrayLike, lag: int) -> Float[np.ndarray, "weight weight"]:
    """C(k) = mean of (x_{t+k} - m)(x_t - m)^T over records and replicas, m the mean over all; in parameter^2.

    Only its antisymmetric part knows the direction of time; `stationary.area_rate` has it with errors.

    >>> lag_covariance([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]], lag=1)      # a quarter turn a record
    array([[ 0.        , -0.33333333],
           [ 0.66666667,  0.        ]])

    Raises ValueError for a lag beyond the records, and what `recorded_weights` raises.
    """
    rows = recorded_weights(weights)
    lag = require_lag(lag, rows.shape[1])
    centred = rows - rows.mean(axis=(0, 1))
    later, earlier = (part.reshape(-1, rows.shape[2]) for part in (centred[:, lag:], centred[:, :-lag]))
    return later.T @ earlier / len(later)


def antisymmetric_products(
    rows: Float[np.ndarray, "replica record component"], lag: int
) -> Float[np.ndarray, "replica record pair"]:
    """x_i(t+k) x_j(t) - x_j(t+k) x_i(t) for all pairs i < j: its mean is (C(k) - C(k)^T)_ij."""
    later, earlier = rows[:, lag:], rows[:, :-lag]
    first, second = np.array(list(combinations(range(rows.shape[2]), 2)), dtype=int).reshape(-1, 2).T
    return later[..., first] * earlier[..., second] - later[..., second] * earlier[..., first]


def antisymmetric_matrix(products: Float[np.ndarray, "replica record pair"], length: int) -> Estimate:
    """The means over time of all pairs as an antisymmetric matrix; errors from blocks' means."""
    pairs, blocks = products.shape[2], block_means(products, length)
    size = round((1 + (1 + 8 * pairs) ** 0.5) / 2)
    value, error = np.zeros((size, size)), np.zeros((size, size))
    above = np.triu_indices(size, 1)
    value[above] = products.mean(axis=(0, 1))
    error[above] = np.nan
    if len(blocks) >= FEWEST_BLOCKS:
        error[above] = blocks.std(axis=0, ddof=1) / np.sqrt(len(blocks))
    return Estimate(value - value.T, error + error.T, len(blocks))


def block_means(products: Float[np.ndarray, "replica record pair"], length: int) -> Float[np.ndarray, "block pair"]:
    """Means over consecutive blocks; what fills none is left out."""
    whole = products.shape[1] // length
    cut = products[:, : whole * length].reshape(len(products), whole, length, products.shape[2])
    return cut.mean(axis=2).reshape(-1, products.shape[2])


def slowest_block(rows: Float[np.ndarray, "replica record component"]) -> int:
    """Records of a block: `bootstrap.block_length` for the slowest component, at least its autocorrelation time.

    All records of a replica where the run is too short to show that time.
    """
    longest = rows.shape[1]
    time = max(autocorrelation_time(rows[..., i]) for i in range(rows.shape[2]))
    if not math.isfinite(time):
        return longest
    return max(block_length(time, rows[..., 0].size, longest), min(math.ceil(time), longest))


def require_lag(lag: int, num_records: int) -> int:
    """`lag` if records that far apart exist."""
    return _checks.integer("lag", lag, maximum=max(num_records - 1, 1))
