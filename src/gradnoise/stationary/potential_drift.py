"""The drift that has a given potential, diffusion and circulation: the decomposition read from right to left.

Source: Chaudhari and Soatto 2018, Theorem 22; docs/theory/potential.md.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gradnoise import _checks

VectorField = Callable[[Any], jax.Array]


class PotentialDrift(NamedTuple):
    """Three vector fields, of a point x of shape (d,) or of many, (d, n); see `drift_with_potential`."""

    drift: VectorField
    """Ito drift -grad f = -(D + Q) grad Phi + div(D + Q)/beta, for `solve_fokker_planck` and simulation."""
    force: VectorField
    """The part that circulates, j = -Q grad Phi + div(Q)/beta; div(j rho) = 0."""
    anti_ito_drift: VectorField
    """-(D + Q) grad Phi, the drift in the A-type reading of the equation: it vanishes where the density peaks."""


def drift_with_potential(
    potential: Callable[[Any], Any],
    diffusion: Callable[[Any], Any],
    circulation: Callable[[Any], Any],
    inverse_temperature: float = 1.0,
) -> PotentialDrift:
    """The drift of dx = drift dt + sqrt(2 D/beta) dW whose stationary density is exp(-beta Phi), for any D and Q.

        drift = -(D + Q) grad Phi + div(D + Q)/beta,    (div M)_i = sum_k d_k M_ik

    `potential` Phi, scalar; `diffusion` D, symmetric positive semidefinite, and `circulation` Q, antisymmetric, of shape
    (d, d): functions of x of shape (d,) written in JAX. D does not contain 1/beta here, and with D and Q that vary the
    potential of a fixed drift depends on beta. Where Phi peaks, grad f = -div(D + Q)/beta: critical points of f and Phi
    differ by an amount of first order in 1/beta. Derivatives are automatic, in double precision; the fields are compiled,
    and take many points at once as `solve_fokker_planck` offers them.

    >>> Q = jnp.array([[0.0, -0.5], [0.5, 0.0]])
    >>> fields = drift_with_potential(lambda x: x @ x / 2, lambda x: jnp.eye(2), lambda x: Q)
    >>> print(fields.drift([1.0, 0.0]), fields.force([1.0, 0.0]))
    [-1.  -0.5] [ 0.  -0.5]

    Raises ValueError for inverse_temperature <= 0; the fields do for Q not antisymmetric or D not symmetric at x.

    Source: Chaudhari and Soatto 2018, Theorem 22 and eq (18), whose drift has lost its sign in our text of it.
    """
    beta = _checks.number("inverse_temperature", inverse_temperature, above=0.0)

    def parts(x: jax.Array) -> _Parts:
        D, Q = _matrix("diffusion", diffusion, x), _matrix("circulation", circulation, x)
        slope = jax.grad(lambda at: jnp.asarray(potential(at), dtype=jnp.float64))(x)
        return _Parts(D, Q, slope, matrix_divergence(diffusion, x) / beta, matrix_divergence(circulation, x) / beta)

    return PotentialDrift(
        _compiled(parts, lambda p: -(p.D + p.Q) @ p.slope + p.divergence_D + p.divergence_Q),
        _compiled(parts, lambda p: -p.Q @ p.slope + p.divergence_Q),
        _compiled(parts, lambda p: -(p.D + p.Q) @ p.slope),
    )


class _Parts(NamedTuple):
    """Everything at one point; divergences are over beta."""

    D: jax.Array
    Q: jax.Array
    slope: jax.Array
    divergence_D: jax.Array
    divergence_Q: jax.Array


def _compiled(parts: Callable[[jax.Array], _Parts], combine: Callable[[_Parts], jax.Array]) -> VectorField:
    """The field of one point or of many, with D and Q checked at each unless it is being traced."""

    def at_point(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = parts(x)
        misses = [jnp.max(jnp.abs(M - sign * M.T)) for M, sign in ((found.D, 1), (found.Q, -1))]
        sizes = [jnp.max(jnp.abs(M)) for M in (found.D, found.Q)]
        return combine(found), jnp.stack([miss - 1e-10 * size for miss, size in zip(misses, sizes, strict=True)])

    one, many = jax.jit(at_point), jax.jit(jax.vmap(at_point, in_axes=1, out_axes=1))

    def field(x: Any) -> jax.Array:
        with jax.enable_x64(True):
            points = jnp.asarray(x, dtype=jnp.float64)
            values, misses = one(points) if points.ndim == 1 else many(points)
        if not isinstance(misses, Tracer):
            _check_symmetry(np.asarray(misses).reshape(2, -1).max(1))
        return values

    return field


def _matrix(name: str, function: Callable[[Any], Any], x: jax.Array) -> jax.Array:
    matrix = jnp.asarray(function(x), dtype=jnp.float64)
    if matrix.shape != (x.size, x.size):
        raise ValueError(f"{name}(x) has shape {matrix.shape}, expected ({x.size}, {x.size}). Give a square matrix.")
    return matrix


def matrix_divergence(field: Callable[[Any], Any], point: jax.Array) -> jax.Array:
    """sum_k d_k M_ik by forward differentiation."""
    return jnp.einsum("ikk->i", jax.jacfwd(lambda at: jnp.asarray(field(at), dtype=jnp.float64))(point))


def _check_symmetry(misses: np.ndarray) -> None:
    names = ("diffusion", "symmetric", "+"), ("circulation", "antisymmetric", "-")
    for miss, (name, word, sign) in zip(misses, names, strict=True):
        if miss > 0:
            raise ValueError(f"{name}(x) misses being {word} by {float(miss):.3g}. Give (M {sign} M.T)/2.")
