"""A sweep of two weights on seven examples: three learning rates, two seeds, three chunks of two runs."""

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from gradnoise.problem import from_arrays

POOL = np.random.default_rng(0).normal(size=(7, 2))


def bent(w, x):
    return jnp.log(jnp.cosh(w @ x)) + 0.1 * jnp.sum((w - x) ** 2)


def start(key):
    return jax.random.normal(key, (2,))


PROBLEM = from_arrays(bent, start, POOL, "bent", metrics={"accuracy": lambda w, x: (w @ x > 0).astype(w.dtype)})
"""Also to be named as a module's."""

PLAN = {
    "problem": PROBLEM, "learning_rates": [0.1, 0.2, 0.3], "batch_sizes": [2], "num_examples": [4], "seeds": 2,
    "reference_epochs": 6, "num_records": 3, "runs_per_chunk": 2,
}  # fmt: skip


def assert_same_bits(one, other):
    """The same runs to the last bit."""
    first, second = one["sweep"].to_dataset(), other["sweep"].to_dataset()
    xr.testing.assert_identical(first.drop_attrs(), second.drop_attrs())
    for name in first.data_vars:
        assert first[name].values.tobytes() == second[name].values.tobytes(), name
