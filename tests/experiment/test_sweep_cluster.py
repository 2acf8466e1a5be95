"""A sweep on a cluster gives the bits of one here, whoever dies; what is wrong is said in a sentence."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import distributed
import numpy as np
import pytest

import gradnoise as gn
from experiment.deadly_chunk import DEADLY, do_or_die
from experiment.small_sweep import PLAN, assert_same_bits
from gradnoise.cli import main
from gradnoise.experiment.sweep import cluster as engine
from gradnoise.experiment.sweep import dispatch, read_plan, sweep
from gradnoise.experiment.sweep.cells import chunks
from gradnoise.experiment.sweep.local_cluster import environment
from gradnoise.experiment.sweep.worker import Origins, differences
from gradnoise.results.run_store import RunStore

LONGER = {**PLAN, "learning_rates": [0.02 * k for k in range(1, 9)], "reference_epochs": 40000}
"""Eight chunks of 80,000 steps: long enough for somebody to die in one."""
HERE = ("--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0")
NOBODY = "tcp://127.0.0.1:9"


class Machines:
    """A scheduler and workers, each started by its own command."""

    def __init__(self, folder):
        self.file, self.workers = folder / "scheduler.json", []
        self.scheduler = self.start("dask_scheduler", "--port", "0")
        while not self.file.exists():
            assert self.scheduler.poll() is None
            time.sleep(0.05)

    def start(self, command, *options, **more):
        whole = [sys.executable, "-m", f"distributed.cli.{command}", *HERE, "--scheduler-file", self.file, *options]
        return subprocess.Popen(
            [str(part) for part in whole],
            env=environment(os.environ) | more, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def add_worker(self, nthreads=1, **more):
        options = ("--nthreads", nthreads, "--no-nanny", "--memory-limit", 0, "--local-directory", self.file.parent)
        self.workers.append(self.start("dask_worker", *options, **more))

    def wait_for(self, count):
        with distributed.Client(self.address) as client:
            client.wait_for_workers(count)

    @property
    def address(self):
        return json.loads(self.file.read_text())["address"]

    def end(self):
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture
def machines(tmp_path_factory):
    made = Machines(tmp_path_factory.mktemp("machines"))
    yield made
    made.end()


@pytest.fixture
def stored(monkeypatch):
    """The names of the chunks in the order in which they are stored."""
    names, put = [], RunStore.put
    monkeypatch.setattr(RunStore, "put", lambda self, name, runs: names.append(name) or put(self, name, runs))
    return names


@pytest.fixture(scope="module")
def whole():
    """The longer sweep, here and undisturbed."""
    return sweep(LONGER)


def once(do):
    """A progress that calls `do` when the first chunk is stored."""
    heard = []
    return lambda stage, share: heard.append(share) or (len(heard) == 1 and do())


@pytest.mark.slow
def test_a_worker_killed_amid_its_chunk_loses_nothing_and_nothing_counts_twice(machines, tmp_path, stored, whole):
    for _ in range(3):
        machines.add_worker()
    machines.wait_for(3)  # each then has a chunk when the first is stored
    found = sweep(LONGER, tmp_path, machines.address, once(machines.workers[0].kill))
    assert machines.workers[0].wait() == -signal.SIGKILL
    assert sorted(stored) == [f"chunk-0000{k}" for k in range(8)]
    assert_same_bits(found, whole)
    assert gn.load(tmp_path / "chunk-00003.nc")["sweep"].attrs["num_devices"] == 1
    assert found["sweep"].attrs["devices"] == "1 x cpu"


@pytest.mark.slow
def test_a_killed_scheduler_is_one_sentence_and_the_sweep_goes_on_here_or_elsewhere(machines, tmp_path, stored, whole):
    for _ in range(2):
        machines.add_worker()
    begun = time.monotonic()
    with pytest.raises(ConnectionError, match=r"scheduler has gone away\. Finished runs are kept") as raised:
        sweep(LONGER, tmp_path, machines.address, once(machines.scheduler.kill))
    assert "\n" not in str(raised.value)
    assert time.monotonic() - begun < 60
    assert 0 < len(stored) < 8
    assert len(list(tmp_path.glob("*.nc"))) == len(stored)
    with pytest.raises(InterruptedError):
        sweep(LONGER, tmp_path, progress=interrupt_at_second_share())
    assert_same_bits(sweep(LONGER, tmp_path, "local"), whole)
    assert sorted(stored) == [f"chunk-0000{k}" for k in range(8)]


def test_chunks_that_are_done_alone_move_the_progress_too(monkeypatch):
    plan = read_plan(PLAN)
    todo, tried, heard = chunks(plan), set(), []

    def first_the_worker_dies(self, task, several):
        for chunk in several:
            yield chunk, chunk.name if chunk.number == 0 or chunk in tried else None
            tried.add(chunk)

    monkeypatch.setattr(dispatch.Workers, "_together", first_the_worker_dies)
    assert len(list(dispatch.Workers(None, None, "cluster").do(plan, todo, heard.append))) == 3
    assert heard == pytest.approx([1 / 3, 2 / 3, 1])


@pytest.mark.slow
def test_after_an_interrupt_the_cluster_does_the_next_sweep(machines, whole):
    machines.add_worker()
    with pytest.raises(InterruptedError):
        sweep(LONGER, cluster=machines.address, progress=interrupt_at_second_share())
    assert_same_bits(sweep(LONGER, cluster=machines.address), whole)


def interrupt_at_second_share():
    heard = []

    def progress(stage, share):
        heard.append(share)
        if len(heard) == 2:
            raise InterruptedError

    return progress


@pytest.mark.slow
def test_a_chunk_that_kills_every_worker_is_named_when_all_others_are_stored(tmp_path, stored, monkeypatch):
    monkeypatch.setattr(dispatch, "do_on_worker", do_or_die)
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    with pytest.raises(
        dispatch.KilledWorkers, match=f"chunk-0000{DEADLY} .* killed every worker, also alone"
    ) as raised:
        sweep(PLAN, tmp_path, "local")
    assert "chunk-00000 " not in str(raised.value)
    assert "chunk-00002 " not in str(raised.value)
    assert sorted(stored) == ["chunk-00000", "chunk-00002"]


@pytest.mark.slow
def test_a_sweep_waits_for_late_workers_and_says_so(machines, monkeypatch):
    monkeypatch.setattr(dispatch, "LONELY", 0.5)
    monkeypatch.setattr(dispatch.NoWorkers, "__init__", lambda self, *told: machines.add_worker())
    with pytest.warns(dispatch.NoWorkers):
        found = sweep(PLAN, cluster=machines.address)
    assert_same_bits(found, sweep(PLAN))


@pytest.mark.slow
def test_workers_that_differ_are_refused(machines, monkeypatch):
    machines.add_worker()
    with monkeypatch.context() as patch:
        patch.setattr(gn, "__version__", "9.9")
        with pytest.raises(
            ValueError, match=r"a worker of the cluster differs \(gradnoise_version .* there, 9.9 here\)"
        ):
            sweep(PLAN, cluster=machines.address)


@pytest.mark.slow
def test_a_worker_of_several_threads_is_refused(machines):
    machines.add_worker(nthreads=2)
    with pytest.raises(
        ValueError, match=r"has 2 threads, expected one, for JAX has its own\. Start it with --nthreads 1"
    ):
        sweep(PLAN, cluster=machines.address)


@pytest.mark.slow
def test_a_worker_without_gradnoise_is_told(machines, tmp_path):
    (tmp_path / "gradnoise.py").write_text("raise ModuleNotFoundError('No module named gradnoise', name='gradnoise')")
    machines.add_worker(PYTHONPATH=str(tmp_path))
    with pytest.raises(ValueError, match="a worker has no module 'gradnoise', expected the packages that are here"):
        sweep(PLAN, cluster=machines.address)


INTERRUPTED = ("--problem", "mean-estimation", "--num-examples", "64", "--reference-epochs", "5000", "--seeds", "100")


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done_and_leaves_no_process(tmp_path):
    rates = ",".join(f"{0.01 * k:g}" for k in range(1, 40))
    plan = tmp_path / "plan.toml"
    plan.write_text("runs_per_chunk = 100")
    command = [sys.executable, "-m", "gradnoise", "sweep", plan, *INTERRUPTED, "--learning-rate", rates]
    place, scratch = tmp_path / "out", tmp_path / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        [*map(str, command), "--cluster", "local", "--out", str(place)],
        env=os.environ | {"TMPDIR": str(scratch)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while process.poll() is None and not list(place.glob("runs/*.nc")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert told.startswith("gradnoise: interrupted; finished runs are kept")
    assert told.count("\n") == 1
    assert 0 < len(list(place.glob("runs/*.nc"))) < 39
    assert list(scratch.glob("gradnoise-*")) == []
    assert not [line for line in Path("/proc").glob("[0-9]*/cmdline") if str(scratch) in _words(line)]


def _words(path):
    try:
        return path.read_text()
    except OSError:
        return ""


def test_no_cluster_at_the_address_is_one_sentence_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "CONNECTING", 0.3)
    with pytest.raises(ConnectionError, match=f"cluster='{NOBODY}': no scheduler answers there") as raised:
        sweep(PLAN, tmp_path / "store", NOBODY)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("address", ["nowhere", "tcp://127.0.0.1:99999999", "carrier-pigeon://host"])
def test_what_is_no_address_is_one_sentence(address, monkeypatch):
    monkeypatch.setattr(engine, "CONNECTING", 0.3)
    with pytest.raises(ConnectionError, match="no scheduler answers there"):
        sweep(PLAN, cluster=address)


def test_another_kind_of_cluster_and_an_empty_address_are_refused():
    with pytest.raises(TypeError, match="cluster is int, expected 'local'"):
        sweep(PLAN, cluster=8786)
    with pytest.raises(ValueError, match="cluster=' ' is empty"):
        sweep(PLAN, cluster=" ")


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs distributed.*Install gradnoise\[cluster\]"):
        sweep(PLAN, cluster="local")


def test_a_problem_that_does_not_pickle_is_told():
    lock = threading.Lock()
    problem = gn.from_arrays(
        lambda w, x: (w - x) ** 2 + 0 * bool(lock), lambda key: 0.0, np.array([1.0, 2.0]), "locked"
    )
    with pytest.raises(ValueError, match=r"problem cannot be sent to workers \(TypeError\).*Name it"):
        dispatch._pickled(read_plan({"problem": problem, "learning_rates": 0.1}))


TINY = ("sweep", "--problem", "mean-estimation", "--learning-rate", "0.1", "--num-examples", "16", "--out")


def test_the_program_says_both_with_exit_code_2(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(engine, "CONNECTING", 0.3)
    assert main([*TINY, str(tmp_path / "out"), "--cluster", NOBODY]) == 2
    told = capfd.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"gradnoise: --cluster='{NOBODY}': no scheduler answers there")
    assert told.err.count("\n") == 1
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main([*TINY, str(tmp_path / "out"), "--cluster", NOBODY]) == 2
    assert "Install gradnoise[cluster]" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_other_versions_and_other_data_are_told_apart_and_rounding_is_not():
    here = Origins("0.1.0", "0.10.2", (2.0, 0.0))
    assert differences(here, here) == []
    assert differences(here._replace(losses=(2.0001, 1e-7)), here) == []
    small = here._replace(losses=(2e-4, 3e-5))
    assert differences(small._replace(losses=(2.0001e-4, 3e-5)), small) == []
    assert len(differences(small._replace(losses=(2.1e-4, 3e-5)), small)) == 1
    assert differences(here._replace(losses=(2.1, 0.0)), here)[0].startswith("loss of the first examples")
    assert differences(here._replace(jax_version="0.9"), here) == ["jax_version 0.9 there, 0.10.2 here"]
