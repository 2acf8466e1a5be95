"""Any optimizer of optax as a process: Adam and its kin beside SGD."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import optax

from gradnoise import _checks, _tree
from gradnoise._rates import per_leaf
from gradnoise._types import Key, Params
from gradnoise.dynamics.reweighting import mean_gradient
from gradnoise.problem import Problem, require_problem
from gradnoise.process import Batches, Process


class OptimizerState(NamedTuple):
    """Weights and optax's own state."""

    params: Params
    inner: Any


@dataclass(frozen=True)
class OptimizerStep:
    """theta <- theta - learning_rate * direction; equal by value where the transformations are the same objects."""

    problem: Problem
    transformation: optax.GradientTransformation
    weight_decay: float

    def __call__(self, key: Key, state: OptimizerState, batches: Batches, learning_rate: Any) -> OptimizerState:
        gradient = mean_gradient(self.problem, state.params, _tree.take(batches.examples, 0))
        if self.weight_decay:
            gradient = jax.tree.map(lambda g, w: g + self.weight_decay * w, gradient, state.params)
        direction, inner = self.transformation.update(gradient, state.inner, state.params)
        rates = per_leaf(learning_rate, state.params)
        moved = jax.tree.map(lambda w, rate, d: (w - rate * d).astype(w.dtype), state.params, rates, direction)
        return OptimizerState(moved, inner)


def optimizer(
    problem: Problem, transformation: optax.GradientTransformation, weight_decay: float = 0.0, name: str = "optimizer"
) -> Process:
    """The updates of an optax transformation, without its learning rate: give `optax.scale_by_adam()`, not `optax.adam`.

        theta <- theta - learning_rate * transformation(g),      g = batch mean gradient + weight_decay * theta

    The learning rate is `simulate`'s, as for every process. `weight_decay` is coupled, as in `sgd` (so is PyTorch's Adam,
    not AdamW).

    >>> import numpy as np
    >>> from gradnoise.problem import from_arrays
    >>> problem = from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float32(0), np.array([-1.0, 1.0]))
    >>> optimizer(problem, optax.scale_by_adam(), name="adam").name
    'adam'

    Raises TypeError if `problem` is no Problem or `transformation` none of optax's, ValueError for negative weight_decay.
    """
    require_problem(problem)
    if not isinstance(transformation, optax.GradientTransformation):
        raise TypeError(
            f"transformation is {type(transformation).__name__}, expected one of optax. Give optax.scale_by_adam(), say."
        )
    decay = _checks.number("weight_decay", weight_decay, minimum=0)
    step = OptimizerStep(problem, transformation, decay)

    def start(params: Params) -> OptimizerState:
        return OptimizerState(params, transformation.init(params))

    return Process(
        name, problem, start, step, lambda state: state.params,
        settings=(("weight_decay", decay), ("optimizer", name)),
    )  # fmt: skip
