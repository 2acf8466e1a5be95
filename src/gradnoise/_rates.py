"""Learning rates: one number, one a weight, or one a step; always traced."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise._types import Params, PyTree


class Rates(NamedTuple):
    """The rate of effective step t is base * factors[t]: base a scalar or a tree like params, factors (num_steps,)."""

    base: PyTree
    factors: Any

    def at(self, step: Any) -> PyTree:
        """The rate of effective step `step`."""
        return jax.tree.map(lambda rate: rate * self.factors[step], self.base)


def per_leaf(learning_rate: PyTree, params: Params) -> PyTree:
    """A tree like params whose leaves are the rate of each leaf of params."""
    structure = jax.tree.structure(params)
    if jax.tree.structure(learning_rate) == structure:
        return learning_rate
    return structure.unflatten([learning_rate] * structure.num_leaves)


def learning_rates(learning_rate: Any, params: Params, num_steps: int, dtype: Any) -> Rates:
    """Rates from a number, a tree like params, a function of the step, or an array of shape (num_steps,).

    Raises TypeError or ValueError, naming learning_rate, if it is none of these, or negative or not finite somewhere.
    """
    constant = jnp.ones(max(num_steps, 1), dtype)
    if _is_tree_like(learning_rate, params):  # asked first: a network's tree may be callable
        is_array = jax.tree.structure(learning_rate) == jax.tree.structure(0)
        if is_array and np.shape(learning_rate) == (num_steps,):
            raise ValueError(
                f"learning_rate has shape ({num_steps},), which is both that of params and one rate a step. Give a "
                "function of the step for the latter, lambda step: rates[step], or params as a tuple of one array."
            )
        return Rates(jax.tree.map(lambda rate: jnp.asarray(_checked(rate), dtype), learning_rate), constant)
    if callable(learning_rate):
        learning_rate = _evaluate(learning_rate, num_steps)
    if jax.tree.structure(learning_rate) != jax.tree.structure(0):
        raise ValueError(_expected("has another structure or other shapes than params", num_steps))
    rates = _checked(learning_rate)
    if rates.ndim == 0:
        return Rates(jnp.asarray(rates, dtype), constant)
    if rates.shape != (num_steps,):
        raise ValueError(_expected(f"has shape {rates.shape}", num_steps))
    return Rates(jnp.ones((), dtype), jnp.asarray(rates, dtype))


def _is_tree_like(learning_rate: Any, params: Params) -> bool:
    """Whether it has the structure of params, each leaf a scalar or of that leaf's shape."""
    leaves = jax.tree.leaves(learning_rate)
    if jax.tree.structure(learning_rate) != jax.tree.structure(params) or any(map(callable, leaves)):
        return False
    pairs = zip(jax.tree.leaves(learning_rate), jax.tree.leaves(params), strict=True)
    return all(np.shape(rate) in ((), np.shape(leaf)) for rate, leaf in pairs)


def _evaluate(schedule: Callable[[int], Any], num_steps: int) -> np.ndarray:
    values = [schedule(step) for step in range(num_steps)]
    for step, value in enumerate(values):
        if isinstance(value, str) or np.ndim(value) != 0:
            raise TypeError(
                f"learning_rate gives {value!r} at step {step}, expected one number. Let it return a float for each step."
            )
    return np.array(values, dtype=float)


def _checked(rate: Any) -> np.ndarray:
    try:
        array = np.asarray(rate, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(_expected(f"is {rate!r}", None)) from None
    if isinstance(rate, (bool, str)):
        raise TypeError(_expected(f"is {rate!r}", None))
    bad = ~(np.isfinite(array) & (array >= 0))
    if bad.any():
        raise ValueError(f"learning_rate holds {array[bad].flat[0]:g}, expected finite numbers of at least 0.")
    return array


def _expected(came: str, num_steps: int | None) -> str:
    length = "num_steps" if num_steps is None else num_steps
    return (
        f"learning_rate {came}, expected one number, a tree like params (one rate a weight), a function of the step, "
        f"or an array of shape ({length},). Give 0.1, say."
    )
