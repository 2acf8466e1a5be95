"""Training sets with the density of the trained weights that each leads to, on a grid, and the averages over both."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from gradnoise import _checks


@dataclass(frozen=True, eq=False)
class TrainingEnsemble:
    """Training sets x_l and ln rho(theta | x_l) on a grid; made by `training_ensemble`.

    `log_density` (sets, *grid), normalized; `weights` (sets,): probabilities of the sets, which sum to one; `cell`: the
    volume of a cell of the evenly spaced grid, parameter^d. A function f below is an array (sets, *grid), f(theta, x_l),
    or (*grid) where it does not depend on the set. In the notation of the source

        <f>(x_l) = int f rho(theta | x_l) dtheta       fbar(theta) = E_D f(theta, x_l)      rhobar = E_D rho
        E<f>     = E_D <f>(x_l)                        <<f>> = int rhobar f dtheta

    All are exact for the sets and the grid as they are. Where the sets are a sample of more, averages over them have
    the error that `generalization_gap(ensemble.cross_averages(f))` gives.
    """

    log_density: Float[np.ndarray, "sets *grid"]
    weights: Float[np.ndarray, " sets"]
    cell: float

    @cached_property
    def density(self) -> Float[np.ndarray, "sets *grid"]:
        """rho(theta | x_l)."""
        return np.exp(self.log_density)

    @cached_property
    def mean_density(self) -> Float[np.ndarray, "*grid"]:
        """rhobar(theta) = E_D rho(theta | x_l)."""
        return self.data_average(self.density)

    def set_averages(self, f: ArrayLike) -> Float[np.ndarray, " sets"]:
        """<f>(x_l), one number a training set."""
        return self._integral(self.density * self.on_grid(f))

    def data_average(self, f: ArrayLike) -> Float[np.ndarray, "*grid"]:
        """fbar(theta) = E_D f(theta, x_l)."""
        return np.tensordot(self.weights, self.on_grid(f), 1)

    def average(self, f: ArrayLike) -> float:
        """E<f>: over weights trained on a set, and over sets."""
        return float(self.weights @ self.set_averages(f))

    def double_average(self, f: ArrayLike) -> float:
        """<<fbar>>: over weights trained on one set and, independently, the set in f."""
        return float(self._integral(self.mean_density * self.data_average(f)))

    def data_covariance(self, f: ArrayLike, h: ArrayLike) -> Float[np.ndarray, "*grid"]:
        """Cov_D(f, h)(theta) over training sets, from centred values; divisor 1: `weights` are the population."""
        return np.tensordot(self.weights, self._centred(f) * self._centred(h), 1)

    def density_covariance(self, f: ArrayLike) -> float:
        """int Cov_D(rho, f) dtheta = E<f> - <<fbar>>, eq (2), without the cancellation of that difference."""
        return float(self._integral(self.data_covariance(self.density, f)))

    def cross_averages(self, f: ArrayLike) -> Float[np.ndarray, "sets sets"]:
        """M[s, s'] = int rho(theta | x_s) f(theta, x_s') dtheta: what `generalization_gap` takes."""
        sets = len(self.weights)
        return self.cell * self.density.reshape(sets, -1) @ self.on_grid(f).reshape(sets, -1).T

    def _integral(self, values: np.ndarray) -> np.ndarray:
        """Over the grid, whose axes are the last ones of `values`."""
        grid = tuple(range(values.ndim - self.log_density.ndim + 1, values.ndim))
        return values.sum(axis=grid) * self.cell

    def on_grid(self, f: ArrayLike) -> Float[np.ndarray, "sets *grid"]:
        """f with its row for every set, (sets, *grid); a ValueError where it does not fit."""
        values, shape = np.asarray(f, dtype=float), self.log_density.shape
        if values.shape not in (shape, shape[1:]):
            raise ValueError(
                f"values of shape {values.shape} do not fit the ensemble, expected {shape} or, the same for all sets, "
                f"{shape[1:]}. Evaluate f on the ensemble's grid."
            )
        return np.broadcast_to(values, shape)

    def _centred(self, f: ArrayLike) -> np.ndarray:
        return self.on_grid(f) - self.data_average(f)


def training_ensemble(log_density: ArrayLike, cell: float, weights: ArrayLike | None = None) -> TrainingEnsemble:
    """The ensemble with densities proportional to exp(log_density), (sets, *grid), normalized set by set on the grid.

        rho(theta | x_l) = exp(-g(theta, x_l)) / Z(x_l),     Z = sum over the grid, times `cell`

    Source's eq (8): give -g, with any constant a set. `weights` (sets,): probabilities of the sets, equal by default, as
    for a sample; they are divided by their sum.

    >>> grid = np.linspace(-8, 8, 161)
    >>> means = np.array([-0.5, 0.5])
    >>> ensemble = training_ensemble(-((grid - means[:, None]) ** 2) / 2, cell=0.1)
    >>> ensemble.set_averages(grid)
    array([-0.5, 0.5])
    >>> ensemble.double_average(grid**2)             # 1 + 1/4
    1.25

    Raises ValueError for values that are not finite, fewer than one axis of sets and one of the grid, weights that are
    negative or of another length, a cell that is not positive.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", section 2 and eq (8).
    """
    exponents = np.asarray(log_density, dtype=float)
    if exponents.ndim < 2 or exponents.size == 0 or not np.all(np.isfinite(exponents)):
        raise ValueError(
            f"log_density of shape {exponents.shape} does not do. Give finite numbers of shape (sets, *grid)."
        )
    volume = _checks.number("cell", cell, above=0.0)
    axes = tuple(range(1, exponents.ndim))
    normalized = exponents - np.asarray(logsumexp(exponents, axis=axes, keepdims=True)) - np.log(volume)
    return TrainingEnsemble(normalized, set_weights(weights, len(exponents)), volume)


def set_weights(weights: ArrayLike | None, num_sets: int) -> Float[np.ndarray, " sets"]:
    """Probabilities of the sets: equal where none are given, otherwise divided by their sum."""
    if weights is None:
        return np.full(num_sets, 1 / num_sets)
    given = np.asarray(weights, dtype=float)
    if given.shape != (num_sets,) or not np.all(given >= 0) or not 0 < given.sum() < np.inf:
        raise ValueError(
            f"weights of shape {given.shape} do not do. Give one number of at least 0 for each of {num_sets} sets, "
            "with a positive sum."
        )
    return given / given.sum()
