"""The gradient of the local entropy by Langevin chains, for any number of weights.

Source: Chaudhari et al. 2017, "Entropy-SGD"; docs/theory/potential.md.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from gradnoise import _checks
from gradnoise._types import Key
from gradnoise.estimate import Estimate, from_samples


class LangevinGradient(NamedTuple):
    """The gradient of the local entropy by sampling; see `local_entropy_gradient`."""

    gradient: Estimate
    """(x - <y>)/gamma of shape (d,); `stderr` over chains, `num_samples` their number."""
    acceptance: float
    """Share of accepted proposals: near 0.6 to 0.8 for a well chosen step, 1 for one that hardly moves."""


def local_entropy_gradient(
    loss: Callable[[Any], Any],
    x: ArrayLike,
    scope: float,
    key: Key,
    *,
    step_size: float,
    num_steps: int = 400,
    burn_in: int = 100,
    num_chains: int = 64,
    inner_inverse_temperature: float = 1.0,
) -> LangevinGradient:
    """(x - <y>)/gamma by Langevin chains in y, in any dimension; symbols as in `local_entropy`.

        y' = y - h grad E(y) + sqrt(2 h) xi,    E = b [f(y) + |x - y|^2/(2 gamma)]

    accepted or not by Metropolis' rule, so that `step_size` h costs acceptance and not bias. `loss` takes x of shape (d,)
    to a scalar, in JAX. Chains start at x, independently of each other; `stderr` is the spread of their means over
    `num_steps` steps after `burn_in` of them, and covers neither a burn-in that was too short nor a barrier that no
    chain has crossed. Double precision. `entropy_sgd` is the same without the rule and with batches.

    >>> found = local_entropy_gradient(lambda y: 1.5 * y @ y, [1.0], 1.0, jax.random.key(0), step_size=0.3)
    >>> bool(abs(found.gradient.value[0] - 0.75) < 4 * found.gradient.stderr[0])      # 3/(1 + 3)
    True

    Raises ValueError for numbers out of range and x not of shape (d,), TypeError for a key that is none.

    Source: Chaudhari et al. 2017, "Entropy-SGD"; the Metropolis rule is added.
    """
    gamma, step = _checks.number("scope", scope, above=0.0), _checks.number("step_size", step_size, above=0.0)
    b = _checks.number("inner_inverse_temperature", inner_inverse_temperature, above=0.0)
    steps, chains = _checks.integer("num_steps", num_steps), _checks.integer("num_chains", num_chains, minimum=2)
    skipped, random = _checks.integer("burn_in", burn_in, minimum=0), _checks.random_key("key", key)
    with jax.enable_x64(True):
        point = jnp.asarray(x, dtype=jnp.float64)
        if point.ndim != 1:
            raise ValueError(f"x has shape {point.shape}, expected (d,). Give one point.")
        move = _metropolis(lambda y: b * (loss(y) + jnp.sum((point - y) ** 2) / (2 * gamma)), step)

        def chain(seed: Key) -> tuple[jax.Array, jax.Array]:
            _, (path, accepted) = jax.lax.scan(move, point, jax.random.split(seed, skipped + steps))
            return path[skipped:].mean(0), accepted.mean()

        means, accepted = jax.jit(jax.vmap(chain))(jax.random.split(random, chains))
        gradients = (np.asarray(point) - np.asarray(means)) / gamma
    return LangevinGradient(from_samples(gradients), float(np.mean(np.asarray(accepted))))


def _metropolis(energy: Callable[[jax.Array], jax.Array], step: float) -> Callable[..., Any]:
    """One step of the Metropolis-adjusted Langevin algorithm."""
    slope = jax.value_and_grad(energy)

    def move(y: jax.Array, key: Key) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        of_noise, of_choice = jax.random.split(key)
        here, downhill = slope(y)
        proposed = y - step * downhill + math.sqrt(2 * step) * jax.random.normal(of_noise, y.shape, y.dtype)
        there, back = slope(proposed)
        onward = jnp.sum((proposed - y + step * downhill) ** 2)
        backward = jnp.sum((y - proposed + step * back) ** 2)
        log_ratio = here - there + (onward - backward) / (4 * step)
        accepted = jnp.log(jax.random.uniform(of_choice, dtype=y.dtype)) < log_ratio
        y = jnp.where(accepted, proposed, y)
        return y, (y, accepted)

    return move
