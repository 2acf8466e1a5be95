"""One band for many means of the same replicas: no true mean leaves it, up to a stated chance, in any cell."""

import numpy as np
from jaxtyping import Float
from scipy import stats

POWER = 0.8
NUM_DRAWS = 4000
DIRECT = 500


def simultaneous_band(samples: Float[np.ndarray, "replica cell"], level: float = 0.95) -> float:
    """The c with |mean - true mean| <= c * (standard error) in all cells at once, with the chance `level`.

    The distribution of max |z| over cells that are correlated as the samples are, drawn by the multiplier bootstrap

        z*_j = sum_r xi_r (d_rj - mean_j) / (sqrt(R - 1) sd_j),      xi_r ~ N(0, 1)

    (4000 draws, always the same), its quantile carried over from the normal law to Student's t with R - 1 degrees of
    freedom, and never more than Bonferroni's. It is the plain quantile of t for one cell, and less than Bonferroni's for
    neighbouring steps of the same runs. Cells without spread do not count. The chance is right for many replicas: with a few
    dozen, or heavy tails, the band is a little narrow.

    >>> one = np.random.default_rng(0).normal(size=(400, 1))
    >>> round(simultaneous_band(one), 1), round(simultaneous_band(np.repeat(one, 50, axis=1)), 1)
    (2.0, 2.0)

    Source: Chernozhukov, Chetverikov, Kato 2013, "Gaussian approximations and multiplier bootstrap for maxima of sums of
    high-dimensional random vectors".
    """
    num_replicas = len(samples)
    deviations = samples - samples.mean(axis=0)
    spread = np.sqrt(np.sum(np.square(deviations), axis=0))
    told = spread > 1e-12 * np.max(np.abs(samples), axis=0, initial=0.0)
    count = max(int(told.sum()), 1)
    bonferroni = float(stats.t.isf((1 - level) / (2 * count), num_replicas - 1))
    if count == 1:
        return bonferroni
    root = deviations[:, told] / spread[told]
    if count <= min(num_replicas, DIRECT):  # the same law from as many normal numbers as cells
        values, vectors = np.linalg.eigh(root.T @ root)
        root = np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T
    rng = np.random.default_rng(0)
    blocks = [100] * (NUM_DRAWS // 100)
    largest = np.concatenate([np.abs(rng.normal(size=(block, len(root))) @ root).max(axis=1) for block in blocks])
    normal = np.quantile(largest, level)
    return min(bonferroni, float(stats.t.isf(stats.norm.sf(normal), num_replicas - 1)))


def largest_size(
    differences: Float[np.ndarray, "..."], errors: Float[np.ndarray, "..."], band: float
) -> tuple[float, float]:
    """An interval for the largest true |difference| among all, from the band that holds for all of them.

    >>> largest_size(np.array([0.0, -0.5]), np.array([0.1, 0.1]), 2.0)
    (0.3, 0.7)
    """
    size, reach = np.abs(differences), band * errors
    return float(np.max(np.maximum(size - reach, 0))), float(np.max(size + reach))


def detectable_size(errors: Float[np.ndarray, "..."], band: float) -> float:
    """A true difference of this size, wherever it stands, leaves the band with a chance of POWER at least.

    >>> round(detectable_size(np.array([0.1, 0.2]), 2.0), 3)
    0.568
    """
    return (band + float(stats.norm.isf(1 - POWER))) * float(np.max(errors))


def rounding_size(dtype: str, *samples: np.ndarray) -> float:
    """What rounding in `dtype` may make of a difference of means of these samples: some ulps of the largest."""
    ulps = 16 * np.finfo(dtype).eps + 1e-12
    return float(ulps * max(np.max(np.abs(each)) for each in samples))
