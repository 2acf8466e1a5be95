"""Noisy gradient descent: SGD with its noise made Gaussian, mean and covariance unchanged."""

from gradnoise.dynamics.diffusion import DiffusionStep
from gradnoise.dynamics.momentum import MomentumRule, current_params
from gradnoise.problem import Problem, require_problem
from gradnoise.process import Process


def noisy_gd(
    problem: Problem,
    momentum: float = 0.0,
    nesterov: bool = False,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    injected_noise: float = 0.0,
) -> Process:
    """Gradient descent with Gaussian noise of exactly a batch's covariance Sigma at every point.

        theta <- theta - learning_rate * (gbar + Sigma^(1/2) z + weight_decay * theta),   z ~ N(0, I)

    gbar and Sigma are those of the replica's training set of N examples, for batches of the spacetime's size B:
    Sigma = D/B with replacement, (D/B)(N - B)/(N - 1) without (every other sampling), D = (1/N) sum_n (g_n - gbar)
    (g_n - gbar)^T. With training_set="population" they are the pool's, and Sigma = D/B. No P x P matrix is formed: the
    noisy gradient is that of (1/N) sum_n w_n l_n with

        w_n = 1 + c (xi_n - mean xi),   xi ~ N(0, 1),   c^2 = N Sigma / D

    so a step costs one pass over the training set. Weights may be negative: their loss means nothing, and the recorded
    losses are the unweighted ones. Steps are independent of each other even where SGD's epochs are not. Momentum and
    the other settings as in `sgd`.

    >>> import numpy as np
    >>> from gradnoise.problem import from_arrays
    >>> problem = from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float32(0), np.array([-1.0, 1.0]))
    >>> noisy_gd(problem, momentum=0.9).batches_per_substep
    0

    Raises what `sgd` raises. `simulate` raises ValueError for training_set="population" if the problem has no pool.

    Source: Li, Malladi, Arora, "On the Validity of Modeling SGD with Stochastic Differential Equations", eq (3), there
    called NGD; the weights: docs/theory/processes.md.
    """
    require_problem(problem)
    rule = MomentumRule(momentum, nesterov, dampening, weight_decay, injected_noise)
    step, settings = DiffusionStep(problem, rule), (*rule.settings, ("noise", "gaussian"))
    return Process("noisy_gd", problem, rule.start, step, current_params, batches_per_substep=0, settings=settings)
