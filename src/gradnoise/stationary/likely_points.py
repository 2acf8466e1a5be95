"""How the most likely point and the circulation of a nonlinear process depend on the temperature."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from gradnoise import _checks
from gradnoise.stationary.fokker_planck import FokkerPlanckSolution, solve_fokker_planck
from gradnoise.stationary.linear import linear_decomposition

MOST_WEIGHTS = 8
"""Third cumulants of d weights solve a system of d^3 unknowns."""
REACH = 3
"""Cells on each side of the densest one through which the log density is interpolated."""

Points = Callable[[np.ndarray], Any]


class TemperatureTable(NamedTuple):
    """Circulation and most likely point at k temperatures; see `against_temperature`. Errors are numerical."""

    temperatures: Float[np.ndarray, "k"]
    circulation: Float[np.ndarray, "k"]
    """E[x_1 dx_2 - x_2 dx_1]/dt."""
    circulation_error: Float[np.ndarray, "k"]
    likely_point: Float[np.ndarray, "k 2"]
    """Where the density is largest."""
    likely_point_error: Float[np.ndarray, "k 2"]


def against_temperature(
    drift: Points,
    diffusion: Points,
    temperatures: Sequence[float],
    bounds: Callable[[float], Any],
    shape: tuple[int, int],
) -> TemperatureTable:
    """Circulation and most likely point of dx = drift dt + sqrt(2 T diffusion(x)) dW in two dimensions, by temperature.

    Each from two stationary Fokker-Planck solutions, on `shape` and on half as many cells an axis, extrapolated at second
    order; the error is what that changed. `bounds(T)` gives the box, ((low, high), (low, high)); `drift` and `diffusion` as
    in `solve_fokker_planck`. T = learning_rate/(2 batch_size) for SGD, diffusion its D. A linear drift with constant
    noise has circulation 2 Q_12 T and its most likely point where the drift vanishes, at every T.

    >>> found = against_temperature(lambda x: -x, lambda x: np.eye(2), [0.5], lambda T: ((-4, 4), (-4, 4)), (32, 32))
    >>> abs(found.circulation[0].item()) < 1e-12, np.abs(found.likely_point).max().item() < 1e-6
    (True, True)

    Raises what `solve_fokker_planck` raises, and ValueError for odd shapes and a density that is largest at the edge.

    Source: Chaudhari and Soatto 2018, theorem 22 and what follows it; docs/theory/spectra.md.
    """
    sides = [_checks.integer("shape", side, 4 * REACH) for side in shape]
    if any(side % 2 for side in sides):
        raise ValueError(
            f"shape={shape} has an odd side, expected even ones: half as many cells are solved too. Add one."
        )
    heats = [_checks.number("temperatures", value, above=0.0) for value in temperatures]

    def solved(heat: float, cells: Sequence[int]) -> np.ndarray:
        solution = solve_fokker_planck(drift, lambda x: heat * np.asarray(diffusion(x)), bounds(heat), tuple(cells))
        return np.array([_swept(solution), *_mode(solution)])

    fine = np.array([solved(heat, sides) for heat in heats])
    coarse = np.array([solved(heat, [side // 2 for side in sides]) for heat in heats])
    best, error = fine + (fine - coarse) / 3, np.abs(fine - coarse) / 3
    return TemperatureTable(np.array(heats), best[:, 0], error[:, 0], best[:, 1:], error[:, 1:])


def mode_shift(F: ArrayLike, D: ArrayLike, third: ArrayLike, noise_slope: ArrayLike) -> Float[np.ndarray, "d"]:
    """How far the most likely point moves a unit of temperature, dx_mode/dT at T = 0, of dx = -grad f dt + sqrt(2 T D) dW.

        x_mode = E x - (1/2) K : C^-1 + O(T^2),    E x = -(1/2) F^-1 f''':C,    C = T S
        sum of 3: F_il K_ljk = sum of 3: 2 T (d_l D_ij) C_lk - f'''_ilm C_lj C_mk

    F hessian, D noise and third = f'''_ijk, noise_slope[i, j, l] = d D_ij/d x_l, all at the minimum. K are the third
    cumulants at order T^2. In one dimension -D'/F: the most likely point moves to where noise is weak, and f''' does not
    matter. In more it may: grad f = -T div(D + Q) there, and Q(x) depends on the hessian at x.

    >>> mode_shift([[2.0]], [[1.0]], [[[5.0]]], [[[0.5]]])
    array([-0.25])

    Raises ValueError as `linear_decomposition`, for arrays of other shapes, and more than 8 weights.

    Source: derived in docs/theory/spectra.md from Chaudhari and Soatto 2018, theorem 22.
    """
    U, _, S = linear_decomposition(F, D)
    d = len(S)
    if d > MOST_WEIGHTS:
        raise ValueError(f"F has {d} weights, expected at most {MOST_WEIGHTS}. Project on a few directions.")
    force, cubic, slope = np.asarray(F, float), _cube("third", third, d), _cube("noise_slope", noise_slope, d)
    one = 2 * np.einsum("ijl,lk->ijk", slope, S) - np.einsum("ilm,lj,mk->ijk", cubic, S, S).transpose(1, 2, 0)
    source = one + one.transpose(0, 2, 1) + one.transpose(2, 1, 0)
    unit = np.eye(d)
    products = ((force, unit, unit), (unit, force, unit), (unit, unit, force))
    operator = sum(np.kron(np.kron(a, b), c) for a, b, c in products)
    skewness = np.linalg.solve(operator, source.ravel()).reshape(d, d, d)
    mean = -np.linalg.solve(force, np.einsum("ijk,jk->i", cubic, S)) / 2
    return mean - np.einsum("ijk,jk->i", skewness, U) / 2


def _swept(solution: FokkerPlanckSolution) -> float:
    x, y = solution.centers
    area = (x[1] - x[0]) * (y[1] - y[0])
    turning = x[:, None] * solution.current[..., 1] - y * solution.current[..., 0]
    return float(turning.sum() * area)


def _mode(solution: FokkerPlanckSolution) -> Float[np.ndarray, "2"]:
    """Where the polynomial through the log density of the 7 x 7 cells around the densest is largest, by Newton's method."""
    place = np.unravel_index(np.argmax(solution.density), solution.density.shape)
    if any(not REACH <= i < side - REACH for i, side in zip(place, solution.density.shape, strict=True)):
        raise ValueError("the density is largest at the edge of the box. Give wider bounds.")
    window = tuple(slice(i - REACH, i + REACH + 1) for i in place)
    steps = np.arange(-REACH, REACH + 1, dtype=float)
    inverse = np.linalg.inv(steps[:, None] ** np.arange(2 * REACH + 1))
    coefficients = inverse @ np.log(solution.density[window]) @ inverse.T
    at = np.zeros(2)
    for _ in range(20):
        parts = [[_derivatives(at[i], order) for order in range(3)] for i in range(2)]
        value = lambda a, b, parts=parts: parts[0][a] @ coefficients @ parts[1][b]  # noqa: E731
        slope = np.array([value(1, 0), value(0, 1)])
        curvature = np.array([[value(2, 0), value(1, 1)], [value(1, 1), value(0, 2)]])
        at = np.clip(at - np.linalg.solve(curvature, slope), -1.0, 1.0)
    widths = [centers[1] - centers[0] for centers in solution.centers]
    return np.array([solution.centers[i][place[i]] + at[i] * widths[i] for i in range(2)])


def _derivatives(at: float, order: int) -> np.ndarray:
    """d^order/dt^order of t^0, t^1, ..., t^6."""
    powers = np.arange(2 * REACH + 1)
    factor = np.prod([np.maximum(powers - k, 0) for k in range(order)], axis=0) if order else np.ones(len(powers))
    return factor * at ** np.maximum(powers - order, 0)


def _cube(name: str, value: ArrayLike, d: int) -> Float[np.ndarray, "d d d"]:
    array = np.asarray(value, dtype=float)
    if array.shape != (d, d, d):
        raise ValueError(f"{name} has shape {array.shape}, expected {(d, d, d)}. Give one number a triple of weights.")
    return array
