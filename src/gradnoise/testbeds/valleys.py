"""Valleys along which SGD drifts although the loss is flat there: helix, helix on a ring, ring engine.

The drift is -(eta/2) Sigma:dH, Sigma the stationary covariance of fresh examples; the noise's covariance C turns
along the valley, so no effective potential exists. Source: diagrams.md section 3 ("Drift") and section 5.
"""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from gradnoise import _checks
from gradnoise.problem import Problem
from gradnoise.testbeds.laws import landscape, vector


def helix(incline: float = 0.0, theta0: ArrayLike = (0.0, 0.0, 0.0), law: str = "normal") -> Problem:
    """l_x = [u^2 + v^2 + (u cos z + v sin z)^2]/2 + x [u cos(z - pi/4) + v sin(z - pi/4)] + incline z; weights u, v, z.

    The valley is u = v = 0. In the frame that turns with z the hessian is diag(2, 1) and C = [[1, -1], [-1, 1]]/2,
    both constant along the valley, yet SGD climbs in z: as long as incline < eta/(6 - 4 eta), uphill for ever.

    >>> helix().loss(np.array([1.0, 0.0, 0.0]), np.array([0.0])).item()
    1.0
    """
    slope = _checks.number("incline", incline)

    def loss(theta: Float[Array, "3"], x: Float[Array, "1"]) -> Float[Array, ""]:
        u, v, z = theta
        return _screw(u, v, jnp.cos(z), jnp.sin(z), x[0]) + slope * z

    return landscape(loss, vector("theta0", theta0, 3), law, 1, "helix")


def helix_velocity(learning_rate: float, batch_size: int = 1) -> float:
    """Mean dz a step: eta^2/((6 - 4 eta) B), fresh examples, no incline; in the limit of small eta eta^2/(6B).

    >>> helix_velocity(0.05) / 0.05**2      # simulation: 0.1722 +- 0.0001
    0.1724
    """
    return learning_rate**2 / ((6 - 4 * learning_rate) * batch_size)


def helix_frame(theta: ArrayLike) -> Float[np.ndarray, "3 3"]:
    """Rows: the unit vectors e_u, e_v that turn with z, and e_z."""
    z = np.asarray(theta)[2]
    return np.array([[np.cos(z), np.sin(z), 0], [-np.sin(z), np.cos(z), 0], [0, 0, 1]])


HELIX_HESSIAN = np.diag([2.0, 1.0, 0.0])
"""Mean hessian on the valley, in the rows of `helix_frame`."""

HELIX_COVARIANCE = np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]) / 2
"""Covariance C of one example's gradient on the valley, in the rows of `helix_frame`."""


def helix_ring(radius: float = 4.0, winding: int = 4, theta0: ArrayLike | None = None, law: str = "normal") -> Problem:
    """The helix bent to a circle of minima: u = hypot(X, Y) - radius, v = W, z = winding * angle; weights X, Y, W.

    It starts at (radius, 0, 0). `winding` is a positive integer, so that the loss is smooth all the way round; the
    axis X = Y = 0 is left out. Source: diagrams.md section 5.
    """
    size, turns = _checks.number("radius", radius, above=0.0), _checks.integer("winding", winding)
    start = (size, 0.0, 0.0) if theta0 is None else theta0

    def loss(theta: Float[Array, "3"], x: Float[Array, "1"]) -> Float[Array, ""]:
        rho = jnp.sqrt(theta[0] ** 2 + theta[1] ** 2)
        step_cos, step_sin = theta[0] / rho, theta[1] / rho
        cos, sin = step_cos, step_sin
        for _ in range(turns - 1):
            cos, sin = cos * step_cos - sin * step_sin, sin * step_cos + cos * step_sin
        return _screw(rho - size, theta[2], cos, sin, x[0])

    return landscape(loss, vector("theta0", start, 3), law, 1, "helix-ring")


def helix_ring_rate(learning_rate: float, radius: float = 4.0, winding: int = 4, batch_size: int = 1) -> float:
    """Mean angle a step, winding * helix_velocity / radius^2 (simulation at eta = 0.05: the same to 0.1%)."""
    return winding * helix_velocity(learning_rate, batch_size) / radius**2


