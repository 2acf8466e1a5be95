"""Linear gradients: the moments of SGD, SVAG, noisy gradient descent and the SDE in closed form, without Monte Carlo.

Losses l_n(x) = a_n x^2/2 - b_n x of one weight. A step is affine in x, x <- (1 - h alpha) x + h beta with random alpha and
beta, so E x^p of the next step is linear in E x^0, ..., E x^p of this one: the hierarchy closes at every order. The
processes differ only in the joint cumulants of (alpha, beta), with kappa those of (a_n, b_n) over the pool, k = i + j:

    sgd                     h = eta       kappa_ij / B^(k-1)
    svag(l)                 h = eta/l     (c1^k + c2^k) kappa_ij / B^(k-1),     c1, c2 = (1 +- sqrt(2l - 1))/2
    noisy_gd, m = 1; Euler-Maruyama of the SDE with m substeps
                            h = eta/m     kappa_ij (k = 1), m kappa_ij / B (k = 2), 0 (k > 2)

Every draw is from the pool with replacement: training_set="population". Results have shape (num_steps + 1, order + 1): row
t after t effective steps, column p is E x^p (column 0 is 1).

Source: docs/theory/weak_order.md; the set-up is that of Li, Malladi, Arora, "On the Validity of Modeling SGD with Stochastic
Differential Equations", theorem 4.3.
"""

from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.linalg import expm

from gradnoise import _checks
from gradnoise.problem import Problem, from_arrays
from gradnoise.testbeds.joint_cumulants import Table, cumulants_of, moments_of, pool_moments

SLOPES, SHIFTS, START = (0.2, 0.9, 1.6, 1.3), (0.5, -0.7, 1.4, 0.0), 1.5
Moments = Float[np.ndarray, "record order"]


def linear_gradients(slopes: ArrayLike = SLOPES, shifts: ArrayLike = SHIFTS, theta0: float = START) -> Problem:
    """l_n(x) = a_n x^2/2 - b_n x on one weight (shape ()), a pool with a_n = `slopes`, b_n = `shifts`.

    >>> problem = linear_gradients()
    >>> problem.num_pool, problem.loss(2.0, {"a": 1.6, "b": 1.4})
    (4, 0.4)

    Raises ValueError if the two are no lists of the same length.

    Source: docs/theory/weak_order.md.
    """
    a, b = _pairs(slopes, shifts)
    start = np.array(_checks.number("theta0", theta0))

    def loss(x: Any, example: Any) -> Any:
        return example["a"] * x**2 / 2 - example["b"] * x

    return from_arrays(loss, lambda key: start.copy(), {"a": a, "b": b}, "linear-gradients")


@dataclass(frozen=True, eq=False)
class LinearRun:
    """A run on `linear_gradients(slopes, shifts, start)`, and the highest power of x to follow.

    >>> float(LinearRun(learning_rate=0.4, num_steps=10).cumulants[1, 0])              # the mean slope
    1.0

    Raises TypeError or ValueError for numbers that do not do.
    """

    learning_rate: float
    num_steps: int
    batch_size: int = 1
    order: int = 4
    slopes: ArrayLike = SLOPES
    shifts: ArrayLike = SHIFTS
    start: float = START

    def __post_init__(self) -> None:
        _checks.number("learning_rate", self.learning_rate, above=0)
        _checks.number("start", self.start)
        _checks.integer("num_steps", self.num_steps)
        _checks.integer("batch_size", self.batch_size)
        _checks.integer("order", self.order)
        _pairs(self.slopes, self.shifts)

    @property
    def cumulants(self) -> Table:
        """kappa_ij of (a_n, b_n) over the pool, at least to second order."""
        a, b = _pairs(self.slopes, self.shifts)
        centred = cumulants_of(pool_moments(a - a.mean(), b - b.mean(), max(self.order, 2)))
        centred[1, 0], centred[0, 1] = a.mean(), b.mean()
        return centred


def sgd_moments(run: LinearRun) -> Moments:
    """E x_t^p of SGD with batches of B draws with replacement.

    >>> sgd_moments(LinearRun(learning_rate=0.4, num_steps=1, order=1))[1]        # 1.5 - 0.4 (1.0 * 1.5 - 0.3)
    array([1.  , 1.02])
    """
    return svag_moments(run, 1)


