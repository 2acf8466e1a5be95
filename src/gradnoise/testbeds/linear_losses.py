"""Linear losses gamma x: what scaling learning rate and batch together keeps, in cumulants of every order.

The gradient gamma does not depend on x, so a run is a sum of independent steps and the cumulants of x add. With kappa_k
the k-th cumulant of gamma over the pool and mu_k its k-th central moment, after the time t = K eta (K steps):

    sgd                 t (-1)^k (eta/B)^(k-1) kappa_k
    svag(l)             the same times (c1^k + c2^k) / l^(k-1),       c1, c2 = (1 +- sqrt(2l - 1))/2
    sde, noisy_gd       the same for k = 1, 2, and 0 above
    levy                t (-1)^k (eta/B)^(k-1) mu_k     (k > 1)

SGD's depend on eta/B alone: kappa steps (eta, B) have the law of one step (kappa eta, kappa B), for every kappa, and the
curves of a linear scaling coincide at all learning rates. The SDE's coincide too, but are another law: no third cumulant.
`levy` shares SGD's cumulants through the third (kappa_4 = mu_4 - 3 mu_2^2). At whole B nothing changes along a linear
scaling, so SGD does not tend to it; SGD thinned below one example a step, `thinned_cumulants`, does as B goes to zero.

All results have shape (order + 1,), entry k the k-th cumulant of x_K - x_0 (entry 0 is 0).

Source: docs/theory/weak_order.md, for the example B.1 that Li, Malladi, Arora, "On the Validity of Modeling SGD with
Stochastic Differential Equations", name; docs/theory/processes.md for `levy`.
"""

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from gradnoise import _checks
from gradnoise.problem import Problem, from_arrays
from gradnoise.testbeds.joint_cumulants import cumulants_of

Cumulants = Float[np.ndarray, " order"]


def linear_losses(gradients: ArrayLike, theta0: float = 0.0) -> Problem:
    """l_gamma(x) = gamma x on one weight (shape ()), gamma uniform among `gradients`.

    >>> linear_losses([1.0, -1.0]).loss(2.0, -1.0)
    -2.0

    Raises ValueError if `gradients` is no list of finite numbers.

    Source: docs/theory/weak_order.md.
    """
    pool, start = _gradients(gradients), np.array(_checks.number("theta0", theta0))

    def loss(x: Any, gamma: Any) -> Any:
        return gamma * x

    return from_arrays(loss, lambda key: start.copy(), pool, "linear losses")


def gradient_cumulants(gradients: ArrayLike, order: int = 6) -> Cumulants:
    """kappa_k of a gradient drawn from the pool.

    >>> gradient_cumulants([0.0, 0.0, 0.0, 1.0], order=3)
    array([0.     , 0.25   , 0.1875 , 0.09375])
    """
    gamma = _gradients(gradients)
    kappa = _cumulants(_powers(gamma - gamma.mean(), _checks.integer("order", order)))
    kappa[1] = gamma.mean()
    return kappa


def sgd_cumulants(
    gradients: ArrayLike, learning_rate: float, num_steps: int, batch_size: int = 1, order: int = 6
) -> Cumulants:
    """Of x_K - x_0 after K steps of SGD, batches of B draws with replacement: K (-eta)^k kappa_k / B^(k-1).

    >>> sgd_cumulants([0.0, 0.0, 0.0, 1.0], learning_rate=0.1, num_steps=8, order=3)
    array([ 0.     , -0.2    ,  0.015  , -0.00075])
    """
    return svag_cumulants(gradients, 1, learning_rate, num_steps, batch_size, order)


def svag_cumulants(
    gradients: ArrayLike, l: int, learning_rate: float, num_steps: int, batch_size: int = 1, order: int = 6
) -> Cumulants:
    """Of SVAG(l): K l (-eta/l)^k (c1^k + c2^k) kappa_k / B^(k-1); the third falls as (3l - 1)/(2 l^2).

    >>> svag_cumulants([0.0, 0.0, 0.0, 1.0], 2, learning_rate=0.1, num_steps=8, order=3)
    array([ 0.        , -0.2       ,  0.015     , -0.00046875])
    """
    l, batch = _checks.integer("l", l), _checks.integer("batch_size", batch_size)
    k, root = np.arange(_checks.integer("order", order) + 1), (2 * l - 1) ** 0.5
    weights = ((1 + root) / 2) ** k + ((1 - root) / 2) ** k
    time = _time(learning_rate, num_steps)
    scale = (learning_rate / (l * batch)) ** np.maximum(k - 1, 0)
    return time * (-1.0) ** k * scale * weights * gradient_cumulants(gradients, order)


