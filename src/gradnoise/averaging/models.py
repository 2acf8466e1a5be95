"""Models of one parameter whose averages over training sets are known exactly."""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gradnoise import _checks
from gradnoise.averaging.averages import training_loss_variance
from gradnoise.averaging.effective_potential import EffectivePotential, effective_potential


class MeanEstimationLosses(NamedTuple):
    """Exact averages over training sets; see `mean_estimation_losses`."""

    train: float
    test: float
    gap: float


class GridModel(NamedTuple):
    """A model on a grid: potential and losses, all that the averages need."""

    grid: Float[np.ndarray, " points"]
    potential: EffectivePotential
    losses: Float[np.ndarray, "sets points"]
    """U(theta, x_l), without weight decay."""
    mean_loss: Float[np.ndarray, " points"]
    """Ubar = E_D U_l, the test loss of theta."""
    loss_variance: Float[np.ndarray, " points"]
    """sigma_l^2 / n = Var_D U_l."""


def mean_estimation_losses(variance: float, num_examples: int, spread: float) -> MeanEstimationLosses:
    """Losses of l = (theta - x)^2/2 where theta has mean xbar, of the training set, and variance tau.

        train = (sigma^2 (1 - 1/n) + tau)/2,    test = (sigma^2 (1 + 1/n) + tau)/2,    gap = sigma^2/n

    for any law of the data and of theta about xbar. sigma^2 `variance` of an example, n `num_examples`, tau `spread`:
    T M/2 for SGD with constant D + beta^2 = M and no weight decay, T = learning_rate/batch_size.

    >>> mean_estimation_losses(variance=2.0, num_examples=4, spread=0.5)
    MeanEstimationLosses(train=1.0, test=1.5, gap=0.5)

    Raises ValueError for a negative variance or spread, and no examples.
    """
    sigma2 = _checks.number("variance", variance, minimum=0.0)
    tau, n = _checks.number("spread", spread, minimum=0.0), _checks.integer("num_examples", num_examples)
    return MeanEstimationLosses((sigma2 * (1 - 1 / n) + tau) / 2, (sigma2 * (1 + 1 / n) + tau) / 2, sigma2 / n)


def gaussian_mean(
    mean_variance: float = 1.0, noise: float = 1.0, num_sets: int = 41, num_points: int = 2001, reach: float = 40.0
) -> GridModel:
    """Mean estimation where the training sets' means are Gaussian: xbar ~ N(0, s), U = (theta - xbar)^2/2, M constant.

    rho(theta | xbar) = N(xbar, tau), tau = T M/2, so that rhobar = N(0, tau + s), train loss tau/2, test loss tau/2 + s
    and gap s (a constant of the loss, the variance of the examples, left out). s `mean_variance` = sigma^2/n, M `noise`.
    The law of xbar is that of Gauss-Hermite's `num_sets` nodes, exact for polynomials of degree below 2 `num_sets`; the
    grid reaches to `reach` on both sides.

    What the approximations give: (10) is N(0, tau/(1 - s/tau)) and exists for T > 2 s/M only; (52) is s + s^2/(2 tau);
    (26) is T = 4 s/M, although the test loss rises with T throughout.

    >>> model = gaussian_mean(mean_variance=0.5)
    >>> ensemble = model.potential.at_temperature(2.0)
    >>> ensemble.double_average(model.mean_loss), ensemble.average(model.losses)             # 1/2 + 1/2, 1/2
    (1.0, 0.5)

    Source: docs/theory/averaging.md, "Models".
    """
    s, M = _checks.number("mean_variance", mean_variance, above=0.0), _checks.number("noise", noise, above=0.0)
    end = _checks.number("reach", reach, above=0.0)
    nodes, weights = np.polynomial.hermite_e.hermegauss(_checks.integer("num_sets", num_sets, 2))
    means = np.sqrt(s) * nodes[:, None]
    grid = np.linspace(-end, end, _checks.integer("num_points", num_points, 3))
    gradients = grid - means
    potential = effective_potential(grid, gradients, np.full(gradients.shape, M), weights=weights)
    losses = gradients**2 / 2
    mean_loss = (grid**2 + s) / 2
    return GridModel(grid, potential, losses, mean_loss, grid**2 * s + s**2 / 2)


LOGISTIC_INPUTS = np.array([1.0, 0.6, -0.9, -1.7])
"""Input times label of the four points of `logistic_model`."""

LOGISTIC_PROBABILITIES = np.array([0.35, 0.25, 0.2, 0.2])


def logistic_model(num_points: int = 2801) -> GridModel:
    """Logistic regression with one weight on a population of four points, training sets of three: all 64, exactly.

        l = ln(1 + exp(-z theta)),    z = 1, 0.6, -0.9, -1.7 with probabilities 0.35, 0.25, 0.2, 0.2

    weight decay alpha = 0.05, injected noise beta = 0.4, grid from -14 to 14. The 64 ordered sets are 20 up to order. The
    points disagree on the sign of theta, sets of agreeing ones would send it to infinity but for the weight decay, and
    the gap rises with the temperature: 0.397, 0.417, 0.465 at T = 0.3, 1, 3.

    >>> model = logistic_model(561)
    >>> from gradnoise.averaging.averages import gap_parts
    >>> gap_parts(model.potential.at_temperature(1.0), model.losses).gap
    0.41736

    Source: docs/theory/averaging.md, "Models".
    """
    grid = np.linspace(-14, 14, _checks.integer("num_points", num_points, 3))
    margins = np.multiply.outer(LOGISTIC_INPUTS, grid)
    losses, slopes = np.logaddexp(0, -margins), -LOGISTIC_INPUTS[:, None] / (1 + np.exp(margins))
    counts, weights = (np.array(each) for each in zip(*_multisets(LOGISTIC_PROBABILITIES, 3), strict=True))
    shares = counts / 3
    gradients = shares @ slopes
    potential = effective_potential(grid, gradients, shares @ slopes**2 - gradients**2, 0.05, 0.4, weights)
    variance = training_loss_variance(losses, 3, weights=LOGISTIC_PROBABILITIES)
    return GridModel(grid, potential, shares @ losses, LOGISTIC_PROBABILITIES @ losses, variance)


def _multisets(probabilities: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, float]]:
    """How often each point occurs in a set of `size` independent draws, and the probability of that."""
    for members in itertools.combinations_with_replacement(range(len(probabilities)), size):
        counts = np.bincount(members, minlength=len(probabilities))
        orders = math.factorial(size) / math.prod(map(math.factorial, counts.tolist()))
        yield counts, float(orders * np.prod(probabilities**counts))
