"""Mean estimation: a fixed quadratic with additive noise, where every formula of the resummation is exact.

The closed forms, for a noise of any law with independent rows, take per weight i: `hessian` h_i, `covariance` C_ii;
with eta the learning rate, k_i = 1 - eta h_i, N = num_examples, B = batch_size, tau = N/B columns an epoch and T steps.
"overfit" is E test - l(theta*) from a start at the minimum; from elsewhere add `descent`. Sums run over the weights.

Source: diagrams.md section 3 ("Overfitting", "Gap"), section 2.5 for redrawn batches, section 5 for the landscape.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from gradnoise import _checks
from gradnoise.problem import Problem
from gradnoise.testbeds.laws import landscape, vector


def mean_estimation(
    hessian: ArrayLike = 1.0, noise: ArrayLike = 1.0, theta0: ArrayLike = 0.5, law: str = "signs"
) -> Problem:
    """l_x = sum_i (h_i/2) theta_i^2 + x_i s_i theta_i with E x = 0, E x^2 = 1, so that C = diag(s^2).

    The number of weights is that of `hessian`, `noise` or `theta0`, whichever are vectors. `law` is "signs" (x = +-1,
    a pool) or "normal".

    >>> problem = mean_estimation(hessian=3.0, theta0=1 / 3)
    >>> problem.num_pool, problem.loss(np.array([1.0]), np.array([-1.0])).item()
    (2, 0.5)

    Source: diagrams.md section 5.
    """
    length = max(np.size(hessian), np.size(noise), np.size(theta0))
    h, s = vector("hessian", hessian, length), vector("noise", noise, length)

    def loss(theta: Any, x: Any) -> Any:
        theta = jnp.asarray(theta)
        return (theta * (theta * h.astype(theta.dtype) / 2 + x * s.astype(theta.dtype))).sum()

    return landscape(loss, vector("theta0", theta0, length), law, length, "mean-estimation")


def descent(hessian: ArrayLike, theta0: ArrayLike, learning_rate: float, num_steps: int) -> float:
    """Loss left of the noiseless descent: sum_i (h_i/2) k_i^{2T} theta0_i^2."""
    h, k = _h_and_k(hessian, learning_rate)
    return float(np.sum(h / 2 * k ** (2 * num_steps) * np.square(theta0)))


def overfit_one_epoch(
    hessian: ArrayLike, covariance: ArrayLike, learning_rate: float, batch_size: int, num_steps: int
) -> float:
    """sum_i (eta C_ii/(2B)) (1 - k_i^{2T})/(2 - eta h_i), for E = 1 (and for N = infinity).

    >>> overfit_one_epoch(1.0, 1.0, learning_rate=1.0, batch_size=1, num_steps=1)    # theta = -x, so l = 1/2
    0.5
    """
    h, k = _h_and_k(hessian, learning_rate)
    terms = learning_rate * np.asarray(covariance) / (2 * batch_size) / (2 - learning_rate * h)
    return float(np.sum(terms * (1 - k ** (2 * num_steps))))


def overfit_cyclic(
    hessian: ArrayLike, covariance: ArrayLike, learning_rate: float, batch_size: int, num_examples: int, epochs: int
) -> float:
    """sum_i (eta C_ii/(2B)) (1-k^{2 tau})/(2-eta h) [(1-k^{tau E})/(1-k^tau)]^2: E epochs in one fixed order."""
    h, k = _h_and_k(hessian, learning_rate)
    columns = _columns(num_examples, batch_size)
    one = learning_rate * np.asarray(covariance) / (2 * batch_size) * (1 - k ** (2 * columns)) / (2 - learning_rate * h)
    return float(np.sum(one * _geometric(k**columns, epochs) ** 2))


def overfit_full_batch(
    hessian: ArrayLike, covariance: ArrayLike, learning_rate: float, num_examples: int, num_steps: int
) -> float:
    """sum_i (C_ii/(2N h_i)) (1 - k_i^T)^2: gradient descent on the training set (B = N)."""
    h, k = _h_and_k(hessian, learning_rate)
    travelled = learning_rate * _geometric(k, num_steps)
    return float(np.sum(h * np.asarray(covariance) / (2 * num_examples) * travelled**2))


def overfit_reshuffled(
    hessian: ArrayLike, covariance: ArrayLike, learning_rate: float, batch_size: int, num_examples: int, epochs: int
) -> float:
    """sum_i (eta^2 h C_ii N/(2B^2)) [sum_e s2 k^{2 tau e} + sum_{e != f} m^2 k^{tau(e+f)}]: a fresh order each epoch.

    m = (1-k^tau)/(tau(1-k)) and s2 = (1-k^{2 tau})/(tau(1-k^2)) are the mean of k^s and k^{2s} over a row's place s.
    """
    h, k = _h_and_k(hessian, learning_rate)
    columns = _columns(num_examples, batch_size)
    m, s2 = _geometric(k, columns) / columns, _geometric(k**2, columns) / columns
    same = _geometric(k ** (2 * columns), epochs)
    different = _geometric(k**columns, epochs) ** 2 - same
    kick = learning_rate**2 * h * np.asarray(covariance) * num_examples / (2 * batch_size**2)
    return float(np.sum(kick * (s2 * same + m**2 * different)))


def overfit_redrawn(
    hessian: ArrayLike,
    covariance: ArrayLike,
    learning_rate: float,
    batch_size: int,
    num_examples: int,
    num_steps: int,
    replacement: bool,
) -> float:
    """sum_i (eta^2 h C_ii/2) [a sum_t k^{2t} + (1/N) sum_{t != t'} k^{t+t'}]: batches drawn anew each step.

    a = 1/B + (1-1/B)/N for draws with replacement, 1/B for subsets (diagrams.md 2.5).
    """
    h, k = _h_and_k(hessian, learning_rate)
    a = 1 / batch_size + (1 - 1 / batch_size) / num_examples * replacement
    same = _geometric(k**2, num_steps)
    different = _geometric(k, num_steps) ** 2 - same
    kick = learning_rate**2 * h * np.asarray(covariance) / 2
    return float(np.sum(kick * (a * same + different / num_examples)))


def overfit_cyclic_limit(
    hessian: ArrayLike, covariance: ArrayLike, learning_rate: float, batch_size: int, num_examples: int
) -> float:
    """T -> infinity, fixed order: sum_i (eta C_ii/(2B)) (1+k^tau)/((1-k^tau)(2-eta h)), for 0 < eta h_i < 2."""
    h, k = _h_and_k(hessian, learning_rate)
    cycle = k ** _columns(num_examples, batch_size)
    factor = learning_rate * np.asarray(covariance) / (2 * batch_size) / (2 - learning_rate * h)
    return float(np.sum(factor * (1 + cycle) / (1 - cycle)))


def overfit_reshuffled_limit(
    hessian: ArrayLike, covariance: ArrayLike, learning_rate: float, batch_size: int, num_examples: int
) -> float:
    """T -> infinity, reshuffled: sum_i eta C_ii/(2B(2-eta h)) + (C_ii/(N h)) k^tau/(1+k^tau), for 0 < eta h_i < 2."""
    h, k = _h_and_k(hessian, learning_rate)
    cycle = k ** _columns(num_examples, batch_size)
    noise = learning_rate * np.asarray(covariance) / (2 * batch_size) / (2 - learning_rate * h)
    return float(np.sum(noise + np.asarray(covariance) / (num_examples * h) * cycle / (1 + cycle)))


def gap(hessian: ArrayLike, covariance: ArrayLike, learning_rate: float, num_examples: int, num_steps: int) -> float:
    """(1/N) sum_i C_ii (1 - (1-eta h_i)^T)/h_i: test minus train, for any batch size, sampling and start.

    At h = 0 it is eta T C/N.
    """
    _, k = _h_and_k(hessian, learning_rate)
    return float(np.sum(np.asarray(covariance) * learning_rate * _geometric(k, num_steps)) / num_examples)


def _h_and_k(hessian: ArrayLike, learning_rate: float) -> tuple[np.ndarray, np.ndarray]:
    h = np.asarray(hessian, dtype=np.float64)
    return h, 1 - learning_rate * h


def _columns(num_examples: int, batch_size: int) -> int:
    columns, rest = divmod(_checks.integer("num_examples", num_examples), _checks.integer("batch_size", batch_size))
    if rest:
        raise ValueError(f"batch_size={batch_size} does not divide num_examples={num_examples}. Use a divisor.")
    return columns


def _geometric(ratio: np.ndarray, terms: int) -> np.ndarray:
    """1 + ratio + ... with so many terms; `terms` at ratio 1."""
    one = ratio == 1
    return np.where(one, terms, (1 - ratio**terms) / np.where(one, 1, 1 - ratio))