def sde_cumulants(
    gradients: ArrayLike, learning_rate: float, num_steps: int, batch_size: int = 1, order: int = 6
) -> Cumulants:
    """Of the SDE and of noisy gradient descent, which agree here: SGD's mean and variance, and nothing above.

    >>> sde_cumulants([0.0, 0.0, 0.0, 1.0], learning_rate=0.1, num_steps=8, order=3)
    array([ 0.   , -0.2  ,  0.015,  0.   ])
    """
    same = sgd_cumulants(gradients, learning_rate, num_steps, batch_size, order)
    return np.where(np.arange(order + 1) <= 2, same, 0.0)


def levy_cumulants(
    gradients: ArrayLike, learning_rate: float, num_steps: int, batch_size: float = 1, order: int = 6
) -> Cumulants:
    """Of the compensated compound Poisson process `levy`: t (-1)^k (eta/B)^(k-1) E (gamma - mean)^k, the mean SGD's.

    Through the third these are SGD's; the fourth is larger by 3 t (eta/B)^3 (Var gamma)^2.

    >>> levy_cumulants([-1.0, 1.0], learning_rate=1.0, num_steps=1, order=4)           # SGD: fourth cumulant -2
    array([ 0., -0.,  1., -0.,  1.])

    Source: docs/theory/processes.md.
    """
    gamma = _gradients(gradients)
    batch = _checks.number("batch_size", batch_size, above=0)
    k = np.arange(_checks.integer("order", order) + 1)
    rates = _powers(gamma - gamma.mean(), order)
    rates[0], rates[1] = 0.0, gamma.mean()
    return _time(learning_rate, num_steps) * (-1.0) ** k * (learning_rate / batch) ** np.maximum(k - 1, 0) * rates


def thinned_cumulants(
    gradients: ArrayLike, learning_rate: float, num_steps: int, batch_size: float, order: int = 6
) -> Cumulants:
    """Of SGD with less than one example a step: with the chance B <= 1 a step draws one, and moves by

        -eta gbar - (eta/B) xi (gamma - gbar),   xi = 1 with the chance B, else 0

    B = 1 is SGD; mean and covariance are those of the linear scaling rule. With eta/B and K eta fixed the limit B -> 0 is
    `levy`, with an error of order B. (SGD's own formula read at B < 1 is of no law: for gradients +-1 the fourth
    cumulant of a step would be -2 variance^2 / B, where no law falls below -2 variance^2.)

    >>> thinned_cumulants([-1.0, 1.0], learning_rate=0.01, num_steps=100, batch_size=0.01, order=4)
    array([ 0.  , -0.  ,  1.  , -0.  ,  0.97])

    Raises ValueError for batch_size outside (0, 1].
    """
    gamma, chance = _gradients(gradients), _checks.number("batch_size", batch_size, above=0)
    if chance > 1:
        raise ValueError(f"batch_size={chance:g} is above 1, where no example is left out. Use sgd_cumulants.")
    moments = chance * _powers(gamma - gamma.mean(), _checks.integer("order", order))
    moments[0] = 1.0
    k = np.arange(order + 1)
    kappa = _cumulants(moments) * (-1.0) ** k * (learning_rate / chance) ** k * num_steps
    kappa[1] = -_time(learning_rate, num_steps) * gamma.mean()
    return kappa


def _gradients(gradients: ArrayLike) -> np.ndarray:
    gamma = np.asarray(gradients, dtype=np.float64)
    _checks.stacked_examples("gradients", gamma)
    if gamma.ndim != 1:
        raise ValueError(f"gradients has shape {gamma.shape}, expected a list of numbers, one for each example.")
    return gamma


def _time(learning_rate: float, num_steps: int) -> float:
    return _checks.number("learning_rate", learning_rate, above=0) * _checks.integer("num_steps", num_steps)


def _powers(gamma: np.ndarray, order: int) -> Cumulants:
    """E gamma^k, k = 0..order."""
    return np.mean(gamma ** np.arange(order + 1)[:, None], axis=1)


def _cumulants(moments: Cumulants) -> Cumulants:
    table = np.zeros((len(moments), len(moments)))
    table[:, 0] = moments
    return cumulants_of(table)[:, 0]
