"""The gap if exponent and loss were Gaussian, or log-normal, over training sets."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp

from gradnoise import _checks
from gradnoise.averaging.moments import EDGE_TOLERANCE, ExponentMoments, averaging_log_weights

FORMS = ("corrected", "printed")


class GapApproximation(NamedTuple):
    """An approximate gap, or a bound of it, and its two limits."""

    full: float
    small: float
    """For small fluctuations of the exponent over training sets."""
    large: float
    """For large ones."""


def density_variance(moments: ExponentMoments) -> Float[np.ndarray, "*grid"]:
    """sigma_rho^2 = rhobar^2 (exp(sigma_g^2) - 1), for an exponent that is Gaussian over training sets.

    Has the unit of a density squared; rhobar is the exact one.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eq (10).
    """
    with np.errstate(over="ignore"):
        return np.exp(2 * moments.log_mean_density) * np.expm1(moments.variance)


def log_normal_bound(
    moments: ExponentMoments, over: str = "exact", edge_tolerance: float = EDGE_TOLERANCE
) -> GapApproximation:
    """The bound int sigma_rho sigma_U of the gap, for an exponent that is Gaussian over training sets.

        full     << sigma_U (exp(sigma_g^2) - 1)^(1/2) >>            (11), sigma_U = sigma_l / n^(1/2)
        small    << sigma_U sigma_g >>
        large    << sigma_U exp(sigma_g^2 / 2) >>

    `over`: which density << >> averages over, see `averaging_log_weights`. It bounds the gap only as far as the Gaussian
    law holds, and may be of any size where it does not: in the logistic model it is 2e50 at T = 3 and overflows, to inf,
    at T = 1, where the gap is 0.4.

    >>> from gradnoise.averaging.ensemble import training_ensemble
    >>> from gradnoise.averaging.moments import exponent_moments
    >>> grid, means = np.linspace(-8, 8, 161), np.array([[-0.1], [0.1]])
    >>> losses = (grid - means) ** 2 / 2
    >>> log_normal_bound(exponent_moments(training_ensemble(-losses, 0.1), losses))         # the gap is 0.01
    GapApproximation(full=0.01018, small=0.0101, large=0.08094)

    Raises as `averaging_log_weights`.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eq (11).
    """
    log_weights = averaging_log_weights(moments, over, edge_tolerance)
    variance = np.maximum(moments.variance, 0.0)
    with np.errstate(divide="ignore", over="ignore"):
        log_spread = np.log(np.maximum(moments.loss_variance, 0.0)) / 2
        large = log_weights + log_spread + variance / 2
        full = large + np.log(-np.expm1(-variance)) / 2
        small = log_weights + log_spread + np.log(variance) / 2
        return GapApproximation(*(float(np.exp(np.asarray(logsumexp(each)))) for each in (full, small, large)))


def log_normal_gap(
    moments: ExponentMoments, over: str = "exact", form: str = "corrected", edge_tolerance: float = EDGE_TOLERANCE
) -> GapApproximation:
    """The gap for rho and loss that are jointly log-normal over training sets.

        full     << Ubar (1 - exp(-sigma_gu/Ubar)) >>       (12), (13)
        small    << sigma_gu >>
        large    << Ubar >>

    Exactly, E[rho U] / (rhobar Ubar) = exp(-Cov_D(g, ln U)) for such variables, and Cov_D(g, ln U) = sigma_gu/Ubar
    (Stein's lemma): averaged over the exact rhobar `full` is then the gap itself. form="printed" adds
    sigma_u^4/(8 Ubar^4) to the exponent, and <<sigma_u^4/Ubar^3>>/8 to `small`: then a loss that is independent of the
    weights has a gap.

    >>> from gradnoise.averaging.ensemble import training_ensemble
    >>> from gradnoise.averaging.moments import exponent_moments
    >>> grid, means = np.linspace(-8, 8, 161), np.array([[-0.1], [0.1]])
    >>> losses = (grid - means) ** 2 / 2
    >>> moments = exponent_moments(training_ensemble(-losses, 0.1), losses)
    >>> log_normal_gap(moments)                                                             # the gap is 0.01
    GapApproximation(full=0.0100005, small=0.0101, large=0.51)

    Raises ValueError for a mean loss that is not positive somewhere, an unknown form, and as `averaging_log_weights`.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eqs (12), (13), without the spurious term.
    """
    printed = _checks.one_of("form", form, FORMS) == "printed"
    weights, mean = np.exp(averaging_log_weights(moments, over, edge_tolerance)), moments.loss_mean
    if not np.all(mean > 0):
        raise ValueError(
            f"the mean loss is {mean.min():.3g} somewhere on the grid, expected above 0 for a log-normal loss. Add a "
            "constant to the loss, or use delta_gap."
        )
    spurious = moments.loss_variance**2 / (8 * mean**3) if printed else np.zeros_like(mean)
    small = moments.with_loss + spurious
    with np.errstate(over="ignore"):
        full = np.where(weights > 0, -mean * np.expm1(-small / mean), 0.0)
    return GapApproximation(*(float(np.sum(weights * each)) for each in (full, small, mean)))
