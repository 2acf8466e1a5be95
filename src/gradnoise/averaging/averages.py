"""Train loss, test loss and the gap between them from densities on a grid; the gap's bound; the mean KL behind its sign."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from gradnoise import _checks
from gradnoise.averaging.ensemble import TrainingEnsemble, set_weights


class GapParts(NamedTuple):
    """Losses averaged over training sets; see `gap_parts`."""

    train: float
    """E<U_l>."""
    test: float
    """E<U_e> = <<Ubar_e>>: test sets are independent of the weights."""
    gap: float
    """test - train = fitting + shift."""
    fitting: float
    """-int Cov_D(rho, U_l) dtheta: weights are probable where the loss of their own training set is low."""
    shift: float
    """<<Ubar_e - Ubar_l>>: test examples come from elsewhere; 0 without a shift."""


def gap_parts(ensemble: TrainingEnsemble, train_losses: ArrayLike, test_losses: ArrayLike | None = None) -> GapParts:
    """The gap between test and train loss, and what it consists of.

        E<U_l> = int Cov_D(rho, U_l) dtheta + <<Ubar_l>>            (3)
        E<U_e> = <<Ubar_e>>                                         (4)
        gap    = -int Cov_D(rho, U_l) dtheta + <<Ubar_e - Ubar_l>>  (5), (6)

    `train_losses` (sets, *grid): U(theta, x_l). `test_losses` (*grid): Ubar_e, the mean over the test population;
    default the mean of `train_losses` over training sets, which is that of the same population. Exact for the
    ensemble. Where it is a sample of training sets the covariance is too small by 1/S in the mean; use
    `generalization_gap(ensemble.cross_averages(train_losses))`, unbiased and with an error.

    >>> from gradnoise.averaging.ensemble import training_ensemble
    >>> grid, means = np.linspace(-8, 8, 161), np.array([[-0.5], [0.5]])
    >>> losses = (grid - means) ** 2 / 2                            # sets of one example; rho = exp(-U)/Z
    >>> gap_parts(training_ensemble(-losses, 0.1), losses)          # 1/2, and 1/4 more on the other set
    GapParts(train=0.5, test=0.75, gap=0.25, fitting=0.25, shift=0.0)

    Raises ValueError for losses of another shape than the ensemble's.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eqs (2)-(6).
    """
    fitting = -ensemble.density_covariance(train_losses)
    train_mean = ensemble.data_average(train_losses)
    shift = 0.0 if test_losses is None else ensemble.double_average(np.asarray(test_losses, dtype=float) - train_mean)
    train = ensemble.average(train_losses)
    return GapParts(train, train + fitting + shift, fitting + shift, fitting, shift)


def mean_pairwise_kl(ensemble: TrainingEnsemble) -> float:
    """Mean Kullback-Leibler divergence between the densities of two independently drawn training sets, in nats.

        E_{x, x'} KL(rho_x || rho_x') = int Cov_D(rho, ln rho) dtheta = <<gbar>> - E<g> >= 0

    for rho = exp(-g)/Z, whatever constants are added to g set by set: the exact value of which the source's (9) gives
    the sign. For g = U/T the gap is T times it. Summed from centred log densities.

    >>> from gradnoise.averaging.ensemble import training_ensemble
    >>> grid, means = np.linspace(-8, 8, 161), np.array([[-0.5], [0.5]])
    >>> mean_pairwise_kl(training_ensemble(-((grid - means) ** 2) / 2, 0.1))       # 1/2 for half of the pairs
    0.25

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eq (9); the value: docs/theory/averaging.md.
    """
    return ensemble.density_covariance(ensemble.log_density)


def gap_bound(ensemble: TrainingEnsemble, loss_variance: ArrayLike) -> float:
    """What the gap without shift cannot exceed in size, by Cauchy and Schwarz at every theta.

        |gap| <= int sigma_rho sigma_U dtheta,    sigma_U = sigma_l / n^(1/2)                  (7)

    `loss_variance` (*grid): Var_D U(theta, x_l), of the loss of a training set, as `training_loss_variance` gives it, or
    `ensemble.data_covariance(U, U)`.

    >>> from gradnoise.averaging.ensemble import training_ensemble
    >>> grid, means = np.linspace(-8, 8, 161), np.array([[-0.5], [0.5]])
    >>> losses = (grid - means) ** 2 / 2
    >>> ensemble = training_ensemble(-losses, 0.1)
    >>> gap_bound(ensemble, ensemble.data_covariance(losses, losses))              # two sets: Cov = -sigma sigma
    0.25

    Raises ValueError for a variance of another shape than the grid's, or below zero.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eq (7).
    """
    variance = np.asarray(loss_variance, dtype=float)
    if variance.shape != ensemble.log_density.shape[1:] or not np.all(variance >= 0):
        raise ValueError(
            f"loss_variance of shape {variance.shape} does not do. Give numbers of at least 0 on the ensemble's grid, "
            f"of shape {ensemble.log_density.shape[1:]}."
        )
    spread = np.sqrt(ensemble.data_covariance(ensemble.density, ensemble.density))
    return float(np.sum(spread * np.sqrt(variance)) * ensemble.cell)


def training_loss_variance(
    example_losses: ArrayLike, num_examples: int, replacement: bool = True, weights: ArrayLike | None = None
) -> Float[np.ndarray, "*grid"]:
    """Var_D U(theta, x_l) of the mean loss of n = `num_examples` examples drawn from a pool of M.

        with replacement      sigma_l^2 / n
        without               (sigma_l^2 / n) (M - n)/(M - 1)

    sigma_l^2 is the variance over the pool, divisor M. `example_losses` (M, *grid); `weights` (M,): probabilities of the
    examples, equal by default.

    >>> training_loss_variance([0.0, 2.0, 4.0], num_examples=2)           # 8/3 / 2
    array(1.333...)
    >>> training_loss_variance([0.0, 2.0, 4.0], num_examples=2, replacement=False)
    array(0.666...)

    Raises ValueError for no examples, weights that do not do, and, without replacement, num_examples above M or weights.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eq (7); the finite pool: docs/theory/averaging.md.
    """
    losses = np.asarray(example_losses, dtype=float)
    if losses.ndim == 0 or losses.size == 0:
        raise ValueError(
            f"example_losses of shape {losses.shape} do not do, expected (examples, *grid). Give one loss an example."
        )
    pool, n = len(losses), _checks.integer("num_examples", num_examples)
    if not replacement and (n > pool or weights is not None):
        raise ValueError(
            f"num_examples={n} of a pool of {pool} with replacement=False does not do. Draw at most {pool}, without "
            "weights, or with replacement."
        )
    probabilities = set_weights(weights, pool)
    centred = losses - np.tensordot(probabilities, losses, 1)
    variance = np.tensordot(probabilities, centred**2, 1) / n
    return np.asarray(variance if replacement else variance * ((pool - n) / max(pool - 1, 1)))
