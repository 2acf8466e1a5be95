"""How a density moves in time under the Fokker-Planck equation."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import sparse, stats
from scipy.sparse.linalg import SuperLU

from gradnoise import _checks
from gradnoise.stationary.fokker_planck.edges import probability_current
from gradnoise.stationary.fokker_planck.grid import Grid, PointFunction
from gradnoise.stationary.fokker_planck.limits import check_limits
from gradnoise.stationary.fokker_planck.solve import discretize, factorize, rate_matrix

MOST_JUMPS = 1_000_000


class FokkerPlanckEvolution(NamedTuple):
    """Densities at several times; see `evolve_fokker_planck`."""

    density: Float[np.ndarray, "time ..."]
    """Per unit of length or area, at the cell centres; never negative if the first is not."""
    centers: tuple[np.ndarray, ...]
    """The cell centres, one array an axis."""
    current: Float[np.ndarray, "time ... d"]
    """The probability current J = b rho - div(D rho) at the cell centres."""
    mass_error: Float[np.ndarray, " time"]
    """|mass/first mass - 1|."""
    mass_outside: Float[np.ndarray, " time"]
    """Estimated share of the mass beyond the bounds, from the density's fall at the edges."""


def evolve_fokker_planck(
    drift: PointFunction,
    diffusion: PointFunction,
    bounds: Any,
    shape: Any,
    density: ArrayLike,
    times: ArrayLike,
    *,
    num_steps: int | None = None,
    max_mass_outside: float = 1e-3,
) -> FokkerPlanckEvolution:
    """The density at `times` of dx = drift dt + (2 diffusion)^(1/2) dW, from `density` (of shape `shape`) at time 0.

        d rho/dt = -div J,    J = drift rho - div(diffusion rho),    no flow through the bounds

    In space the scheme of `solve_fokker_planck` with walls; its result stands still if the drift nowhere leaves the box.
    In time exact, by uniformization: the Poisson mixture of jump counts, for about (largest exit rate) x (last time)
    products with a sparse matrix. With `num_steps` instead so many implicit Euler steps from each time to the next:
    first order in their length, and cheap for fine grids and long times. Both keep the density from negative values and
    its mass to rounding, and let the free energy only fall. `density` keeps its mass, one or not.

    >>> x = np.linspace(-5.95, 5.95, 120)
    >>> start = np.exp(-((x - 2) ** 2)) / np.sqrt(np.pi)
    >>> moved = evolve_fokker_planck(lambda x: -x, lambda x: np.eye(1), ((-6, 6),), (120,), start, [np.log(2)])
    >>> np.sum(x * moved.density[0]).item() * 0.1      # the mean decays as exp(-t)
    1.00

    Raises ValueError for negative densities, times that do not increase from 0, more than a million products (use
    `num_steps`), and, with the density at any of the times, as `solve_fokker_planck` does.

    Source: Chaudhari and Soatto 2018, section 2 (the equation); docs/theory/stationary.md (the scheme).
    """
    limit = _checks.number("max_mass_outside", min(max_mass_outside, 1e300), above=0.0)
    scheme, _ = discretize(drift, diffusion, bounds, shape)
    grid = scheme.grid
    first, moments = _density(density, grid), _times(times)
    intervals = np.diff(moments, prepend=0.0)
    matrix = rate_matrix(scheme)
    advance = _exponential(matrix, intervals) if num_steps is None else _implicit(matrix, num_steps)
    states, state = [], first.ravel()
    for interval in intervals:
        state = advance(state, interval) if interval > 0 else state
        states.append(state.reshape(grid.shape))
    mass = first.sum()
    outside = [check_limits(scheme, state / (mass * grid.volume), limit, 0.0)[0] for state in states]
    currents = np.stack([probability_current(scheme, state) for state in states])
    errors = np.array([abs(float(state.sum() / mass) - 1) for state in states])
    return FokkerPlanckEvolution(np.stack(states), grid.centers, currents, errors, np.array(outside))


def _exponential(matrix: sparse.csc_array, intervals: np.ndarray) -> Callable[[np.ndarray, float], np.ndarray]:
    """exp(A t) rho = sum_k Poisson(k; q t) (1 + A/q)^k rho, q the largest exit rate: all terms are positive."""
    largest = float(-matrix.diagonal().min())
    jumps = largest * float(intervals.sum())
    if jumps > MOST_JUMPS:
        raise ValueError(
            f"the last time needs about {jumps:.2g} matrix products, above {MOST_JUMPS}. "
            "Give num_steps, the number of implicit steps between times."
        )
    move = sparse.csr_array(sparse.eye_array(matrix.diagonal().size) + matrix / largest)

    def advance(state: np.ndarray, interval: float) -> np.ndarray:
        mean = largest * interval
        counts = np.arange(int(mean + 10 * math.sqrt(mean) + 30))
        chances = stats.poisson.pmf(counts, mean)
        total = np.zeros_like(state)
        for chance in chances:
            total += chance * state
            state = move @ state
        return total

    return advance


def _implicit(matrix: sparse.csc_array, num_steps: int) -> Callable[[np.ndarray, float], np.ndarray]:
    """(1 - A dt)^-1, `num_steps` times an interval; equal intervals in a row share a factorization."""
    steps = _checks.integer("num_steps", num_steps)
    identity = sparse.eye_array(matrix.diagonal().size)
    latest: list[tuple[float, SuperLU]] = []

    def advance(state: np.ndarray, interval: float) -> np.ndarray:
        if not latest or not math.isclose(latest[0][0], interval, rel_tol=1e-12):
            latest[:] = [(interval, factorize(sparse.csc_array(identity - matrix * (interval / steps))))]
        for _ in range(steps):
            state = latest[0][1].solve(state)
        return state

    return advance


def _density(density: ArrayLike, grid: Grid) -> np.ndarray:
    array = np.asarray(density, dtype=np.float64)
    if array.shape != grid.shape:
        raise ValueError(
            f"density has shape {array.shape}, expected {grid.shape}. Give its values at the cell centres."
        )
    if not np.all(np.isfinite(array)) or array.min() < 0 or array.sum() <= 0:
        raise ValueError("density holds negative numbers, NaN, infinity or only zeros. Give a density at time 0.")
    return array


def _times(times: ArrayLike) -> np.ndarray:
    array = np.atleast_1d(np.asarray(times, dtype=np.float64))
    if array.ndim != 1 or array.size == 0 or not np.all(np.isfinite(array)):
        raise ValueError(f"times of shape {array.shape} do not do. Give a list of finite times.")
    if array[0] < 0 or np.any(np.diff(array) <= 0):
        raise ValueError(f"times={array.tolist()} do not increase from 0. Sort them and leave out repetitions.")
    return array
