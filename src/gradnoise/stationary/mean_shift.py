"""How far SGD's mean weights lie from the minimum, to first order in the temperature."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gradnoise import _tree
from gradnoise._types import Params
from gradnoise.problem import Problem, require_pool
from gradnoise.stationary.linearize import Linearization
from gradnoise.stationary.minimum import mean_loss


def mean_shift(
    problem: Problem, params: Params, linearization: Linearization, learning_rate: float, batch_size: int
) -> Float[np.ndarray, "P"]:
    """E theta - theta_min of stationary SGD with replacement, flat: noise pushes the mean towards flatter sides.

        E theta - theta_min = -(1/2) F^-1 grad tr(H(theta) C) + O((eta/B)^2),    C = linearization.covariance(eta, B)

    From 0 = E grad L = F m + (1/2) L''':C. `params` is the minimum, float64. Its size is of order eta/B; that of the
    spread around it (eta/B)^(1/2): the shift is small beside one run's spread, and seen in many.

    >>> import gradnoise as gn
    >>> from gradnoise.stationary.linearize import linearize
    >>> problem = gn.from_arrays(lambda w, x: w**2 / 2 + w**3 / 6 + x * w, lambda key: 0.0, np.array([1.0, -1.0]))
    >>> mean_shift(problem, 0.0, linearize(problem, 0.0), 0.01, 1)             # -C/2, C = 0.01/(2 - 0.01)
    array([-0.0025126])

    Raises ValueError as `Linearization.covariance`.

    Source: docs/theory/spectra.md, "Near a minimum".
    """
    C = linearization.covariance(learning_rate, batch_size)
    with jax.enable_x64(True):
        examples = _tree.cast(require_pool(problem, "mean_shift"), jnp.float64)
        tree = _tree.cast(params, jnp.float64)
        point, slope = _tree.flatten(tree)[0], jax.grad(mean_loss(problem.loss, tree, examples))
        strengths, directions = np.linalg.eigh(C)
        rows = jnp.asarray((directions * np.sqrt(np.maximum(strengths, 0.0))).T)

        def trace(at: jax.Array) -> jax.Array:
            along = lambda row: row @ jax.jvp(slope, (at,), (row,))[1]  # noqa: E731
            return jax.lax.map(along, rows).sum()

        push = np.asarray(jax.jit(jax.grad(trace))(point))
    return -np.linalg.solve(linearization.F, push) / 2
