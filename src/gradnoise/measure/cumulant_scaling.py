"""How cumulants of batch noise fall with the batch size: the central limit theorem, at finite sizes."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from gradnoise import _checks
from gradnoise._types import Key, Params
from gradnoise.estimate import Estimate
from gradnoise.measure.projections import projected_noise
from gradnoise.problem import Problem

ORDERS = (2, 3, 4)


class CumulantScaling(NamedTuple):
    """Cumulants of orders 2, 3, 4 of batch noise along k directions, for s batch sizes."""

    batch_sizes: tuple[int, ...]
    directions: tuple[str, ...]
    measured: Estimate
    """Shape (s, k, 3), from draws: unbiased."""
    expected: Float[np.ndarray, "s k 3"]
    """One example's in the pool over B, B^2, B^3, exact; NaN without a pool."""


def cumulant_scaling(
    problem: Problem,
    params: Params,
    batch_sizes: Any,
    num_draws: int,
    directions: Any,
    key: Key,
    *,
    memory: int | str | None = None,
) -> CumulantScaling:
    """Cumulants of a batch's mean gradient along directions, measured at several batch sizes B beside the exact law.

        kappa_p(batch mean) = kappa_p(one example) / B^(p-1),    p = 2, 3, 4,    with replacement

    hence skewness falls as B^(-1/2) and excess kurtosis as 1/B, for every law. `measured` are k-statistics of num_draws
    independent batches a size, unbiased, with errors to first order (too small where tails are heavy). Batch sizes share
    directions and keys: their errors are not independent. Other arguments as in `gaussianity`. Units:
    (loss / parameter)^p.

    >>> import jax, gradnoise.problem as gp
    >>> problem = gp.from_arrays(lambda w, x: w @ x, lambda key: np.zeros(1), np.array([[0.0], [0.0], [3.0]]))
    >>> found = cumulant_scaling(problem, np.zeros(1), [1, 10], 1000, np.ones(1), jax.random.key(0))
    >>> found.expected[:, 0]             # kappa_2, kappa_3, kappa_4 = 2, 2, -6 of one example
    array([[ 2.   ,  2.   , -6.   ],
           [ 0.2  ,  0.02 , -0.006]])
    >>> bool(np.all(np.abs(found.measured.value - found.expected) < 4.5 * found.measured.stderr))
    True

    Raises what `gaussianity` raises, and ValueError for no batch size.

    Source: docs/theory/tails.md, "How fast it becomes Gaussian".
    """
    sizes = tuple(_checks.integer("batch_sizes", size) for size in np.atleast_1d(np.asarray(batch_sizes)))
    if not sizes:
        raise ValueError("batch_sizes is empty, expected at least one. Give [1, 4, 16], say.")
    found = projected_noise(problem, params, directions, key, memory)
    parts = [_cumulants(found.samples(size, num_draws)) for size in sizes]
    value, stderr = (np.stack([getattr(part, name) for part in parts]) for name in ("value", "stderr"))
    expected = np.full(value.shape, np.nan)
    if found.singles is not None:
        expected = np.stack([_pool_cumulants(found.singles) / size ** (np.array(ORDERS) - 1.0) for size in sizes])
    return CumulantScaling(sizes, found.directions.names, Estimate(value, stderr, num_draws), expected)


def _cumulants(samples: np.ndarray) -> Estimate:
    """Unbiased cumulants (k, 3) of columns, by k-statistics; errors from their first-order influence."""
    value = np.stack([[stats.kstat(column, order) for order in ORDERS] for column in samples.T])
    x = samples - samples.mean(axis=0)
    second, third = (x**2).mean(axis=0), (x**3).mean(axis=0)
    influence = np.stack([x**2, x**3 - 3 * second * x, x**4 - 6 * second * x**2 - 4 * third * x], axis=-1)
    return Estimate(value, influence.std(axis=0) / np.sqrt(len(x)), len(x))


def _pool_cumulants(singles: np.ndarray) -> np.ndarray:
    """Cumulants (k, 3) of one example of the pool, which is the population."""
    second, third, fourth = ((singles**order).mean(axis=0) for order in ORDERS)
    return np.stack([second, third, fourth - 3 * second**2], axis=-1)
