"""What a stationary density says of the drift: potential, circulating force, and what the circulation costs.

Source: Chaudhari and Soatto 2018, section 2 and appendix; docs/theory/potential.md.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from gradnoise import _checks
from gradnoise.stationary.fokker_planck.grid import Field, Grid, PointFunction
from gradnoise.stationary.fokker_planck.solve import FokkerPlanckSolution

Scalars = Float[np.ndarray, "..."]
Vectors = Float[np.ndarray, "... d"]


class DivergenceTest(NamedTuple):
    """Whether div j = 0; see `PotentialFields.divergence_test`. Root mean squares over the density, per unit of time."""

    divergence: float
    """sqrt(E (div j)^2)."""
    resolution: float
    """sqrt(E (div j - beta j.grad Phi)^2), which is zero without a grid: what the grid can tell from zero."""
    holds: bool
    """Whether `divergence` is within three times `resolution`: not told from zero, on this grid."""


class PotentialFields(NamedTuple):
    """Potential and circulating force at the cell centres; see `potential_fields`."""

    potential: Scalars
    """Phi = -log(rho)/beta, its lowest value on the grid set to zero."""
    potential_gradient: Vectors
    """grad Phi."""
    force: Vectors
    """j = -grad f + D grad Phi - div(D)/beta: what is left of the drift beside the descent of Phi."""
    divergence: Scalars
    """div j."""
    work: Scalars
    """beta j.grad Phi, equal to div j but for the grid's error."""
    entropy_rate: Scalars
    """beta j.D^-1 j, per unit of time."""
    share: Scalars
    """The mass of each cell, the weight of a mean over the density."""

    def mean(self, values: Scalars) -> float:
        """E of `values`, of the grid's shape, over the density."""
        return float(np.sum(self.share * values))

    @property
    def entropy_production(self) -> float:
        """beta E[j.D^-1 j] per unit of time: zero exactly at equilibrium. Without unit, of second order in the cells."""
        return self.mean(self.entropy_rate)

    @property
    def identity_error(self) -> float:
        """sqrt(E (div j - beta j.grad Phi)^2): stationarity makes it zero, the grid of second order in the cells."""
        return math.sqrt(self.mean((self.divergence - self.work) ** 2))

    @property
    def divergence_test(self) -> DivergenceTest:
        """Whether div j = 0 (the paper's Assumption 4), which holds for linear forces and not in general."""
        size, resolution = math.sqrt(self.mean(self.divergence**2)), self.identity_error
        steepest = math.sqrt(self.mean(np.sum(self.force**2, -1) * np.sum(self.potential_gradient**2, -1)))
        return DivergenceTest(size, resolution, size <= 3 * resolution + 1e-9 * steepest)


def potential_fields(
    solution: FokkerPlanckSolution, drift: PointFunction, diffusion: PointFunction, inverse_temperature: float = 1.0
) -> PotentialFields:
    """The potential of a stationary density and the force j that circulates on it.

        Phi = -log(rho)/beta,    j = drift + D grad Phi - div(D)/beta,    J = j rho,    div j = beta j.grad Phi

    `drift` and `diffusion` (= D/beta) as given to `solve_fokker_planck`; beta, for SGD 2 batch_size/learning_rate, sets
    only the unit of Phi. Derivatives are central differences over cells, one-sided at the bounds, so every field has an
    error of second order in the cells' width beside the solution's own; `identity_error` measures it. Nothing is
    assumed about div j: `divergence_test` measures it.

    >>> from gradnoise.stationary import solve_fokker_planck
    >>> F = np.array([[1.0, 0.5], [-0.5, 1.0]])
    >>> problem = lambda x: -np.tensordot(F, x, 1), lambda x: np.eye(2)
    >>> fields = potential_fields(solve_fokker_planck(*problem, ((-5, 5), (-5, 5)), (80, 80)), *problem)
    >>> fields.entropy_production      # -tr(Q D^-1 Q U) = 2 * 0.5^2
    0.50
    >>> fields.divergence_test.holds
    True

    Raises ValueError where the density has underflowed to zero (no potential there), for inverse_temperature <= 0, and
    if drift or diffusion do not return arrays of shape (d,) and (d, d).

    Source: Chaudhari and Soatto 2018, eqs (5) and (8), (A.5); docs/theory/potential.md.
    """
    beta = _checks.number("inverse_temperature", inverse_temperature, above=0.0)
    density, centers = solution.density, solution.centers
    empty = int(np.sum(density <= 0))
    if empty:
        raise ValueError(f"the density is zero in {empty} cells, where no potential exists. Give narrower bounds.")
    d = len(centers)
    b = evaluate_on_grid("drift", drift, (d,), centers)
    noise = evaluate_on_grid("diffusion", diffusion, (d, d), centers)
    slope = gradient_on_grid(np.log(density), centers)
    noise_divergence = sum(_derivative(noise[..., k], centers, k) for k in range(d))
    force = b - np.einsum("...ij,...j->...i", noise, slope) - noise_divergence
    potential = -np.log(density) / beta
    return PotentialFields(
        potential - potential.min(),
        -slope / beta,
        force,
        np.sum([_derivative(force[..., k], centers, k) for k in range(d)], axis=0),
        -np.sum(force * slope, -1),
        entropy_production_rate(force, noise),
        density / density.sum(),
    )


