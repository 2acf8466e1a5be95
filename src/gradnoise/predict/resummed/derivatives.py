"""The tensors at the nodes of a diagram: derivatives of the losses at one point, as means or one an example."""

from functools import cache, cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise._types import Examples
from gradnoise.predict.path.landscape import Function, Landscape


class DerivativeTensors:
    """Derivatives of loss and measured function at `start`, measured when asked for; float64 whatever the setting.

    `mean(k)` (P,)*k and `noise(k)` (n, P, ..., P), the deviations from it, of the loss over the pool; `root(k)` of the
    measured mean (over the test pool if `held_out`), `root_noise(k)` its deviations over the pool.
    """

    def __init__(self, view: Landscape, start: Any, pool: Examples, test: Examples = None) -> None:
        self._view, self._start, self._pool, self._test = view, start, pool, test
        self.mean = cache(lambda order: self._rows(view.loss, order, pool).mean(axis=0))
        self.noise = cache(lambda order: self._rows(view.loss, order, pool) - self.mean(order))
        self.root = cache(self._root)
        self.root_noise = cache(lambda order: self._rows(view.measured, order, pool) - self.root(order))

    @cached_property
    def num_weights(self) -> int:
        """P."""
        return len(self._start)

    @property
    def is_held_out(self) -> bool:
        """Whether test loss is measured over other examples than the pool."""
        return self._test is not None

    def _root(self, order: int, held_out: bool = False) -> np.ndarray:
        return self._rows(self._view.measured, order, self._test if held_out else self._pool).mean(axis=0)

    def _rows(self, function: Function, order: int, examples: Examples) -> np.ndarray:
        with jax.enable_x64(True):
            return np.asarray(_derivatives(function, order, self._start, examples))


@jax.jit(static_argnums=(0, 1))
def _derivatives(function: Function, order: int, point: jax.Array, examples: Examples) -> jax.Array:
    """The derivative of this order of every example's function, (n, P, ..., P)."""
    derived = function
    for _ in range(order):
        derived = jax.jacfwd(derived)
    return jax.vmap(derived, (None, 0))(jnp.asarray(point), examples)
