"""The stationary density of a diffusion in one or two dimensions."""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import sparse
from scipy.sparse import linalg

from gradnoise import _checks
from gradnoise.stationary.fokker_planck.edges import Scheme, make_scheme, outflow, probability_current
from gradnoise.stationary.fokker_planck.grid import Field, Grid, PointFunction, make_grid
from gradnoise.stationary.fokker_planck.limits import check_limits

LARGEST_ROUNDING = 1e-6
"""Largest estimated rounding error of the density that is let pass."""


class FokkerPlanckSolution(NamedTuple):
    """A density on a grid; see `solve_fokker_planck`."""

    density: Float[np.ndarray, "..."]
    """Per unit of length or area, at the cell centres; not negative, integrates to one."""
    centers: tuple[np.ndarray, ...]
    """The cell centres, one array an axis."""
    current: Float[np.ndarray, "... d"]
    """The probability current J = b rho - div(D rho) at the cell centres."""
    mass_error: float
    """|integral of the density - 1|."""
    mass_outside: float
    """Estimated mass beyond the bounds, from the density's fall at the edges and the flow through them."""
    resolution: tuple[float, ...]
    """Root mean square, an axis, of the change of log density that the drift asks from one cell to the next: the scheme's
    relative error is of the order of its square over 12, and far smaller where no current flows."""


class _Found(NamedTuple):
    """The density up to a factor, an estimate of its relative rounding error, and the share that flows out and back."""

    density: np.ndarray
    rounding: float
    astray: float


def solve_fokker_planck(
    drift: PointFunction, diffusion: PointFunction, bounds: Any, shape: Any, *, max_mass_outside: float = 1e-3
) -> FokkerPlanckSolution:
    """The stationary density and current of dx = drift dt + (2 diffusion)^(1/2) dW (Ito) in one or two dimensions.

        0 = -div J,    J = drift rho - div(diffusion rho)

    `drift(x)` of shape (d,), for SGD -grad f; `diffusion(x)` of shape (d, d), for SGD D/beta with 1/beta =
    learning_rate/(2 batch_size); d = 1 or 2. `bounds` ((low, high), ...) and `shape` (cells an axis) make the grid. They
    should hold nearly all mass: what the drift carries out in two dimensions comes back near the mode.
    d = 1 is a quadrature, and its current zero; d = 2 a finite-volume scheme whose density is never negative. The error
    falls as the square of the cells' width; where no current flows only that of an integral along the cells' sides is
    left, which falls as the sixth power. Write the functions so that x of shape (d, n) gives (d, n) and (d, d, n), or a
    constant: others are called once a point, up to some 2 million times on a grid of 200 x 200.

    >>> solution = solve_fokker_planck(lambda x: -x, lambda x: np.eye(1) / 2, ((-4, 4),), (100,))
    >>> np.sum(solution.centers[0] ** 2 * solution.density).item() * 0.08      # Gaussian of variance 1/2
    0.5
    >>> solution.density.shape, solution.current.shape, solution.mass_error < 1e-12
    ((100,), (100, 1), True)

    Raises ValueError, with what to use, if the estimated mass beyond the bounds exceeds `max_mass_outside` (math.inf for
    walls that are really there), if cells are too coarse for the drift (`resolution` above 1), if the diffusion is not
    positive definite, if its cross terms need cells of another ratio of sides (|D_12| <= min(D_11 h_2/h_1,
    D_22 h_1/h_2), or the scheme would give negative densities), and if parts of the density exchange mass so slowly
    that rounding hides their ratio.

    Source: Chaudhari and Soatto 2018, section 2 (the equation); docs/theory/stationary.md (the scheme).
    """
    limit = _checks.number("max_mass_outside", min(max_mass_outside, 1e300), above=0.0)
    scheme, fields = discretize(drift, diffusion, bounds, shape)
    grid = scheme.grid
    if len(grid.shape) == 1:
        logarithm = np.concatenate([[0.0], np.cumsum(scheme.edges[0].log_ratio)])
        found = _Found(np.exp(logarithm - logarithm.max()), 0.0, 0.0)
    else:
        exits = np.zeros(grid.shape) if math.isinf(max_mass_outside) else outflow(grid, *fields)
        found = _null_vector(scheme, fields[0], exits)
    if not found.rounding <= LARGEST_ROUNDING:
        raise ValueError(
            "the density falls into parts that exchange mass too slowly for double precision to weigh them. "
            "Use stronger noise, or solve for one part alone by narrower bounds."
        )
    density = found.density / (found.density.sum() * grid.volume)
    outside, resolution = check_limits(scheme, density, limit, found.astray)
    current = probability_current(scheme, density) if len(grid.shape) == 2 else np.zeros((*grid.shape, 1))
    error = abs(float(density.sum()) * grid.volume - 1)
    return FokkerPlanckSolution(density, grid.centers, current, error, outside, resolution)


