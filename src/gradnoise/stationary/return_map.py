"""Does a planar flow have a closed orbit? The map from a ray to itself, and the time that one round takes.

Source: Chaudhari and Soatto 2018, example 19; docs/theory/potential.md.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import integrate

from gradnoise import _checks


class ReturnMap(NamedTuple):
    """Where paths that start on a ray come back to it; see `return_map`."""

    radius: Float[np.ndarray, " n"]
    """Distance from the centre at the start."""
    returned: Float[np.ndarray, " n"]
    """Distance at the first return; NaN for a path that does not return in time."""
    period: Float[np.ndarray, " n"]
    """Time until then; NaN likewise."""

    @property
    def change(self) -> Float[np.ndarray, " n"]:
        """returned/radius - 1: zero on a closed orbit, negative where paths spiral inwards."""
        return self.returned / self.radius - 1


def return_map(
    field: Callable[[Any], Any],
    radii: ArrayLike,
    *,
    centre: tuple[float, float] = (0.0, 0.0),
    longest: float = 100.0,
    tolerance: float = 1e-10,
) -> ReturnMap:
    """Follow dx/dt = field(x) in the plane from centre + (radius, 0), once round, back to that ray.

    A flow round one zero has a closed orbit exactly through the radii that return to themselves; a change of one sign at
    all radii says that there is none. `field` takes x of shape (2,) to (2,): the drift without noise for limit cycles of
    gradient descent, the circulating force j for the orbits that probability takes. The ray is reached through the half
    turn on its other side, so that a path must go round. `tolerance` is the relative one of the eighth-order Runge-Kutta
    method, a thousandth of `tolerance` times the radius the absolute one; a path that has not returned after `longest`
    gives NaN, as one does that ends in a zero of the field.

    >>> spiral = return_map(lambda x: [-x[1] - 0.1 * x[0], x[0] - 0.1 * x[1]], [1.0])
    >>> spiral.returned.item(), spiral.period.item()      # exp(-0.2 pi), 2 pi
    (0.533488, 6.283185)

    Raises ValueError for radii that are not positive, a field of another shape, and one that does not cross the ray at a
    start.

    Source: docs/theory/potential.md, for the erratum on example 19's limit cycles.
    """
    starts = np.atleast_1d(np.asarray(radii, dtype=np.float64))
    if starts.ndim != 1 or not np.all(np.isfinite(starts)) or np.any(starts <= 0):
        raise ValueError(f"radii={starts.tolist()} do not do. Give finite distances above 0.")
    limit = _checks.number("longest", longest, above=0.0)
    accuracy = _checks.number("tolerance", tolerance, above=0.0, below=0.1)
    rounds = [_round(field, np.asarray(centre, dtype=np.float64), float(r), limit, accuracy) for r in starts]
    return ReturnMap(starts, *np.array(rounds).reshape(-1, 2).T)


def circular_period(angular_speed: Callable[[Any], Any], radius: float, num_points: int = 256) -> float:
    """Time of one round on a circle about the origin, int dphi/angular_speed, by sums over equal angles.

    `angular_speed` takes x of shape (2, n) to (n,), of one sign; the sum is spectrally accurate. Infinite if the speed
    vanishes somewhere on the circle.

    >>> circular_period(lambda x: 1 + x[0] ** 2, 1.0)      # 2 pi / sqrt(2)
    4.442883

    Raises ValueError for a radius that is not positive, and if the speed changes sign.

    Source: docs/theory/potential.md.
    """
    length = _checks.number("radius", radius, above=0.0)
    angles = np.linspace(0, 2 * math.pi, _checks.integer("num_points", num_points, minimum=8), endpoint=False)
    speed = np.asarray(angular_speed(length * np.array([np.cos(angles), np.sin(angles)])), dtype=np.float64)
    if speed.min() < 0 < speed.max():
        raise ValueError(
            f"angular_speed changes sign on the circle of radius {length:g}: the flow does not go round it."
        )
    if not speed.all():
        return math.inf
    return float(np.mean(2 * math.pi / np.abs(speed)))


def _round(
    field: Callable[[Any], Any], centre: np.ndarray, radius: float, longest: float, tolerance: float
) -> tuple[float, float]:
    """Distance and time at the first return, by two half turns: across the ray's other side, and back to the ray."""
    start = centre + np.array([radius, 0.0])
    speed = np.asarray(field(start), dtype=np.float64)
    if speed.shape != (2,):
        raise ValueError(f"field(x) has shape {speed.shape}, expected (2,). Return both components of one vector.")
    if speed[1] == 0:
        raise ValueError(f"the field does not cross the ray at x={start.tolist()}. Choose another radius or centre.")
    x, elapsed = start, 0.0
    for half, direction in enumerate((-np.sign(speed[1]), np.sign(speed[1]))):
        path = integrate.solve_ivp(
            lambda _, at: np.asarray(field(at), dtype=np.float64),
            (elapsed, longest),
            x,
            method="DOP853",
            events=_crossing(centre[1], float(direction)),
            rtol=tolerance,
            atol=1e-3 * tolerance * radius,
        )
        if not path.t_events or not path.t_events[0].size:
            return math.nan, math.nan
        elapsed, x = float(path.t_events[0][0]), path.y_events[0][0]
        if (x[0] > centre[0]) != bool(half):
            return math.nan, math.nan
    return float(x[0] - centre[0]), elapsed


def _crossing(height: float, direction: float) -> Any:
    """A terminal event where the second coordinate passes `height` in one direction."""

    def height_above(_: float, x: np.ndarray) -> float:
        return x[1] - height

    height_above.terminal, height_above.direction = True, direction  # pyright: ignore[reportFunctionMemberAccess]
    return height_above
