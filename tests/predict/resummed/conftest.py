"""Tests of this folder compile much and run little: XLA's optimizations would take most of their time."""

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def quick_compilation(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compile without optimizations, but where a simulation of many runs outweighs its compilation."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", "simulation" not in request.module.__name__)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
