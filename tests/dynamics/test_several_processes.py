"""Under jax.distributed each process simulates its share of the runs on its own devices; together they are the whole."""

import json
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

import gradnoise as gn
from gradnoise.dynamics import sgd, simulate
from gradnoise.spacetime import Spacetime

SHARE = """
import json, sys
import jax
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
import numpy as np
import gradnoise as gn
from gradnoise.dynamics import sgd, simulate
from gradnoise.spacetime import Spacetime
problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float32(0), np.array([-1.0, 1.0]))
mine = np.arange(6)[jax.process_index() :: jax.process_count()]
runs = simulate(
    sgd(problem), np.float32(1), Spacetime(4, 2), 0.1, len(mine), jax.random.key(0), replica_numbers=mine
)
print(json.dumps([jax.device_count(), runs.num_devices, runs.observables["test_loss"].tolist()]))
"""


@pytest.mark.slow
def test_two_processes_simulate_the_runs_of_one():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-c", SHARE, address]
    both = [subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, text=True) for rank in range(2)]
    told = [json.loads(process.communicate(timeout=120)[0].splitlines()[-1]) for process in both]
    problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float32(0), np.array([-1.0, 1.0]))
    whole = simulate(sgd(problem), np.float32(1), Spacetime(4, 2), 0.1, 6, jax.random.key(0)).observables["test_loss"]
    for rank, (all_devices, own_devices, losses) in enumerate(told):
        assert all_devices == 2 * own_devices
        np.testing.assert_array_equal(np.array(losses, np.float32), whole[rank::2])
