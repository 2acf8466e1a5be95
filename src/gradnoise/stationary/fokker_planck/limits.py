"""Whether the box is large enough and its cells fine enough, and which would be."""

import math

import numpy as np

from gradnoise.stationary.fokker_planck.edges import Edges, Scheme
from gradnoise.stationary.fokker_planck.grid import Grid

Bounds = tuple[tuple[float, float], ...]


def check_limits(scheme: Scheme, density: np.ndarray, limit: float, astray: float) -> tuple[float, tuple[float, ...]]:
    """(mass beyond the bounds, resolution an axis); raises ValueError with better bounds or a finer shape."""
    grid = scheme.grid
    resolution = tuple(_resolution(scheme.edges[k], density, grid.volume) for k in range(len(grid.shape)))
    outside = [_mass_beyond(_marginal(density, k), h) for k, h in enumerate(grid.widths)]
    total = float(sum(mass for side in outside for mass, _ in side)) + astray
    if max(resolution) > 1:
        needed = tuple(h / max(r, 1.0) for h, r in zip(grid.widths, resolution, strict=True))
        raise ValueError(
            f"the drift asks for a change of log density of {max(resolution):.2g} from one cell to the next, above 1: "
            f"shape={grid.shape} is too coarse. {_finer(grid, density, needed)}"
        )
    if total > limit:
        raise ValueError(
            f"about {min(total, 1.0):.2g} of the mass lies beyond bounds={_told(grid.bounds)}, above {limit:g}. "
            f"Use bounds={_told(_wider(grid, outside, limit))}, or max_mass_outside=math.inf if these are walls; "
            "if wider bounds do not help, no stationary density exists."
        )
    return total, resolution


def _resolution(edges: Edges, density: np.ndarray, volume: float) -> float:
    weight = (density[edges.start] + density[edges.stop]) / 2 * volume
    return math.sqrt(float(np.sum(weight * edges.log_ratio**2)))


def _marginal(density: np.ndarray, axis: int) -> np.ndarray:
    """The density along one axis, normalized."""
    others = tuple(k for k in range(density.ndim) if k != axis)
    return density.sum(axis=others) / density.sum()


def _mass_beyond(marginal: np.ndarray, width: float) -> list[tuple[float, float]]:
    """(mass beyond, rate of fall) for the lower and the upper end, the fall taken as exponential from there on.

    A density that does not fall towards an end is taken to be as long again.
    """
    length = len(marginal) * width
    inward = max(1, len(marginal) // 20)
    sides = []
    for side in (marginal, marginal[::-1]):
        if side[0] == 0:
            sides.append((0.0, math.inf))
            continue
        rate = math.log(side[inward] / side[0]) / (inward * width) if side[inward] > 0 else 0.0
        rate = max(rate, 1 / length)
        sides.append((float(side[0]) / (width * rate), rate))
    return sides


def _wider(grid: Grid, outside: list[list[tuple[float, float]]], limit: float) -> Bounds:
    """Bounds moved out, where mass lies beyond them, as far as an exponential fall needs; at most by their length.

    By an eighth of it on all sides if no side has much: then it is the flow through them.
    """
    share, moved = limit / (4 * len(grid.shape)), []
    flows = all(mass <= share for ends in outside for mass, _ in ends)
    for (low, high), ends in zip(grid.bounds, outside, strict=True):
        steps = [math.log(mass / share) / rate if mass > share else (high - low) / 8 * flows for mass, rate in ends]
        down, up = (min(step, high - low) for step in steps)
        moved.append((low - down, high + up))
    return tuple(moved)


def _finer(grid: Grid, density: np.ndarray, needed: tuple[float, ...]) -> str:
    """Bounds about the mass if they are enough for this shape; else a shape."""
    bounds = []
    for axis, (centers, width) in enumerate(zip(grid.centers, grid.widths, strict=True)):
        share = _marginal(density, axis)
        mean = float(share @ centers)
        reach = 8 * math.sqrt(float(share @ (centers - mean) ** 2)) + width
        low, high = grid.bounds[axis]
        bounds.append((max(low, mean - reach), min(high, mean + reach)))
    if all((high - low) / n <= h for (low, high), n, h in zip(bounds, grid.shape, needed, strict=True)):
        return f"Use bounds={_told(tuple(bounds))}, where the mass is."
    shape = tuple(math.ceil((high - low) / h) for (low, high), h in zip(grid.bounds, needed, strict=True))
    return f"Use shape={shape} or finer, narrower bounds, or stronger noise."


def _told(bounds: Bounds) -> str:
    """Bounds rounded outwards to two digits of their length."""
    told = []
    for low, high in bounds:
        unit = 10.0 ** (math.floor(math.log10(high - low)) - 1)
        told.append(f"({math.floor(low / unit + 1e-9) * unit:.10g}, {math.ceil(high / unit - 1e-9) * unit:.10g})")
    return f"({', '.join(told)}{',' if len(told) == 1 else ''})"
