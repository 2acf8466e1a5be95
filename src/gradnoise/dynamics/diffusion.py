"""One substep of gradient descent with Gaussian noise of a batch's covariance: noisy gradient descent and the SDE."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from gradnoise import _tree
from gradnoise._rates import per_leaf
from gradnoise._types import Examples, Key, Params, PyTree
from gradnoise.dynamics.momentum import MomentumRule, MomentumState
from gradnoise.dynamics.reweighting import centred_weights, matching_scale, mean_gradient, weighted_gradient
from gradnoise.problem import Problem
from gradnoise.process import Batches


@dataclass(frozen=True)
class DiffusionStep:
    """An Euler-Maruyama substep; equal by value, so equal processes share one compiled function."""

    problem: Problem
    rule: MomentumRule
    num_substeps: int = 1
    order: int = 1

    def __call__(self, key: Key, state: MomentumState, batches: Batches, learning_rate: Any) -> MomentumState:
        key, injected = jax.random.split(key)
        size, dtype = _tree.num_examples(batches.training_set), jnp.result_type(*jax.tree.leaves(state.params))
        draws = jax.random.normal(key, (size,), dtype)
        return self.move(draws, injected, state, batches, learning_rate)

    def move(
        self, draws: jax.Array, injected: Key, state: MomentumState, batches: Batches, learning_rate: Any
    ) -> MomentumState:
        """The substep for given standard normal numbers, one a training example; it is affine in them."""
        params, examples = state.params, batches.training_set
        weights = centred_weights(draws, self.num_substeps**0.5 * matching_scale(batches))
        gradient = weighted_gradient(self.problem, params, examples, weights)
        gradient = self.rule.regularized(injected, gradient, params, batches.spacetime.batch_size, self.num_substeps)
        if self.order == 2:
            correction = self._second_order(params, examples, learning_rate)
            gradient = jax.tree.map(jnp.add, gradient, correction)
        return self.rule.advance(state, gradient, learning_rate, self.num_substeps)

    def _second_order(self, params: Params, examples: Examples, learning_rate: Any) -> PyTree:
        """(1/2) H (eta G), G and H with weight decay: for one learning rate the gradient of (eta/4) |G|^2."""

        def drift(at: Params) -> PyTree:
            return self.rule.decayed(mean_gradient(self.problem, at, examples), at)

        step = jax.tree.map(jnp.multiply, per_leaf(learning_rate, params), drift(params))
        _, product = jax.jvp(drift, (params,), (step,))
        return jax.tree.map(lambda leaf: leaf / 2, product)
