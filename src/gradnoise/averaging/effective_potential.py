"""SGD's stationary density given a training set: the exponents v and a, and the ensemble at a temperature."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.integrate import cumulative_simpson

from gradnoise import _checks
from gradnoise.averaging.ensemble import TrainingEnsemble, set_weights, training_ensemble


@dataclass(frozen=True, eq=False)
class EffectivePotential:
    """v and a of the stationary density exp(-(2/T) v - a)/Z given each training set, T = learning_rate/batch_size.

    `v` and `a` (sets, *grid), `weights` (sets,) summing to one, `cell` as in `TrainingEnsemble`. In one dimension
    `effective_potential` makes it of gradients and noise. In more, v and a exist only where M^-1 (grad U + alpha theta)
    and M^-1 div M are free of curl, which is rare: nothing here can see it. Build it of `gradnoise.boltzmann_exponents`,
    which refuses where they are not.
    """

    v: Float[np.ndarray, "sets *grid"]
    a: Float[np.ndarray, "sets *grid"]
    weights: Float[np.ndarray, " sets"]
    cell: float

    def exponent(self, temperature: float) -> Float[np.ndarray, "sets *grid"]:
        """g = (2/T) v + a, eq (18), in the constants that v and a come with."""
        return 2 / _checks.number("temperature", temperature, above=0.0) * self.v + self.a

    def at_temperature(self, temperature: float) -> TrainingEnsemble:
        """The densities exp(-g)/Z at T."""
        return training_ensemble(-self.exponent(temperature), self.cell, self.weights)


def effective_potential(
    grid: ArrayLike,
    gradients: ArrayLike,
    noise: ArrayLike,
    weight_decay: float = 0.0,
    injected_noise: float = 0.0,
    weights: ArrayLike | None = None,
) -> EffectivePotential:
    """v and a of SGD with one parameter, for each training set; v is zero in the middle of the grid.

        v = int (U' + alpha theta) / (D + beta^2) dtheta,      a = ln(D + beta^2)

    `grid` (points,): theta, evenly spaced. `gradients` U' (sets, points), loss/parameter; `noise` D (sets, points), the
    per-example covariance, divisor n: batches are drawn with replacement. Without replacement multiply `noise` by
    (n - B)/(n - 1). alpha = `weight_decay`, beta = `injected_noise`: SGD adds sqrt(learning_rate T) beta times a standard
    normal number a step. The density is that of the diffusion, right to leading order in the learning rate. The integral
    is Simpson's.

    >>> grid = np.linspace(-8, 8, 161)
    >>> potential = effective_potential(grid, [grid - 0.5], [np.ones(161)])
    >>> potential.at_temperature(0.5).set_averages((grid - 0.5) ** 2)                       # variance T/2
    array([0.25])

    Raises ValueError for a grid that is not evenly spaced or of fewer than three points, arrays of other shapes, and
    D + beta^2 not positive somewhere: without noise there is no such density.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eqs (15)-(20); a in one dimension: docs/theory/
    averaging.md.
    """
    theta, U, D = (np.asarray(each, dtype=float) for each in (grid, gradients, noise))
    cell = _spacing(theta)
    if U.ndim != 2 or U.shape != D.shape or U.shape[1] != len(theta):
        raise ValueError(
            f"gradients have shape {U.shape} and noise {D.shape}, expected both (sets, {len(theta)}). Evaluate them on "
            "the grid for each training set."
        )
    strength = D + _checks.number("injected_noise", injected_noise, minimum=0.0) ** 2
    if not np.all(strength > 0):
        raise ValueError(
            "noise + injected_noise^2 is not positive somewhere, expected a density with noise everywhere. Give "
            "injected_noise above 0."
        )
    alpha = _checks.number("weight_decay", weight_decay, minimum=0.0)
    v = cumulative_simpson((U + alpha * theta) / strength, dx=cell, axis=1, initial=0.0)
    v = v - v[:, [len(theta) // 2]]
    return EffectivePotential(v, np.log(strength), set_weights(weights, len(v)), cell)


def _spacing(grid: np.ndarray) -> float:
    if grid.ndim == 1 and len(grid) >= 3:
        steps = np.diff(grid)
        if steps[0] > 0 and np.allclose(steps, steps.mean(), rtol=1e-6, atol=0):
            return float(steps.mean())
    raise ValueError(
        f"grid of shape {grid.shape} does not do, expected at least three evenly spaced, rising numbers. Use np.linspace."
    )
