"""Linear force and constant noise: stationary covariance, the part of the force that circulates, and its cost.

Source: Chaudhari and Soatto 2018, Lemma 20; derivations and tests in docs/theory/stationary.md.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import linalg

from gradnoise import _checks

Matrix = Float[np.ndarray, "d d"]


class LinearDecomposition(NamedTuple):
    """F = (D + Q) U with S = U^-1; see `linear_decomposition`."""

    U: Matrix
    """Matrix of the potential Phi = x.U x/2; symmetric."""
    Q: Matrix
    """The circulating part: the force j = -Q U x does no work on Phi; antisymmetric."""
    S: Matrix
    """Covariance of the stationary density times the inverse temperature; symmetric."""

    @property
    def is_formal(self) -> bool:
        """Whether U is not positive definite, so that exp(-beta Phi) is no density (F was unstable)."""
        return bool(np.linalg.eigvalsh(self.U)[0] <= 0)


def linear_decomposition(
    F: ArrayLike, D: ArrayLike, *, learning_rate: float = 0.0, formal: bool = False
) -> LinearDecomposition:
    """Stationary law of dx = -F x dt + sqrt(2 D/beta) dW, and F split into a descent and a circulation: F = (D + Q) U.

        F S + S F^T = 2 D,    U = S^-1,    Q = F S - D

    The density is exp(-beta x.U x/2) up to a constant, its covariance S/beta; Q = 0 means equilibrium. F and D are d by d.
    F is the hessian at a minimum, or any stable matrix (eigenvalues with positive real parts), D one example's gradient
    covariance, 1/beta = learning_rate/(2 batch_size). D may be singular as long as F carries its noise everywhere.

    With `learning_rate` = eta > 0 the same for SGD itself, x -> x - eta (F x + noise of covariance D/B), exactly:

        F S + S F^T - eta F S F^T = 2 D,    Q = (F S - S F^T)/2

    `formal=True` accepts an unstable F, at a saddle: U then has one negative eigenvalue for each unstable direction
    (for D > 0), `.is_formal` is true, and S is no covariance.

    >>> U, Q, S = linear_decomposition([[2.0, 0.3], [0.3, 1.0]], [[1.0, 0.4], [0.4, 0.2]])
    >>> Q[0, 1].item()
    0.0533333
    >>> U
    array([[ 6.1618257, -9.1804979],
           [-9.1804979, 20.9128631]])

    Raises ValueError for matrices that are not square, finite and of one size, for D not symmetric positive
    semidefinite, for unstable F unless `formal`, if two eigenvalues of F cancel (no unique S), and if S is singular.

    Source: Chaudhari and Soatto 2018, Lemma 20; the discrete form is derived in docs/theory/stationary.md.
    """
    force, diffusion = _force_and_diffusion(F, D)
    rate = _checks.number("learning_rate", learning_rate, minimum=0.0)
    eigenvalues = np.linalg.eigvals(force)
    if not formal:
        _check_stable(eigenvalues, rate)
    _check_unique(eigenvalues, rate, _rounding(force))

    # With M = 1 - eta F/2 the discrete equation is the continuous one of M^-1 F and M^-1 D M^-T (a Cayley transform).
    half_step = np.eye(len(force)) - rate * force / 2
    generator = linalg.solve(half_step, force)
    noise = linalg.solve(half_step, linalg.solve(half_step, diffusion).T)
    solution = linalg.solve_continuous_lyapunov(generator, noise + noise.T)
    S = (solution + solution.T) / 2
    carried = force @ S
    return LinearDecomposition(_inverse(S, positive=not formal), (carried - carried.T) / 2, S)


def circulation(decomposition: LinearDecomposition, inverse_temperature: float = 1.0) -> Matrix:
    """Rate at which a stationary path sweeps area, twice over: E[x_i dx_j - x_j dx_i]/dt = 2 Q_ij/beta.

    An antisymmetric d by d matrix, zero at equilibrium; positive [0, 1] means that x turns from axis 0 towards axis 1. For
    SGD beta = 2 batch_size/learning_rate, and a decomposition made with that learning_rate makes it exact (per eta).

    >>> circulation(linear_decomposition([[1.0, 0.5], [-0.5, 1.0]], [[1.0, 0.0], [0.0, 1.0]]))
    array([[ 0., 1.],
           [-1., 0.]])

    Raises ValueError for inverse_temperature <= 0.

    Source: derived from Chaudhari and Soatto 2018, Lemma 20, in docs/theory/stationary.md.
    """
    return 2 * decomposition.Q / _checks.number("inverse_temperature", inverse_temperature, above=0.0)


def entropy_production(F: ArrayLike, D: ArrayLike) -> float:
    """Entropy produced per unit of time at stationarity, beta E[j.D^-1 j] = -tr(Q D^-1 Q U), for any temperature.

    Zero exactly at equilibrium; infinite if the circulating force leaves the range of a singular D. For regular D it
    equals tr(F^T D^-1 F S) - tr F.

    >>> entropy_production([[1.0, 0.5], [-0.5, 1.0]], [[1.0, 0.0], [0.0, 1.0]])
    0.5

    Raises ValueError as `linear_decomposition` does.

    Source: derived from Chaudhari and Soatto 2018, Lemma 20, in docs/theory/stationary.md.
    """
    _, diffusion = _force_and_diffusion(F, D)
    U, Q, _ = linear_decomposition(F, D)
    strengths, directions = linalg.eigh(diffusion)
    turning = directions.T @ Q
    noisy = strengths > _rounding(diffusion) * strengths[-1]
    if np.max(np.abs(turning[~noisy]), initial=0.0) > _rounding(diffusion) * np.max(np.abs(F)) * np.max(np.abs(Q)):
        return math.inf
    scaled = turning[noisy] / np.sqrt(strengths[noisy])[:, None]
    return float(np.sum((scaled @ U) * scaled))


def _force_and_diffusion(F: ArrayLike, D: ArrayLike) -> tuple[Matrix, Matrix]:
    force, diffusion = _square("F", F), _square("D", D)
    if force.shape != diffusion.shape:
        raise ValueError(f"F has shape {force.shape} and D {diffusion.shape}. Give two matrices of one size.")
    size = float(np.max(np.abs(diffusion)))
    tolerance = _rounding(np.asarray(D)) * size
    asymmetry = float(np.max(np.abs(diffusion - diffusion.T)))
    if asymmetry > tolerance:
        raise ValueError(
            f"D differs from its transpose by {asymmetry:g}. Give a symmetric covariance, (D + D.T)/2 say."
        )
    diffusion = (diffusion + diffusion.T) / 2
    lowest = float(linalg.eigvalsh(diffusion)[0])
    if lowest < -tolerance:
        raise ValueError(
            f"D has the negative eigenvalue {lowest:g}, expected a covariance. Give a positive semidefinite matrix."
        )
    return force, diffusion


def _square(name: str, value: ArrayLike) -> Matrix:
    array = np.asarray(value)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}, expected (d, d). Give a square matrix.")
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} has dtype {array.dtype}, expected real numbers. Convert it to float first.")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} holds NaN or infinity, expected finite numbers. Clean it first.")
    return array.astype(np.float64)


def _rounding(matrix: np.ndarray) -> float:
    """Relative size below which an entry or eigenvalue of a d by d matrix of this precision is rounding."""
    precision = np.finfo(matrix.dtype if matrix.dtype.kind == "f" else np.float64).eps
    return 10 * len(matrix) * float(precision)


def _check_stable(eigenvalues: np.ndarray, rate: float) -> None:
    worst = eigenvalues[np.argmin(np.real(eigenvalues))]
    if worst.real <= 0:
        raise ValueError(
            f"F has the eigenvalue {_short(worst)}, expected positive real parts: no stationary density exists. "
            "Give the force at a minimum, or formal=True for the formal solution at a saddle."
        )
    largest = 2 * np.real(eigenvalues) / np.abs(eigenvalues) ** 2
    if rate >= np.min(largest):
        worst = eigenvalues[np.argmin(largest)]
        raise ValueError(
            f"learning_rate={rate:g} diverges: F has the eigenvalue {_short(worst)}. Give one below {np.min(largest):g}."
        )


def _check_unique(eigenvalues: np.ndarray, rate: float, rounding: float) -> None:
    """S is unique unless two eigenvalues have a + b = eta a b, which for eta = 0 is a + b = 0."""
    a, b = eigenvalues[:, None], eigenvalues[None, :]
    terms = np.abs(a) + np.abs(b) + rate * np.abs(a * b)
    gap = np.abs(a + b - rate * a * b)
    if np.any(gap <= rounding * terms.max()) or np.any(np.abs(2 - rate * eigenvalues) <= rounding):
        first, second = np.unravel_index(np.argmin(gap), gap.shape)
        raise ValueError(
            f"F has the eigenvalues {_short(eigenvalues[first])} and {_short(eigenvalues[second])}, which cancel: S is not "
            "unique. Change F a little, or leave out the directions in which it vanishes."
        )


def _inverse(S: Matrix, positive: bool) -> Matrix:
    """S^-1, symmetric. A positive S is first scaled to unit diagonal, so that the units of the weights do not matter."""
    diagonal = np.diag(S)
    reached = positive & (diagonal > _rounding(S) * np.max(np.abs(S)))
    scale = np.where(reached, 1 / np.sqrt(np.where(reached, diagonal, 1.0)), 1.0)
    scaled = S * np.outer(scale, scale)
    eigenvalues = linalg.eigvalsh(scaled)
    size = eigenvalues if positive else np.abs(eigenvalues)
    rank = int(np.sum(size > _rounding(S) * np.max(np.abs(eigenvalues))))
    if rank < len(S):
        raise ValueError(
            f"the noise D reaches only {rank} of {len(S)} directions under F: S is singular and Phi infinite off a "
            "subspace. Restrict F and D to those directions, or add noise in the others."
        )
    inverse = linalg.inv(scaled) * np.outer(scale, scale)
    return (inverse + inverse.T) / 2


def _short(eigenvalue: complex) -> str:
    return f"{eigenvalue.real:.6g}" if eigenvalue.imag == 0 else f"{eigenvalue.real:.6g}{eigenvalue.imag:+.6g}j"
