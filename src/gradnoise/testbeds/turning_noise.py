"""Two weights, a loss that is no quadratic and noise that depends on them and does not commute: it turns at every heat.

    f = x_1^2/2 + x_2^2 + x_1^2 x_2/2 + x_1^4/8,    noise gradients u', v' of    u = x_1 + log(cosh x_1)/2 + x_2/2, v = x_2

Example e = (e_1, e_2), of signs: l_e = f + strength (e_1 u + e_2 v), so that D = strength^2 (u' u'^T + v' v'^T) exactly.
The minimum is the origin. Functions take x of shape (2,) or (2, ...), as `solve_fokker_planck` offers it.
Source: ours, for Chaudhari and Soatto 2018, theorem 22; docs/theory/spectra.md.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from gradnoise import _checks
from gradnoise.problem import Problem, from_arrays

FORCE = np.diag([1.0, 2.0])
"""The hessian at the minimum."""
NOISE = np.array([[1.0, 0.5], [0.5, 1.25]])
"""D there at strength 1."""


def turning_noise(strength: float = 1.0) -> Problem:
    """The problem: four examples, one of each pair of signs; weights start at the minimum.

    >>> turning_noise().num_pool, float(turning_noise().loss(jnp.array([1.0, 0.0]), jnp.zeros(2)))
    (4, 0.625)
    """
    scale = _checks.number("strength", strength, minimum=0.0)

    def loss(x: jax.Array, signs: jax.Array) -> jax.Array:
        f = x[0] ** 2 / 2 + x[1] ** 2 + x[0] ** 2 * x[1] / 2 + x[0] ** 4 / 8
        log_cosh = jnp.logaddexp(x[0], -x[0]) - jnp.log(2.0)
        return f + scale * (signs[0] * (x[0] + log_cosh / 2 + x[1] / 2) + signs[1] * x[1])

    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=2)))
    return from_arrays(loss, lambda key: jnp.zeros(2), signs, "turning-noise")


def drift(x: ArrayLike) -> Float[np.ndarray, "2 ..."]:
    """-grad f.

    >>> drift([1.0, 1.0])
    array([-2.5, -2.5])
    """
    first, second = np.asarray(x, dtype=float)
    return -np.stack([first + first * second + first**3 / 2, 2 * second + first**2 / 2])


def diffusion(x: ArrayLike) -> Float[np.ndarray, "2 2 ..."]:
    """D at strength 1.

    >>> diffusion([0.0, 3.0])
    array([[1. , 0.5 ],
           [0.5 , 1.25]])
    """
    slope = 1 + np.tanh(np.asarray(x, dtype=float)[0]) / 2
    return np.array([[slope**2, slope / 2], [slope / 2, 1.25 + 0 * slope]])


def third_derivatives() -> Float[np.ndarray, "2 2 2"]:
    """f'''_ijk at the minimum: 1 where two indices are the first weight and one the second."""
    counts = np.indices((2, 2, 2)).sum(axis=0)
    return (counts == 1).astype(float)


def noise_slope() -> Float[np.ndarray, "2 2 2"]:
    """d D_ij/d x_l at the minimum and strength 1."""
    slope = np.zeros((2, 2, 2))
    slope[:, :, 0] = [[1.0, 0.25], [0.25, 0.0]]
    return slope