def entropy_production_rate(force: Any, diffusion: Any) -> Scalars:
    """j.(D/beta)^-1 j at each point: the entropy produced there per unit of time, infinite if j leaves the range of D.

    `force` j of shape (..., d), `diffusion` D/beta of shape (..., d, d), positive semidefinite. Eigenvalues below
    10 d eps of the largest count as zero, parts of j along them below 1e-9 |j| too.

    >>> entropy_production_rate([[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [0.0, 0.0]])
    array([0.5, inf])

    Raises ValueError for shapes that do not fit.

    Source: derived from Chaudhari and Soatto 2018, eq (8), in docs/theory/potential.md.
    """
    j, noise = np.asarray(force, dtype=np.float64), np.asarray(diffusion, dtype=np.float64)
    d = j.shape[-1] if j.ndim else 0
    if d == 0 or noise.shape[-2:] != (d, d):
        raise ValueError(
            f"force has shape {j.shape} and diffusion {noise.shape}, expected (..., d) and (..., d, d). "
            "Give vectors and matrices of one size."
        )
    strengths, directions = np.linalg.eigh(noise)
    parts = np.einsum("...ji,...j->...i", directions, j)
    noisy = strengths > 10 * d * np.finfo(float).eps * strengths[..., -1:]
    carried = np.where(noisy, parts**2 / np.where(noisy, strengths, 1.0), 0.0).sum(-1)
    driven = ~noisy & (np.abs(parts) > 1e-9 * np.linalg.norm(j, axis=-1, keepdims=True))
    return np.where(np.any(driven, axis=-1), math.inf, carried)


def evaluate_on_grid(
    name: str, function: PointFunction, value_shape: tuple[int, ...], centers: tuple[np.ndarray, ...]
) -> np.ndarray:
    """The user's function at all cell centres, components last."""
    widths = [c[1] - c[0] for c in centers]
    bounds = tuple((float(c[0] - w / 2), float(c[-1] + w / 2)) for c, w in zip(centers, widths, strict=True))
    grid = Grid(bounds, tuple(map(len, centers)))
    values = Field(name, function, value_shape, grid)(np.stack(np.meshgrid(*centers, indexing="ij")))
    return np.moveaxis(values, range(len(value_shape)), range(-len(value_shape), 0))


def gradient_on_grid(values: Scalars, centers: tuple[np.ndarray, ...]) -> Vectors:
    """All derivatives of a field along the grid's axes, last."""
    return np.stack([_derivative(values, centers, axis) for axis in range(len(centers))], axis=-1)


def _derivative(values: np.ndarray, centers: tuple[np.ndarray, ...], axis: int) -> np.ndarray:
    """Along one axis of the grid: central differences, one-sided ones of the same order at the bounds."""
    return np.asarray(np.gradient(values, centers[axis], axis=axis, edge_order=2))
