"""Weight decay found while training: descent of training loss plus Takeuchi term, as the weights respond to it."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gradnoise import _checks, _tree
from gradnoise._types import Examples, Params
from gradnoise.predict.takeuchi import require_dense
from gradnoise.predict.takeuchi_forms import DENSE_FORMS, flat_problem
from gradnoise.problem import Loss, Problem, require_pool, require_problem

FIRST_STEP, LARGEST_STEP, GROWTH, SHRINKAGE = 0.5, 1.0, 1.2, 0.5
"""Of log(weight decay) at one adjustment: it grows while the slope keeps its sign and shrinks where that turns."""


class TunedWeightDecay(NamedTuple):
    """`params` trained with the `weight_decay` that was found meanwhile; see `tune_weight_decay`.

    The histories have one entry an adjustment: weight decay before it, training loss plus expected gap there, and its
    slope in log(weight decay).
    """

    params: Params
    weight_decay: float
    weight_decays: Float[np.ndarray, "k"]
    objectives: Float[np.ndarray, "k"]
    slopes: Float[np.ndarray, "k"]


def tune_weight_decay(
    problem: Problem,
    params: Params,
    learning_rate: float,
    num_steps: int,
    weight_decay: float = 0.01,
    *,
    form: str = "removal",
    num_adjustments: int = 40,
    smallest: float = 1e-8,
) -> TunedWeightDecay:
    """Gradient descent on the pool whose weight decay lam = e^a descends R as it goes, from `weight_decay`.

        theta <- theta - eta (G + lam theta),    u = d theta/da <- u - eta [(H + lam) u + lam theta]
        R(theta, lam) = mean loss without the decay + gap_T(theta, lam),      dR/da = grad R . u + lam dR/dlam

    gap_T is the Takeuchi term (1/N) tr[C phi_T(H + lam I)], or with form "removal" what it becomes when every example is
    left out of its own fit, which is needed where examples are fewer than weights (see `takeuchi_term`).
    T = `num_steps`, in `num_adjustments` equal parts; after each, a moves against the sign of dR/da by a step that grows
    while the sign stays and halves where it turns, so no scale is to be chosen. The response u is what makes it right:
    descending R (or R with the penalty) in theta and lam as if they were free has no minimum in lam. lam stays above
    `smallest`. Deterministic, float64; up to 1000 weights.

    >>> import gradnoise as gn
    >>> pool = np.tile([-1.0, 1.0], 50)                                      # H = S = 1, mu = 2: lam* = 1/(100 * 4)
    >>> problem = gn.from_arrays(lambda w, x: (w - 2) ** 2 / 2 + x * w, lambda key: np.float64(0.0), pool)
    >>> round(tune_weight_decay(problem, 0.0, learning_rate=0.1, num_steps=4000).weight_decay, 4)
    0.0025

    Raises ValueError without a pool, for more weights than 1000, for num_steps that num_adjustments does not divide,
    for numbers out of range and where the descent diverges; TypeError if `problem` is no Problem.

    Source: diagrams.md section 3, "Regularizer for hyperparameters"; loop.md section 13.
    """
    require_problem(problem)
    require_pool(problem, "tune_weight_decay")
    rate = _checks.number("learning_rate", learning_rate, above=0)
    parts = _checks.integer("num_adjustments", num_adjustments)
    steps = _checks.integer("num_steps", num_steps)
    gap = DENSE_FORMS[_checks.one_of("form", form, DENSE_FORMS)]
    least = _checks.number("smallest", smallest, above=0)
    log_decay = float(np.log(_checks.number("weight_decay", weight_decay, minimum=least)))
    if steps % parts:
        raise ValueError(f"num_adjustments={parts} does not divide num_steps={steps}. Give a divisor.")
    step, before, history = FIRST_STEP, 0.0, []
    with jax.enable_x64(True):
        loss, weights, examples = flat_problem(problem, params)
        require_dense(len(weights))
        response = jnp.zeros_like(weights)
        for _ in range(parts):
            weights, response = _descend(loss, rate, steps // parts, weights, response, log_decay, examples)
            objective, slope = map(float, _objective(gap, loss, rate, steps, weights, response, log_decay, examples))
            _check_finite(rate, objective, slope, (len(history) + 1) * (steps // parts), steps)
            history.append((np.exp(log_decay), objective, slope))
            if before * slope != 0:
                step = min(step * (GROWTH if before * slope > 0 else SHRINKAGE), LARGEST_STEP)
            log_decay, before = max(log_decay - step * np.sign(slope), float(np.log(least))), slope
        tree = jax.tree.map(np.asarray, _tree.flatten(_tree.cast(params, float))[1](weights))
    return TunedWeightDecay(tree, float(history[-1][0]), *(np.array(column) for column in zip(*history, strict=True)))


def _check_finite(rate: float, objective: float, slope: float, done: int, steps: int) -> None:
    if not np.isfinite(objective + slope):
        raise ValueError(
            f"learning_rate={rate} makes the descent diverge: loss or response is infinite after {done} of {steps} steps. "
            "Give a smaller one."
        )


@partial(jax.jit, static_argnums=(0, 1, 2))
def _descend(
    loss: Loss, rate: float, steps: int, weights: jax.Array, response: jax.Array, log_decay: Any, examples: Examples
) -> tuple[jax.Array, jax.Array]:
    """Weights and their response to log(weight decay) after `steps` steps."""

    def one(_: int, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        def update(at: jax.Array, log: Any) -> jax.Array:
            gradient = jax.grad(lambda w: jax.vmap(loss, (None, 0))(w, examples).mean())(at)
            return at - rate * (gradient + jnp.exp(log) * at)

        return jax.jvp(update, (carry[0], jnp.asarray(log_decay)), (carry[1], jnp.ones(())))

    return jax.lax.fori_loop(0, steps, one, (weights, response))


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _objective(
    gap: Any,
    loss: Loss,
    rate: float,
    steps: int,
    weights: jax.Array,
    response: jax.Array,
    log_decay: Any,
    examples: Any,
) -> tuple[jax.Array, jax.Array]:
    """R, and its derivative in log(weight decay) with the weights following."""

    def objective(at: jax.Array, log: Any) -> jax.Array:
        mean = jax.vmap(loss, (None, 0))(at, examples).mean()
        return mean + gap(loss, rate, steps, at, jnp.exp(log), examples)

    return jax.jvp(objective, (weights, jnp.asarray(log_decay)), (response, jnp.ones(())))
