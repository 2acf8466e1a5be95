"""Whether a trajectory looks different backwards: antisymmetric lag covariances, what they measure, and a test."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from gradnoise import _checks
from gradnoise.estimate import Estimate
from gradnoise.measure.circulation import (
    FEWEST_BLOCKS,
    antisymmetric_matrix,
    antisymmetric_products,
    block_means,
    require_lag,
    slowest_block,
)
from gradnoise.measure.trajectory import recorded_weights


class Irreversibility(NamedTuple):
    """Whether a stationary run is told from its own reversal; see `irreversibility_test`."""

    statistic: float
    """The largest studentized antisymmetric lag covariance of two components."""
    p_value: float
    """Probability of a statistic as large for a reversible process; NaN for fewer than 10 blocks."""
    antisymmetry: Estimate
    """(component, component): C(lag) - C(lag)^T of the components scaled to unit variance; between -2 and 2."""
    directions: Float[np.ndarray, "component weight"]
    """The principal components, unit vectors, largest variance first; signs arbitrary."""
    variances: Float[np.ndarray, " component"]
    """Of the weights along them, in parameter^2."""
    num_blocks: int
    block_length: int
    conclusion: str
    """"irreversible: ...", "not told from reversible: ..." or "cannot tell: ..."."""


def irreversibility_test(
    weights: ArrayLike,
    num_components: int = 2,
    lag: int = 1,
    level: float = 0.05,
    num_resamples: int = 999,
    seed: int = 0,
) -> Irreversibility:
    """Test of time reversal: is C(lag) = C(lag)^T, C(k) = E x_{t+k} x_t^T, on the leading principal components?

    A process at equilibrium (j = 0, Q = 0) has the same law run backwards, so C(k) is symmetric. The products
    x_i(t+k) x_j(t) - x_j(t+k) x_i(t) are averaged over blocks; reversed, a block changes sign. Signs of whole blocks are
    drawn at random, and the p value is the share of draws whose largest |mean|/error over pairs of components is at
    least the run's. Components do not depend on the direction of time. Blocks have the length of
    `bootstrap.block_length` for the slowest component, at least that component's autocorrelation time.

    `weights`: (record, weight) or (replica, record, weight), of the stationary phase: a drift is irreversible too.
    Gaussian processes are reversible exactly if all C(k) are symmetric; others may be irreversible in ways that this
    does not see, and components beyond `num_components` are not looked at. False alarms at level 0.05 on reversible
    autoregressions and the power on rotating ones: docs/theory/trajectories.md.

    >>> path = [np.zeros(2)]
    >>> for noise in np.random.default_rng(0).normal(size=(3000, 2)):
    ...     path.append(0.9 * np.array([[0.9, -0.4], [0.4, 0.9]]) @ path[-1] + noise)
    >>> irreversibility_test(path).p_value
    0.001

    Raises ValueError for fewer than 4 records, fewer than 2 components or more than directions in which the weights
    move, a lag beyond the records, numbers that are not finite, a level outside (0, 1).

    Source: docs/theory/trajectories.md, with the derivation.
    """
    rows, level = recorded_weights(weights), _checks.number("level", level, above=0.0, below=1.0)
    num_resamples = _checks.integer("num_resamples", num_resamples, 99)
    scores, directions, variances = _leading_components(rows, _checks.integer("num_components", num_components, 2))
    products = antisymmetric_products(scores, require_lag(lag, rows.shape[1]))
    length = slowest_block(scores)
    blocks = block_means(products, length)
    if len(blocks) < FEWEST_BLOCKS:
        statistic = p_value = float("nan")
        told = (
            f"cannot tell: the run holds {len(blocks)} blocks of {length} records, expected at least {FEWEST_BLOCKS}. "
            "Record longer."
        )
    else:
        statistic, p_value = _sign_flips(blocks, num_resamples, seed)
        words = "irreversible" if p_value <= level else "not told from reversible"
        told = f"{words}: p = {p_value:.3g} on {len(directions)} components"
    antisymmetry = antisymmetric_matrix(products, length)
    return Irreversibility(statistic, p_value, antisymmetry, directions, variances, len(blocks), length, told)


def _leading_components(
    rows: Float[np.ndarray, "replica record weight"], count: int
) -> tuple[Float[np.ndarray, "replica record component"], np.ndarray, np.ndarray]:
    """Scores of unit variance along the leading principal components, the components, their variances."""
    centred = (rows - rows.mean(axis=(0, 1))).reshape(-1, rows.shape[2])
    wide = centred.shape[1] > len(centred)
    values, vectors = np.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    rank = int(np.sum(values > values[0] * len(centred) * np.finfo(float).eps))
    if rank < count:
        raise ValueError(
            f"num_components={count} came, but the weights move in {rank} directions. Give at most {rank}."
        )
    directions = (vectors.T @ centred) / np.sqrt(values)[:, None] if wide else vectors.T
    variances = values / len(centred)
    scores = centred @ directions.T / np.sqrt(variances)
    return scores.reshape(*rows.shape[:2], count), directions, variances


def _sign_flips(blocks: Float[np.ndarray, "block pair"], num_resamples: int, seed: int) -> tuple[float, float]:
    """The largest |mean|/error over pairs, and its rank among those with random signs of the blocks."""
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(num_resamples, len(blocks)))
    squares = np.square(blocks).sum(axis=0)  # a mean square is not changed by signs

    def largest(means: np.ndarray) -> np.ndarray:
        variance = np.maximum(squares / len(blocks) - means**2, np.finfo(float).tiny) / (len(blocks) - 1)
        return np.max(np.abs(means) / np.sqrt(variance), axis=-1)

    found = float(largest(blocks.mean(axis=0)))
    drawn = largest(signs @ blocks / len(blocks))
    return found, float((1 + np.sum(drawn >= found * (1 - 1e-12))) / (1 + num_resamples))
