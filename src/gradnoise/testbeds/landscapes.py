"""Small landscapes with closed forms: skewed noise (gauss) and two wells."""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from gradnoise import _checks
from gradnoise.problem import Problem
from gradnoise.testbeds.laws import landscape, vector


def gauss(theta0: float = 0.0) -> Problem:
    """l_x(h) = (h + x^2 e^{-h})/2, x ~ N(0, 1): the log-variance of a Gaussian, whose gradient noise is skewed.

    Population loss (h + e^{-h})/2, least at h = 0. One weight, no pool.

    >>> gauss().loss(jnp.array([0.0]), jnp.array([2.0])).item()
    2.0

    Source: diagrams.md section 5.
    """

    def loss(theta: Float[Array, "1"], x: Float[Array, "1"]) -> Float[Array, ""]:
        return ((theta + x**2 * jnp.exp(-theta)) / 2).sum()

    return landscape(loss, vector("theta0", theta0, 1), "normal", 1, "gauss")


class GaussTensors(NamedTuple):
    """Derivative means and cumulants of `gauss` at its minimum: H, J, C, dC/dh, S = kappa(g,g,g) and kappa(g,h)."""

    hessian: float = 0.5
    third_derivative: float = -0.5
    covariance: float = 0.5
    covariance_slope: float = -1.0
    skewness: float = -1.0
    gradient_hessian: float = -0.5


def gauss_test_loss(learning_rate: float, num_steps: int) -> float:
    """1/2 + eta^2 T/8 - eta^3 [T(T-1)/16 + T/12] + o(eta^3): from h = 0, fresh examples, B = 1.

    >>> gauss_test_loss(learning_rate=0.1, num_steps=1)
    0.50117
    """
    t = num_steps
    return 0.5 + learning_rate**2 * t / 8 - learning_rate**3 * (t * (t - 1) / 16 + t / 12)


def gauss_sde_test_loss(learning_rate: float, num_steps: int) -> float:
    """1/2 + eta^2 T/8 - eta^3 T^2/16 + o(eta^3): the SDE d h = -l' ds + (eta C)^(1/2) dW from h = 0, B = 1, time eta T.

    SGD lies eta^3 T/48 below it: finite steps, +(T/2) C:HH = +T/16, less the skewness that the SDE lacks, (T/6) S:J =
    T/12. Gradient flow stays at 1/2.

    >>> gauss_sde_test_loss(0.1, 4) - gauss_test_loss(0.1, 4)       # 0.1^3 * 4/48
    8.33e-05

    Source: diagrams.md 4.2 and section 5.
    """
    return 0.5 + learning_rate**2 * num_steps / 8 - learning_rate**3 * num_steps**2 / 16


def double_well(noise: float = 1.0, theta0: ArrayLike = (1.0, 0.0), law: str = "normal") -> Problem:
    """l_x(theta) = Phi(theta) + noise x.theta, Phi = (theta_1^2 - 1)^2/4 + theta_2^2/2, x of mean 0 and covariance I.

    Two wells at (+-1, 0), a saddle of height 1/4 between them; C = noise^2 I everywhere. This is the gradient part
    only: the rotating force of the source's example is no gradient of a loss and stands in `testbeds.rotating_double_well`.

    >>> double_well().loss(jnp.array([0.0, 0.0]), jnp.array([1.0, 1.0])).item()
    0.25

    Source: Chaudhari and Soatto 2018, example 19 with lambda = 0; docs/theory/errata.md row 22.
    """
    scale = _checks.number("noise", noise, minimum=0.0)

    def loss(theta: Float[Array, "2"], x: Float[Array, "2"]) -> Float[Array, ""]:
        return (theta[0] ** 2 - 1) ** 2 / 4 + theta[1] ** 2 / 2 + scale * (x @ theta)

    return landscape(loss, vector("theta0", theta0, 2), law, 2, "double-well")


def double_well_inverse_temperature(learning_rate: float, batch_size: int, noise: float = 1.0) -> float:
    """2B/(eta noise^2): the SDE d theta = -grad Phi ds + sqrt(eta noise^2/B) dW has the density exp(-that Phi)/Z."""
    return 2 * batch_size / (learning_rate * noise**2)


class DoubleWellMoments(NamedTuple):
    """Of the density exp(-beta Phi)/Z: `normalization` Z, E theta_1^2, E theta_2^2."""

    normalization: float
    first_square: float
    second_square: float


def double_well_moments(inverse_temperature: float = 1.0) -> DoubleWellMoments:
    """Z and second moments of exp(-beta Phi)/Z, by quadrature in theta_1, exactly in theta_2.

    >>> double_well_moments(1.0)
    DoubleWellMoments(normalization=7.6234684, first_square=1.0417973, second_square=1.0)

    Source: Chaudhari and Soatto 2018, example 19; docs/theory/errata.md row 22.
    """
    beta = _checks.number("inverse_temperature", inverse_temperature, above=0.0)

    # The trapezoidal rule is exact to rounding for an analytic integrand that vanishes at both ends.
    x = np.linspace(-1, 1, 20_001) * (2 + 4 * beta**-0.25)
    weight = np.exp(-beta * (x**2 - 1) ** 2 / 4) * (x[1] - x[0])
    across = math.sqrt(2 * math.pi / beta)
    return DoubleWellMoments(float(weight.sum()) * across, float(x**2 @ weight / weight.sum()), 1 / beta)
