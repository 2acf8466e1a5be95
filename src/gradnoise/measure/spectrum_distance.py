"""How far apart two noise covariances are: of their eigenvalues, and of their leading directions."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import stats

from gradnoise.measure.spectrum import NoiseSpectrum

ORTHONORMAL = 1e-6
"""Largest entry of V^T V - 1 that is let pass as rounding."""


class SubspaceOverlap(NamedTuple):
    """Of two k-dimensional subspaces of R^P; see `subspace_overlap`."""

    value: float
    """|V_1^T V_2|_F^2 / k: 1 for one subspace, 0 for orthogonal ones; the mean squared cosine of the principal angles."""
    random_mean: float
    """Its expectation if one of them were uniformly random, k/P."""
    random_spread: float
    """The standard deviation of that."""

    @property
    def standard_scores(self) -> float:
        """How many spreads above random subspaces; nan where k = P leaves nothing to chance."""
        return (self.value - self.random_mean) / self.random_spread if self.random_spread > 0 else float("nan")


def spectrum_distance(first: NoiseSpectrum, second: NoiseSpectrum) -> float:
    """Wasserstein distance, in decades, of the log10 of the eigenvalues of two spectra, each above its rank threshold.

        W = int_0^1 |log10 lambda_1(u) - log10 lambda_2(u)| du,    lambda(u) the quantiles

    Zeros have no logarithm: they are compared by the ranks. Multiplying one covariance by c from the other has W =
    |log10 c|. W = 0 does not mean equal covariances, which may have rotated: see `subspace_overlap`. Where a spectrum is
    from Lanczos, only as many leading eigenvalues as both have are compared. No statistical error: the distance of the
    spectra given; small eigenvalues, down to rounding, count as much as large ones.

    >>> import gradnoise as gn
    >>> pool = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> problem = gn.from_arrays(lambda w, x: w[0] * (w[1:] @ x), lambda key: np.zeros(3), pool)
    >>> near, far = (gn.noise_spectrum(problem, np.array([size, 0.0, 0.0])) for size in (1.0, 10.0))
    >>> spectrum_distance(near, far)                            # gradients 10 times as large
    2.0

    Raises ValueError for a spectrum without noise.

    Source: docs/theory/spectra.md; Villani 2003, section 2.2 (the quantile form).
    """
    logs = [np.log10(_known(name, found)) for name, found in {"first": first, "second": second}.items()]
    if "lanczos" in (first.method, second.method):
        common = min(map(len, logs))
        logs = [each[:common] for each in logs]
    return float(stats.wasserstein_distance(*logs))


def subspace_overlap(first: ArrayLike, second: ArrayLike) -> SubspaceOverlap:
    """Mean squared cosine of the principal angles between the spans of orthonormal columns V_1, V_2 of shape (P, k).

        |V_1^T V_2|_F^2 / k,    for random subspaces k/P +- sqrt(2 (P - k)^2 / (P^2 (P - 1)(P + 2)))

    Leading eigenvectors: `noise_covariance(problem, params).eigsh(k)[1]`. If D did not depend on the weights the overlap
    between two checkpoints would be 1; where eigenvalues k and k + 1 nearly agree, it may be lower for nothing.

    >>> subspace_overlap(np.eye(4)[:, :2], np.eye(4)[:, 1:3])
    SubspaceOverlap(value=0.5, random_mean=0.5, random_spread=0.166666...)

    Raises ValueError for shapes that differ and columns that are not orthonormal.

    Source: docs/theory/spectra.md; the spread: second moments of Haar measure.
    """
    columns = [_orthonormal(name, each) for name, each in {"first": first, "second": second}.items()]
    if columns[0].shape != columns[1].shape:
        raise ValueError(
            f"first has shape {columns[0].shape} and second {columns[1].shape}, expected one shape (P, k). Take as many "
            "eigenvectors of both."
        )
    size, count = columns[0].shape
    value = float(np.sum(np.square(columns[0].T @ columns[1]))) / count
    variance = 2 * (size - count) ** 2 / (size**2 * (size - 1) * (size + 2)) if size > 1 else 0.0
    return SubspaceOverlap(value, count / size, variance**0.5)


def _known(name: str, spectrum: NoiseSpectrum) -> Float[np.ndarray, "r"]:
    values = spectrum.eigenvalues[spectrum.eigenvalues > spectrum.rank_threshold]
    if not len(values):
        raise ValueError(f"{name} holds no eigenvalue above its rank threshold: there is no noise. Compare others.")
    return values


def _orthonormal(name: str, vectors: ArrayLike) -> Float[np.ndarray, "P k"]:
    columns = np.asarray(vectors, dtype=float)
    if columns.ndim != 2 or columns.size == 0 or columns.shape[1] > columns.shape[0]:
        raise ValueError(
            f"{name} has shape {columns.shape}, expected (P, k) with k <= P. Give eigenvectors as columns."
        )
    off = float(np.max(np.abs(columns.T @ columns - np.eye(columns.shape[1]))))
    if not off <= ORTHONORMAL:
        raise ValueError(f"{name} has columns that are off orthonormal by {off:.2g}. Orthonormalize them, by QR say.")
    return columns
