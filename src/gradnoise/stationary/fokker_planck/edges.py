"""Rates at which probability jumps between neighbouring cells: a Scharfetter-Gummel scheme for a matrix diffusion.

With v = D^-1 (b - div D) the current is J = D (v rho - grad rho). D is written as a sum of positive multiples of d d^T
over the directions d of the grid's edges: the axes and, for D_12 != 0, the diagonals of the cells,

    D = (D_11 - |D_12| h_1/h_2) e_1 e_1^T + (D_22 - |D_12| h_2/h_1) e_2 e_2^T + |D_12|/(h_1 h_2) d d^T,   d = (h_1, +-h_2)

so that each edge carries a one-dimensional flux of its own: w [B(-psi) rho_start - B(psi) rho_stop], w its share of D,
B(z) = z/(e^z - 1), psi = int v.dl along it. Where v is a gradient (no current), rho = exp(int v) stops every edge.
Source: docs/theory/stationary.md.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gradnoise.stationary.fokker_planck.ellipticity import check_cross_terms, check_positive_definite
from gradnoise.stationary.fokker_planck.grid import Field, Grid

NODES, WEIGHTS = np.polynomial.legendre.leggauss(3)
BLOCK = 50_000
"""Edges whose integrals are computed at once: some tens of MB."""


class Edges(NamedTuple):
    """All edges of one direction, as arrays over their start cells."""

    start: tuple[slice, ...]
    stop: tuple[slice, ...]
    share: Float[np.ndarray, "..."]
    """w: the direction's part of the diffusion, divided by the edge's length squared."""
    log_ratio: Float[np.ndarray, "..."]
    """psi: the logarithm of rho_stop/rho_start that would stop the flux."""
    forward: Float[np.ndarray, "..."]
    """B(-psi), so that w B(-psi) is the rate from start to stop."""
    backward: Float[np.ndarray, "..."]
    """B(psi)."""

    def pull(self, density: np.ndarray) -> np.ndarray:
        """The net flux a unit of w: (v rho - grad rho).d, d the edge, to second order."""
        return self.forward * density[self.start] - self.backward * density[self.stop]


class Scheme(NamedTuple):
    """The grid, its edges by direction (the axes first), and the diffusion where the current is put together."""

    grid: Grid
    edges: list[Edges]
    diagonal: list[Float[np.ndarray, "..."]]
    """D_kk at the middles of the edges along axis k."""
    cross: Float[np.ndarray, "..."] | None
    """D_12 at the corners of the cells, in two dimensions."""


def make_scheme(grid: Grid, drift: Field, diffusion: Field) -> Scheme:
    """Rates on all edges; raises ValueError where the diffusion is not positive definite or a rate would be negative."""
    if len(grid.shape) == 1:
        (width,), middle = grid.widths, diffusion(grid.midpoints(0))[0, 0]
        edges = [_edges((1,), middle / width**2, _log_ratio_in_one_dimension(grid, drift, diffusion))]
        return Scheme(grid, edges, [middle], None)
    h1, h2 = grid.widths
    for axis in (0, 1):
        check_positive_definite(diffusion(grid.midpoints(axis)), grid.midpoints(axis))
    cross = diffusion(grid.midpoints(0, 1))[0, 1]
    own, shares = _shares(grid, diffusion, np.abs(cross))
    check_cross_terms(grid, own, shares)
    x, y = (_log_ratio(grid, drift, diffusion, axis) for axis in (0, 1))
    edges = [
        _edges((1, 0), np.maximum(own[0] - shares[0] * h1 / h2, 0) / h1**2, x),
        _edges((0, 1), np.maximum(own[1] - shares[1] * h2 / h1, 0) / h2**2, y),
    ]
    if np.any(cross):
        up, down = (x[:, :-1] + y[1:] + y[:-1] + x[:, 1:]) / 2, (y[:-1] - x[:, 1:] - x[:, :-1] + y[1:]) / 2
        edges.append(_edges((1, 1), np.maximum(cross, 0) / (h1 * h2), up))
        edges.append(_edges((-1, 1), np.maximum(-cross, 0) / (h1 * h2), down))
    return Scheme(grid, edges, own, cross)


def probability_current(scheme: Scheme, density: np.ndarray) -> np.ndarray:
    """J = D (v rho - grad rho) at the centres: means over the edges (D_11, D_22) and corners (D_12) about a cell."""
    grid = scheme.grid
    current = np.zeros((*grid.shape, len(grid.shape)))
    pulls = [scheme.edges[k].pull(density) / width for k, width in enumerate(grid.widths)]
    for k, own in enumerate(scheme.diagonal):
        for ends in (scheme.edges[k].start, scheme.edges[k].stop):
            current[(*ends, k)] += own * pulls[k] / 2
    if scheme.cross is not None:
        x, y = (pulls[0][:, 1:] + pulls[0][:, :-1]) / 2, (pulls[1][1:] + pulls[1][:-1]) / 2
        for corner in ((a, b) for a in (slice(1, None), slice(None, -1)) for b in (slice(1, None), slice(None, -1))):
            current[(*corner, 0)] += scheme.cross * y / 4
            current[(*corner, 1)] += scheme.cross * x / 4
    return current


def outflow(grid: Grid, drift: Field, diffusion: Field) -> np.ndarray:
    """Rate at which the flow b - div D carries probability out of each cell through the bounds; zero where it enters."""
    points, rates = np.stack(np.meshgrid(*grid.centers, indexing="ij")), np.zeros(grid.shape)
    for axis, width in enumerate(grid.widths):
        for side, outward in ((0, -1), (-1, 1)):
            layer = tuple(slice(None) if k != axis else [side] for k in range(2))
            places = points[:, *layer]
            rates[layer] += np.maximum(outward * _flow(grid, drift, diffusion, places)[axis], 0) / width
    return rates


def bernoulli(z: np.ndarray) -> np.ndarray:
    """z/(e^z - 1), with 1 at 0 and 0 far out.

    >>> bernoulli(np.array([0.0, 1.0, 800.0]))
    array([1. , 0.58197671, 0. ])
    """
    with np.errstate(over="ignore"):
        below = np.expm1(z)
    return np.where(z == 0, 1.0, z / np.where(z == 0, 1.0, below))


def _shares(grid: Grid, diffusion: Field, cross: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """D_11 and D_22 at the middles of the edges along their axis, and the mean of |D_12| at the corners beside these.

    The mean, with 0 beyond the bounds, is what the diagonals there carry: where D_12 changes sign its absolute value has
    a kink, which cancels only so, and along the bounds half the diagonals are missing.
    """
    own = [diffusion(grid.midpoints(k))[k, k] for k in (0, 1)]
    padded = np.pad(cross, ((0, 0), (1, 1))), np.pad(cross, ((1, 1), (0, 0)))
    return own, [(padded[0][:, 1:] + padded[0][:, :-1]) / 2, (padded[1][1:] + padded[1][:-1]) / 2]


def _log_ratio_in_one_dimension(grid: Grid, drift: Field, diffusion: Field) -> np.ndarray:
    """log rho_{i+1}/rho_i = int b/D dx - log D_{i+1}/D_i, the integral by three-point Gauss: exact for degree 5."""
    (centers,), (width,) = grid.centers, grid.widths
    points = (grid.midpoints(0)[..., None] + NODES * width / 2).reshape(1, -1)
    values, ends = diffusion(points)[0, 0], diffusion(centers[None])[0, 0]
    for found, places in ((values, points), (ends, centers[None])):
        check_positive_definite(found[None, None], places)
    integral = ((drift(points)[0] / values).reshape(-1, 3) * WEIGHTS).sum(1) * width / 2
    return integral - np.diff(np.log(ends))


def _log_ratio(grid: Grid, drift: Field, diffusion: Field, axis: int) -> np.ndarray:
    """int v.dl along the edges of one axis."""
    middles = grid.midpoints(axis)
    shift = np.zeros((2, 1, 1))
    shift[axis] = grid.widths[axis] / 2
    flat, blocks = middles.reshape(2, -1, 1), []
    for begin in range(0, flat.shape[1], BLOCK):
        points = flat[:, begin : begin + BLOCK] + shift * NODES
        blocks.append((_log_slope(grid, drift, diffusion, points)[axis] * WEIGHTS).sum(-1))
    return np.concatenate(blocks).reshape(middles.shape[1:]) * grid.widths[axis] / 2


def _log_slope(grid: Grid, drift: Field, diffusion: Field, points: np.ndarray) -> np.ndarray:
    """v = D^-1 (b - div D) in two dimensions."""
    flow, D = _flow(grid, drift, diffusion, points), diffusion(points)
    determinant = D[0, 0] * D[1, 1] - D[0, 1] ** 2
    return np.stack([D[1, 1] * flow[0] - D[0, 1] * flow[1], D[0, 0] * flow[1] - D[0, 1] * flow[0]]) / determinant


def _flow(grid: Grid, drift: Field, diffusion: Field, points: np.ndarray) -> np.ndarray:
    """b - div D."""
    return drift(points) if diffusion.constant else drift(points) - _divergence(grid, diffusion, points)


def _divergence(grid: Grid, diffusion: Field, points: np.ndarray) -> np.ndarray:
    """(div D)_i = sum_j d_j D_ij by differences of fourth order over a hundredth of a cell."""
    total = np.zeros_like(points)
    for axis, width in enumerate(grid.widths):
        step = np.zeros((2,) + (1,) * (points.ndim - 1))
        step[axis] = width / 100
        near = diffusion(points + step)[:, axis] - diffusion(points - step)[:, axis]
        far = diffusion(points + 2 * step)[:, axis] - diffusion(points - 2 * step)[:, axis]
        total += (8 * near - far) / (12 * width / 100)
    return total


def _edges(offset: tuple[int, ...], share: np.ndarray, psi: np.ndarray) -> Edges:
    ends = {0: (slice(None), slice(None)), 1: (slice(None, -1), slice(1, None)), -1: (slice(1, None), slice(None, -1))}
    start, stop = (tuple(ends[k][side] for k in offset) for side in (0, 1))
    return Edges(start, stop, share, psi, bernoulli(-psi), bernoulli(psi))