def discretize(
    drift: PointFunction, diffusion: PointFunction, bounds: Any, shape: Any
) -> tuple[Scheme, tuple[Field, Field]]:
    """The rates between the cells of a grid, and the functions that they come from, all arguments checked."""
    for name, function in {"drift": drift, "diffusion": diffusion}.items():
        if not callable(function):
            raise TypeError(f"{name}={function!r} is not callable. Give a function of one point x.")
    grid = make_grid(bounds, shape)
    d = len(grid.shape)
    fields = Field("drift", drift, (d,), grid), Field("diffusion", diffusion, (d, d), grid)
    return make_scheme(grid, *fields), fields


def rate_matrix(scheme: Scheme) -> sparse.csc_array:
    """A of d rho/dt = A rho: off the diagonal rates, not negative; columns sum to zero, so that mass is kept."""
    cells = np.arange(np.prod(scheme.grid.shape)).reshape(scheme.grid.shape)
    rows, columns, values = [], [], []
    for family in scheme.edges:
        start, stop = cells[family.start].ravel(), cells[family.stop].ravel()
        forward, backward = ((family.share * part).ravel() for part in (family.forward, family.backward))
        rows += [stop, start, start, stop]
        columns += [start, start, stop, stop]
        values += [forward, -forward, backward, -backward]
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return sparse.csc_array(sparse.coo_array(entries, shape=(cells.size, cells.size)))


def factorize(matrix: sparse.csc_array) -> linalg.SuperLU:
    """LU of an M-matrix without pivoting: no entry of the solution of a right side >= 0 can come out negative."""
    options = {"SymmetricMode": True}
    return linalg.splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)


def _null_vector(scheme: Scheme, drift: Field, exits: np.ndarray) -> _Found:
    """The stationary density by fixing it in one cell, near the mode: all others follow from A rho = 0.

    What flows out of the box, at the rates `exits`, comes back in that cell. Walls there would gather it, perhaps for
    ever: a stable drift may well leave a box here and there, and a corner that it points into is a trap.
    """
    matrix = sparse.csc_array(rate_matrix(scheme) - sparse.diags_array(exits.ravel()))
    fixed = _settled_cell(scheme.grid, drift)
    found = _solve_with_fixed_cell(matrix, fixed, exits.ravel())
    for _ in range(3):
        mode = int(np.argmax(found.density))
        if not np.all(np.isfinite(found.density)) or found.density[mode] <= 1e4 * found.density[fixed]:
            break
        fixed = mode
        found = _solve_with_fixed_cell(matrix, fixed, exits.ravel())
    return found._replace(density=found.density.reshape(scheme.grid.shape))


def _settled_cell(grid: Grid, drift: Field) -> int:
    """The cell near which the drift ends up from the middle of the box: midpoint steps that shrink from a 40th of it."""
    lows, highs = np.array(grid.bounds).T
    x = (lows + highs) / 2
    for length in np.linspace(1 / 40, 0, 300, endpoint=False):
        half = np.clip(x + _step(drift(x), highs - lows, length / 2), lows, highs)
        x = np.clip(x + _step(drift(half), highs - lows, length), lows, highs)
    cell = np.minimum((x - lows) / np.array(grid.widths), np.array(grid.shape) - 1).astype(int)
    return int(np.ravel_multi_index(tuple(cell), grid.shape))


def _step(force: np.ndarray, sides: np.ndarray, length: float) -> np.ndarray:
    """Along the force, by at most `length` in units of the box's sides."""
    return force * (length / max(float(np.max(np.abs(force) / sides)), np.finfo(float).tiny))


def _solve_with_fixed_cell(matrix: sparse.csc_array, fixed: int, exits: np.ndarray) -> _Found:
    """rho with rho[fixed] = 1. The mean times T to reach that cell say what a source elsewhere does to rho.

    A wrong last digit in a diagonal entry creates or destroys mass there, which then lives for a time T: hence the
    estimate of rounding. What flows out is away for about the mean of T.
    """
    rates = np.negative(matrix.diagonal())
    others = np.arange(rates.size) != fixed
    density, times = np.ones(rates.size), np.zeros(rates.size)
    try:
        factors = factorize(sparse.csc_array(-matrix[others][:, others]))
    except RuntimeError:  # a zero pivot: some cells are cut off
        return _Found(density, np.inf, 0.0)
    density[others] = factors.solve(matrix[others][:, [fixed]].toarray().ravel())
    times[others] = factors.solve(np.ones(rates.size - 1), trans="T")
    if not np.all(np.isfinite(density)) or density.min() < 0 or times.min() < 0:
        return _Found(density, np.inf, 0.0)
    share = density / density.sum()
    return _Found(density, np.finfo(float).eps * float(share @ (rates * times)), float(share @ exits * (share @ times)))
