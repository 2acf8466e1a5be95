"""Peak memory stays under what was allowed, by the operating system's own figure, and estimates hold."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradnoise._liveness import working_bytes
from gradnoise._memory import available_memory
from gradnoise.dynamics.discrete import sgd
from gradnoise.dynamics.plan import Layout, Needs, layout
from gradnoise.dynamics.prepare import make_setup
from gradnoise.problem import from_arrays
from gradnoise.spacetime import Spacetime

SCRIPT = """
import json, sys, time
import jax, numpy as np
from gradnoise._memory import peak_memory
from gradnoise.dynamics.cost import estimate_simulation
from gradnoise.dynamics.discrete import sgd
from gradnoise.dynamics.simulate import simulate
from gradnoise.problem import from_arrays
from gradnoise.spacetime import Spacetime

problem = from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.ones(()), np.linspace(-1, 1, 100))
plan = (sgd(problem), np.ones(()), Spacetime(100_000, 1).truncate(2))
if sys.argv[1] == "estimate":
    print(json.dumps(estimate_simulation(*plan, 300, memory=sys.argv[2])))
else:
    started = time.perf_counter()
    runs = simulate(*plan, 0.1, 300, jax.random.key(0), memory=sys.argv[2])
    seconds = time.perf_counter() - started
    print(json.dumps([seconds, peak_memory(), runs.chunk_width]))
"""


def in_a_fresh_process(*arguments):
    command = [sys.executable, "-c", SCRIPT, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=300, env={**os.environ, "XLA_FLAGS": ""}
    )
    return json.loads(done.stdout)


@pytest.mark.slow
def test_peak_memory_stays_under_the_setting_and_near_its_estimate():
    widths = {}
    for memory, limit in (("640MiB", 640 * 2**20), ("1GiB", 2**30)):
        _, peak, widths[memory] = in_a_fresh_process("run", memory)
        assert peak < limit
    assert widths["640MiB"] < widths["1GiB"]
    _, estimate = in_a_fresh_process("estimate", "1GiB")
    assert abs(estimate / peak - 1) < 0.3


def test_working_bytes_count_what_is_alive_at_once():
    vector = jax.ShapeDtypeStruct((1000,), jnp.float32)
    assert working_bytes(lambda x: jnp.sin(jnp.sin(jnp.sin(x))), vector) == 8000  # one read, one written
    assert working_bytes(lambda x: jnp.outer(x, x).sum(), vector) >= 4_000_000
    loop = working_bytes(lambda x: jax.lax.fori_loop(0, 9, lambda i, y: jnp.sin(y), x), vector)
    assert 4000 <= loop <= 12_000


@pytest.fixture(scope="module")
def setup():
    problem = from_arrays(lambda w, x: w * x, lambda key: np.ones(()), np.ones(3))
    return make_setup(sgd(problem), Spacetime(40, 4, 2, "reshuffle"), "drawn", None, "float32", None)


def test_chunks_cover_all_replicas_evenly_and_follow_from_the_plan(setup):
    need = Needs(kept=100, begin=1, step=2**16, draw=10, record=2**20, rows_per_step=16, per_example=8, shared=1000)
    plan = layout(setup, need, 1000, 11, 2)
    assert isinstance(plan, Layout)
    assert plan.width % 2 == 0
    assert plan.width * (plan.num_chunks - 1) < 1000 <= plan.width * plan.num_chunks
    assert plan.block_steps % 10 == 0  # whole epochs
    assert layout(setup, need, 1000, 11, 2) == plan
    assert layout(setup, need, 1, 11, 1).width == 1


def test_this_machine_has_memory():
    assert 2**20 < available_memory() < 2**50
