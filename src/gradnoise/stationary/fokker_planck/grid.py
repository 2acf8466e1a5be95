"""A box cut into equal cells, and the user's drift and diffusion evaluated at many points of it."""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from gradnoise import _checks

MOST_CELLS = 500_000
"""Factorizing the matrix of so many cells takes about a gigabyte and several seconds."""

NUM_PROBES = 33

PointFunction = Callable[[Any], Any]


class Grid(NamedTuple):
    """Cells of width `widths` an axis between `bounds`; unknowns sit at `centers`."""

    bounds: tuple[tuple[float, float], ...]
    shape: tuple[int, ...]

    @property
    def widths(self) -> tuple[float, ...]:
        return tuple((high - low) / n for (low, high), n in zip(self.bounds, self.shape, strict=True))

    @property
    def centers(self) -> tuple[np.ndarray, ...]:
        """The cell centres, one array an axis."""
        pairs = zip(self.bounds, self.widths, self.shape, strict=True)
        return tuple(low + width * (np.arange(n) + 0.5) for (low, _), width, n in pairs)

    @property
    def volume(self) -> float:
        return float(np.prod(self.widths))

    def midpoints(self, *axes: int) -> Float[np.ndarray, "d ..."]:
        """Points half way between neighbouring centres along `axes`, at the centres along the others."""
        places = [(c[1:] + c[:-1]) / 2 if k in axes else c for k, c in enumerate(self.centers)]
        return np.stack(np.meshgrid(*places, indexing="ij"))


def make_grid(bounds: Any, shape: Any) -> Grid:
    """The grid, checked: d = 1 or 2, at least 4 cells an axis."""
    if not isinstance(bounds, (Sequence, np.ndarray)) or any(np.shape(pair) != (2,) for pair in bounds):
        raise ValueError(
            f"bounds={bounds!r} do not do. Give one (low, high) an axis: ((-4, 4),) or ((-4, 4), (-4, 4))."
        )
    sizes = (shape,) if np.ndim(shape) == 0 else tuple(shape)
    if len(bounds) not in (1, 2) or len(sizes) != len(bounds):
        raise ValueError(
            f"bounds for {len(bounds)} axes and a shape for {len(sizes)}, expected 1 or 2 of both. "
            "Give one (low, high) and one number of cells an axis."
        )
    pairs = []
    for axis, (low, high) in enumerate(bounds):
        start = _checks.number(f"bounds[{axis}][0]", low)
        pairs.append((start, _checks.number(f"bounds[{axis}][1]", high, above=start)))
    counts = tuple(_checks.integer(f"shape[{axis}]", n, minimum=4) for axis, n in enumerate(sizes))
    if np.prod(counts) > MOST_CELLS:
        raise ValueError(f"shape={counts} has {np.prod(counts)} cells, above {MOST_CELLS}. Take fewer cells.")
    return Grid(tuple(pairs), counts)


class Field:
    """The user's function of one point, evaluated at many points at once where it broadcasts, one by one where not.

    Tried on 33 scattered points with a trailing axis; it counts as broadcasting only if it then gives what it gives
    point by point.
    """

    def __init__(self, name: str, function: PointFunction, value_shape: tuple[int, ...], grid: Grid):
        self.name, self.function, self.value_shape = name, function, value_shape
        lows, highs = np.array(grid.bounds).T[:, :, None]
        scattered = np.random.default_rng(0).uniform(size=(len(grid.shape), NUM_PROBES - 1))
        probes = np.concatenate([np.full((len(grid.shape), 1), 0.5), scattered], axis=1) * (highs - lows) + lows
        each = self._one_by_one(probes)
        together = self._together(probes)
        agrees = together is not None and np.allclose(together, each, rtol=1e-9, atol=1e-12 * np.max(np.abs(each)))
        self.broadcasts = agrees
        self.constant = agrees and self.is_plain

    def __call__(self, points: Float[np.ndarray, "d ..."]) -> np.ndarray:
        """Values of shape value_shape + the points' trailing shape."""
        flat = points.reshape(len(points), -1)
        values = self._together(flat) if self.broadcasts else self._one_by_one(flat)
        assert values is not None
        if not np.all(np.isfinite(values)):
            bad = flat[:, np.argmin(np.isfinite(values).reshape(-1, flat.shape[1]).all(0))]
            raise ValueError(f"{self.name}(x) is not finite at x={bad}. Give finite values inside the bounds.")
        return values.reshape(self.value_shape + points.shape[1:])

    def _together(self, points: np.ndarray) -> np.ndarray | None:
        """All values from one call; None if the function does not take that."""
        try:
            with _double_precision(), np.errstate(all="ignore"):
                values = np.asarray(self.function(points), dtype=np.float64)
        except Exception:  # whatever a function of one point may raise when given many
            return None
        self.is_plain = values.shape == self.value_shape
        if self.is_plain:
            values = np.broadcast_to(values[..., None], (*self.value_shape, points.shape[1]))
        return values if values.shape == (*self.value_shape, points.shape[1]) else None

    def _one_by_one(self, points: np.ndarray) -> np.ndarray:
        with _double_precision():
            first = np.asarray(self.function(points[:, 0].copy()))
            self._check_value(first)
            rest = [np.asarray(self.function(point.copy())) for point in points.T[1:]]
        return np.stack([first, *rest], axis=-1).astype(np.float64)

    def _check_value(self, value: np.ndarray) -> None:
        if value.shape != self.value_shape:
            raise ValueError(
                f"{self.name}(x) has shape {value.shape} for x of shape {self.value_shape[:1]}, expected "
                f"{self.value_shape}. Return one array of that shape."
            )
        if value.dtype.kind not in "fiu" or (value.dtype.kind == "f" and value.dtype != np.float64):
            raise TypeError(
                f"{self.name}(x) has dtype {value.dtype}, expected float64. Compute it in double precision."
            )


def _double_precision() -> AbstractContextManager[object]:
    """64-bit mode for functions written in JAX; nothing where JAX is not in use."""
    jax = sys.modules.get("jax")
    return jax.enable_x64(True) if jax is not None else nullcontext()
