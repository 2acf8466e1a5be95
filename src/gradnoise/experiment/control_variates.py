"""Observables with expectation zero by construction, and the means that they sharpen without bias.

Each is a sum over the drawn training examples of a statistic centred over the pool, so its expectation over training sets
is zero whatever the theory says; none is ever set to a prediction.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _tree
from gradnoise._types import Params
from gradnoise.dynamics import Simulation
from gradnoise.problem import Problem, require_pool

Observable = Callable[[Params, Any], Any]


def control_variates(problem: Problem, params: Params) -> dict[str, Observable]:
    """Observables for `simulate(observe=...)`: centred statistics, at the start `params`, of the replica's training set.

        control_loss         sum_n (m_n - mean m)              train loss and gap, from the first step on
        control_slope        sum_n (g_n - G) . Gm              first order in the learning rate
        control_alignment    sum_n (g_n . gm_n - mean)         first order, train loss and gap
        control_curvature    sum_n (G h_n G - mean)            second order, fluctuating hessian
        control_bend         sum_n (g_n - G) . H G             second order, fluctuating gradient
        control_square       |xi|^2 - N tr D                   first order, train loss and gap
        control_bent_square  xi . H xi - N tr(D H)             second order

    with m the measured function, g and h gradient and hessian of the loss, xi = sum_n (g_n - G); means, G, H and the
    covariance D over the pool (Gm: of m). Needs a pool; they do not change
    in time, so one record at step 0 will do: `compare(curve, runs, controls=records)`.

    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: 0.0, np.array([-1.0, 1.0]))
    >>> len(control_variates(problem, 0.5))
    7

    Raises ValueError if the problem has no pool.
    """
    pool = require_pool(problem, "control_variates")
    with jax.enable_x64(True):
        start, examples = _tree.cast(params, jnp.float64), _tree.cast(pool, jnp.float64)
        pooled = jax.jit(lambda: _pool_statistics(problem, start, examples))()
        start, pooled = jax.tree.map(np.asarray, (start, pooled))

    def observable(name: str) -> Observable:
        def value(params: Params, training_examples: Any) -> jax.Array:
            at, known, whole = _tree.cast((start, pooled, pool), jax.tree.leaves(params)[0].dtype)
            if name in known["means"]:
                return jnp.sum(_statistics(problem, at, known, training_examples)[name] - known["means"][name])
            bend = _bend(problem, at, whole) if name == "control_bent_square" else lambda vector: vector
            count = _tree.num_examples(training_examples)
            return _square(problem, at, known, training_examples, bend) - count * known["squares"][name]

        return value

    return {name: observable(name) for name in (*pooled["means"], *pooled["squares"])}


def _mean_of(function: Callable, examples: Any) -> Callable[[Params], jax.Array]:
    return lambda p: jnp.mean(jax.vmap(function, (None, 0))(p, examples))


def _bend(problem: Problem, start: Params, pool: Any) -> Callable[[Params], Params]:
    """v -> H v, H the hessian of the mean loss over the pool."""
    gradient_of = jax.grad(_mean_of(problem.loss, pool))
    return lambda vector: jax.jvp(gradient_of, (start,), (vector,))[1]


def _pool_statistics(problem: Problem, start: Params, pool: Any) -> dict[str, Any]:
    """Directions (trees like params), means of the statistics over the pool, and tr D and tr(D H) for the squares."""
    gradient = jax.grad(_mean_of(problem.loss, pool))(start)
    bend = _bend(problem, start, pool)
    known = {
        "gradient": gradient,
        "measured": jax.grad(_mean_of(problem.measured_loss, pool))(start),
        "bend": bend(gradient),
    }
    means = {name: jnp.mean(value) for name, value in _statistics(problem, start, known, pool).items()}

    def square(example: Any) -> tuple[jax.Array, jax.Array]:
        one = jax.tree.map(lambda leaf: leaf[None], example)
        plain, bent = (_square(problem, start, known, one, along) for along in (lambda vector: vector, bend))
        return plain, bent

    trace, bent_trace = jax.lax.map(square, pool)
    squares = {"control_square": jnp.mean(trace), "control_bent_square": jnp.mean(bent_trace)}
    return {**known, "means": means, "squares": squares}


def _statistics(problem: Problem, start: Params, known: dict[str, Any], examples: Any) -> dict[str, jax.Array]:
    """Name -> the statistic of every example (n,), not centred."""

    def losses(p: Params) -> jax.Array:
        return jax.vmap(problem.loss, (None, 0))(p, examples)

    def slope(p: Params, direction: Params) -> jax.Array:
        return jax.jvp(losses, (p,), (direction,))[1]

    gradient = known["gradient"]
    own, measured = (
        jax.vmap(jax.grad(function), (None, 0))(start, examples) for function in (problem.loss, problem.measured_loss)
    )
    return {
        "control_loss": jax.vmap(problem.measured_loss, (None, 0))(start, examples),
        "control_slope": slope(start, known["measured"]),
        "control_alignment": _row_products(own, measured),
        "control_curvature": jax.jvp(lambda p: slope(p, gradient), (start,), (gradient,))[1],
        "control_bend": slope(start, known["bend"]),
    }


def _square(problem: Problem, start: Params, known: dict[str, Any], examples: Any, bend: Callable) -> jax.Array:
    """xi . M xi for xi = sum_n (g_n - G) over the examples, M the identity or the mean hessian."""
    count = _tree.num_examples(examples)
    total = jax.grad(lambda p: jnp.sum(jax.vmap(problem.loss, (None, 0))(p, examples)))(start)
    noise = jax.tree.map(lambda g, mean: g - count * mean, total, known["gradient"])
    return sum(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum(a * b), noise, bend(noise))), jnp.zeros(()))


def _row_products(a: Params, b: Params) -> jax.Array:
    """The scalar product of row n of a with row n of b, over all leaves (n,)."""
    products = jax.tree.map(lambda x, y: jnp.sum(x * y, axis=tuple(range(1, x.ndim))), a, b)
    return sum(jax.tree.leaves(products), jnp.zeros(()))


def subtract_controls(simulation: Simulation, name: str, controls: Simulation | None = None) -> np.ndarray:
    """The runs (replica, record) of an observable less what the controls explain of them; the mean stays unbiased.

    `controls` is a simulation of the same replicas (same key, number, problem, num_examples; the same one, say) that
    recorded `control_variates`; their first record is used. The coefficients for one half of the replicas are fitted on
    the other half, so they are independent of what they multiply. Raises ValueError if a replica diverged, if the
    replicas are others, or if a control's mean is off zero by more than 5 standard errors.
    """
    simulation.mean(name)
    runs = np.asarray(simulation.observables[name], dtype=float)
    if controls is None:
        return runs
    if name in simulation.controls:
        raise ValueError(
            "controls came beside a simulation with variance_reduction, whose mean is adjusted already. Leave one out."
        )
    names, variates = _recorded(controls, simulation)
    score = variates.mean(0) / (variates.std(0, ddof=1) / np.sqrt(len(variates)) + np.finfo(float).tiny)
    if np.any(np.abs(score) > 5):
        worst = int(np.argmax(np.abs(score)))
        raise ValueError(
            f"controls: the mean of {names[worst]!r} is {score[worst]:.1f} standard errors from zero, expected zero by "
            "construction. It would bias the comparison: leave it out."
        )
    rounding = 64 * np.finfo(simulation.dtype).eps * np.abs(runs).max()
    half = len(runs) // 2
    parts = (slice(0, half), slice(half, None))
    adjusted = np.empty_like(runs)
    for own, other in (parts, parts[::-1]):
        centred = variates[other] - variates[other].mean(0)
        coefficients, *_ = np.linalg.lstsq(centred, runs[other] - runs[other].mean(0), rcond=None)
        coefficients[:, runs[other].std(0) <= rounding] = 0
        adjusted[own] = runs[own] - variates[own] @ coefficients
    return adjusted


def _recorded(controls: Simulation, simulation: Simulation) -> tuple[list[str], np.ndarray]:
    """The names of the recorded controls and their values (replica, control), scaled to one another."""
    if not isinstance(controls, Simulation):
        raise TypeError(f"controls is {type(controls).__name__}, expected a Simulation that recorded control_variates.")
    names = [name for name in controls.observables if name.startswith("control_")]
    if not names:
        raise ValueError("controls recorded none. Simulate with observe=control_variates(problem, params).")
    same = ("num_replicas", "problem_name", "training_set")
    if any(getattr(controls, f) != getattr(simulation, f) for f in same) or (
        controls.spacetime.num_examples != simulation.spacetime.num_examples
    ):
        raise ValueError("controls were recorded on other replicas. Simulate both with the same key, problem and N.")
    variates = np.stack([np.asarray(controls.observables[name], dtype=float)[:, 0] for name in names], axis=1)
    spread = variates.std(axis=0)
    kept = spread > 1e-12 * max(np.abs(variates).max(), 1e-300)
    return [name for name, keep in zip(names, kept, strict=True) if keep], variates[:, kept] / spread[kept]
