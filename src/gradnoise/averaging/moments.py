"""Means and covariances over training sets of exponent and loss, which the approximations need, and where to average."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from gradnoise import _checks
from gradnoise.averaging.ensemble import TrainingEnsemble

OVER = ("exact", "log-normal", "mean exponent")
EDGE_TOLERANCE = 1e-4
"""Density at the grid's edge, relative to the largest, above which a density counts as not normalizable on it."""


class NotNormalizableError(ValueError):
    """A density does not fall off towards the edge of its grid."""


class ExponentMoments(NamedTuple):
    """Moments over training sets at every point of the grid; see `exponent_moments`. All have the grid's shape."""

    mean: Float[np.ndarray, "*grid"]
    """gbar."""
    variance: Float[np.ndarray, "*grid"]
    """sigma_g^2 = Var_D g."""
    with_loss: Float[np.ndarray, "*grid"]
    """sigma_gu = Cov_D(g, U_l)."""
    loss_mean: Float[np.ndarray, "*grid"]
    """Ubar = E_D U_l."""
    loss_variance: Float[np.ndarray, "*grid"]
    """sigma_u^2 = Var_D U_l, of the loss of a whole training set: sigma_l^2 / n."""
    log_mean_density: Float[np.ndarray, "*grid"]
    """ln rhobar, exact."""


def exponent_moments(
    ensemble: TrainingEnsemble, losses: ArrayLike, exponent: ArrayLike | None = None
) -> ExponentMoments:
    """Moments of g and U over training sets, rho = exp(-g)/Z.

    The exponent is fixed by rho up to a constant for each set, and every approximation made of its moments changes with
    these constants, although rho does not. By default g = -ln rho, normalization included, which is one choice and the
    same for everybody. `exponent` (sets, *grid) takes the printed choice instead: g as it is given, Z left out.
    `losses` (sets, *grid): U(theta, x_l).

    >>> from gradnoise.averaging.ensemble import training_ensemble
    >>> grid, means = np.linspace(-8, 8, 161), np.array([[-0.5], [0.5]])
    >>> losses = (grid - means) ** 2 / 2
    >>> moments = exponent_moments(training_ensemble(-losses, 0.1), losses)
    >>> [round(float(each[100]), 6) for each in moments[1:4]]                                  # at theta = 2
    [1.0, 1.0, 2.125]

    Raises ValueError for losses or an exponent that do not fit the ensemble.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", section 3; the choice of constants:
    docs/theory/averaging.md.
    """
    g = -ensemble.log_density if exponent is None else np.asarray(exponent, dtype=float)
    weights = ensemble.weights.reshape(-1, *[1] * (ensemble.log_density.ndim - 1))
    return ExponentMoments(
        ensemble.data_average(g),
        ensemble.data_covariance(g, g),
        ensemble.data_covariance(g, losses),
        ensemble.data_average(losses),
        ensemble.data_covariance(losses, losses),
        np.asarray(logsumexp(ensemble.log_density, axis=0, b=weights)),
    )


def log_normal_exponent(moments: ExponentMoments) -> Float[np.ndarray, "*grid"]:
    """ln rhobar if g were Gaussian over training sets, up to a constant: -gbar + sigma_g^2/2.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eq (10).
    """
    return -moments.mean + moments.variance / 2


def averaging_log_weights(
    moments: ExponentMoments, over: str = "exact", edge_tolerance: float = EDGE_TOLERANCE
) -> Float[np.ndarray, "*grid"]:
    """Logarithms of the probabilities of the grid's cells, under the density that << >> stands for.

        "exact"            rhobar = E_D rho
        "log-normal"       exp(-gbar + sigma_g^2/2)/Zbar           (10)
        "mean exponent"    exp(-gbar)/Z, the density at the mean data: rho(theta | mu) of (52)

    (10) need not have a finite Zbar: where the curvature of g differs between sets sigma_g^2 grows as the square of gbar,
    and the integral diverges. On a grid this is seen as density at its edge.

    >>> from gradnoise.averaging.ensemble import training_ensemble
    >>> grid, means = np.linspace(-8, 8, 161), np.array([[-0.5], [0.5]])
    >>> moments = exponent_moments(training_ensemble(-((grid - means) ** 2) / 2, 0.1), np.zeros((2, 161)))
    >>> [float(np.exp(averaging_log_weights(moments, over)) @ grid**2) for over in ("exact", "log-normal")]
    [1.25, 1.3333]

    Raises ValueError where the density at the grid's edge exceeds `edge_tolerance` times its largest value, and for an
    unknown `over`.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eqs (10), (52).
    """
    exponents = {
        "exact": moments.log_mean_density,
        "log-normal": log_normal_exponent(moments),
        "mean exponent": -moments.mean,
    }
    exponent = exponents[_checks.one_of("over", over, OVER)]
    return normalized_on_grid(exponent, f'the "{over}" density', edge_tolerance)


def normalized_on_grid(
    exponent: Float[np.ndarray, "*grid"], name: str, edge_tolerance: float = EDGE_TOLERANCE
) -> Float[np.ndarray, "*grid"]:
    """`exponent` less a constant, so that its exponentials sum to one; raises if they do not fall off at the edge."""
    tolerance = _checks.number("edge_tolerance", edge_tolerance, above=0.0)
    edge = float(np.exp(_largest_at_the_edge(exponent) - exponent.max()))
    if edge > tolerance:
        raise NotNormalizableError(
            f"{name} has {edge:.2g} of its largest value at the edge of the grid, expected at most {tolerance:g}: it has "
            "no finite normalization, or the grid is too narrow. Widen the grid; if the share stays, take a higher "
            'temperature, or average over="exact".'
        )
    return exponent - np.asarray(logsumexp(exponent))


def _largest_at_the_edge(values: np.ndarray) -> float:
    return max(float(np.take(values, end, axis).max()) for axis in range(values.ndim) for end in (0, -1))
