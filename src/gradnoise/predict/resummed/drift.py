"""Where the noise drives the weights along a valley: down the curvature, weighed with the stationary covariance."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gradnoise import _checks, _tree
from gradnoise._types import Params
from gradnoise.estimate import Estimate
from gradnoise.measure.derivatives import mean_message
from gradnoise.measure.gradients import example_gradients
from gradnoise.predict.path.landscape import landscape
from gradnoise.predict.resummed.spectrum import EXAMPLES_AT_ONCE, leading_curvatures
from gradnoise.problem import Problem, probe_problem, require_pool, require_problem

MOST_WEIGHTS = 2000
"""Up to so many weights all directions are kept."""
FLAT = 1e-7
"""A direction counts as flat where its curvature is below so many times the largest one."""


@dataclass(frozen=True, eq=False, repr=False)
class Drift(Estimate):
    """Mean velocity of the weights a step, flat, `value` (P,) with `stderr` 0: v = -(eta/2) J:Sigma in every direction.

    Across the valley (`curved`, (P, c), the eigenvectors of H) the pull back balances it: there the mean settles at
    `displacement` (P,), v/(eta h). Along flat directions, orthogonal to these, it is a steady velocity: `along_valley` (P,)
    is its part there. Where a curvature is negative the point is no minimum: Sigma leaves those directions out, and the
    mean runs away from `displacement`; `negative_eigenvalues` has them.
    """

    along_valley: Any = 0.0
    displacement: Any = 0.0
    curved: Any = ()
    eigenvalues: Any = ()
    negative_eigenvalues: Any = ()
    learning_rate: float = 0.0
    batch_size: int = 1
    problem_name: str = "problem"

    def __repr__(self) -> str:
        size, curved = np.shape(self.curved)
        return f"Drift({self.problem_name}, {size} weights, {size - curved} flat directions)"


def predict_drift(
    problem: Problem, params: Params, learning_rate: float, batch_size: int, rank: int | None = None
) -> Drift:
    """The velocity at which SGD drifts along a valley of minima, from fresh examples at every step.

        v_l = -(eta/2) Sigma_mn d_l H_mn,     Sigma_ij = (eta/B) C_ij/(h_i + h_j - eta h_i h_j)

    in the eigenbasis of H: descent on the loss blurred with Sigma, Sigma held fixed under the derivative; no potential has
    this as its slope in general. Sigma holds directions that curve up and their pairs with flat ones (h = 0); of two flat
    directions it has nothing, for there noise spreads for ever.
    Units: params a step. Leading order in eta, at `params` on the floor of the valley; the pool is the population, so
    `stderr` is 0. Directions: all, up to 2000 weights, or the `rank` most curved (then nothing P x P is formed, and
    directions that were left count as flat).

    >>> import gradnoise as gn
    >>> drift = predict_drift(gn.testbeds.helix(law="signs"), np.zeros(3), learning_rate=0.1, batch_size=1)
    >>> drift.value[2] / 0.1**2                                     # 1/(6 - 4 eta)
    np.float64(0.178571...)

    Raises ValueError without a pool, for more weights than 2000 without a rank, and where learning_rate times a curvature
    passes 2. Source: diagrams.md section 3 ("Drift") and section 5.
    """
    require_problem(problem)
    pool = require_pool(problem, "predict_drift")
    rate = _checks.number("learning_rate", learning_rate, minimum=0)
    batch = _checks.integer("batch_size", batch_size)
    with jax.enable_x64(True):
        probe_problem(problem, params, pool)
    size = sum(np.size(leaf) for leaf in jax.tree.leaves(params))
    if rank is None and size > MOST_WEIGHTS:
        raise ValueError(
            f"params hold {size} weights, expected at most {MOST_WEIGHTS} in all directions. Give rank=100, say."
        )
    rank = size if rank is None else _checks.integer("rank", rank, maximum=size)
    values, vectors = leading_curvatures(problem, params, rank)
    least = FLAT * np.abs(values).max(initial=0.0)
    up = values > least
    curved = np.abs(values) > least
    bent = vectors[:, curved]
    velocity = -rate / 2 * _blurred_slope(problem, params, (values[up], vectors[:, up], bent), rate, batch)
    shift = bent @ ((bent.T @ velocity) / values[curved]) / rate if rate else np.zeros(size)
    return Drift(
        velocity, np.zeros(size), _tree.num_examples(pool), None, velocity - bent @ (bent.T @ velocity), shift,
        bent, np.sort(values), np.sort(values[values < -least]), rate, batch, problem.name,
    )  # fmt: skip


def stationary_covariance(
    covariance: Float[np.ndarray, "r r"], eigenvalues: Float[np.ndarray, "r"], learning_rate: float, batch_size: int
) -> Float[np.ndarray, "r r"]:
    """Sigma of the weights at rest, from C in eigenvectors of H: Sigma = K Sigma K + (eta^2/B) C.

        Sigma_ij = (eta/B) C_ij/(h_i + h_j - eta h_i h_j)

    Exact in eta for a quadratic; Lyapunov's H Sigma + Sigma H = (eta/B) C is its limit. Raises ValueError unless
    0 < eta h < 2.

    >>> stationary_covariance(np.ones((1, 1)), np.ones(1), learning_rate=0.1, batch_size=1)                # 0.1/1.9
    array([[0.05263158]])

    Source: diagrams.md section 3; loop.md section 13.
    """
    h = np.asarray(eigenvalues, dtype=float)
    if not np.all((h > 0) & (learning_rate * h < 2)):
        raise ValueError(
            f"curvatures run from {h.min():.3g} to {h.max():.3g} at learning_rate={learning_rate:g}, expected 0 < "
            "learning_rate * curvature < 2: beyond, nothing comes to rest. Give a smaller learning rate."
        )
    return learning_rate / batch_size * covariance / (h[:, None] + h - learning_rate * h[:, None] * h)


def _blurred_slope(
    problem: Problem, params: Params, directions: tuple[np.ndarray, np.ndarray, np.ndarray], rate: float, batch: int
) -> Float[np.ndarray, "P"]:
    """J:Sigma, the gradient of tr(Sigma H) at fixed Sigma, by one third derivative along each of two lists of pairs.

    `directions`: curvatures above zero, their eigenvectors, and those of all that are not flat. With a flat direction f
    Sigma_if = (eta/B) C_if/h_i.
    """
    values, vectors, bent = directions
    gradients = example_gradients(problem, params, caller="predict_drift")
    noise = gradients.covariance_product(vectors)
    sizes, turned = np.linalg.eigh(stationary_covariance(vectors.T @ noise, values, rate, batch))
    axes, flat = vectors @ turned, (noise - bent @ (bent.T @ noise)) * (rate / batch / values)
    with jax.enable_x64(True):
        params, pool = _tree.cast(params, jnp.float64), _tree.cast(problem.pool, jnp.float64)
        view, (point, _) = landscape(problem, params, EXAMPLES_AT_ONCE), _tree.flatten(params)
        total = np.zeros(len(point))
        for first, second in [
            *zip(axes.T * sizes[:, None], axes.T, strict=True),
            *zip(2 * vectors.T, flat.T, strict=True),
        ]:
            rays = [jnp.asarray(first), jnp.asarray(second)]
            total += np.asarray(mean_message(view.loss, view.chunk, point, pool, rays))
    return total
