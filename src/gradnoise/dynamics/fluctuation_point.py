"""Force, gradient noise and curvature at one point of a run, as fluctuation-dissipation identities combine them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gradnoise import _tree
from gradnoise._signal_noise import example_squares, noise_fraction
from gradnoise._types import Examples, Params
from gradnoise.dynamics.equilibrium_records import CHUNK, _key_of
from gradnoise.problem import Loss, Problem


@dataclass(frozen=True, eq=False)
class FluctuationSetting:
    """What all records of one run share; see `fluctuation_records`."""

    problem: Problem
    weight_decay: float
    injected_noise: float
    batch_size: int
    replacement: bool
    origin: Float[np.ndarray, " weight"] | None
    directions: Float[np.ndarray, "direction weight"]
    num_probes: int | None
    seed: int


class FluctuationPoint:
    """Force, noise and curvature at one point in flat coordinates; each method is one record."""

    def __init__(self, setting: FluctuationSetting, params: Params, examples: Examples) -> None:
        self.setting, self.examples = setting, examples
        self.weights, self.rebuild = _tree.flatten(params)
        self.fraction = noise_fraction(_tree.num_examples(examples), setting.batch_size, setting.replacement)
        self.gradient = jax.grad(self.loss)(self.weights)
        self.force = self.gradient + setting.weight_decay * self.weights

    def one(self, loss: Loss) -> Loss:
        """A loss of (params, example) as one of flat weights."""
        return lambda weights, example: loss(self.rebuild(weights), example)

    def loss(self, weights: jax.Array) -> jax.Array:
        return self._mean(self.setting.problem.loss, weights, self.examples)

    def test_loss(self, weights: jax.Array) -> jax.Array:
        problem = self.setting.problem
        pool = problem.pool if problem.test_pool is None else problem.test_pool
        return self._mean(problem.measured_loss, weights, _tree.cast(pool, weights.dtype))

    def _mean(self, loss: Loss, weights: jax.Array, examples: Examples) -> jax.Array:
        return jnp.mean(jax.vmap(self.one(loss), (None, 0))(weights, examples))

    def example_gradient(self, example: Any) -> jax.Array:
        return jax.grad(self.one(self.setting.problem.loss))(self.weights, example)

    def position(self) -> jax.Array:
        origin = self.setting.origin
        return self.weights if origin is None else self.weights - jnp.asarray(origin, self.weights.dtype)

    def position_force(self) -> jax.Array:
        return self.position() @ self.force

    def force_squared(self) -> jax.Array:
        return self.force @ self.force

    def position_gradient(self) -> jax.Array:
        return self.weights @ self.gradient

    def gradient_squared(self) -> jax.Array:
        return self.gradient @ self.gradient

    def gradient_force(self) -> jax.Array:
        return self.gradient @ self.force

    def test_gradient_force(self) -> jax.Array:
        return jax.grad(self.test_loss)(self.weights) @ self.force

    def noise_trace(self) -> jax.Array:
        loss = self.one(self.setting.problem.loss)
        square, signal = example_squares(jax.grad(loss), self.weights, self.examples, CHUNK)
        return self.fraction * (square - signal) + self.setting.injected_noise**2 * self.weights.size

    def force_curvature(self) -> jax.Array:
        return self._form(self.loss, self.force)

    def test_force_curvature(self) -> jax.Array:
        return self._form(self.test_loss, self.force)

    def curvature_noise(self) -> jax.Array:
        return self._curvature_noise(self.loss)

    def test_curvature_noise(self) -> jax.Array:
        return self._curvature_noise(self.test_loss)

    def along(self, quantity: str, direction: jax.Array) -> jax.Array:
        """Position, force or noise along one unit vector."""
        if quantity == "position":
            return direction @ self.position()
        if quantity == "force":
            return direction @ self.force
        losses = lambda at: jax.vmap(self.one(self.setting.problem.loss), (None, 0))(at, self.examples)  # noqa: E731
        slopes = jax.jvp(losses, (self.weights,), (direction,))[1]
        return self.fraction * jnp.var(slopes) + self.setting.injected_noise**2

    def _form(self, function: Callable[[jax.Array], jax.Array], vector: jax.Array) -> jax.Array:
        """v.H v."""
        return vector @ jax.jvp(jax.grad(function), (self.weights,), (vector,))[1]

    def _curvature_noise(self, function: Callable[[jax.Array], jax.Array]) -> jax.Array:
        beta = self.setting.injected_noise
        if self.setting.num_probes is not None:
            keys = jax.random.split(_key_of(self.setting.seed, [self.weights]), self.setting.num_probes)
            return jnp.mean(jax.lax.map(lambda key: self._form(function, self._noise_vector(key)), keys))

        def centred(example: Any) -> jax.Array:
            return self._form(function, self.example_gradient(example) - self.gradient)

        found = self.fraction * jnp.mean(jax.lax.map(centred, self.examples, batch_size=CHUNK))
        if not beta:
            return found
        basis = jnp.arange(self.weights.size)
        axis = lambda i: self._form(function, (basis == i).astype(self.weights.dtype))  # noqa: E731
        return found + beta**2 * jnp.sum(jax.lax.map(axis, basis, batch_size=CHUNK))

    def _noise_vector(self, key: jax.Array) -> jax.Array:
        """A random vector of covariance M: centred random signs on the examples' losses, one pass, and injected signs."""
        own, injected = jax.random.split(key)
        size = _tree.num_examples(self.examples)
        signs = jax.random.rademacher(own, (size,), self.weights.dtype)
        loss = jax.vmap(self.one(self.setting.problem.loss), (None, 0))
        drawn = jax.grad(lambda at: (signs - jnp.mean(signs)) @ loss(at, self.examples))(self.weights)
        more = jax.random.rademacher(injected, self.weights.shape, self.weights.dtype)
        return (self.fraction / size) ** 0.5 * drawn + self.setting.injected_noise * more
