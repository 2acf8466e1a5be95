"""The extreme curvatures of the mean loss, and the learning rate at which gradient descent stops being stable."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gradnoise import _tree
from gradnoise._types import Examples, Key, Params
from gradnoise.estimate import Estimate, from_samples
from gradnoise.measure.eigen import lanczos, symmetric_operator
from gradnoise.measure.gradients import BLOCK, ExampleGradients, example_gradients, map_chunks, sum_over_chunks
from gradnoise.problem import Loss, Problem

DENSE_SIDE = 64
"""Up to this many parameters the hessian is formed."""

TOLERANCE = 1e-8
"""Residual norm, relative to the eigenvalue, at which restarted Lanczos stops."""

FLAT_TOLERANCE = 1e-7
"""The same for the smallest eigenvalue, relative to the largest: it often stands in a dense crowd near zero, where more
digits take forever. The eigenvalue errs by the square of the residual over the gap; `stderr` is the residual."""


class HessianExtremes(NamedTuple):
    """Largest and smallest eigenvalue of the mean loss' hessian, and what they say; see `hessian_extremes`."""

    largest: Estimate
    smallest: Estimate
    """loss / parameter^2; negative at a saddle."""
    curvature_limit: Estimate
    """2 / largest: gradient descent on the quadratic model diverges above it; inf where nothing curves up."""
    largest_vector: Float[np.ndarray, "P"]
    smallest_vector: Float[np.ndarray, "P"]
    """Unit eigenvectors, flat in the order of jax.flatten_util.ravel_pytree; sign arbitrary."""


def hessian_extremes(
    problem: Problem,
    params: Params,
    *,
    num_draws: int | None = None,
    key: Key | None = None,
    memory: int | str | None = None,
) -> HessianExtremes:
    """Extreme eigenvalues of H = (1/n) sum_i (second derivative of the loss of example i), and 2 / lambda_max(H).

    Restarted Lanczos on chunked hessian-vector products from a fixed random start (up to 64 parameters: H itself). On
    the pool (num_draws=None) `stderr` bounds the numerical error, |H v - lambda v|. On `num_draws` examples drawn it
    adds in quadrature the first-order sampling error, the standard error of v^T H_i v over examples; the largest
    eigenvalue of a sample is biased upwards, which it does not contain. The loss is `problem.loss`, penalties included.
    `memory` bounds the peak of the process (bytes or "2GiB", the default).

    >>> import gradnoise.problem as gp
    >>> loss = lambda w, x: (x @ w) ** 2 / 2
    >>> problem = gp.from_arrays(loss, lambda key: np.zeros(2), np.array([[2.0, 0.0], [0.0, 1.0]]))
    >>> hessian_extremes(problem, np.zeros(2)).curvature_limit          # H = diag(2, 1/2)
    Estimate(1 +- 0, num_samples=2)

    Raises ValueError without a pool and num_draws, or for a key without num_draws; RuntimeError if Lanczos does not
    converge.

    Source: Lanczos 1950; the bound: Parlett 1998, "The Symmetric Eigenvalue Problem", theorem 4.5.1.
    """
    gradients = example_gradients(problem, params, num_draws, key, memory, "hessian_extremes")
    with jax.enable_x64(True):
        some = jnp.ones(gradients.num_parameters)
        chunk = gradients.chunk_size(
            lambda block: _compiled_product(gradients.loss, BLOCK, gradients.params, block, some)
        )

    def product(vector: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True):
            ray = jnp.asarray(np.ravel(vector), float)
            return np.asarray(_compiled_product(gradients.loss, chunk, gradients.params, gradients.examples, ray))

    found = [_with_error(gradients, product, chunk, vector) for vector in _extreme_vectors(product, len(some))]
    largest, smallest = (estimate for estimate, _ in found)
    limit = 2 / largest.value if largest.value > 0 else math.inf
    error = 2 * largest.stderr / largest.value**2 if largest.value > 0 else math.nan
    curvature_limit = Estimate(limit, error, largest.num_samples)
    return HessianExtremes(largest, smallest, curvature_limit, found[0][1], found[1][1])


def _extreme_vectors(product: Any, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit eigenvectors of the largest and the smallest eigenvalue."""
    if size <= DENSE_SIDE:
        dense = np.stack([product(row) for row in np.eye(size)])
        _, vectors = np.linalg.eigh((dense + dense.T) / 2)
        return vectors[:, -1], vectors[:, 0]
    start = np.random.default_rng(0).standard_normal(size)
    if not np.any(product(start)):
        return np.eye(size)[0], np.eye(size)[0]
    width = min(size, 40)
    top, vectors = lanczos(symmetric_operator(size, product), 1, "LA", start, width, TOLERANCE)
    bound = abs(float(top[0]))  # shifted by it, a smallest eigenvalue near 0 is no longer small beside the tolerance
    shifted = symmetric_operator(size, lambda vector: product(vector) - bound * np.ravel(vector))
    return vectors[:, 0], lanczos(shifted, 1, "SA", start, width, FLAT_TOLERANCE)[1][:, 0]


def _with_error(
    gradients: ExampleGradients, product: Any, chunk: int, vector: np.ndarray
) -> tuple[Estimate, np.ndarray]:
    image = product(vector)
    value = float(vector @ image)
    residual = float(np.linalg.norm(image - value * vector))
    if not gradients.drawn:
        return Estimate(value, residual, gradients.num_examples), vector
    with jax.enable_x64(True):
        inputs = gradients.params, gradients.examples, jnp.asarray(vector)
        each = np.asarray(_curvatures(gradients.loss, chunk, *inputs)).ravel()[: gradients.num_examples]
    return Estimate(value, math.hypot(residual, from_samples(each).stderr), gradients.num_examples), vector


@partial(jax.jit, static_argnums=(0, 1))
def _compiled_product(loss: Loss, chunk: int, params: Params, examples: Examples, vector: Any) -> jax.Array:
    flat, unravel = _tree.flatten(params)

    def part(block: Examples, fresh: jax.Array) -> jax.Array:
        total = lambda at: jnp.where(fresh, jax.vmap(loss, (None, 0))(unravel(at), block), 0.0).sum()  # noqa: E731
        return jax.jvp(jax.grad(total), (flat,), (vector,))[1]

    return sum_over_chunks(part, examples, chunk) / _tree.num_examples(examples)


@partial(jax.jit, static_argnums=(0, 1))
def _curvatures(loss: Loss, chunk: int, params: Params, examples: Examples, vector: Any) -> jax.Array:
    """v^T H_i v for every example."""
    flat, unravel = _tree.flatten(params)

    def part(block: Examples) -> jax.Array:
        losses = lambda step: jax.vmap(loss, (None, 0))(unravel(flat + step * vector), block)  # noqa: E731
        slope = lambda step: jax.jvp(losses, (step,), (1.0,))[1]  # noqa: E731
        return jax.jvp(slope, (0.0,), (1.0,))[1]

    return map_chunks(part, examples, chunk)
