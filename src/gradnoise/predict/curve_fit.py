"""Curves that go on where a power series ends: the autonomous equation with the same first derivatives."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _checks
from gradnoise.diagrams.filters import read_filter
from gradnoise.estimate import Estimate, linear_combination
from gradnoise.measure import DiagramValues
from gradnoise.predict.series import check_series, weights_by_step
from gradnoise.spacetime import Spacetime

MAX_ORDER = 3


@dataclass(frozen=True, eq=False)
class CurveFit:
    """y' = c y^2 + b y + a through given derivatives at t = 0, as four numbers; see `fit_curve`.

    `start` y0, `slope` y'(0), `bend` w = y''/y' (0 at order 1), `discriminant` b^2 - 4 a c. `blow_up`: the first t > 0
    at which the solution is infinite, or inf. `limit`: its value as t -> inf, NaN where it blows up or has none.
    """

    coefficients: Estimate

    @property
    def order(self) -> int:
        """How many derivatives it goes through: 1 a line, 2 an exponential, 3 a logistic or tangent curve."""
        return np.size(self.coefficients.value) - 1

    @property
    def start(self) -> float:
        return float(np.asarray(self.coefficients.value)[0])

    @property
    def slope(self) -> float:
        return float(np.asarray(self.coefficients.value)[1])

    @property
    def bend(self) -> float:
        return float(_shape(np.asarray(self.coefficients.value))[0])

    @property
    def discriminant(self) -> float:
        return float(_shape(np.asarray(self.coefficients.value))[1])

    @property
    def blow_up(self) -> float:
        w, delta = self.bend, self.discriminant
        root = math.sqrt(abs(delta))
        if delta < 0:
            return 2 / root * math.atan2(root, w)
        if w <= root:
            return math.inf
        return 2 / root * math.atanh(root / w) if root > 0 else 2 / w

    @property
    def limit(self) -> float:
        if self.discriminant < 0 or self.bend >= math.sqrt(self.discriminant):
            return math.nan
        return self.start + 2 * self.slope / (math.sqrt(self.discriminant) - self.bend)

    def __call__(self, t: Any) -> Estimate:
        """y at t >= 0 (any shape), NaN from the blow-up on; errors to first order in those of the coefficients."""
        times = np.asarray(t, dtype=np.float64)
        if times.size == 0 or not np.all(np.isfinite(times)) or np.any(times < 0):
            raise ValueError(f"t={t!r} was given, expected finite numbers of at least 0. Leave the others out.")
        coefficients = np.asarray(self.coefficients.value)
        flat = times.ravel()
        with jax.enable_x64(True):
            value, change = map(np.asarray, _solutions(coefficients, flat))
        error = np.asarray(linear_combination(change, self.coefficients).stderr)
        is_there = flat < self.blow_up
        value, error = (np.where(is_there, each, np.nan).reshape(times.shape) for each in (value, error))
        return Estimate(value, error, self.coefficients.num_samples)


def fit_curve(coefficients: Estimate) -> CurveFit:
    """The solution of an autonomous equation that has the given Taylor coefficients at t = 0.

        order 1: y' = a      order 2: y' = b y + a      order 3: y' = c y^2 + b y + a

        y(t) = y0 + 2 y' s / (1 - w s),   s = tanh(r t/2) / r,   r^2 = 3 w^2 - 2 y'''/y'   (order 2: w^2, order 1: 0)

    one formula for all three, w = y''/y' (s = t/2 at r = 0, a tangent where r^2 < 0). `coefficients`, shape (order + 1,)
    with covariance, are those of t^k, that is y^(k)/k!: of `series_coefficients`, `ode_coefficients` or any others.

    >>> fit = fit_curve(Estimate(np.array([1.0, -1.0, 0.5]), np.zeros(3), 1, np.zeros((3, 3))))       # exp(-t)
    >>> float(fit(2.0).value), fit.limit, fit.blow_up
    (0.1353, 0.0, inf)

    Raises ValueError for an order outside 1..3 or y'(0) = 0, TypeError for other coefficients.

    Source: diagrams.md section 8 (Tenka's draft 1, appendix F, corrected).
    """
    if not isinstance(coefficients, Estimate):
        raise TypeError(
            f"coefficients is {type(coefficients).__name__}, expected an Estimate. Give series_coefficients(...), say."
        )
    value = np.asarray(coefficients.value)
    if value.ndim != 1 or not 2 <= value.size <= MAX_ORDER + 1 or not np.all(np.isfinite(value)):
        raise ValueError(
            f"coefficients has shape {value.shape}, expected 2 to {MAX_ORDER + 1} finite numbers: the order-0 value and "
            f"those of t, t^2, t^3. Cut it: coefficients[:{MAX_ORDER + 1}]."
        )
    if value[1] == 0:
        raise ValueError("The coefficient of t is 0: an autonomous equation then stands still. Start where it is not.")
    return CurveFit(coefficients)


def extended_curve(
    values: DiagramValues,
    spacetime: Spacetime,
    learning_rate: float,
    target: str = "test",
    order: int | None = None,
    momentum: float = 0.0,
    nesterov: bool = False,
) -> Estimate:
    """The predicted loss at every step, finite past the radius of the series: `fit_curve` in the learning rate.

    At step t the coefficients of learning_rate^k are those of the spacetime cut after t updates; the fitted curve
    through them is read at `learning_rate`. Shape (num_steps + 1,); NaN where that curve has blown up. Through `order`
    (default: the values', at most 3) it agrees with `predict_curve` to the next power of the learning rate.

    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float64(0.0), np.array([1.0, 1.0]))
    >>> values = gn.diagram_values(problem, 0.0, max_order=3)
    >>> float(extended_curve(values, gn.Spacetime(8, 1), learning_rate=0.3).value[-1])          # descent: 0.7^16 / 2 = 0.002
    -0.0122

    Raises as `predict_curve`; ValueError for an order outside 1..3 or beyond the values', and where the coefficient of
    the learning rate is 0.

    Source: diagrams.md section 8: "fit in eta at fixed grid".
    """
    check_series(values, spacetime, target)
    most = min(values.max_order, MAX_ORDER)
    top = most if order is None else _checks.integer("order", order, minimum=1)
    if not 1 <= top <= most:
        raise ValueError(f"order={top} is out of range, expected 1 to {MAX_ORDER}, of values through it. Measure more.")
    rate = _checks.number("learning_rate", learning_rate, minimum=0)
    optimizer = read_filter(spacetime.num_steps, momentum, nesterov)
    start, *later = weights_by_step(values, spacetime, target, optimizer)[:, : top + 1]
    found = [linear_combination(start[:1], values.table)[0]]
    found += [fit_curve(linear_combination(weights, values.table))(rate) for weights in later]
    value, stderr = (np.array([getattr(each, name) for each in found]) for name in ("value", "stderr"))
    return Estimate(value, stderr, values.table.num_samples)


def _shape(coefficients: Any) -> tuple[Any, Any]:
    """(w, b^2 - 4 a c) from the Taylor coefficients: y'' = 2 c_2, y''' = 6 c_3."""
    if len(coefficients) == 2:
        return 0.0 * coefficients[1], 0.0 * coefficients[1]
    w = 2 * coefficients[2] / coefficients[1]
    if len(coefficients) == 3:
        return w, w**2
    return w, 3 * w**2 - 12 * coefficients[3] / coefficients[1]


@jax.jit
def _solutions(coefficients: Any, times: Any) -> tuple[jax.Array, jax.Array]:
    """y at each time, and its derivatives in the coefficients."""
    every = lambda function: jax.vmap(function, (None, 0))(coefficients, times)  # noqa: E731
    return every(_solution), every(jax.jacfwd(_solution))


def _solution(coefficients: Any, t: Any) -> jax.Array:
    """y0 + y' t S / (C - (w t/2) S), S = sinh(x)/x, C = cosh(x), x^2 = Delta t^2/4: entire in x^2.

    Past x^2 = 1 both are divided by exp(x), near 0 they are series.
    """
    w, delta = _shape(coefficients)
    square = delta * t**2 / 4
    is_small, is_large = jnp.abs(square) < 1e-3, square > 1
    angle = jnp.sqrt(jnp.where(square < -1e-3, -square, 1.0))
    middle = jnp.sqrt(jnp.where(is_small | is_large | (square < 0), 1.0, square))
    sine = jnp.where(square < 0, jnp.sin(angle) / angle, jnp.sinh(middle) / middle)
    cosine = jnp.where(square < 0, jnp.cos(angle), jnp.cosh(middle))
    sine = jnp.where(is_small, 1 + square / 6 + square**2 / 120 + square**3 / 5040, sine)
    cosine = jnp.where(is_small, 1 + square / 2 + square**2 / 24 + square**3 / 720, cosine)
    large_sine, large_denominator = _large(w, delta, jnp.where(is_large, t, 1.0), jnp.where(is_large, square, 1.0))
    sine, denominator = jnp.where(is_large, large_sine, sine), cosine - w * t / 2 * sine
    return coefficients[0] + coefficients[1] * t * sine / jnp.where(is_large, large_denominator, denominator)


def _large(w: Any, delta: Any, t: Any, square: Any) -> tuple[jax.Array, jax.Array]:
    """S and C - (w t/2) S over exp(x): [(1 - q) + (1 + q) exp(-2x)]/2, q = w t/(2x), without cancellation near q = 1."""
    x = jnp.sqrt(square)
    q, left = w * t / (2 * x), jnp.exp(-2 * x)
    rising = jnp.where(w > 0, q, 0.0)
    one_less = jnp.where(w > 0, (delta - w**2) * t**2 / (4 * square) / (1 + rising), 1 - q)
    return (1 - left) / (2 * x), (one_less + (1 + q) * left) / 2
