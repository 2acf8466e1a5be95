"""Whether SGD's stationary density has Boltzmann's form, and then its two exponents.

Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eqs (18)-(20); docs/theory/potential.md.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from gradnoise import _checks
from gradnoise.stationary.potential_drift import matrix_divergence

PointFunction = Callable[[Any], Any]
CURL_TOLERANCE = 1e-8
"""Curl, in units of the largest derivative of its field, below which it counts as rounding."""


class CurlTest(NamedTuple):
    """Curls of the two fields whose integrals (18)-(20) need; see `measure_curl`."""

    gradient_curl: Float[np.ndarray, "n d d"]
    """d_k w_i - d_i w_k of w = M^-1 (grad U + alpha theta)."""
    noise_curl: Float[np.ndarray, "n d d"]
    """The same of w = M^-1 div M."""
    relative: Float[np.ndarray, "2"]
    """Largest curl of each field, in units of the largest derivative of the same field; of the second, whose integral is a
    logarithm, in units of at least 1e-4 over the squared extent of the points, where it would be rounding."""
    worst: Float[np.ndarray, " d"]
    """The point at which the larger of the two is found."""

    @property
    def holds(self) -> bool:
        """Whether both fields are free of curl at all points, up to rounding."""
        return bool(np.all(self.relative <= CURL_TOLERANCE))

    def at_temperature(self, temperature: float) -> float:
        """Largest curl of (2/T) w_v + w_a, which is -grad log rho if no current flows at T = learning_rate/batch_size.

        The two curls may cancel at one temperature: equilibrium there, and a current at every other.
        """
        T = _checks.number("temperature", temperature, above=0.0)
        return float(np.max(np.abs(2 / T * self.gradient_curl + self.noise_curl)))


class BoltzmannExponents(NamedTuple):
    """v and a of the density exp(-(2/T) v - a); see `boltzmann_exponents`."""

    v: Float[np.ndarray, " n"]
    a: Float[np.ndarray, " n"]
    path_difference: float
    """Largest difference between integrals along the straight line and along the axes in turn: quadrature's error."""

    def log_density(self, temperature: float) -> Float[np.ndarray, " n"]:
        """-(2/T) v - a, up to a constant; T = learning_rate/batch_size."""
        return -(2 / _checks.number("temperature", temperature, above=0.0)) * self.v - self.a


def measure_curl(gradient: PointFunction, noise: PointFunction, points: ArrayLike) -> CurlTest:
    """The test on which the stationary density exp(-(2/T) v - a) stands: two fields must be gradients.

        M grad v = grad U + alpha theta,    M grad a = div M,    M = D + beta^2 I

    `gradient` grad U + alpha theta of shape (d,), `noise` M of shape (d, d), positive definite: functions of x of shape
    (d,), written in JAX. `points` (n, d): where the curls are taken, by automatic differentiation in double precision,
    so that they are exact there, and unknown elsewhere. For d = 1 both fields always are gradients. For a linear
    gradient A x, A symmetric, and constant M they are if and only if M A = A M, that is Q = 0 in `linear_decomposition`.

    >>> commuting = measure_curl(lambda x: jnp.array([1.0, 2.0]) * x, lambda x: jnp.diag(jnp.array([1.0, 3.0])), np.eye(2))
    >>> commuting.holds
    True
    >>> turned = jnp.array([[1.0, 0.4], [0.4, 1.0]])
    >>> measure_curl(lambda x: jnp.array([1.0, 2.0]) * x, lambda x: turned, np.eye(2)).holds
    False

    Raises ValueError for points that are not (n, d) and finite, for functions of other shapes, and where M^-1 times the
    fields has no finite derivative (M singular).

    Source: Gomez-Uribe, eqs (18)-(20); that the fields must be free of curl: docs/theory/potential.md.
    """
    places = _points("points", points)
    return _curls(places, _fields_and_slopes(gradient, noise, places)[1])


