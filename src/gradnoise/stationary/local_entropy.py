"""Local entropy: a loss smoothed so that wide minima gain on narrow ones.

Source: Chaudhari and Soatto 2018, on Entropy-SGD; docs/theory/potential.md.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from gradnoise import _checks

MOST_NODES = 2**16


class LocalEntropy(NamedTuple):
    """Local entropy and its derivative; see `local_entropy` and `quadratic_local_entropy`."""

    value: Any
    """f_gamma."""
    gradient: Any
    """(x - <y>)/gamma."""


def local_entropy(
    loss: Callable[[Any], Any], x: ArrayLike, scope: float, inner_inverse_temperature: float = 1.0
) -> LocalEntropy:
    """The loss of one weight, smoothed by a Gaussian in the exponent, and its derivative: by quadrature.

        f_gamma(x) = -(1/b) log int exp(-b [f(y) + (x - y)^2/(2 gamma)]) dy sqrt(b/(2 pi gamma))
        f_gamma'(x) = (x - <y>)/gamma,    y ~ exp(-b [f(y) + (x - y)^2/(2 gamma)])

    gamma = `scope`, in squared units of x over that of f; b = `inner_inverse_temperature` of the loop inside. The paper
    has b = 1 whatever the temperature 1/beta of the process outside, whose density is then exp(-beta f_gamma): two
    temperatures, and only for b = beta is it a smoothed exp(-beta f). Large b: the Moreau envelope, min
    over y of the bracket. `loss` takes an array of any length to as many values; x of any shape. The trapezoidal sum is
    refined until it no longer changes by 1e-11.

    >>> wells = lambda x: (x**2 - 1) ** 2 / 4
    >>> narrow, wide = (local_entropy(wells, [0.0, 1.0], scope).value for scope in (0.01, 1.0))
    >>> float(narrow[0] - narrow[1]), float(wide[0] - wide[1])      # the barrier becomes the minimum
    (0.235, -0.176)

    Raises ValueError for scope or inner_inverse_temperature <= 0, and if the integral does not converge (a loss that falls
    faster than (x - y)^2/(2 gamma) grows, or is not smooth).

    Source: Chaudhari and Soatto 2018, on Entropy-SGD; docs/theory/potential.md.
    """
    gamma = _checks.number("scope", scope, above=0.0)
    b = _checks.number("inner_inverse_temperature", inner_inverse_temperature, above=0.0)
    points = np.atleast_1d(np.asarray(x, dtype=np.float64))
    reach, previous = 8 * math.sqrt(gamma / b) + 1.0, None
    count = 128
    while count <= MOST_NODES:
        nodes = np.linspace(points.min() - reach, points.max() + reach, count + 1)
        energy = b * (np.asarray(loss(nodes)) + (points.ravel()[:, None] - nodes) ** 2 / (2 * gamma))
        if np.any(energy[:, [0, -1]].min(1) - energy.min(1) < 45):
            reach *= 2  # the ends still carry mass
        else:
            found = _sums(energy, nodes, points.ravel(), gamma, b)
            if previous is not None and np.max(np.abs(found - previous)) <= 1e-11 * (1 + np.max(np.abs(found))):
                value, gradient = found.reshape(2, *np.shape(x))
                return LocalEntropy(value, gradient)
            previous = found
        count *= 2
    raise ValueError(
        f"the integral over y does not converge for scope={gamma:g}. Give a smooth loss that does not fall faster than "
        "y^2/(2 scope), or a smaller scope."
    )


def quadratic_local_entropy(
    A: ArrayLike, x: ArrayLike, scope: float, inner_inverse_temperature: float = 1.0
) -> LocalEntropy:
    """Local entropy of f = x.Ax/2 in d dimensions, in closed form.

        f_gamma(x) = x.A (1 + gamma A)^-1 x/2 + log det(1 + gamma A)/(2 b)

    A symmetric (d, d), x (d,). Curvatures h become h/(1 + gamma h): wide directions stay, sharp ones are flattened to
    1/gamma and pay log(1 + gamma h)/2.

    >>> found = quadratic_local_entropy([[3.0]], [1.0], scope=1.0)
    >>> float(found.value), float(found.gradient[0])      # 3/8 + log(4)/2, 3/4
    (1.068147, 0.75)

    Raises ValueError unless 1 + gamma A is positive definite (the integral diverges) and A symmetric.

    Source: docs/theory/potential.md.
    """
    gamma = _checks.number("scope", scope, above=0.0)
    b = _checks.number("inner_inverse_temperature", inner_inverse_temperature, above=0.0)
    matrix, point = np.asarray(A, dtype=np.float64), np.asarray(x, dtype=np.float64)
    if matrix.shape != (point.size, point.size) or not np.allclose(matrix, matrix.T, rtol=1e-10):
        raise ValueError(
            f"A of shape {matrix.shape} does not do for x of shape {point.shape}. Give a symmetric (d, d)."
        )
    curvatures, directions = np.linalg.eigh(matrix)
    if curvatures[0] * gamma <= -1:
        raise ValueError(f"A has the eigenvalue {curvatures[0]:g}, expected above {-1 / gamma:g}. Use a smaller scope.")
    flattened = curvatures / (1 + gamma * curvatures)
    gradient = directions @ (flattened * (directions.T @ point))
    return LocalEntropy(point @ gradient / 2 + np.sum(np.log1p(gamma * curvatures)) / (2 * b), gradient)


def _sums(energy: np.ndarray, nodes: np.ndarray, points: np.ndarray, gamma: float, b: float) -> np.ndarray:
    """Value and gradient at all points, (2, n), by equal weights."""
    spacing = nodes[1] - nodes[0]
    logarithms = np.asarray(logsumexp(-energy, axis=1))
    weights = np.exp(-energy - logarithms[:, None])
    value = -(logarithms + math.log(spacing) + math.log(b / (2 * math.pi * gamma)) / 2) / b
    return np.stack([value, (points - weights @ nodes) / gamma])
