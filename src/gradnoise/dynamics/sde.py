"""The stochastic differential equation of SGD, by Euler-Maruyama."""

from gradnoise import _checks
from gradnoise.dynamics.diffusion import DiffusionStep
from gradnoise.dynamics.momentum import MomentumRule, current_params
from gradnoise.problem import Problem, require_problem
from gradnoise.process import Process


def sde(
    problem: Problem,
    num_substeps: int = 8,
    order: int = 1,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    injected_noise: float = 0.0,
) -> Process:
    """The diffusion with SGD's drift and covariance (Ito), in time t, one effective step being the time learning_rate.

        dX = -grad L(X) dt + (learning_rate * Sigma(X))^(1/2) dW
        a substep:  X <- X - (learning_rate / m) grad L + (learning_rate / sqrt(m)) Sigma^(1/2) z,   m = num_substeps

    L is the mean loss of the replica's training set with weight_decay/2 |X|^2 added, Sigma the covariance of one batch
    mean gradient as in `noisy_gd`, which is m = 1. (The noise does not see the decay.) Euler-Maruyama is of weak order
    one: the error of an expectation falls as 1/m. A substep costs one pass over the training set.

    `order=2` takes the drift -grad(L + (learning_rate/4) |grad L|^2) instead, which removes the difference from SGD of
    order learning_rate^2 (batches drawn with replacement from the population); one gradient and one hessian product
    more a substep. It is defined without momentum. With per-parameter learning rates E the drift is
    -E (G + (1/2) H E G).

    With momentum it is the diffusion of the whole state (theta, v) that SVAG(l) converges to: in units of steps s,
    dtheta = -learning_rate (momentum * v ds + dg), dv = (momentum - 1) v ds + dg with dg = grad L ds + Sigma^(1/2) dW.
    `injected_noise` beta adds beta^2 I to the per-example covariance, as in `sgd`.

    >>> import numpy as np
    >>> from gradnoise.problem import from_arrays
    >>> problem = from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float32(0), np.array([-1.0, 1.0]))
    >>> sde(problem, num_substeps=16).num_substeps
    16

    Raises ValueError for num_substeps below 1, order other than 1 or 2, order=2 with momentum, and what `sgd` raises
    for its settings; TypeError for other types. `simulate` raises ValueError for training_set="population" if the
    problem has no pool.

    Source: Li, Malladi, Arora, "On the Validity of Modeling SGD with Stochastic Differential Equations", eq (2); order 2
    for their Remark 5.3: docs/theory/processes.md; momentum: Gomez-Uribe, "Studying Generalization Through Data Averaging",
    (29), (40), (41) with the sign of the noise corrected.
    """
    require_problem(problem)
    num_substeps = _checks.integer("num_substeps", num_substeps)
    order = _checks.integer("order", order, maximum=2)
    rule = MomentumRule(momentum, nesterov, 0.0, weight_decay, injected_noise)
    if order == 2 and rule.momentum:
        raise ValueError(
            f"order=2 came with momentum={rule.momentum:g}, expected no momentum: the second-order drift is that of "
            "plain SGD. Use order=1, or leave momentum out."
        )
    settings = (*rule.settings, ("noise", "gaussian"), ("num_substeps", num_substeps), ("order", order))
    step = DiffusionStep(problem, rule, num_substeps, order)
    return Process("sde", problem, rule.start, step, current_params, num_substeps, 0, settings)
