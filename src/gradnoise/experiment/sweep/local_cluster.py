"""A scheduler and workers on this machine, each a process started by its own command, as on any other cluster."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import jax

PATIENCE = 60.0
"""Seconds in which the scheduler must have started."""
IDLE = "5 minutes"
"""Without work for so long, the scheduler ends, and a minute later its workers."""
COUNT = re.compile(r"--xla_force_host_platform_device_count=\d+")
HERE = ("--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0")
"""Nothing listens beyond this machine."""


@contextmanager
def local_cluster(num_workers: int | None = None) -> Iterator[str]:
    """The address of a cluster of `num_workers` processes (None: one a core) that ends with the context.

    Each has one thread and one JAX device, and is started again if it dies. Should this process be killed, they end by
    themselves within minutes.

    Raises ValueError where JAX runs on an accelerator, which processes do not share; OSError if nothing starts.
    """
    if jax.default_backend() != "cpu":
        raise ValueError(
            f"cluster='local' came on a {jax.default_backend()}, which several processes do not share, expected the CPU. "
            "Leave cluster out, or start one worker a device and give the scheduler's address."
        )
    count = num_workers or _num_cores()
    with TemporaryDirectory(prefix="gradnoise-", ignore_cleanup_errors=True) as folder:
        place = Path(folder) / "scheduler.json"
        file = ("--scheduler-file", str(place))
        started = [_start("dask_scheduler", *HERE, "--port", "0", "--idle-timeout", IDLE, *file)]
        try:
            address = _address(place, started[0])
            kept = ("--memory-limit", "0", "--death-timeout", "60", "--local-directory", folder)
            started.append(_start("dask_worker", *HERE, *file, "--nworkers", str(count), "--nthreads", "1", *kept))
            yield address
        finally:
            for process in started:
                _end(process)


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment of a worker: that of this process with its module path, and one CPU device.

    >>> environment({"XLA_FLAGS": "--a=1 --xla_force_host_platform_device_count=8"})["XLA_FLAGS"]
    '--a=1'
    """
    path = os.pathsep.join(os.path.abspath(part) for part in sys.path)
    return {**given, "XLA_FLAGS": COUNT.sub("", given.get("XLA_FLAGS", "")).strip(), "PYTHONPATH": path}


def _num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start(command: str, *options: str) -> subprocess.Popen[bytes]:
    """A command of Dask's, in a session of its own: Ctrl-C is for the sweep to answer."""
    return subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.{command}", *options],
        env=environment(os.environ), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip


def _address(place: Path, scheduler: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + PATIENCE
    while scheduler.poll() is None and time.monotonic() < deadline:
        try:
            return json.loads(place.read_text())["address"]
        except (OSError, ValueError):  # not there, or half written
            time.sleep(0.05)
    raise OSError(
        "cluster='local': no scheduler started on this machine, expected one within a minute. Leave cluster out, or start "
        "one by hand (dask scheduler) and give its address."
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a command and all that it started: nothing of theirs is to be kept."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
