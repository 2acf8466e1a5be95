"""Is the noise of a mini-batch Gaussian? One point, independent batches, one direction at a time."""

from math import isqrt
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from gradnoise import _checks
from gradnoise._types import Key, Params
from gradnoise.estimate import Estimate
from gradnoise.measure.normality import TESTS, excess_kurtosis, holm, skewness
from gradnoise.measure.projections import projected_noise
from gradnoise.measure.tails import TailIndex, tail_index
from gradnoise.problem import Problem


class Gaussianity(NamedTuple):
    """The noise of a batch's mean gradient along k directions; arrays and estimates have shape (k,)."""

    directions: tuple[str, ...]
    vectors: Float[np.ndarray, "P k"]
    """Unit vectors, columns."""
    statistic: Float[np.ndarray, "k"]
    p_value: Float[np.ndarray, "k"]
    """Of each direction by itself."""
    adjusted_p_value: Float[np.ndarray, "k"]
    """Holm's, for all directions together."""
    skewness: Estimate
    excess_kurtosis: Estimate
    expected_skewness: Float[np.ndarray, "k"]
    """Exact, from the pool: one example's over B^(1/2). NaN without a pool."""
    expected_kurtosis: Float[np.ndarray, "k"]
    """Exact, from the pool: one example's over B. NaN without a pool."""
    tail_index: TailIndex
    """Along draws, in blocks of `block_size`; 2 for a Gaussian."""
    max_to_sum: Float[np.ndarray, "k"]
    """R_n(2) = max x^2 / sum x^2: goes to zero with the number of draws exactly if the variance is finite."""
    batch_size: int
    num_draws: int
    block_size: int
    test: str
    level: float

    @property
    def rejected(self) -> Bool[np.ndarray, "k"]:
        """Directions along which the noise is not Gaussian; none of them wrongly, but for a chance of `level`."""
        return self.adjusted_p_value < self.level

    @property
    def sentence(self) -> str:
        """What was found, and what cannot be said."""
        count, total = int(self.rejected.sum()), len(self.directions)
        most = int(np.argmax(np.abs(self.excess_kurtosis.value)))
        kurtosis, order = self.excess_kurtosis[most], np.argsort(self.tail_index.value)
        low, high = (f"{one.value:.3g} +- {one.stderr:.1g}" for one in (self.tail_index[i] for i in order[[0, -1]]))
        verdict = f"differs from a Gaussian along {count} of {total} directions"
        if not count:
            verdict = f"is not told from a Gaussian along any of {total} directions"
        told = (
            f"The noise of a batch of {self.batch_size} {verdict} ({self.test.replace('_', '-').title()} test on "
            f"{self.num_draws} batches, level {self.level:g} for all together). The largest excess kurtosis is "
            f"{kurtosis.value:.2g} +- {kurtosis.stderr:.1g}; tail indices along draws lie from {low} to {high}."
        )
        if np.isnan(self.expected_kurtosis).any():
            return told
        return (
            f"{told} A finite data set has bounded noise and all moments: an index below 2 speaks of sums of up to "
            f"{self.block_size} batches, not of infinite variance."
        )


def gaussianity(
    problem: Problem,
    params: Params,
    batch_size: int,
    num_draws: int,
    directions: Any,
    key: Key,
    *,
    test: str = "anderson_darling",
    level: float = 0.05,
    block_size: int | None = None,
    memory: int | str | None = None,
) -> Gaussianity:
    """Whether the mean gradient of independent batches at `params`, minus the full gradient, is Gaussian by direction.

        x_m = (g_batch(m) - gbar) . u,   m = 1, ..., num_draws,   batches drawn with replacement

    Along each unit direction u: a test of normality ("anderson_darling" or "jarque_bera"; mean and variance unknown)
    with Holm's correction over directions, skewness and excess kurtosis with errors beside their exact values from the
    pool, the tail index along draws and max x^2 / sum x^2. Draws of one number are compared, never coordinates of one
    gradient: these have different variances and look heavy-tailed even where all noise is Gaussian.

    `directions`: an int, so many random unit directions; "top", ten of them and the ten leading eigenvectors of the
    covariance D; a vector (P,), columns (P, k) or a tree like params. Random directions average over many coordinates
    and look more Gaussian than single ones. `block_size` of the tail index: default the root of num_draws. Batches are
    projected in chunks; `memory` bounds the peak of the process (bytes or "2GiB", the default).

    Without a pool the mean over the draws takes the full gradient's place (and spoils the tail index where the variance is
    infinite). A pool is finite: batch noise is bounded and
    for many draws any pool is told from a Gaussian; the kurtosis, one example's over batch_size, says whether it
    matters.

    >>> import jax, gradnoise.problem as gp
    >>> pool = np.random.default_rng(0).standard_t(2.5, size=(500, 3))
    >>> problem = gp.from_arrays(lambda w, x: w @ x, lambda key: np.zeros(3), pool)
    >>> found = gaussianity(problem, np.zeros(3), 4, 1000, directions=np.eye(3), key=jax.random.key(0))
    >>> found.rejected, found.skewness.value.shape
    (array([ True,  True,  True]), (3,))

    Raises ValueError for fewer than 8 draws, an unknown test, a level outside (0, 1), directions of another shape or
    without noise; TypeError if problem is no Problem; MemoryError if one batch's gradient does not fit.

    Source: docs/theory/tails.md, "The procedure".
    """
    test = _checks.one_of("test", test, TESTS)
    level = _checks.number("level", level, above=0, below=1)
    num_draws = _checks.integer("num_draws", num_draws, 8)
    block_size = isqrt(num_draws) if block_size is None else _checks.integer("block_size", block_size, 2)
    batch_size = _checks.integer("batch_size", batch_size)
    found = projected_noise(problem, params, directions, key, memory)
    samples = found.samples(batch_size, num_draws)
    squares = np.square(samples)
    statistic, p_value = TESTS[test](samples)
    third, fourth = _expected_shape(found.singles, len(statistic), batch_size)
    return Gaussianity(
        directions=found.directions.names,
        vectors=found.directions.vectors,
        statistic=statistic,
        p_value=p_value,
        adjusted_p_value=holm(p_value),
        skewness=skewness(samples),
        excess_kurtosis=excess_kurtosis(samples),
        expected_skewness=third,
        expected_kurtosis=fourth,
        tail_index=tail_index(samples, block_size, mean=0),
        max_to_sum=squares.max(axis=0) / squares.sum(axis=0),
        batch_size=batch_size,
        num_draws=num_draws,
        block_size=block_size,
        test=test,
        level=level,
    )


def _expected_shape(singles: np.ndarray | None, count: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Skewness and excess kurtosis of a batch mean, drawn with replacement, from the pool's own."""
    if singles is None:
        return np.full(count, np.nan), np.full(count, np.nan)
    variance = np.square(singles).mean(axis=0)
    third = (singles**3).mean(axis=0) / variance**1.5
    fourth = (singles**4).mean(axis=0) / variance**2 - 3
    return third / np.sqrt(batch_size), fourth / batch_size
