"""SGD and gradient descent, in the arithmetic of PyTorch's `torch.optim.SGD`."""

from dataclasses import dataclass
from typing import Any

from gradnoise import _tree
from gradnoise._types import Key
from gradnoise.dynamics.momentum import MomentumRule, MomentumState, current_params
from gradnoise.dynamics.reweighting import mean_gradient
from gradnoise.problem import Problem, require_problem
from gradnoise.process import Batches, Process


@dataclass(frozen=True)
class MomentumStep:
    """One update theta - eta * direction; equal by value, so equal processes share one compiled function."""

    problem: Problem
    full_batch: bool
    rule: MomentumRule

    def __call__(self, key: Key, state: MomentumState, batches: Batches, learning_rate: Any) -> MomentumState:
        examples = batches.training_set if self.full_batch else _tree.take(batches.examples, 0)
        gradient = mean_gradient(self.problem, state.params, examples)
        gradient = self.rule.regularized(key, gradient, state.params, batches.spacetime.batch_size)
        return self.rule.advance(state, gradient, learning_rate)


def sgd(
    problem: Problem,
    momentum: float = 0.0,
    nesterov: bool = False,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    injected_noise: float = 0.0,
) -> Process:
    """Stochastic gradient descent, as PyTorch's SGD does it.

        g = (1/B) sum_{n in batch} grad l_n(theta) + weight_decay * theta + (injected_noise / sqrt(B)) w,   w ~ N(0, I)
        v <- momentum * v + (1 - dampening) * g     (v = g at the first step)
        theta <- theta - learning_rate * v          (nesterov: g + momentum * v in place of v)

    `weight_decay` is coupled: it adds weight_decay/2 |theta|^2 to every loss, so its unit is that of a curvature,
    loss / parameter^2.
    `injected_noise` is the amplitude beta of isotropic noise with per-example covariance beta^2 I beside the gradients'
    own D: each step of the weights gets learning_rate * (learning_rate / B) * beta^2 I.

    >>> import jax, numpy as np
    >>> from gradnoise.problem import from_arrays
    >>> problem = from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float32(0), np.array([-1.0, 1.0]))
    >>> sgd(problem, momentum=0.9).name
    'sgd'

    Raises ValueError for momentum or dampening outside [0, 1), negative weight_decay or injected_noise, nesterov
    without momentum or with dampening; TypeError if `problem` is no Problem.

    Source: PyTorch's SGD for momentum; Gomez-Uribe, "Studying Generalization Through Data Averaging", eq (15), for the
    injected noise (there without momentum; here it is part of g, so momentum filters it as it does the gradient).
    """
    require_problem(problem)
    rule = MomentumRule(momentum, nesterov, dampening, weight_decay, injected_noise)
    step = MomentumStep(problem, False, rule)
    return Process("sgd", problem, rule.start, step, current_params, settings=rule.settings)


def gradient_descent(
    problem: Problem,
    momentum: float = 0.0,
    nesterov: bool = False,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    injected_noise: float = 0.0,
) -> Process:
    """Gradient descent on the mean loss of the replica's whole training set; arguments as in `sgd`.

    The spacetime gives the number of steps and the training set's size. Its batch size is used only in the amplitude
    of `injected_noise`, so that sgd and gradient_descent inject the same noise.

    >>> import jax, numpy as np
    >>> from gradnoise.problem import from_arrays
    >>> problem = from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float32(0), np.array([-1.0, 1.0]))
    >>> gradient_descent(problem).batches_per_substep
    0
    """
    require_problem(problem)
    rule = MomentumRule(momentum, nesterov, dampening, weight_decay, injected_noise)
    step = MomentumStep(problem, True, rule)
    return Process(
        "gradient_descent", problem, rule.start, step, current_params, batches_per_substep=0, settings=rule.settings
    )
