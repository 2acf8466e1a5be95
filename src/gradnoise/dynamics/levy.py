"""Processes that jump: gradient flow with the jumps of single examples, or with noise of heavy tails."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from gradnoise import _checks, _tree
from gradnoise._rates import per_leaf
from gradnoise._types import Key, PyTree
from gradnoise.dynamics.momentum import MomentumRule, MomentumState, current_params
from gradnoise.dynamics.reweighting import centred_weights, mean_gradient, weighted_gradient
from gradnoise.problem import Problem, require_problem
from gradnoise.process import Batches, Process


@dataclass(frozen=True)
class PoissonStep:
    """A substep with a Poisson number of jumps; equal by value, so equal processes share one compiled function."""

    problem: Problem
    num_substeps: int
    rule: MomentumRule

    def __call__(self, key: Key, state: MomentumState, batches: Batches, learning_rate: Any) -> MomentumState:
        key, injected = jax.random.split(key)
        size, dtype = _tree.num_examples(batches.training_set), jnp.result_type(*jax.tree.leaves(state.params))
        rate = batches.spacetime.batch_size / (size * self.num_substeps)
        draws = jax.random.poisson(key, rate, (size,)).astype(dtype)
        return self.move(draws, injected, state, batches, learning_rate)

    def move(
        self, draws: jax.Array, injected: Key, state: MomentumState, batches: Batches, learning_rate: Any
    ) -> MomentumState:
        """The substep for given numbers of jumps of each training example; it is affine in them."""
        batch_size, sampling = batches.spacetime.batch_size, batches.spacetime.sampling
        if sampling != "with_replacement":
            raise ValueError(
                f'sampling="{sampling}" came with levy, whose jumps match batches drawn with replacement. Use '
                'sampling="with_replacement" in the spacetime, or training_set="population".'
            )
        weights = centred_weights(draws, self.num_substeps * len(draws) / batch_size)
        gradient = weighted_gradient(self.problem, state.params, batches.training_set, weights)
        gradient = self.rule.regularized(injected, gradient, state.params, batch_size, self.num_substeps)
        return self.rule.advance(state, gradient, learning_rate, self.num_substeps)


@dataclass(frozen=True)
class StableStep:
    """A substep with symmetric stable noise; equal by value, so equal processes share one compiled function."""

    problem: Problem
    num_substeps: int
    tail_index: float
    scale: float
    rule: MomentumRule

    def __call__(self, key: Key, state: MomentumState, batches: Batches, learning_rate: Any) -> MomentumState:
        key, injected = jax.random.split(key)
        return self.move(stable_like(key, state.params, self.tail_index), injected, state, batches, learning_rate)

    def move(
        self, draws: PyTree, injected: Key, state: MomentumState, batches: Batches, learning_rate: Any
    ) -> MomentumState:
        """The substep for given stable numbers, one a weight; it is affine in them."""
        m, power, batch_size = self.num_substeps, 1 / self.tail_index, batches.spacetime.batch_size
        gradient = mean_gradient(self.problem, state.params, batches.training_set)
        gradient = self.rule.regularized(injected, gradient, state.params, batch_size, m)
        moved = self.rule.advance(state, gradient, learning_rate, m)
        rates = per_leaf(learning_rate, state.params)
        kick = jax.tree.map(lambda w, rate, s: w + self.scale * (rate / m) ** power * s, moved.params, rates, draws)
        return moved._replace(params=kick)


def levy(
    problem: Problem,
    tail_index: float | None = None,
    scale: float | None = None,
    num_substeps: int = 8,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    injected_noise: float = 0.0,
) -> Process:
    """Gradient flow driven by jumps, in time t, one effective step being the time learning_rate; two kinds.

    Without `tail_index`: the compensated compound Poisson process with the covariance of SGD's noise,

        dX = -gbar dt,   and at rate B / learning_rate a jump  -(learning_rate / B)(g_n - gbar),   n uniform,

    gbar, g_n: gradients of the replica's training set (of the pool with training_set="population"). Its covariance
    per time is learning_rate * D/B, and its k-th cumulant (-1)^k (learning_rate/B)^(k-1) E (g - gbar)^k: the third is
    that of SGD with replacement, and unlike the diffusion's all of them are unchanged when learning_rate and B are
    scaled together. The number of jumps of each example in a substep is Poisson; a substep costs one weighted pass.
    Momentum as in `sde`. Jumps match draws with replacement: other samplings are refused.

    With `tail_index` alpha in (0, 2] and `scale` sigma: symmetric alpha-stable noise, independent for each weight, h =
    learning_rate / num_substeps,

        X <- X - h gbar + sigma h^(1/alpha) S,   E exp(i k S) = exp(-|k|^alpha)

    in units of parameter / time^(1/alpha); alpha = 2 is Brownian motion of variance 2 sigma^2 a unit of time. Below 2
    no second moment exists, at or below 1 no mean: average bounded observables, not losses. It has no momentum.

    Both have an error of order 1/num_substeps in the drift; `weight_decay` and `injected_noise` as in `sde`.

    >>> import numpy as np
    >>> from gradnoise.problem import from_arrays
    >>> problem = from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float32(0), np.array([-1.0, 1.0]))
    >>> levy(problem).num_substeps, levy(problem, tail_index=1.5, scale=0.1).name
    (8, 'levy')

    Raises ValueError for tail_index outside (0, 2], a scale that is negative, one of the two without the other,
    tail_index with momentum, num_substeps below 1, and what `sgd` raises for its settings; TypeError for other types.
    `simulate` raises ValueError for the first kind unless the sampling is "with_replacement" or the training set the
    population.

    Source: docs/theory/processes.md; Li, Malladi, Arora, "On the Validity of Modeling SGD with Stochastic Differential
    Equations", name the process without a definition in the text at hand.
    """
    require_problem(problem)
    num_substeps = _checks.integer("num_substeps", num_substeps)
    rule = MomentumRule(momentum, nesterov, 0.0, weight_decay, injected_noise)
    alpha, sigma = _check_tails(tail_index, scale, rule)
    settings = (*rule.settings, ("noise", "poisson" if alpha is None else "stable"), ("num_substeps", num_substeps))
    if alpha is None or sigma is None:
        step = PoissonStep(problem, num_substeps, rule)
    else:
        step = StableStep(problem, num_substeps, alpha, sigma, rule)
        settings += (("tail_index", alpha), ("scale", sigma))
    return Process("levy", problem, rule.start, step, current_params, num_substeps, 0, settings)


def stable_like(key: Key, tree: PyTree, tail_index: float) -> PyTree:
    """Independent symmetric stable numbers, E exp(i k S) = exp(-|k|^alpha), in the shapes and dtypes of `tree`.

        S = sin(alpha V) / cos(V)^(1/alpha) * (cos((1 - alpha) V) / W)^((1 - alpha)/alpha),  V uniform in (-pi/2, pi/2),
        W exponential of mean 1

    Source: Chambers, Mallows, Stuck 1976, "A Method for Simulating Stable Random Variables".
    """
    leaves, structure = jax.tree.flatten(tree)

    def one(key: Key, leaf: jax.Array) -> jax.Array:
        angle_key, time_key = jax.random.split(key)
        half = jnp.finfo(leaf.dtype).eps / 2  # middles of the generator's cells: symmetric, and off the poles
        angle = jnp.pi * (jax.random.uniform(angle_key, leaf.shape, leaf.dtype) + half - 0.5)
        time = jnp.maximum(jax.random.exponential(time_key, leaf.shape, leaf.dtype), half)
        ray = jnp.sin(tail_index * angle) / jnp.cos(angle) ** (1 / tail_index)
        return ray * (jnp.cos((1 - tail_index) * angle) / time) ** ((1 - tail_index) / tail_index)

    keys = jax.random.split(key, len(leaves))
    return structure.unflatten([one(k, leaf) for k, leaf in zip(keys, leaves, strict=True)])


def _check_tails(tail_index: Any, scale: Any, rule: MomentumRule) -> tuple[float | None, float | None]:
    if (tail_index is None) != (scale is None):
        raise ValueError(
            f"tail_index={tail_index!r} came with scale={scale!r}, expected both, for stable noise, or neither. "
            "Give tail_index=1.5, scale=0.1, say."
        )
    if tail_index is None:
        return None, None
    alpha = _checks.number("tail_index", tail_index, above=0)
    if alpha > 2:
        raise ValueError(f"tail_index={alpha:g} is above 2, where no stable law is. Give a number above 0 up to 2.")
    if rule.momentum:
        raise ValueError(f"momentum={rule.momentum:g} came with tail_index={alpha:g}, expected none. Leave one out.")
    return alpha, _checks.number("scale", scale, minimum=0)
