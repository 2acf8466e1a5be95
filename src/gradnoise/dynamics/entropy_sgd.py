"""Entropy-SGD: descent of the local entropy, its gradient by a Langevin loop on batches inside each step."""

import math
from dataclasses import dataclass
from typing import Any

import jax

from gradnoise import _checks
from gradnoise._types import Key, Params, PyTree
from gradnoise.dynamics.momentum import MomentumRule, MomentumState, current_params, normal_like
from gradnoise.dynamics.reweighting import mean_gradient
from gradnoise.problem import Problem, require_problem
from gradnoise.process import Batches, Process


@dataclass(frozen=True)
class EntropyStep:
    """One update of the weights; equal by value, so equal processes share one compiled function."""

    problem: Problem
    scope: float
    inner_rate: float
    inner_noise: float
    averaging: float
    rule: MomentumRule

    def __call__(self, key: Key, state: MomentumState, batches: Batches, learning_rate: Any) -> MomentumState:
        count = jax.tree.leaves(batches.examples)[0].shape[0]
        inputs = batches.examples, jax.random.split(key, count)
        (_, average), _ = jax.lax.scan(self._inner(state.params), (state.params, state.params), inputs)
        direction = jax.tree.map(lambda x, mean: (x - mean) / self.scope, state.params, average)
        return self.rule.advance(state, direction, learning_rate)

    def _inner(self, centre: Params) -> Any:
        """One step of the chain about `centre`, and of its running average."""

        def move(chain: tuple[PyTree, PyTree], inputs: tuple[PyTree, Key]) -> tuple[tuple[PyTree, PyTree], None]:
            (y, average), (examples, key) = chain, inputs
            slope = self.rule.decayed(mean_gradient(self.problem, y, examples), y)
            y = jax.tree.map(lambda y, g, x: y - self.inner_rate * (g + (y - x) / self.scope), y, slope, centre)
            if self.inner_noise:
                y = jax.tree.map(lambda y, xi: y + self.inner_noise * xi, y, normal_like(key, y))
            average = jax.tree.map(lambda mean, y: mean + self.averaging * (y - mean), average, y)
            return (y, average), None

        return move


def entropy_sgd(
    problem: Problem,
    scope: float,
    num_inner_steps: int,
    inner_learning_rate: float,
    inner_inverse_temperature: float | None = 1.0,
    averaging: float = 0.25,
    momentum: float = 0.0,
    nesterov: bool = False,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
) -> Process:
    """SGD on the local entropy f_gamma, whose gradient (theta - <y>)/gamma a short Langevin chain estimates.

        y <- y - r (g_batch(y) + weight_decay y + (y - theta)/gamma) + sqrt(2 r/b) xi     num_inner_steps times, from theta
        mu <- (1 - a) mu + a y                                                            beside it, from theta
        theta <- theta - learning_rate * (theta - mu)/gamma                               momentum as in `sgd`

    gamma = `scope`, in squared units of the weights over that of the loss; r = `inner_learning_rate`, small against
    gamma; b = `inner_inverse_temperature` (None: no thermal noise); a = `averaging`, in (0, 1]. Every inner step has a
    fresh batch, so an effective step costs num_inner_steps batches, and batch noise of covariance D r^2/B adds to the
    thermal: the chain is hotter than 1/b says, and biased at order r. The exact f_gamma of small problems is
    `local_entropy`. A learning rate of `scope` sets theta to the average.

    >>> import numpy as np
    >>> from gradnoise.problem import from_arrays
    >>> problem = from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float32(0), np.array([-1.0, 1.0]))
    >>> entropy_sgd(problem, scope=0.1, num_inner_steps=20, inner_learning_rate=0.01).batches_per_substep
    20

    Raises ValueError for scope, inner_learning_rate or inner_inverse_temperature that are not positive, averaging
    outside (0, 1], and what `sgd` raises.

    Source: Chaudhari et al. 2017, "Entropy-SGD"; its gamma is 1/scope, its thermal noise epsilon =
    sqrt(2/inner_inverse_temperature).
    """
    require_problem(problem)
    width = _checks.number("scope", scope, above=0)
    count = _checks.integer("num_inner_steps", num_inner_steps)
    rate = _checks.number("inner_learning_rate", inner_learning_rate, above=0)
    share = _checks.number("averaging", averaging, above=0)
    if share > 1:
        raise ValueError(f"averaging={share:g} is above 1. Give the weight of the newest point, in (0, 1].")
    noise = 0.0
    if inner_inverse_temperature is not None:
        noise = math.sqrt(2 * rate / _checks.number("inner_inverse_temperature", inner_inverse_temperature, above=0))
    rule = MomentumRule(momentum, nesterov, dampening, weight_decay)
    step = EntropyStep(problem, width, rate, noise, share, rule)
    told = {"scope": width, "num_inner_steps": count, "inner_learning_rate": rate, "inner_noise": noise}
    settings = (*rule.settings, *told.items(), ("averaging", share))
    return Process(
        "entropy_sgd", problem, rule.start, step, current_params, batches_per_substep=count, settings=settings
    )
