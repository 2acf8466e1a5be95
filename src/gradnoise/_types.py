"""The few type names that several layers share."""

from typing import Any, TypeAlias

PyTree: TypeAlias = Any
"""Any nest of dicts, lists, tuples and registered containers with arrays as leaves."""

Params: TypeAlias = PyTree
"""Weights: leaves are floating arrays."""

Examples: TypeAlias = PyTree
"""Examples stacked along a leading axis that all leaves share; one example has no such axis."""

Key: TypeAlias = Any
"""A JAX random key, `jax.random.key(seed)` or the older `jax.random.PRNGKey(seed)`."""
