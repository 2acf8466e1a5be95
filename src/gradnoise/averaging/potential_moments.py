"""How averages over training sets depend on the temperature T = learning_rate/batch_size: exactly, and approximately."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from gradnoise import _checks
from gradnoise.averaging.effective_potential import EffectivePotential
from gradnoise.averaging.log_normal import FORMS
from gradnoise.averaging.moments import EDGE_TOLERANCE, normalized_on_grid


class PotentialMoments(NamedTuple):
    """Means and covariances over training sets of v and a, at every point of the grid; see `potential_moments`."""

    v_mean: Float[np.ndarray, "*grid"]
    a_mean: Float[np.ndarray, "*grid"]
    v_variance: Float[np.ndarray, "*grid"]
    a_variance: Float[np.ndarray, "*grid"]
    covariance: Float[np.ndarray, "*grid"]
    """sigma_va."""

    def exponent_variance(self, temperature: float, form: str = "corrected") -> Float[np.ndarray, "*grid"]:
        """sigma_g^2 = (4/T^2) sigma_v^2 + sigma_a^2 + (4/T) sigma_va, of g = (2/T) v + a.

        form="printed" leaves the last term out.
        """
        T, printed = _checks.number("temperature", temperature, above=0.0), _checks.one_of("form", form, FORMS)
        cross = 4 / T * self.covariance if printed == "corrected" else 0.0
        return 4 / T**2 * self.v_variance + self.a_variance + cross

    def log_mean_density(self, temperature: float, form: str = "corrected") -> Float[np.ndarray, "*grid"]:
        """-gbar + sigma_g^2/2, eq (25): the approximate ln rhobar up to a constant.

            -(2/T) vbar - abar + (2/T^2) sigma_v^2 + sigma_a^2/2 + (2/T) sigma_va

        form="printed" has sigma_va without its factor 2/T.
        """
        T, printed = _checks.number("temperature", temperature, above=0.0), _checks.one_of("form", form, FORMS)
        cross = self.covariance * (2 / T if printed == "corrected" else 1.0)
        return -2 / T * self.v_mean - self.a_mean + 2 / T**2 * self.v_variance + self.a_variance / 2 + cross


def potential_moments(potential: EffectivePotential) -> PotentialMoments:
    """Means and covariances of v and a over training sets.

    They depend on the constants that v and a come with, set by set, and so does all that is computed of them; the exact
    averages (`EffectivePotential.at_temperature`, `temperature_slope`) do not.

    >>> from gradnoise.averaging.models import gaussian_mean
    >>> moments = potential_moments(gaussian_mean(mean_variance=0.5).potential)
    >>> moments.v_variance[[1000, 1025]], moments.a_variance[1025]                       # theta^2 s, at theta = 0, 1
    (array([0. , 0.5]), np.float64(0.0))

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eqs (21)-(25).
    """
    ensemble = potential.at_temperature(1.0)  # any would do: only its averages over sets are used
    v, a = potential.v, potential.a
    return PotentialMoments(
        ensemble.data_average(v),
        ensemble.data_average(a),
        ensemble.data_covariance(v, v),
        ensemble.data_covariance(a, a),
        ensemble.data_covariance(v, a),
    )


def approximate_loss_slope(
    moments: PotentialMoments,
    mean_losses: ArrayLike,
    temperature: float,
    form: str = "corrected",
    edge_tolerance: float = EDGE_TOLERANCE,
) -> float:
    """d<<Ubar>>/dT with << >> over the approximate rhobar of (25), in loss per temperature.

        -(2/T^2) [(2/T) Cov(Ubar, sigma_v^2) - Cov(Ubar, vbar - sigma_va)]

    The bracket is d<<Ubar>>/d(2/T). `mean_losses` Ubar (*grid). For the exact slope see `temperature_slope`.
    form="printed" averages over (25) as printed, of which the bracket is not the derivative.

    >>> from gradnoise.averaging.models import gaussian_mean
    >>> model = gaussian_mean(mean_variance=0.5)
    >>> moments = potential_moments(model.potential)
    >>> approximate_loss_slope(moments, model.mean_loss, temperature=4.0)                # the exact slope is 1/4
    0.22222

    Raises ValueError where (25) does not fall off at the edge of the grid: at low temperature it need not be normalizable.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", section 4, before (26).
    """
    exponent = moments.log_mean_density(temperature, form)
    weights = np.exp(normalized_on_grid(exponent, f"the approximate density (25) at T={temperature:g}", edge_tolerance))
    U = np.asarray(mean_losses, dtype=float)
    if U.shape != weights.shape:
        raise ValueError(f"mean_losses have shape {U.shape}, expected {weights.shape}. Evaluate them on the grid.")
    centred = weights * (U - np.sum(weights * U))
    bracket = 2 / temperature * moments.v_variance - (moments.v_mean - moments.covariance)
    return float(-2 / temperature**2 * np.sum(centred * bracket))


def temperature_slope(potential: EffectivePotential, f: ArrayLike, temperature: float) -> float:
    """dE<f>/dT, exactly, for f that does not depend on the temperature: f/T in units.

        (2/T^2) E_D Cov_rho(v, f),    Cov_rho over weights given the training set

    `f` (sets, *grid): U_l for the train loss, or (*grid): Ubar for the test loss. Constants in v and a do not matter.

    >>> from gradnoise.averaging.models import gaussian_mean
    >>> model = gaussian_mean(mean_variance=0.5)
    >>> temperature_slope(model.potential, model.mean_loss, 2.0)                   # test loss T/4 + s
    0.25

    Raises ValueError for a temperature that is not positive, or f of another shape.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eq (27).
    """
    ensemble = potential.at_temperature(temperature)
    v, values = potential.v, ensemble.on_grid(f)
    axes = tuple(range(1, v.ndim))
    centred = v - ensemble.set_averages(v).reshape(-1, *[1] * len(axes))
    return float(2 / temperature**2 * ensemble.average(centred * values))
