"""The covariance of a mini-batch's mean gradient, as an operator."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator

from gradnoise import _checks, _tree
from gradnoise._signal_noise import noise_fraction
from gradnoise._types import Key, Params
from gradnoise.measure.eigen import largest_pairs, symmetric_operator, total_variance
from gradnoise.measure.gradients import ExampleGradients, example_gradients
from gradnoise.problem import Problem


@dataclass(frozen=True, eq=False)
class NoiseCovariance:
    """Covariance of one batch mean gradient: a symmetric P x P operator that is never formed unless asked.

    `which` says which covariance it is; it equals `factor` times D = (1/n) sum_i (g_i - gbar)(g_i - gbar)^T over the
    `gradients`. Units: loss^2 / parameter^2. Made by `noise_covariance`.
    """

    __array_ufunc__ = None  # array @ operator is __rmatmul__ here, not numpy's product with the dense matrix

    which: str
    factor: float
    batch_size: int
    gradients: ExampleGradients

    @property
    def shape(self) -> tuple[int, int]:
        return (self.gradients.num_parameters, self.gradients.num_parameters)

    def __matmul__(self, other: Any) -> Any:
        """The product with a vector (P,), with columns (P, k), or with a pytree like params (a pytree comes back)."""
        if not self._is_like_params(other):
            return self._product(other)
        with jax.enable_x64(True):
            flat, unravel = _tree.flatten(_tree.cast(other, float))
            return jax.tree.map(np.asarray, unravel(jax.numpy.asarray(self._product(np.asarray(flat)))))

    def __rmatmul__(self, other: Any) -> Any:
        """The product with a vector (P,), with rows (k, P), or with a pytree like params, from the left."""
        return self @ other if self._is_like_params(other) else self._product(np.asarray(other).T).T

    def trace(self) -> float:
        """The trace: mean squared distance of a batch's mean gradient from gbar."""
        return self.factor * total_variance(self.gradients)

    def eigsh(self, k: int) -> tuple[Float[np.ndarray, "k"], Float[np.ndarray, "P k"]]:
        """The k largest eigenvalues, descending, and their eigenvectors as columns.

        Up to 2000 examples or parameters (the fewer of the two), within memory, by singular values of the gradients;
        beyond by restarted Lanczos to rounding accuracy. Raises ValueError if k exceeds P, or beyond the exact sizes if
        it is not below min(n - 1, P); RuntimeError if Lanczos does not converge.
        """
        k = _checks.integer("k", k)
        size = self.gradients.num_parameters
        if k > size:
            raise ValueError(f"k={k} exceeds the {size} parameters. Ask for at most {size} eigenvalues.")
        values, vectors = largest_pairs(self.gradients, k)
        return self.factor * values, vectors

    def todense(self) -> Float[np.ndarray, "P P"]:
        """The matrix itself. Raises MemoryError if it does not fit."""
        size = self.gradients.num_parameters
        self.gradients.require(16 * size**2, f"todense() of {size} parameters", "Use `@`, trace() or eigsh(k) instead")
        dense = np.zeros((size, size))
        for rows in self.gradients.chunks():
            dense += (rows - self.gradients.mean).T @ (rows - self.gradients.mean)
        return dense * (self.factor / self.gradients.num_examples)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.todense().astype(dtype or float)

    def to_scipy(self) -> LinearOperator:
        """The same operator for scipy.sparse.linalg."""
        return symmetric_operator(self.shape[0], self._product)

    def _is_like_params(self, other: Any) -> bool:
        params, shapes = self.gradients.params, lambda tree: [np.shape(leaf) for leaf in jax.tree.leaves(tree)]
        return jax.tree.structure(other) == jax.tree.structure(params) and shapes(other) == shapes(params)

    def _product(self, vectors: Any) -> np.ndarray:
        return self.factor * self.gradients.covariance_product(self._vectors(vectors))

    def _vectors(self, other: Any) -> np.ndarray:
        size = self.gradients.num_parameters
        try:
            vectors = np.asarray(other, dtype=float)
        except (TypeError, ValueError):
            vectors = np.empty(0)
        if vectors.ndim not in (1, 2) or len(vectors) != size:
            came = f"shape {np.shape(other)}" if hasattr(other, "shape") else f"a {type(other).__name__}"
            raise ValueError(
                f"the other factor has {came}, expected ({size},), ({size}, k) or a pytree like params. "
                "Flatten it in the order of jax.flatten_util.ravel_pytree."
            )
        return vectors


def noise_covariance(
    problem: Problem,
    params: Params,
    batch_size: int = 1,
    replacement: bool = True,
    *,
    num_draws: int | None = None,
    key: Key | None = None,
    memory: int | str | None = None,
) -> NoiseCovariance:
    """Covariance of the mean gradient of one batch of B = batch_size examples, centred.

        from a pool of N, with replacement       D/B             D  = (1/N)     sum_i (g_i - gbar)(g_i - gbar)^T
        from a pool of N, without                (S2/B)(1-B/N)   S2 = (1/(N-1)) sum_i (g_i - gbar)(g_i - gbar)^T
        with num_draws examples drawn            S2/B            unbiased, N = num_draws

    The pool's values are exact; those from draws have a sampling error of relative order num_draws^(-1/2) that is not
    given. `memory` bounds the peak of the process (bytes or "2GiB", the default). The
    result multiplies (`@`), and has `trace()`, `eigsh(k)`, `todense()`, `to_scipy()`, `shape` and `which`.

    >>> import gradnoise.problem as gp
    >>> problem = gp.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: 0.0, np.array([1.0, 2.0, 6.0]))
    >>> covariance = noise_covariance(problem, 0.0, batch_size=2, replacement=False)
    >>> covariance.which, covariance.trace()            # S2 = 7, times (1 - 2/3) / 2
    ('(S2/B)(1-B/N)', 1.166...)

    Raises ValueError without a pool and num_draws, for a key without num_draws, and if a batch without replacement
    exceeds the pool.

    Source: docs/theory/noise_scale.md, "Which covariance"; Li, Malladi, Arora 2021, section 3 (there Sigma).
    """
    batch_size = _checks.integer("batch_size", batch_size)
    if not isinstance(replacement, (bool, np.bool_)):
        raise TypeError(f"replacement={replacement!r} is not True or False. Say whether a batch may repeat an example.")
    if num_draws is not None and not replacement:
        raise ValueError(
            "replacement=False needs the pool itself, and num_draws samples it with replacement. Leave one of them out."
        )
    gradients = example_gradients(problem, params, num_draws, key, memory, "noise_covariance")
    count = gradients.num_examples
    if gradients.drawn:
        return NoiseCovariance("S2/B", count / (count - 1) / batch_size, batch_size, gradients)
    if replacement:
        return NoiseCovariance("D/B", 1 / batch_size, batch_size, gradients)
    if batch_size > count:
        raise ValueError(
            f"batch_size={batch_size} exceeds the pool's {count} examples, and replacement=False uses each once. "
            f"Use at most {count}, or replacement=True."
        )
    factor = noise_fraction(count, batch_size) / batch_size
    return NoiseCovariance("(S2/B)(1-B/N)", factor, batch_size, gradients)