def ring_engine(twist: float = -1.0, noise: float = 0.5, theta0: ArrayLike = (1.0, 0.0), law: str = "signs") -> Problem:
    """l_x = (r^2 - 1)^2/8 + noise (a A + b B), A + iB = (X + iY) e^{i twist r^2/2}, x = (a, b); weights X, Y.

    A circle of minima r = 1 with mean hessian 1 across and 0 along. SGD turns on it: counterclockwise for twist < 0.

    >>> ring_engine(noise=1.0).loss(np.array([1.0, 0.0]), np.array([0.0, 1.0])).item()    # B = sin(-1/2)
    -0.479425
    """
    bend, scale = _checks.number("twist", twist), _checks.number("noise", noise, minimum=0.0)

    def loss(theta: Float[Array, "2"], x: Float[Array, "2"]) -> Float[Array, ""]:
        square = theta[0] ** 2 + theta[1] ** 2
        cos, sin = jnp.cos(bend * square / 2), jnp.sin(bend * square / 2)
        real, imaginary = theta[0] * cos - theta[1] * sin, theta[0] * sin + theta[1] * cos
        return (square - 1) ** 2 / 8 + scale * (x[0] * real + x[1] * imaginary)

    return landscape(loss, vector("theta0", theta0, 2), law, 2, "ring-engine")


def ring_engine_covariance(radius: float = 1.0, twist: float = -1.0, noise: float = 0.5) -> Float[np.ndarray, "2 2"]:
    """C in (radial, tangential) coordinates at distance r: noise^2 [[1 + twist^2 r^4, twist r^2], [twist r^2, 1]]."""
    cross = twist * radius**2
    return noise**2 * np.array([[1 + cross**2, cross], [cross, 1]])


def ring_engine_velocity(
    learning_rate: float, twist: float = -1.0, noise: float = 0.5, batch_size: int = 1
) -> Float[np.ndarray, "2"]:
    """Mean change a step along the circle, in (radial, tangential) coordinates: `ring_engine_rate` times the radius 1."""
    return np.array([0.0, ring_engine_rate(learning_rate, twist, noise, batch_size)])


def in_image_of_noise(velocity: ArrayLike, covariance: ArrayLike) -> Float[np.ndarray, "d"]:
    """The part of a velocity that lies in the image of the noise's covariance: C C^+ v, C^+ the pseudo-inverse.

    What is left of a drift along a valley for an account by which stationary currents lie in the image of the diffusion
    matrix. On the helix that is nothing, on the ring engine all.

    >>> in_image_of_noise([0.0, 0.0, 1.0], HELIX_COVARIANCE)
    array([0., 0., 0.])
    >>> in_image_of_noise([0.0, 1.0], ring_engine_covariance())
    array([0., 1.])

    Source: Chaudhari and Soatto 2018, "Stochastic gradient descent performs variational inference"; diagrams.md section 5.
    """
    matrix = np.asarray(covariance, dtype=float)
    along = matrix @ np.linalg.pinv(matrix, rcond=1e-12, hermitian=True) @ np.asarray(velocity, dtype=float)
    return along + 0.0  # -0.0 becomes 0.0


def ring_engine_rate(learning_rate: float, twist: float = -1.0, noise: float = 0.5, batch_size: int = 1) -> float:
    """Mean angle a step to leading order: -eta^2 noise^2 twist / B."""
    return -(learning_rate**2) * noise**2 * twist / batch_size


def _screw(u: Array, v: Array, cos: Array, sin: Array, x: Array) -> Array:
    """The helix' loss, cos z and sin z given: cos, sin of z - pi/4 are (cos + sin)/sqrt 2 and (sin - cos)/sqrt 2."""
    ridge = u * cos + v * sin
    kick = (u * (cos + sin) + v * (sin - cos)) / math.sqrt(2)
    return (u**2 + v**2 + ridge**2) / 2 + x * kick