def svag_moments(run: LinearRun, l: int) -> Moments:
    """E x^p of SVAG(l) after t effective steps of l substeps each.

    >>> run = LinearRun(learning_rate=0.4, num_steps=10)
    >>> (abs(svag_moments(run, 128) - sde_moments(run))[-1, 1:] * 128).round(6)
    array([0.017565, 0.012799, 0.01187 , 0.011901])

    Raises ValueError for l below 1.

    Source: docs/theory/weak_order.md.
    """
    l = _checks.integer("l", l)
    root = (2 * l - 1) ** 0.5
    first, second = (1 + root) / 2, (1 - root) / 2
    powers = _total_orders(run)
    amplified = np.where(powers == 0, 0.0, first**powers + second**powers)
    return _affine_moments(run, amplified * run.cumulants / float(run.batch_size) ** np.maximum(powers - 1, 0), l)


def noisy_gd_moments(run: LinearRun) -> Moments:
    """E x_t^p of noisy gradient descent: Gaussian noise of SGD's covariance, step by step.

    >>> run = LinearRun(learning_rate=0.4, num_steps=3)
    >>> np.allclose(noisy_gd_moments(run)[:, :3], sgd_moments(run)[:, :3])      # means and squares are SGD's
    True
    """
    return sde_moments(run, num_substeps=1)


def sde_moments(run: LinearRun, num_substeps: int | None = None) -> Moments:
    """E X^p at times t eta of the SDE, exactly, or of its Euler-Maruyama scheme with `num_substeps` a step.

        d/dt m_p = -p abar m_p + p bbar m_{p-1} + (eta/2B) p(p-1) (s2 m_p + s1 m_{p-1} + s0 m_{p-2})

    abar, bbar the pool's means, s2 = Var a, s1 = -2 Cov(a, b), s0 = Var b; solved by the matrix exponential.

    >>> sde_moments(LinearRun(learning_rate=0.4, num_steps=10))[-1, 1:]
    array([0.32197877, 0.21587193, 0.13819901, 0.11885035])

    Raises ValueError for num_substeps below 1.

    Source: docs/theory/weak_order.md (where the first number is misprinted .32197867).
    """
    if num_substeps is not None:
        m = _checks.integer("num_substeps", num_substeps)
        powers = _total_orders(run)
        gaussian = np.where(powers == 1, 1.0, np.where(powers == 2, m / run.batch_size, 0.0))
        return _affine_moments(run, gaussian * run.cumulants, m)
    kappa, noise = run.cumulants, run.learning_rate / (2 * run.batch_size)
    rate = np.zeros((run.order + 1, run.order + 1))
    for p in range(1, run.order + 1):
        pairs = noise * p * (p - 1)
        rate[p, p] = -p * kappa[1, 0] + pairs * kappa[2, 0]
        rate[p, p - 1] = p * kappa[0, 1] - 2 * pairs * kappa[1, 1]
        if p > 1:
            rate[p, p - 2] = pairs * kappa[0, 2]
    return _repeated(run, expm(rate * run.learning_rate))


def _pairs(slopes: ArrayLike, shifts: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    pool = {"slopes": np.asarray(slopes, dtype=np.float64), "shifts": np.asarray(shifts, dtype=np.float64)}
    _checks.stacked_examples("pool", pool)
    if pool["slopes"].ndim != 1 or pool["shifts"].ndim != 1:
        raise ValueError("slopes and shifts are not both lists of numbers, expected one of each for every example.")
    return pool["slopes"], pool["shifts"]


def _total_orders(run: LinearRun) -> np.ndarray:
    """i + j at [i, j], in the shape of `run.cumulants`."""
    return np.add.outer(*[np.arange(max(run.order, 2) + 1)] * 2)


def _affine_moments(run: LinearRun, cumulants: Table, num_substeps: int) -> Moments:
    """Moments of x <- (1 - h alpha) x + h beta with these joint cumulants of (alpha, beta) in every substep.

    E x+^p = sum_k C(p, k) m_k h^(p-k) sum_i C(k, i) (-h)^i E alpha^i beta^(p-k)
    """
    h, joint = run.learning_rate / num_substeps, moments_of(cumulants)
    transfer = np.zeros((run.order + 1, run.order + 1))
    for p in range(run.order + 1):
        for k in range(p + 1):
            shrink = sum(comb(k, i) * (-h) ** i * joint[i, p - k] for i in range(k + 1))
            transfer[p, k] = comb(p, k) * h ** (p - k) * shrink
    return _repeated(run, np.linalg.matrix_power(transfer, num_substeps))


def _repeated(run: LinearRun, transfer: np.ndarray) -> Moments:
    """The start's powers and what `transfer` makes of them, step after step."""
    rows = [np.asarray(run.start, dtype=np.float64) ** np.arange(run.order + 1)]
    for _ in range(run.num_steps):
        rows.append(transfer @ rows[-1])
    return np.stack(rows)
