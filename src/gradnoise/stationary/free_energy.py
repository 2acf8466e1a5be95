"""The free energy that the Fokker-Planck equation lowers, and what SGD lowers in place of the loss.

Source: Chaudhari and Soatto 2018, Theorem 5; docs/theory/potential.md.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.special import rel_entr

from gradnoise import _checks
from gradnoise.stationary.fokker_planck.grid import PointFunction
from gradnoise.stationary.fokker_planck.solve import FokkerPlanckSolution
from gradnoise.stationary.linear import linear_decomposition
from gradnoise.stationary.potential import evaluate_on_grid, gradient_on_grid


class FreeEnergy(NamedTuple):
    """Free energy and its rate for one density or many; see `free_energy`."""

    value: Float[np.ndarray, "..."]
    """F, in units of the potential; not negative, zero for the stationary density alone."""
    rate: Float[np.ndarray, "..."]
    """dF/dt, never positive; of second order in the cells' width."""


def free_energy(
    density: ArrayLike, solution: FokkerPlanckSolution, diffusion: PointFunction, inverse_temperature: float = 1.0
) -> FreeEnergy:
    """How far a density is from the stationary one, and how fast the Fokker-Planck equation brings it there.

        F = KL(rho || rho_ss)/beta = E Phi - H(rho)/beta + log(Z)/beta
        dF/dt = -int rho g.D g,    g = grad log(rho/rho_ss)/beta

    `density` of shape (..., shape), leading axes are times, as `evolve_fokker_planck` gives it; each is taken with mass
    one. `diffusion` = D/beta as given to `solve_fokker_planck`, `solution` its result. The circulating force j does not
    enter the rate: its part is an integral of div(j rho_ss) = 0, with or without detailed balance and whatever div j.
    F falls in every step of `evolve_fokker_planck`, not only in the limit, if the stationary density is that of the same
    rates: solved with max_mass_outside=math.inf, or of a drift that does not leave the box.

    >>> from gradnoise.stationary import solve_fokker_planck
    >>> problem = lambda x: -x, lambda x: np.eye(1)
    >>> solution = solve_fokker_planck(*problem, ((-8, 8),), (400,))
    >>> x = solution.centers[0]
    >>> found = free_energy(np.exp(-((x - 1) ** 2) / 2), solution, problem[1])
    >>> found.value.item(), found.rate.item()      # m^2/2 and -m^2, m = 1
    (0.5, -1.0)

    Raises ValueError for a density of another shape, with negative values or without mass, and if the stationary
    density has underflowed to zero somewhere.

    Source: Chaudhari and Soatto 2018, Theorem 5; that its Assumption 4 is not needed: docs/theory/potential.md.
    """
    beta = _checks.number("inverse_temperature", inverse_temperature, above=0.0)
    final, centers = solution.density, solution.centers
    axes = tuple(range(-final.ndim, 0))
    states = _densities(density, final.shape)
    if np.any(final <= 0):
        raise ValueError(f"the stationary density is zero in {np.sum(final <= 0)} cells. Give narrower bounds.")
    share = states / states.sum(axes, keepdims=True)
    noise = evaluate_on_grid("diffusion", diffusion, (final.ndim, final.ndim), centers)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.stack([gradient_on_grid(each, centers) for each in _flat(np.log(states / final), final.ndim)])
    slope = np.nan_to_num(slope.reshape(*states.shape, final.ndim), nan=0.0, posinf=0.0, neginf=0.0)
    lost = np.einsum("...i,...ij,...j->...", slope, noise, slope)
    value = rel_entr(share, final / final.sum()).sum(axes) / beta
    return FreeEnergy(value, -np.sum(share * lost, axes) / beta)


def loss_excess(F: ArrayLike, D: ArrayLike, inverse_temperature: float = 1.0) -> float:
    """How much worse SGD's density is than the best by E f - H/beta, the bound with the loss f itself in place of Phi.

        E_ss f - H(rho_ss)/beta - min = KL(rho_ss || exp(-beta f)/Z)/beta = (tr D - d - log det(F S))/(2 beta)

    For f = x.Fx/2, symmetric positive definite F (d, d), constant noise D; S of `linear_decomposition`. Zero only for
    D = I: SGD lowers E Phi - H/beta, with Phi = x.S^-1 x/2, and not the bound of f. In units of f.

    >>> loss_excess([[2.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]])
    0.0
    >>> loss_excess([[2.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 3.0]])      # (3 - 1 - log 3)/2
    0.450694

    Raises ValueError for F not symmetric, inverse_temperature <= 0, and as `linear_decomposition` does.

    Source: derived from Chaudhari and Soatto 2018, Theorem 5, in docs/theory/potential.md.
    """
    beta = _checks.number("inverse_temperature", inverse_temperature, above=0.0)
    S, force = linear_decomposition(F, D).S, np.asarray(F, dtype=np.float64)
    asymmetry = float(np.max(np.abs(force - force.T)))
    if asymmetry > 1e-10 * float(np.max(np.abs(force))):
        raise ValueError(
            f"F differs from its transpose by {asymmetry:g}, so no loss has it. Give the hessian of a loss."
        )
    logarithms = np.linalg.slogdet(force)[1] + np.linalg.slogdet(S)[1]
    return float(np.trace(np.asarray(D, dtype=np.float64)) - len(S) - logarithms) / (2 * beta)


def _densities(density: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    states = np.asarray(density, dtype=np.float64)
    if states.ndim < len(shape) or states.shape[states.ndim - len(shape) :] != shape:
        raise ValueError(f"density has shape {states.shape}, expected (..., {shape}). Give values at the cell centres.")
    masses = states.sum(tuple(range(-len(shape), 0)))
    if not np.all(np.isfinite(states)) or np.any(states < 0) or np.any(masses <= 0):
        raise ValueError("density holds negative numbers, NaN, infinity or only zeros. Give densities.")
    return states


def _flat(values: np.ndarray, dimensions: int) -> np.ndarray:
    """All leading axes as one."""
    return values.reshape(-1, *values.shape[values.ndim - dimensions :])
