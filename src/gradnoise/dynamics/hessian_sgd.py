"""The hessian-damped update: a step of SGD that is shorter where the batch's loss is curved."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import cg

from gradnoise import _checks, _tree
from gradnoise._rates import per_leaf
from gradnoise._types import Key, Params, PyTree
from gradnoise.dynamics.momentum import MomentumRule, MomentumState, current_params
from gradnoise.dynamics.reweighting import mean_gradient
from gradnoise.problem import Problem, require_problem
from gradnoise.process import Batches, Process

SOLVERS = ("dense", "cg")
LARGEST_DENSE = 64
"""Weights up to which the hessian is formed."""


@dataclass(frozen=True)
class HessianStep:
    """One update; equal by value, so equal processes share one compiled function."""

    problem: Problem
    hessian_damping: float
    solver: str | None
    rule: MomentumRule

    def __call__(self, key: Key, state: MomentumState, batches: Batches, learning_rate: Any) -> MomentumState:
        params, examples = state.params, _tree.take(batches.examples, 0)

        def slope(at: Params) -> PyTree:
            return self.rule.decayed(mean_gradient(self.problem, at, examples), at)

        gradient, hessian_product = jax.linearize(slope, params)
        gradient = self.rule.noisy(key, gradient, batches.spacetime.batch_size)
        roots = jax.tree.map(lambda rate, w: jnp.sqrt(rate) * jnp.ones_like(w), per_leaf(learning_rate, params), params)
        damped = self._solve(hessian_product, gradient, roots)
        return self.rule.advance(state, damped, learning_rate)

    def _solve(self, hessian_product: Any, gradient: PyTree, roots: PyTree) -> PyTree:
        """(1 + lam H E)^-1 g with E = R^2 by the symmetric y = (1 + lam R H R)^-1 R g: y/R, or g - lam H R y if R = 0."""
        gradient, unravel = _tree.flatten(gradient)
        roots, _ = _tree.flatten(roots)

        def curve(vector: jax.Array) -> jax.Array:
            return self.hessian_damping * _tree.flatten(hessian_product(unravel(vector)))[0]

        def matrix(vector: jax.Array) -> jax.Array:
            return vector + roots * curve(roots * vector)

        dense = len(gradient) <= LARGEST_DENSE if self.solver is None else self.solver == "dense"
        solved = _dense(matrix, roots * gradient) if dense else _conjugate_gradients(matrix, roots * gradient)
        still = roots == 0
        return unravel(jnp.where(still, gradient - curve(roots * solved), solved / jnp.where(still, 1, roots)))


def hessian_sgd(
    problem: Problem,
    hessian_damping: float,
    momentum: float = 0.0,
    nesterov: bool = False,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    injected_noise: float = 0.0,
    *,
    solver: str | None = None,
) -> Process:
    """SGD whose gradient is damped by the hessian of the same batch's mean loss.

        theta <- theta - (1/learning_rate + lam H)^-1 g = theta - learning_rate (1 + lam learning_rate H)^-1 g

    lam = `hessian_damping`, without unit; g and H: gradient and hessian of the batch mean loss, weight_decay/2
    |theta|^2 included. lam = 0 is `sgd`; lam = 1/2 cancels the order-learning_rate^2 difference between SGD and
    gradient flow that is not due to noise; lam = 1 is the implicit Euler step, linearized. Per-parameter rates E take
    the place of learning_rate: E (1 + lam H E)^-1 g. With momentum the damped gradient enters the buffer.
    `injected_noise` is part of g, and so damped.

    `solver` "dense" forms H and solves by LU: P hessian products and P^3/3 operations a step for P weights. "cg" takes
    conjugate gradients on 1 + lam E^(1/2) H E^(1/2), one hessian product an iteration, at most 2P + 10 or 1000 of
    them, to a relative residual of 1e-5 (float32) or 1e-10. Default: dense up to 64 weights. Limits: where the hessian
    has an eigenvalue near -1 / (lam learning_rate) the update has a pole and the step is arbitrarily long; below it
    the update climbs along that direction, as the formula says. Where conjugate gradients do not reach the residual
    the weights become NaN, so that `simulate` reports the replica as diverged.

    >>> import numpy as np
    >>> from gradnoise.problem import from_arrays
    >>> problem = from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float32(0), np.array([-1.0, 1.0]))
    >>> hessian_sgd(problem, hessian_damping=0.5).name
    'hessian_sgd'

    Raises ValueError for a negative or infinite hessian_damping and an unknown solver, and what `sgd` raises.

    Source: diagrams.md section 4.4.
    """
    require_problem(problem)
    damping = _checks.number("hessian_damping", hessian_damping, minimum=0)
    if solver is not None:
        _checks.one_of("solver", solver, SOLVERS)
    rule = MomentumRule(momentum, nesterov, dampening, weight_decay, injected_noise)
    step, settings = HessianStep(problem, damping, solver, rule), (*rule.settings, ("hessian_damping", damping))
    return Process("hessian_sgd", problem, rule.start, step, current_params, settings=settings)


def _dense(matrix: Any, right: jax.Array) -> jax.Array:
    return jnp.linalg.solve(jax.vmap(matrix, out_axes=1)(jnp.eye(len(right), dtype=right.dtype)), right)


def _conjugate_gradients(matrix: Any, right: jax.Array) -> jax.Array:
    """The solution, or NaN where the residual stays too large."""
    tolerance = 1e-5 if right.dtype == jnp.float32 else 1e-10
    solution, _ = cg(matrix, right, tol=tolerance, maxiter=min(2 * len(right) + 10, 1000))
    residual = jnp.linalg.norm(matrix(solution) - right)
    return jnp.where(residual <= 10 * tolerance * jnp.linalg.norm(right), solution, jnp.nan)
