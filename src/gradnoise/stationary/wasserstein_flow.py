"""The Fokker-Planck equation of isotropic noise as steepest descent of free energy, in steps of Jordan, Kinderlehrer, Otto.

Source: Jordan, Kinderlehrer, Otto 1998, recalled in Chaudhari and Soatto 2018; docs/theory/potential.md.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import linalg

from gradnoise import _checks

MOST_NEWTON_STEPS = 100


def density_quantiles(centers: ArrayLike, density: ArrayLike, num_quantiles: int) -> Float[np.ndarray, " n"]:
    """Points x_i below which a share (i + 1/2)/n of the mass lies, from a density at cell centres.

    >>> density_quantiles([0.5, 1.5], [0.75, 0.25], 4)      # 1/8, 3/8, 5/8, 7/8 of the mass
    array([0.1666667, 0.5 , 0.8333333, 1.5 ])

    Raises ValueError for a density that is negative, without mass or of another length, and centers that are not even.
    """
    x, rho = np.asarray(centers, dtype=np.float64), np.asarray(density, dtype=np.float64)
    count = _checks.integer("num_quantiles", num_quantiles)
    if x.ndim != 1 or x.shape != rho.shape or len(x) < 2 or not np.allclose(np.diff(x), x[1] - x[0]):
        raise ValueError(f"density has shape {rho.shape} and centers {x.shape}. Give even centres and a value at each.")
    if not np.all(np.isfinite(rho)) or rho.min() < 0 or rho.sum() <= 0:
        raise ValueError("density holds negative numbers, NaN, infinity or only zeros. Give a density.")
    edges = np.append(x, x[-1] + (x[1] - x[0])) - (x[1] - x[0]) / 2
    return np.interp((np.arange(count) + 0.5) / count, np.concatenate([[0.0], np.cumsum(rho) / rho.sum()]), edges)


def jko_step(
    slope: Callable[[Any], Any],
    curvature: Callable[[Any], Any],
    quantiles: ArrayLike,
    step: float,
    inverse_temperature: float = 1.0,
) -> Float[np.ndarray, " n"]:
    """One step of length `step` = tau down the free energy, in the geometry of optimal transport, in one dimension.

        rho' = argmin  W_2(rho, rho')^2/(2 tau) + E f - H(rho')/beta

    It is the time tau of d rho/dt = (f' rho)' + rho''/beta up to O(tau^2), for noise that is isotropic and constant
    (D = 1). Densities are given by n increasing quantiles, x_i at the share (i + 1/2)/n, in which transport is sorted
    and H the mean of log(n (x_{i+1} - x_i)): a strictly convex problem with a band of three, solved by Newton's method,
    which no step can bring out of order. The n - 1 gaps leave out the two ends, an error that falls as n grows.
    `slope` f' and `curvature` f'' take an array to an array.

    >>> start = 2 + np.linspace(-0.9, 0.9, 10)
    >>> jko_step(lambda x: x, np.ones_like, start, 0.5).mean().item()      # exactly mean/(1 + tau)
    1.333333

    Raises ValueError for quantiles that do not increase, step or inverse_temperature <= 0, and where 1/step + f'' is not
    positive on the way (use a shorter step).

    Source: Jordan, Kinderlehrer, Otto 1998, "The variational formulation of the Fokker-Planck equation".
    """
    tau = _checks.number("step", step, above=0.0)
    beta = _checks.number("inverse_temperature", inverse_temperature, above=0.0)
    start = np.asarray(quantiles, dtype=np.float64)
    if start.ndim != 1 or len(start) < 2 or not np.all(np.isfinite(start)) or np.any(np.diff(start) <= 0):
        raise ValueError(f"quantiles of shape {start.shape} do not increase. Give at least two, sorted, none twice.")
    x = start.copy()
    for _ in range(MOST_NEWTON_STEPS):
        inverse_gaps = 1 / np.diff(x)
        pull = (x - start) / tau + slope(x) + np.diff(inverse_gaps, prepend=0.0, append=0.0) / beta
        stiffness = 1 / tau + curvature(x)
        if stiffness.min() <= 0:
            raise ValueError(
                f"step={tau:g} is too long: 1/step + f'' falls to {stiffness.min():.3g}. Use a shorter step."
            )
        move = _newton_move(stiffness, inverse_gaps**2 / beta, pull)
        # The free energy's barrier at a vanishing gap is a logarithm: half the way to it is always open.
        closing = -np.diff(move) * inverse_gaps
        x = x + move * min(1.0, 0.5 / max(closing.max(), 0.5))
        if np.max(np.abs(move)) <= 1e-12 * (1 + np.max(np.abs(x))):
            return x
    raise ValueError(f"the step of length {tau:g} did not converge. Use a shorter step.")


def _newton_move(stiffness: np.ndarray, links: np.ndarray, pull: np.ndarray) -> np.ndarray:
    """-(diag(stiffness) + chain of springs `links`)^-1 pull."""
    bands = np.zeros((2, len(pull)))
    bands[0, 1:] = -links
    bands[1] = stiffness + np.append(links, 0.0) + np.insert(links, 0, 0.0)
    return -linalg.solveh_banded(bands, pull)
