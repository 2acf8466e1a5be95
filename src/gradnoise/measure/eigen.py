"""Eigenvalues of the covariance D of a stack of gradients: exactly from its smaller side, or by restarted Lanczos."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from gradnoise.measure.gradients import ExampleGradients

EXACT_SIDE = 2000
"""Up to this many examples or parameters, whichever are fewer, spectra are exact decompositions."""
LANCZOS_TOLERANCE = 1e-10
"""Residual norm over eigenvalue at which restarted Lanczos stops; eigenvalues err by its square over the gap."""


def total_variance(gradients: ExampleGradients) -> float:
    """tr D = (1/n) sum_i |g_i - gbar|^2."""
    return sum(float(np.square(rows - gradients.mean).sum()) for rows in gradients.chunks()) / gradients.num_examples


def symmetric_operator(size: int, product: Callable[[np.ndarray], np.ndarray]) -> LinearOperator:
    """A symmetric matrix, known by its products with vectors and columns, for scipy."""
    products = {"matvec": product, "rmatvec": product, "matmat": product, "rmatmat": product}
    return LinearOperator((size, size), **products, dtype=float)  # pyright: ignore[reportCallIssue, reportArgumentType]


def lanczos(
    operator: LinearOperator, k: int, which: str, start: np.ndarray, width: int, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """scipy's restarted Lanczos; raises RuntimeError in a sentence if it does not converge."""
    try:
        solve: Any = eigsh
        return solve(operator, k, which=which, v0=start, ncv=width, tol=tolerance)
    except ArpackNoConvergence as error:
        raise RuntimeError(
            f"Lanczos found {len(error.eigenvalues)} of k={k} eigenvalues to relative accuracy {tolerance:g} and "
            "stopped: the spectrum is too flat there. Ask for fewer."
        ) from None


def is_exact(gradients: ExampleGradients) -> bool:
    """Whether the spectrum of D is decomposed exactly: the smaller side is at most EXACT_SIDE and the work fits."""
    count, size = gradients.num_examples, gradients.num_parameters
    rows = 3 * size if size <= count else count
    return min(count, size) <= EXACT_SIDE and 3 * 8 * rows * size <= gradients.room


def centred_factor(gradients: ExampleGradients) -> Float[np.ndarray, "r P"]:
    """A with A^T A = D and min(n, P) rows: the rows (g_i - gbar)/sqrt(n), or for n >= P the triangle of their QR.

    Singular values of A squared are eigenvalues of D, with small ones far more accurate than from D itself.
    """
    count, size = gradients.num_examples, gradients.num_parameters
    scaled = ((rows - gradients.mean) / np.sqrt(count) for rows in gradients.chunks())
    if count < size:
        return np.concatenate(list(scaled))
    triangle, waiting = np.zeros((0, size)), []
    for rows in scaled:
        waiting.append(rows)
        if sum(map(len, waiting)) >= 2 * size:
            triangle, waiting = np.linalg.qr(np.concatenate([triangle, *waiting]), mode="r"), []
    return np.asarray(np.linalg.qr(np.concatenate([triangle, *waiting]), mode="r"))


def largest_pairs(gradients: ExampleGradients, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest eigenvalues of D, descending, and unit eigenvectors as columns."""
    count, size = gradients.num_examples, gradients.num_parameters
    side = min(count, size)
    few = side > 200 and k <= side // 10
    if is_exact(gradients) and not few:
        _, singular, rows = np.linalg.svd(centred_factor(gradients), full_matrices=k > side)
        values = np.zeros(size)
        values[: len(singular)] = singular**2
        return values[:k], rows[:k].T
    if k >= min(count - 1, size):
        raise ValueError(f"k={k} is not below {min(count - 1, size)}, the largest possible rank. Ask for fewer.")
    start = np.random.default_rng(0).standard_normal(size)
    if not np.any(gradients.covariance_product(start)):
        return np.zeros(k), np.eye(size, k)
    width = min(size, max(2 * k + 1, 60))
    gradients.require(2 * 8 * width * size, f"eigsh({k})", "Ask for fewer eigenvalues")
    operator = symmetric_operator(size, gradients.covariance_product)
    values, vectors = lanczos(operator, k, "LA", start, width, LANCZOS_TOLERANCE)
    order = np.argsort(values)[::-1]
    return np.maximum(values[order], 0.0), vectors[:, order]
