"""Pytrees as the library uses them: stacks of examples, flat weight vectors, named parameter groups."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from gradnoise._types import Examples, Params, PyTree


def num_examples(examples: Examples) -> int:
    """The length n of the leading axis that all leaves of `examples` share."""
    return int(np.shape(jax.tree.leaves(examples)[0])[0])


def take(examples: Examples, indices: Any) -> Examples:
    """The examples at `indices` (an int drops the leading axis, an array of shape s puts s in its place)."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[indices], examples)


def cast(tree: PyTree, dtype: Any) -> PyTree:
    """Floating leaves as JAX arrays of `dtype`; integer and boolean leaves keep their kind."""

    def cast_leaf(leaf: Any) -> jax.Array:
        array = jnp.asarray(leaf)
        return array.astype(dtype) if jnp.issubdtype(array.dtype, jnp.floating) else array

    return jax.tree.map(cast_leaf, tree)


def flatten(params: Params) -> tuple[jax.Array, Callable[[jax.Array], Params]]:
    """All weights as one vector of shape (P,), and the function that puts them back."""
    return ravel_pytree(params)


def group_slices(params: Params) -> dict[str, slice]:
    """Name -> place in the flat vector of every leaf, in the order of `flatten`.

    >>> group_slices({"bias": jnp.zeros(2), "weight": jnp.zeros((2, 3))})
    {'bias': slice(0, 2, None), 'weight': slice(2, 8, None)}
    """
    slices, start = {}, 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        stop = start + int(np.size(leaf))
        slices[jax.tree_util.keystr(path, simple=True, separator=".") or "weights"] = slice(start, stop)
        start = stop
    return slices
