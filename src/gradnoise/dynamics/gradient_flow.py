"""Gradient flow: the ordinary differential equation that gradient descent follows at small learning rates."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from gradnoise import _checks
from gradnoise._rates import per_leaf
from gradnoise._types import Key, PyTree
from gradnoise.dynamics.momentum import MomentumRule, MomentumState, current_params
from gradnoise.dynamics.reweighting import mean_gradient
from gradnoise.problem import Problem, require_problem
from gradnoise.process import Batches, Process

MAX_SOLVER_STEPS = 4096
"""Steps of the solver in one effective step; beyond it the replica counts as diverged."""


@dataclass(frozen=True)
class FlowStep:
    """The flow over one effective step; equal by value, so equal processes share one compiled function."""

    problem: Problem
    rule: MomentumRule
    tolerance: float | None

    def __call__(self, key: Key, state: MomentumState, batches: Batches, learning_rate: Any) -> MomentumState:
        alive = jnp.isfinite(sum(jnp.sum(leaf) for leaf in jax.tree.leaves(state.params)))
        start = jax.tree.map(lambda leaf: jnp.where(alive, leaf, 0), (state.params, state.velocity))
        rates = jax.tree.map(lambda rate: jnp.where(alive, rate, 0), learning_rate)  # a dead replica costs one step
        end, succeeded = self._solve(start, batches, rates)
        params, velocity = jax.tree.map(lambda leaf: jnp.where(alive & succeeded, leaf, jnp.nan), end)
        return MomentumState(params, velocity, None if velocity is None else jnp.array(True))

    def field(self, state: tuple[PyTree, PyTree], batches: Batches, learning_rate: Any) -> tuple[PyTree, PyTree]:
        """d(theta, v)/ds, s in effective steps: the change that a whole step would make."""
        params, velocity = state
        gradient = self.rule.decayed(mean_gradient(self.problem, params, batches.training_set), params)
        end, direction = self.rule.velocity_and_direction(MomentumState(params, velocity, True), gradient)
        moved = jax.tree.map(lambda rate, d: -rate * d, per_leaf(learning_rate, params), direction)
        return moved, None if end is None else jax.tree.map(jnp.subtract, end, velocity)

    def _solve(self, start: tuple[PyTree, PyTree], batches: Batches, learning_rate: Any) -> tuple[Any, jax.Array]:
        import diffrax

        dtype = jnp.result_type(*jax.tree.leaves(start))
        tolerance = self.tolerance or (1e-5 if dtype == jnp.float32 else 1e-8)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda s, state, _: self.field(state, batches, learning_rate)),
            diffrax.Tsit5(),
            t0=0.0,
            t1=1.0,
            dt0=1.0,
            y0=start,
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
            adjoint=diffrax.ForwardMode(),
            max_steps=MAX_SOLVER_STEPS,
            throw=False,
        )
        return jax.tree.map(lambda leaf: leaf[0], solution.ys), solution.result == diffrax.RESULTS.successful


def gradient_flow(
    problem: Problem,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    injected_noise: float = 0.0,
    *,
    tolerance: float | None = None,
) -> Process:
    """The flow along the gradient of the mean loss of the replica's training set, exact to `tolerance`.

        dX/dt = -grad L(X) - weight_decay * X,   one effective step being the time learning_rate

    It is what `gradient_descent` and, without noise, `svag` and `sde` converge to as steps get finer. With momentum it
    is the limit of whole steps on the state (theta, v), s in effective steps: dtheta/ds = -learning_rate (momentum * v
    + g), dv/ds = (momentum - 1) v + g, g the gradient with decay.

    Solver: Tsitouras' 5(4) Runge-Kutta method with adaptive steps; in each its error estimate stays below
    tolerance * (1 + |weight|), root mean square over the state. `tolerance` defaults to 1e-5 in float32 and 1e-8 in
    float64. It is explicit: where learning_rate times the largest curvature is large an effective step takes about a
    third as many solver steps. After 4096 of them, as when the flow runs off to infinity, the weights become NaN and
    `simulate` reports the replica as diverged.

    >>> import numpy as np
    >>> from gradnoise.problem import from_arrays
    >>> problem = from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float32(0), np.array([-1.0, 1.0]))
    >>> gradient_flow(problem, tolerance=1e-4).name
    'gradient_flow'

    Raises ValueError for a tolerance that is not positive and below 1, for injected_noise above 0 (the flow has none:
    use `sde`), and what `sgd` raises for its settings.
    `simulate` raises ValueError for training_set="population" if the problem has no pool.

    Source: diagrams.md section 4.1; the solver is diffrax's `Tsit5`.
    """
    import diffrax  # noqa: F401  (here, and not under a trace: it is slow to load and makes arrays)

    require_problem(problem)
    if tolerance is not None:
        tolerance = _checks.number("tolerance", tolerance, above=0, below=1)
    rule = MomentumRule(momentum, nesterov, 0.0, weight_decay, injected_noise)
    if rule.injected_noise:
        raise ValueError(
            f"injected_noise={rule.injected_noise:g} came with gradient_flow, which has no noise. Use sde."
        )
    step, settings = FlowStep(problem, rule, tolerance), (*rule.settings, ("noise", "none"))
    return Process("gradient_flow", problem, rule.start, step, current_params, batches_per_substep=0, settings=settings)