def boltzmann_exponents(
    gradient: PointFunction, noise: PointFunction, points: ArrayLike, origin: ArrayLike, num_nodes: int = 24
) -> BoltzmannExponents:
    """v and a at `points` (n, d), zero at `origin` (d,), by integrals along straight lines, if the curls allow it.

        v = int M^-1 (grad U + alpha theta).dl,    a = int M^-1 div M.dl;    d = 1: a = log M

    Functions as in `measure_curl`, which is asked at every node of the quadrature (Gauss-Legendre, `num_nodes` a line).
    Path by path along the axes the integrals are taken again: `path_difference` is the error that is left.

    >>> linear = lambda x: x, lambda x: (1 + x**2)[:, None]
    >>> exponents = boltzmann_exponents(*linear, [[1.0], [2.0]], [0.0])
    >>> exponents.a          # log 2, log 5
    array([0.693147, 1.609438])
    >>> exponents.v          # half of it here
    array([0.346574, 0.804719])

    Raises ValueError where a curl is not zero: the density then has another form and, at all temperatures but at most
    one (`CurlTest.at_temperature`), a current; `solve_fokker_planck` finds both for d = 2. Otherwise as `measure_curl`.

    Source: Gomez-Uribe, eqs (18)-(20).
    """
    places, start = _points("points", points), _points("origin", np.atleast_2d(np.asarray(origin)))[0]
    if len(start) != places.shape[1]:
        raise ValueError(f"origin has {len(start)} coordinates and points {places.shape[1]}. Give one point of theirs.")
    count = _checks.integer("num_nodes", num_nodes, minimum=2)
    straight, broken = _segments(start, places, along_axes=False), _segments(start, places, along_axes=True)
    places_on_line, weights = np.polynomial.legendre.leggauss(count)
    inside = [_between(*lines, places_on_line) for lines in (straight, broken)]
    nodes = np.concatenate([each.reshape(-1, len(start)) for each in inside])
    values, slopes = _fields_and_slopes(gradient, noise, nodes)
    curls = _curls(nodes, slopes)
    if not curls.holds:
        which = ("M^-1 (grad U + alpha theta)", "M^-1 div M")[int(np.argmax(curls.relative))]
        raise ValueError(
            f"{which} has a curl of {curls.relative.max():.3g} of its largest derivative at "
            f"x={curls.worst.round(4).tolist()}, expected 0: v and a do not both exist, and a current flows at all "
            "temperatures but at most one. Use solve_fokker_planck."
        )
    by_line = np.split(values, [inside[0].size // len(start)])
    totals = [
        np.einsum("npsfd,s,npd->fn", each.reshape(*x.shape[:3], 2, len(start)), weights / 2, end - begin)
        for each, x, (begin, end) in zip(by_line, inside, (straight, broken), strict=True)
    ]
    return BoltzmannExponents(totals[0][0], totals[0][1], float(np.max(np.abs(totals[0] - totals[1]))))


def _fields_and_slopes(
    gradient: PointFunction, noise: PointFunction, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Both fields (n, 2, d) and their derivatives (n, 2, d, d) at the points."""
    with jax.enable_x64(True):
        _check_shapes(gradient, noise, places[0])
        field = _fields(gradient, noise)
        found = jax.jit(jax.vmap(lambda x: (field(x), jax.jacfwd(field)(x))))(places)
    values, slopes = (np.asarray(each, dtype=np.float64) for each in found)
    if not np.all(np.isfinite(slopes)):
        raise ValueError(
            "M^-1 (grad U + alpha theta) or M^-1 div M has no finite derivative. Give M positive definite."
        )
    return values, slopes


def _curls(places: np.ndarray, slopes: np.ndarray) -> CurlTest:
    curl = slopes - slopes.swapaxes(-1, -2)
    tiny = np.finfo(float).tiny
    extent = float(np.sum(np.ptp(places, axis=0) ** 2))
    size = np.maximum(np.abs(slopes).max((0, 2, 3)), [tiny, 1e-4 / extent if extent > 0 else tiny])
    relative = np.abs(curl).max((2, 3)) / size
    return CurlTest(curl[:, 0], curl[:, 1], relative.max(0), places[np.argmax(relative.max(1))])


def _fields(gradient: PointFunction, noise: PointFunction) -> Callable[[jax.Array], jax.Array]:
    """M^-1 (grad U + alpha theta) and M^-1 div M as the rows of a (2, d) array."""

    def both(x: jax.Array) -> jax.Array:
        M = jnp.asarray(noise(x), dtype=jnp.float64)
        divergence = matrix_divergence(noise, x)
        return jnp.linalg.solve(M, jnp.stack([jnp.asarray(gradient(x), dtype=jnp.float64), divergence], axis=1)).T

    return both


def _segments(start: np.ndarray, ends: np.ndarray, along_axes: bool) -> tuple[np.ndarray, np.ndarray]:
    """First and last points, each (n, pieces, d), of the straight lines from `start`, or of the ways along the axes."""
    d = len(start)
    pieces = d if along_axes else 1
    reached = np.arange(d) < np.arange(pieces + 1)[:, None] * (d // pieces)
    corners = np.where(reached, ends[:, None], start)
    return corners[:, :-1], corners[:, 1:]


def _between(begin: np.ndarray, end: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Points (n, pieces, nodes, d) on the lines, nodes from -1 to 1."""
    return (begin[:, :, None] * (1 - nodes[:, None]) + end[:, :, None] * (1 + nodes[:, None])) / 2


def _points(name: str, points: ArrayLike) -> np.ndarray:
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.size == 0 or not np.all(np.isfinite(array)):
        raise ValueError(
            f"{name} of shape {array.shape} do not do. Give finite numbers of shape (n, d), a point a row."
        )
    return array


def _check_shapes(gradient: PointFunction, noise: PointFunction, point: np.ndarray) -> None:
    d = len(point)
    for name, function, wanted in (("gradient", gradient, (d,)), ("noise", noise, (d, d))):
        shape = jax.eval_shape(lambda x, f=function: jnp.asarray(f(x)), jax.ShapeDtypeStruct((d,), jnp.float64)).shape
        if shape != wanted:
            raise ValueError(f"{name}(x) has shape {shape}, expected {wanted}. Return one array of that shape.")
