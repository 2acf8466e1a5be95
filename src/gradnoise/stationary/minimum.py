"""A minimum of a problem's mean loss, found to rounding: where a linear description of SGD starts."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy import linalg, optimize

from gradnoise import _checks, _tree
from gradnoise._types import Examples, Params
from gradnoise.problem import Loss, Problem, probe_problem, require_pool, require_problem

MOST_WEIGHTS = 2000
"""Up to so many weights; the hessian is formed and decomposed, 32 MB each here."""
NEWTON_STEPS = 50
ROWS_AT_ONCE = 16


class Minimum(NamedTuple):
    """A point where the mean loss has no slope and curves up in every direction; see `find_minimum`."""

    params: Params
    """The weights, float64, as a tree like those given."""
    loss: float
    """Mean of `problem.loss` there, penalty included."""
    gradient_norm: float
    smallest_eigenvalue: float
    """Of the hessian of the mean loss; positive."""
    largest_eigenvalue: float
    num_newton_steps: int


def find_minimum(problem: Problem, params: Params, tolerance: float = 1e-10, *, max_iterations: int = 2000) -> Minimum:
    """The minimum of the mean of `problem.loss` over the pool that descent from `params` reaches; float64.

    L-BFGS, then Newton's steps with the hessian formed, halved until the gradient shrinks, until |grad L| < tolerance.
    It is a minimum of the loss with its penalty (`weight_l2`, or `penalized`): without one, softmax regression has none
    on data that can be separated, and elsewhere a flat one. Deterministic, no statistical error: |grad L|/lambda_min
    bounds the distance from the minimum to first order.

    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2 + w**4, lambda key: 0.0, np.array([4.0, 6.0]))
    >>> found = find_minimum(problem, 0.0)
    >>> round(float(found.params), 6), found.gradient_norm < 1e-10, found.smallest_eigenvalue       # 4 w^3 + w = 5
    (1.0, True, 13.0)

    Raises ValueError without a pool, for more than 2000 weights, where the tolerance is not reached (as without a
    penalty, when weights run off to infinity), and at a point where the hessian has an eigenvalue that is not positive.

    Source: Nocedal and Wright 2006, sections 7.2 and 3.3.
    """
    require_problem(problem)
    examples = require_pool(problem, "find_minimum")
    tolerance = _checks.number("tolerance", tolerance, above=0)
    max_iterations = _checks.integer("max_iterations", max_iterations)
    with jax.enable_x64(True):
        probe_problem(problem, params, examples)
        params, examples = _tree.cast(params, jnp.float64), _tree.cast(examples, jnp.float64)
        start, unravel = _tree.flatten(params)
        check_size(start.size)
        functions = MeanLoss(problem.loss, params, examples)
        near = _descend(functions, np.asarray(start), max_iterations)
        point, steps = _newton(functions, near, tolerance)
        found = _checked(functions, point, tolerance, steps)
        return found._replace(params=jax.tree.map(np.asarray, unravel(jnp.asarray(point))))


class MeanLoss:
    """Mean loss over examples as a function of a flat vector, with gradient and hessian; use inside enable_x64(True)."""

    def __init__(self, loss: Loss, params: Params, examples: Examples) -> None:
        self._loss, self._params, self._examples = loss, params, examples

    def value_and_gradient(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _value_and_gradient(self._loss, self._params, self._examples, jnp.asarray(point))
        return float(value), np.asarray(slope)

    def hessian(self, point: np.ndarray) -> Float[np.ndarray, "P P"]:
        found = np.asarray(_hessian(self._loss, self._params, self._examples, jnp.asarray(point)))
        return (found + found.T) / 2


def _descend(functions: MeanLoss, start: np.ndarray, max_iterations: int) -> np.ndarray:
    options = {"maxiter": max_iterations, "maxfun": 2 * max_iterations, "gtol": 1e-9, "ftol": 1e-15, "maxcor": 20}
    found: Any = optimize.minimize(functions.value_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x)


def _newton(functions: MeanLoss, point: np.ndarray, tolerance: float) -> tuple[np.ndarray, int]:
    """Newton's steps on |eigenvalues|, so that they descend, halved until the gradient is shorter."""
    slope = functions.value_and_gradient(point)[1]
    for steps in range(NEWTON_STEPS):
        if np.linalg.norm(slope) < tolerance:
            return point, steps
        values, vectors = linalg.eigh(functions.hessian(point))
        safe = np.maximum(np.abs(values), np.finfo(float).eps * np.abs(values).max() + np.finfo(float).tiny)
        direction = -vectors @ ((vectors.T @ slope) / safe)
        shorter = _shorter(functions, point, direction, float(np.linalg.norm(slope)))
        if shorter is None:
            return point, steps
        point, slope = shorter
    return point, NEWTON_STEPS


def _shorter(
    functions: MeanLoss, point: np.ndarray, direction: np.ndarray, length: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """The first of the step, its half, its quarter, ... that makes the gradient shorter."""
    for halvings in range(30):
        there = point + direction / 2**halvings
        slope = functions.value_and_gradient(there)[1]
        if np.linalg.norm(slope) < length:
            return there, slope
    return None


def _checked(functions: MeanLoss, point: np.ndarray, tolerance: float, steps: int) -> Minimum:
    """The minimum at `point`, or a sentence why there is none."""
    value, slope = functions.value_and_gradient(point)
    length = float(np.linalg.norm(slope))
    if not length < tolerance:
        raise ValueError(
            f"no minimum was found: the gradient's norm is {length:.3g}, expected below tolerance={tolerance:g}. Add a "
            "penalty (weight_l2, or gradnoise.problem.penalized), start elsewhere, or raise max_iterations."
        )
    eigenvalues = linalg.eigvalsh(functions.hessian(point))
    rounding = len(point) * np.finfo(float).eps * np.abs(eigenvalues).max()
    if eigenvalues[0] <= rounding:
        kind = "a saddle" if eigenvalues[0] < -rounding else "flat in some direction"
        raise ValueError(
            f"the point found is {kind}: the hessian's smallest eigenvalue is {eigenvalues[0]:.3g}, expected a positive "
            "one. Add a penalty (weight_l2, or gradnoise.problem.penalized), or start elsewhere."
        )
    return Minimum(None, value, length, float(eigenvalues[0]), float(eigenvalues[-1]), steps)


def check_size(size: int) -> None:
    """Raise ValueError for more weights than a hessian is formed for."""
    if size > MOST_WEIGHTS:
        raise ValueError(
            f"params holds {size} weights, expected at most {MOST_WEIGHTS}, for the hessian is formed. Take a smaller model."
        )


def mean_loss(loss: Loss, params: Params, examples: Examples) -> Callable[[jax.Array], jax.Array]:
    """The mean over examples as a function of flat weights."""
    _, unravel = _tree.flatten(params)
    return lambda point: jnp.mean(jax.vmap(loss, (None, 0))(unravel(point), examples))


@partial(jax.jit, static_argnums=0)
def _value_and_gradient(loss: Loss, params: Params, examples: Examples, point: jax.Array) -> Any:
    return jax.value_and_grad(mean_loss(loss, params, examples))(point)


@partial(jax.jit, static_argnums=0)
def _hessian(loss: Loss, params: Params, examples: Examples, point: jax.Array) -> jax.Array:
    slope = jax.grad(mean_loss(loss, params, examples))
    row = lambda unit: jax.jvp(slope, (point,), (unit,))[1]  # noqa: E731
    return jax.lax.map(row, jnp.eye(point.size), batch_size=min(ROWS_AT_ONCE, point.size))
