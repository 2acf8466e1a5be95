"""SGD with momentum as a diffusion: the noise of weights and velocity in one step, and what it gets wrong."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from gradnoise import _checks

FORMS = ("pytorch", "sutskever")


class HeavyBallVariance(NamedTuple):
    """Stationary variance of a weight in a quadratic, parameter^2; see `heavy_ball_variance`."""

    discrete: float
    """Of the recursion itself: exact."""
    diffusion: float
    """Of the diffusion with the recursion's drift and covariance, (40) and (41) with the sign put right."""
    leading_order: float
    """T D/(2 h (1 - mu)): the effective temperature T/(1 - mu)."""


def heavy_ball_variance(
    curvature: float, noise: float, learning_rate: float, batch_size: int, momentum: float
) -> HeavyBallVariance:
    """Stationary variance of v <- mu v + h theta + xi, theta <- theta - eta v, Var xi = D/B, and of its diffusion.

        discrete        (eta D/B) (1 + mu) / (h (1 - mu) (2 (1 + mu) - eta h))
        diffusion       (eta D/B) (1 + eta h) / (2 h (1 - mu + eta h))
        leading order   (eta D/B) / (2 h (1 - mu))

    h `curvature` (loss/parameter^2, weight decay included), D `noise` the variance of one example's gradient, injected
    noise included. The diffusion is right only for eta h << 1 - mu. Without momentum the diffusion of the weight alone
    gives the leading order, and the recursion (eta D/B)/(h (2 - eta h)).

    >>> heavy_ball_variance(curvature=1.3, noise=0.7, learning_rate=0.1, batch_size=4, momentum=0.9)
    HeavyBallVariance(discrete=0.06969, diffusion=0.03307, leading_order=0.06731)

    Raises ValueError for curvature, noise or learning_rate not positive, momentum outside [0, 1), and where the recursion
    diverges: learning_rate * curvature >= 2 (1 + momentum).

    Source: docs/theory/trajectories.md; Gomez-Uribe, "Studying Generalization Through Data Averaging", eqs (40), (41),
    corrected.
    """
    h, noise = _checks.number("curvature", curvature, above=0.0), _checks.number("noise", noise, above=0.0)
    rate, mu = (
        _checks.number("learning_rate", learning_rate, above=0.0),
        _checks.number("momentum", momentum, 0.0, below=1),
    )
    if rate * h >= 2 * (1 + mu):
        raise ValueError(
            f"learning_rate={rate:g} diverges at curvature={h:g} and momentum={mu:g}. Give one below {2 * (1 + mu) / h:g}."
        )
    kick = rate * noise / _checks.integer("batch_size", batch_size)
    return HeavyBallVariance(
        kick * (1 + mu) / (h * (1 - mu) * (2 * (1 + mu) - rate * h)),
        kick * (1 + rate * h) / (2 * h * (1 - mu + rate * h)),
        kick / (2 * h * (1 - mu)),
    )


def momentum_increment_covariance(
    noise: ArrayLike, learning_rate: float, batch_size: int, form: str = "pytorch"
) -> Float[np.ndarray, "2d 2d"]:
    """Covariance of the change (d theta, d v) in one step of SGD with momentum, given the state; for any momentum.

        pytorch      v <- mu v + g,        theta <- theta - eta v      [[eta, -1], [-1, 1/eta]] (x) T D
        sutskever    v <- mu v - eta g,    theta <- theta + v          [[1, 1], [1, 1]] (x) eta T D

    D: `noise`, (d, d), the covariance of one example's gradient (with injected noise, D + beta^2 I; without replacement
    times (N - B)/(N - 1)); T = eta/B. In PyTorch's form weights and velocity get opposite noise: as printed, with +1,
    theirs would be in step.

    >>> momentum_increment_covariance([[2.0]], learning_rate=0.5, batch_size=1).tolist()
    [[0.5, -1.0], [-1.0, 2.0]]

    Raises ValueError for noise that is no square matrix of finite numbers, learning_rate not positive, an unknown form.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eqs (41), (43), sign put right; (45), (46).
    """
    matrix = np.asarray(noise, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.all(np.isfinite(matrix)):
        raise ValueError(
            f"noise has shape {matrix.shape}, expected (d, d) of finite numbers. Give a covariance matrix."
        )
    rate = _checks.number("learning_rate", learning_rate, above=0.0)
    temperature = rate / _checks.integer("batch_size", batch_size)
    pytorch = _checks.one_of("form", form, FORMS) == "pytorch"
    blocks = np.array([[rate, -1.0], [-1.0, 1 / rate]]) if pytorch else np.full((2, 2), rate)
    return np.kron(blocks, temperature * matrix)
