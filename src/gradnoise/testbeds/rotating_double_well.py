"""Two wells with a rotating force: a stationary density that is known although probability flows for ever.

    dx = drift dt + sqrt(2) dW,    drift = -grad Phi + j,    rho = e^-Phi / Z    for every strength of rotation
    Phi = (x_1^2 - 1)^2/4 + x_2^2/2,    j = e^Phi J,    J = rotation e^{-r^4/4} (-x_2, x_1)

div J = 0, hence the density. The force is no gradient, so no loss has it: `double_well` is the problem without rotation.
Functions take x of shape (2,) or (2, ...), as `solve_fokker_planck` offers it.
Source: Chaudhari and Soatto 2018, example 19 (its lambda is `rotation` here); docs/theory/errata_variational.md.
"""

import math

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from gradnoise import _checks

Points = Float[np.ndarray, "2 ..."]

NORMALIZATION = 7.623468444677566
"""Z, the integral of e^-Phi; `double_well_moments(1.0)` computes it."""

SADDLE_ROTATION = math.exp(-0.25)
"""The rotation from which on the drift has no other zero than the origin, a centre to first order."""


def potential(x: ArrayLike) -> np.ndarray:
    """Phi = (x_1^2 - 1)^2/4 + x_2^2/2.

    >>> potential([0.0, 0.0]).item()
    0.25
    """
    first, second = _split(x)
    return (first**2 - 1) ** 2 / 4 + second**2 / 2


def circulating_force(x: ArrayLike, rotation: float) -> Points:
    """j = rotation e^{Phi - r^4/4} (-x_2, x_1): bounded, its flow lines are circles; j rho is free of divergence.

    >>> circulating_force([1.0, 0.0], rotation=1.0)       # e^{-1/4}
    array([0. , 0.7788008])
    """
    first, second = _split(x)
    speed = angular_speed(x, rotation)
    return np.stack([-speed * second, speed * first])


def angular_speed(x: ArrayLike, rotation: float) -> np.ndarray:
    """rotation e^{Phi - r^4/4} = rotation exp((1 - 2 x_1^2 - 2 x_1^2 x_2^2 - x_2^4 + 2 x_2^2)/4), which cannot overflow.

    >>> angular_speed([0.0, 0.0], rotation=1.0).item()       # e^{1/4}
    1.284025
    """
    first, second = np.square(_split(x))
    return rotation * np.exp((1 - 2 * first - 2 * first * second - second**2 + 2 * second) / 4)


def drift(x: ArrayLike, rotation: float) -> Points:
    """-grad Phi + j.

    >>> drift([1.0, 0.0], rotation=1.0)
    array([0. , 0.7788008])
    """
    first, second = _split(x)
    return np.stack([first - first**3, -second]) + circulating_force(x, rotation)


def density(x: ArrayLike) -> np.ndarray:
    """e^-Phi / Z, the stationary density for every rotation.

    >>> density([1.0, 0.0]).item()
    0.1311739
    """
    return np.exp(-potential(x)) / NORMALIZATION


def current(x: ArrayLike, rotation: float) -> Points:
    """J/Z = rotation e^{-r^4/4} (-x_2, x_1)/Z, the stationary probability current.

    >>> current([1.0, 0.0], rotation=0.5)[1].item()
    0.0510792
    """
    first, second = _split(x)
    strength = rotation * np.exp(-((first**2 + second**2) ** 2) / 4) / NORMALIZATION
    return np.stack([-strength * second, strength * first])


def angular_rate(rotation: float) -> float:
    """E[x_1 dx_2 - x_2 dx_1]/dt = 2 pi rotation/Z: twice the area swept a unit of time.

    >>> angular_rate(0.5)
    0.4120949
    """
    return 2 * math.pi * rotation / NORMALIZATION


def jacobian(x: ArrayLike, rotation: float) -> Float[np.ndarray, "2 2 ..."]:
    """d drift_i/d x_j; at the origin its eigenvalues are +-sqrt(1 - rotation^2 e^{1/2}).

    >>> jacobian([0.0, 0.0], rotation=1.0)
    array([[ 1. , -1.284025],
           [ 1.284025, -1. ]])
    """
    first, second = _split(x)
    speed = angular_speed(x, rotation)
    by_first = -first * (1 + second**2) * speed
    by_second = second * (1 - first**2 - second**2) * speed
    return np.array(
        [
            [1 - 3 * first**2 - second * by_first, -speed - second * by_second],
            [speed + first * by_first, -1 + first * by_second],
        ]
    )


def zeros(rotation: float) -> Float[np.ndarray, "n 2"]:
    """Where the drift vanishes: the origin, and for rotation < e^{-1/4} two stable points +-x, x_1 > 0.

    With u = x_1^2 they have x_2 = x_1 sqrt(1 - u), and 1 - u = speed^2 on that curve.

    >>> zeros(0.5)
    array([[ 0. , 0. ],
           [ 0.902428, 0.388802],
           [-0.902428, -0.388802]])

    Raises ValueError for rotation < 0.
    """
    strength = _checks.number("rotation", rotation, minimum=0.0)
    if strength >= SADDLE_ROTATION:
        return np.zeros((1, 2))
    low, high = 0.0, 1.0
    for _ in range(60):  # bisection: 1 - u falls below speed^2 once
        middle = (low + high) / 2
        before = 1 - middle > float(angular_speed(_on_curve(middle), strength)) ** 2
        low, high = (middle, high) if before else (low, middle)
    return np.array([np.zeros(2), _on_curve(high), -_on_curve(high)])


def _on_curve(u: float) -> np.ndarray:
    return math.sqrt(u) * np.array([1.0, math.sqrt(1 - u)])


def _split(x: ArrayLike) -> np.ndarray:
    """x as an array of two rows."""
    array = np.asarray(x, dtype=np.float64)
    if array.ndim < 1 or len(array) != 2:
        raise ValueError(f"x has shape {array.shape}, expected (2,) or (2, ...). Give both coordinates, axis first.")
    return array
