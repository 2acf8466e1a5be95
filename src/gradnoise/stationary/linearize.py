"""SGD near a point as a linear process: hessian and noise covariance there, and the stationary law they predict."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy import linalg

from gradnoise import _checks, _tree
from gradnoise._types import Examples, Params
from gradnoise.problem import Loss, Problem, probe_problem, require_pool, require_problem
from gradnoise.stationary.linear import LinearDecomposition, linear_decomposition
from gradnoise.stationary.minimum import MeanLoss, check_size

NOISY = 1e-10
"""A direction is noisy if its stationary variance is more than this share of the largest."""
CHUNK_BYTES = 2**26


class Linearization(NamedTuple):
    """Hessian F and covariance D of one example's gradient at a point, weights flat as `jax.flatten_util.ravel_pytree`."""

    F: Float[np.ndarray, "P P"]
    """Of the mean of `problem.loss`, penalty included; loss / parameter^2."""
    D: Float[np.ndarray, "P P"]
    """(1/N) sum_n (g_n - gbar)(g_n - gbar)^T over the pool; loss^2 / parameter^2."""
    gradient: Float[np.ndarray, "P"]
    """gbar: zero at a minimum."""

    def covariance(self, learning_rate: float, batch_size: int) -> Float[np.ndarray, "P P"]:
        """Stationary covariance C of SGD with replacement on the quadratic model, exactly; parameter^2.

            F C + C F - eta F C F = eta D/B,    in F's eigenvectors C_ij = (eta/B) D_ij / (l_i + l_j - eta l_i l_j)

        Directions without noise have none. On a loss that is no quadratic the relative error is of order eta/B.

        Raises ValueError where F has an eigenvalue that is not positive, and for learning_rate >= 2/lambda_max.
        """
        rate, batch = _checks.number("learning_rate", learning_rate, above=0), _checks.integer("batch_size", batch_size)
        return rate / (2 * batch) * _scaled_covariance(self.F, self.D, rate)

    def noisy_directions(self) -> Float[np.ndarray, "P r"]:
        """Orthonormal columns that span the weights which the noise reaches under F; F maps their span to itself."""
        values, vectors = linalg.eigh(_scaled_covariance(self.F, self.D, 0.0))
        return vectors[:, values > NOISY * values[-1]][:, ::-1]

    def decomposition(self, learning_rate: float = 0.0) -> tuple[LinearDecomposition, Float[np.ndarray, "P r"]]:
        """`linear_decomposition` on the noisy directions, and these as columns V: V S V^T is S of all weights.

        Raises ValueError as `linear_decomposition` does.
        """
        columns = self.noisy_directions()
        force, noise = (columns.T @ matrix @ columns for matrix in (self.F, self.D))
        both = ((force + force.T) / 2, (noise + noise.T) / 2)
        return linear_decomposition(*both, learning_rate=learning_rate), columns


def linearize(problem: Problem, params: Params) -> Linearization:
    """F, the hessian of the mean loss over the pool, and D, the covariance of one example's gradient, at `params`.

        theta <- theta - eta (F theta + noise of covariance D/B),    theta counted from the point

    Meant for a minimum (`find_minimum`); elsewhere `gradient` is not zero and the process drifts. A penalty in the loss
    enters F and leaves D as it is. Exact on the pool, float64; P x P matrices are formed, up to 2000 weights.

    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 2, lambda key: 0.0, np.array([1.0, 3.0]))
    >>> found = linearize(problem, 2.0)
    >>> found.F, found.D, found.covariance(0.1, 4)                # 0.025 * 4 / (2 + 2 - 0.1 * 4)
    (array([[2.]]), array([[4.]]), array([[0.0277...]]))

    Raises ValueError without a pool and for more than 2000 weights.

    Source: Chaudhari and Soatto 2018, Lemma 20; docs/theory/spectra.md.
    """
    require_problem(problem)
    examples = require_pool(problem, "linearize")
    with jax.enable_x64(True):
        probe_problem(problem, params, examples)
        params, examples = _tree.cast(params, jnp.float64), _tree.cast(examples, jnp.float64)
        point = np.asarray(_tree.flatten(params)[0])
        check_size(point.size)
        functions = MeanLoss(problem.loss, params, examples)
        gradient = functions.value_and_gradient(point)[1]
        return Linearization(functions.hessian(point), _noise(problem.loss, params, examples, gradient), gradient)


def _noise(loss: Loss, params: Params, examples: Examples, mean: np.ndarray) -> Float[np.ndarray, "P P"]:
    count, size = _tree.num_examples(examples), len(mean)
    chunk = max(1, min(count, CHUNK_BYTES // (8 * size)))
    total = np.zeros((size, size))
    for start in range(0, count, chunk):
        index = np.minimum(np.arange(start, start + chunk), count - 1)
        rows = np.asarray(_rows(loss, params, _tree.take(examples, index)))[: count - start] - mean
        total += rows.T @ rows
    return total / count


@partial(jax.jit, static_argnums=0)
def _rows(loss: Loss, params: Params, block: Examples) -> Float[jax.Array, "c P"]:
    return jax.vmap(lambda example: _tree.flatten(jax.grad(loss)(params, example))[0])(block)


def _scaled_covariance(F: np.ndarray, D: np.ndarray, rate: float) -> Float[np.ndarray, "P P"]:
    """S of F S + S F - eta F S F = 2 D for symmetric positive F."""
    curvatures, vectors = linalg.eigh(F)
    if curvatures[0] <= 0:
        raise ValueError(
            f"F has the eigenvalue {curvatures[0]:.3g}, expected positive ones: no stationary law exists. Linearize at a "
            "minimum (find_minimum)."
        )
    if rate * curvatures[-1] >= 2:
        raise ValueError(
            f"learning_rate={rate:g} diverges: F has the eigenvalue {curvatures[-1]:.6g}. Give one below "
            f"{2 / curvatures[-1]:g}."
        )
    sums = curvatures[:, None] + curvatures - rate * np.outer(curvatures, curvatures)
    return vectors @ (2 * (vectors.T @ D @ vectors) / sums) @ vectors.T
