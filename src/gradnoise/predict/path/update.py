"""One update of SGD as a map that is linear in (state, gradient): the same for the path and for deviations from it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Update(NamedTuple):
    """Optimizer settings as PyTorch's SGD has them; hashable, static under jit.

    The state is an array (slots, ..., P): the weights and, with momentum, the buffer.

        v <- momentum v + (1 - dampening) g     (g at the first step)
        w <- w - rate v                         (nesterov: g + momentum v in place of v)
    """

    momentum: float = 0.0
    nesterov: bool = False
    dampening: float = 0.0

    @property
    def num_slots(self) -> int:
        """1, or 2 with momentum."""
        return 2 if self.momentum else 1

    def start(self, weights: jax.Array) -> jax.Array:
        """The state before the first step: empty buffer."""
        return jnp.stack([weights, *[jnp.zeros_like(weights)] * (self.num_slots - 1)])

    def __call__(self, state: jax.Array, gradient: jax.Array, rate: jax.Array, is_first: jax.Array) -> jax.Array:
        """The state after one step; `rate` is a scalar or one a weight, (P,)."""
        if not self.momentum:
            return (state[0] - rate * gradient)[None]
        fresh = jnp.where(is_first, 1.0, 1.0 - self.dampening)
        buffer = self.momentum * state[1] + fresh * gradient
        direction = gradient + self.momentum * buffer if self.nesterov else buffer
        return jnp.stack([state[0] - rate * direction, buffer])
