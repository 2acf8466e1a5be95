"""Gradients of weighted mean losses: one pass over the examples gives noise of any wanted covariance."""

from typing import Any

import jax
import jax.numpy as jnp

from gradnoise import _signal_noise, _tree
from gradnoise._types import Examples, Params, PyTree
from gradnoise.problem import Problem
from gradnoise.process import Batches


def mean_gradient(problem: Problem, params: Params, examples: Examples) -> PyTree:
    """(1/n) sum_i grad l_i(params), a tree like params."""
    return jax.grad(lambda weights: jnp.mean(_losses(problem, weights, examples)))(params)


def weighted_gradient(problem: Problem, params: Params, examples: Examples, weights: jax.Array) -> PyTree:
    """(1/n) sum_i weights_i grad l_i(params), a tree like params; weights of shape (n,) may be negative."""
    return jax.grad(lambda at: jnp.mean(weights * _losses(problem, at, examples)))(params)


def centred_weights(draws: jax.Array, scale: Any) -> jax.Array:
    """1 + scale * (xi_i - mean xi), shape (n,): their mean is 1, so the weighted gradient's is the mean gradient.

    With independent draws xi of variance one the weighted gradient has covariance scale^2 D / n, D = (1/n) sum_i
    (g_i - gbar)(g_i - gbar)^T. Without the centring gbar gbar^T scale^2 / n would be added.
    """
    return 1 + scale * (draws - jnp.mean(draws))


def noise_fraction(batches: Batches) -> float:
    """Covariance of a batch mean gradient over D/B: 1 with replacement, (N - B)/(N - 1) without.

    N is the length of the training set at hand, and the sampling that of the spacetime.
    """
    size, spacetime = _tree.num_examples(batches.training_set), batches.spacetime
    return _signal_noise.noise_fraction(size, spacetime.batch_size, spacetime.sampling == "with_replacement")


def matching_scale(batches: Batches) -> float:
    """The scale of `centred_weights` with which the weighted gradient has the covariance of one batch mean gradient.

        sqrt(N/B) with replacement, sqrt(N/B) sqrt((N - B)/(N - 1)) without

    Source: docs/theory/processes.md.
    """
    size, batch_size = _tree.num_examples(batches.training_set), batches.spacetime.batch_size
    return (size / batch_size * noise_fraction(batches)) ** 0.5


def _losses(problem: Problem, params: Params, examples: Examples) -> jax.Array:
    return jax.vmap(problem.loss, in_axes=(None, 0))(params, examples)
