"""Fixtures that all tests share. `pytest --seed 7` repeats every random test with other draws."""

import zlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("patient", deadline=None)  # how long an example takes says nothing on a busy machine
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=0, help="seed of all random keys in the tests (default 0)")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A seed that differs between tests, and between values of --seed."""
    return zlib.crc32(f"{request.node.nodeid} {request.config.getoption('--seed')}".encode())


@pytest.fixture
def getkey(seed: int) -> Callable[[], Any]:
    """Gives a fresh JAX random key at every call."""
    count = 0

    def next_key() -> Any:
        nonlocal count
        count += 1
        return jax.random.fold_in(jax.random.key(seed), count)

    return next_key


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    """NumPy's random numbers, seeded."""
    return np.random.default_rng(seed)
