"""The gap, and losses under shifted data, by expansion around mean data: the delta method and quadratic wells."""

import numpy as np
from numpy.typing import ArrayLike

from gradnoise import _checks
from gradnoise.averaging.log_normal import FORMS
from gradnoise.averaging.moments import EDGE_TOLERANCE, ExponentMoments, averaging_log_weights


def delta_covariance(
    covariance: ArrayLike,
    gradients: tuple[ArrayLike, ArrayLike],
    hessians: tuple[ArrayLike, ArrayLike] | None = None,
    form: str = "corrected",
) -> float:
    """Cov(f(x), h(x)) for x with mean mu and covariance S, from the derivatives at mu.

        first order     f'.S h'
        second order    + (1/2) Tr(S f'' S h''), for Gaussian x and exact for quadratics

    `covariance` S (d, d), `gradients` (f', h') of shape (d,), `hessians` (f'', h'') of shape (d, d): without them the
    first order alone, all that (51) needs. Functions that are not quadratic have further terms of the order of S^2, from
    f' and h'''. form="printed" has -(1/4) Tr(S f'') Tr(S h'') instead, which is a product of
    means and no covariance: it gives x^2 at mu = 0 a negative variance.

    >>> delta_covariance([[3.0]], ([0.0], [0.0]), ([[2.0]], [[2.0]]))              # Var x^2 = 2 S^2
    18.0
    >>> delta_covariance([[3.0]], ([0.0], [0.0]), ([[2.0]], [[2.0]]), form="printed")
    -9.0

    Raises ValueError for arrays that do not fit each other, or an unknown form.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eq (50), second order put right; (51).
    """
    printed = _checks.one_of("form", form, FORMS) == "printed"
    S = np.atleast_2d(np.asarray(covariance, dtype=float))
    first = [np.atleast_1d(np.asarray(each, dtype=float)) for each in gradients]
    second = [np.atleast_2d(np.asarray(each, dtype=float)) for each in hessians or (np.zeros_like(S),) * 2]
    if S.ndim != 2 or any(each.shape != S.shape[:1] for each in first) or any(each.shape != S.shape for each in second):
        raise ValueError(
            f"covariance has shape {S.shape}, gradients {[each.shape for each in first]}, hessians "
            f"{[each.shape for each in second]}, expected (d, d), (d,) and (d, d). Give derivatives in the same d variables."
        )
    spread_f, spread_h = (S @ each for each in second)
    curved = -np.trace(spread_f) * np.trace(spread_h) / 4 if printed else np.trace(spread_f @ spread_h) / 2
    return float(first[0] @ S @ first[1] + curved)


def delta_gap(moments: ExponentMoments, over: str = "mean exponent", edge_tolerance: float = EDGE_TOLERANCE) -> float:
    """The gap to first order in the fluctuations over training sets: << sigma_gu >>.

    `over="mean exponent"` averages over the density at the mean data, as (52) does; see `averaging_log_weights`. For SGD
    g = (2/T) v + a, and it is (2/T) <<sigma_vu>> + <<sigma_au>>, (53). For mean estimation with Gaussian data it gives
    s + s^2/(2 tau) where the gap is s.

    >>> from gradnoise.averaging.ensemble import training_ensemble
    >>> from gradnoise.averaging.moments import exponent_moments
    >>> grid, means = np.linspace(-8, 8, 161), np.array([[-0.1], [0.1]])
    >>> losses = (grid - means) ** 2 / 2
    >>> delta_gap(exponent_moments(training_ensemble(-losses, 0.1), losses))                # the gap is 0.01
    0.01

    Raises as `averaging_log_weights`.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eqs (52), (53).
    """
    return float(np.sum(np.exp(averaging_log_weights(moments, over, edge_tolerance)) * moments.with_loss))


def loss_in_wells(
    weights: ArrayLike,
    losses: ArrayLike,
    hessians: ArrayLike,
    covariances: ArrayLike,
    offsets: ArrayLike,
) -> float:
    """Mean loss of weights that sit in K quadratic wells: sum_k w_k [U_k + Tr(Sigma_k C_k)/2 + o_k.C_k o_k/2].

    `weights` w_k (K,), probabilities; `losses` U_k (K,), least loss; `hessians` C_k (K, d, d); `covariances` Sigma_k
    (K, d, d) of the weights in well k; `offsets` o_k (K, d), of their mean from the minimum: b_k, the bias of SGD, for
    the train loss (54), b_k + s_k with the shift s_k between training and test minimum for the test loss (55). Exact for
    losses that are quadratic in each well.

    >>> loss_in_wells([1.0], [0.5], [[[2.0]]], [[[0.1]]], [[0.3]])                          # 0.5 + 0.1 + 0.09
    0.69

    Raises ValueError for arrays that do not fit each other.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eqs (54), (55).
    """
    w, U, C, Sigma, o = (np.asarray(each, dtype=float) for each in (weights, losses, hessians, covariances, offsets))
    if not (w.shape == U.shape == o.shape[:1] and o.ndim == 2 and C.shape == Sigma.shape == (*o.shape, o.shape[1])):
        raise ValueError(
            f"weights {w.shape}, losses {U.shape}, hessians {C.shape}, covariances {Sigma.shape} and offsets {o.shape} do "
            "not fit, expected (K,), (K,), (K, d, d), (K, d, d) and (K, d). Give one of each for every well."
        )
    spread = np.einsum("kij,kji->k", Sigma, C)
    return float(w @ (U + spread / 2 + np.einsum("ki,kij,kj->k", o, C, o) / 2))


def shifted_loss(loss: ArrayLike, hessian: ArrayLike, shift_covariance: ArrayLike) -> np.ndarray:
    """Mean over training sets of a loss h(theta - s) that random s only shift: h + Tr(h'' Cov s)/2, to second order.

    `loss` (*grid), `hessian` (*grid, d, d) at the same points, `shift_covariance` (d, d), parameter^2. Exact for
    quadratics; the next term is of fourth order in s for symmetric laws.

    >>> shifted_loss(0.5, [[2.0]], [[0.1]])
    array(0.6)

    Raises ValueError for arrays that do not fit each other.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", section 2, shift by sampling.
    """
    h, curvature, S = (np.asarray(each, dtype=float) for each in (loss, hessian, shift_covariance))
    if S.ndim != 2 or S.shape[0] != S.shape[1] or curvature.shape[-2:] != S.shape:
        raise ValueError(
            f"loss has shape {h.shape}, hessian {curvature.shape} and shift_covariance {S.shape}, expected (*grid), "
            "(*grid, d, d) and (d, d). Evaluate loss and hessian at the same points."
        )
    return np.asarray(h + np.einsum("...ij,ji->...", curvature, S) / 2)
