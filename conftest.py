"""What tests and doctests share: long sessions stay within the memory maps that the system allows a process."""

from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

MAPS = Path("/proc/self/maps")
MOST_MAPS = 15_000
"""Linux allows 65,530 by default; every compiled function takes some, and XLA ends the process where there are no more."""


@pytest.fixture(autouse=True, scope="module")
def few_memory_maps() -> Iterator[None]:
    """Forget compiled functions after a module if they have become many; they come back from the cache on disk."""
    yield
    if MAPS.exists() and len(MAPS.read_bytes().splitlines()) > MOST_MAPS:
        jax.clear_caches()
