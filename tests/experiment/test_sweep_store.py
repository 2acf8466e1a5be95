"""A sweep survives: stopped anywhere it goes on to the same bits, damage is found, other plans are refused."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import gradnoise as gn
from experiment.small_sweep import PLAN, PROBLEM, assert_same_bits, bent, start
from gradnoise.experiment.sweep import run as engine
from gradnoise.experiment.sweep import sweep
from gradnoise.experiment.sweep.run import DamagedRuns, in_process
from gradnoise.results import CheckpointFolder, io
from gradnoise.results.run_store import RunStore


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def whole():
    """The small sweep, undisturbed."""
    return sweep(PLAN)


@pytest.fixture
def begun(monkeypatch):
    """The names of the chunks that were begun."""
    names, do = [], engine.do_chunk
    monkeypatch.setattr(
        engine, "do_chunk", lambda plan, chunk, *more: names.append(chunk.name) or do(plan, chunk, *more)
    )
    return names


@pytest.fixture
def finished(tmp_path):
    """A store with the whole small sweep."""
    sweep(PLAN, tmp_path)
    return tmp_path


def stopping_after(count):
    def strategy(plan, todo, hear):
        for done, pair in enumerate(in_process(plan, todo, hear)):
            if done == count:
                raise Killed
            yield pair

    return strategy


def test_stopped_at_every_chunk_it_goes_on_to_the_bits_of_an_undisturbed_one(tmp_path, whole, begun):
    for stored in range(3):
        with pytest.raises(Killed):
            sweep(PLAN, tmp_path, cluster=stopping_after(0 if stored == 0 else 1))
        assert len(list(tmp_path.glob("*.nc"))) == stored
    assert_same_bits(sweep(PLAN, tmp_path), whole)
    assert len(begun) == 1 + 2 + 2 + 1  # three stops, each with a chunk that was not stored


def test_stopped_inside_a_chunk_it_goes_on_from_there(tmp_path, whole, monkeypatch):
    monkeypatch.setattr(CheckpointFolder, "due", lambda self: True)
    heard = []

    def stop(stage, share):
        if share not in heard:
            heard.append(share)
            raise Killed

    found = None
    while found is None and len(heard) < 20:
        with contextlib.suppress(Killed):
            found = sweep(PLAN, tmp_path, progress=stop)
    assert_same_bits(found, whole)
    assert len(heard) > 6
    assert sorted(path.name for path in tmp_path.iterdir()) == [*(f"chunk-0000{k}.nc" for k in range(3)), "sweep.json"]


def test_a_state_left_by_a_stop_right_after_its_chunk_was_stored_is_removed(tmp_path, whole, monkeypatch):
    def stopped(self, finished):
        if finished:
            raise Killed

    with monkeypatch.context() as patched, contextlib.suppress(Killed):
        patched.setattr(RunStore, "forget_progress", stopped)
        sweep(PLAN, tmp_path)
    names = sorted(path.name.rpartition("-")[0] or path.name for path in tmp_path.iterdir())
    assert names == ["chunk", "chunk-00000", "sweep.json"]  # the stored chunk and its state
    assert_same_bits(sweep(PLAN, tmp_path), whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == [*(f"chunk-0000{k}.nc" for k in range(3)), "sweep.json"]


def test_the_same_sweep_again_runs_nothing(finished, whole, begun):
    assert_same_bits(sweep(PLAN, finished), whole)
    assert not begun


def test_each_file_is_a_results_file_that_says_where_it_comes_from(finished):
    tree = gn.load(finished / "chunk-00001.nc")
    assert tree["sweep"]["learning_rate"].values.tolist() == [0.2, 0.2]
    assert {"created", "device", "jax_version", "seal"} <= set(tree.attrs)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-200])


def emptied(path):
    path.write_bytes(b"")


def other_numbers(path):
    tree = gn.load(path)
    tree["sweep"]["gap"].values[0, -1] += 1e-6
    gn.save(tree, path)


def of_another_chunk(path):
    path.write_bytes((path.parent / "chunk-00002.nc").read_bytes())


@pytest.mark.parametrize("damage", [cut_short, emptied, other_numbers, of_another_chunk])
def test_a_damaged_file_is_named_and_its_runs_done_again(finished, whole, begun, damage):
    damage(finished / "chunk-00001.nc")
    with pytest.warns(DamagedRuns, match="chunk-00001.nc' is damaged: its runs are done again"):
        found = sweep(PLAN, finished)
    assert begun == ["chunk-00001"]
    assert_same_bits(found, whole)
    begun.clear()
    sweep(PLAN, finished)
    assert not begun


def test_a_lost_description_is_written_again_and_a_half_written_file_removed(finished, begun):
    (finished / "sweep.json").write_bytes(b"{")
    (finished / ".chunk-00000.nc.1-aa.part").write_bytes(b"half")
    sweep(PLAN, finished)
    assert not begun
    assert json.loads((finished / "sweep.json").read_text())["seeds"] == 2
    assert not list(finished.glob(".*"))


OTHERS = {
    "rates": ({"learning_rates": [0.1, 0.2, 0.4]}, "learning_rates differs (learning_rates was"),
    "seed": ({"seed": 1}, "seed, loss, start or data differ"),
    "decay": ({"weight_decay": 0.01}, "weight_decay differs (weight_decay was 0.0, is 0.01)"),
    "cut": ({"runs_per_chunk": 3}, "runs of a chunk, num_chunks differ (runs of a chunk was [2], is [3])"),
    "data": (
        {"problem": gn.from_arrays(bent, start, np.ones((7, 2)), "bent", metrics=PROBLEM.metrics)},
        "loss, start or data differs",
    ),
    "loss": (
        {"problem": gn.from_arrays(lambda w, x: 2 * bent(w, x), start, PROBLEM.pool, "bent", metrics=PROBLEM.metrics)},
        "loss, start or data differs",
    ),
}


@pytest.mark.parametrize("other", OTHERS)
def test_the_store_of_another_sweep_is_refused_and_left_alone(finished, other):
    changed, words = OTHERS[other]
    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    with pytest.raises(ValueError, match="holds another sweep") as raised:
        sweep({**PLAN, **changed}, finished)
    assert words in str(raised.value)
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before


def test_runs_of_another_sweep_are_not_written_over_where_the_description_is_lost(finished):
    (finished / "sweep.json").unlink()
    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    with pytest.raises(ValueError, match=r"holds runs of another sweep \(chunk-00000.nc\), and no sweep.json"):
        sweep({**PLAN, "weight_decay": 0.1}, finished)
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before


def test_a_store_of_another_version_is_refused(finished, monkeypatch):
    monkeypatch.setattr(gn, "__version__", "0.0.9")
    with pytest.raises(ValueError, match=r"gradnoise_version was '0.1.0', is '0.0.9'"):
        sweep(PLAN, finished)


def test_memory_that_leads_to_the_same_cut_is_no_other_sweep(finished, begun):
    sweep({**PLAN, "memory": "3GiB"}, finished)
    assert not begun


FULL = OSError(errno.ENOSPC, "x")


@pytest.mark.parametrize(
    ("writing", "failing"),
    [("chunk-00001.nc", FULL), ("chunk-00001.nc", RuntimeError("NetCDF: HDF error")), ("chunk-00001-", FULL)],
    ids=["finished runs", "the library's words", "the chunk in progress"],
)
def test_a_full_disk_is_one_sentence_and_what_is_finished_stays(tmp_path, whole, monkeypatch, writing, failing):
    flush, to_netcdf = io._flush, xr.DataTree.to_netcdf

    def full(path):
        if writing in str(path):
            raise failing
        flush(path)

    def full_in_the_library(tree, path, **options):
        if writing in str(path):
            raise failing
        to_netcdf(tree, path, **options)

    with monkeypatch.context() as patch:
        if isinstance(failing, OSError):
            patch.setattr(io, "_flush", full)
        else:
            patch.setattr(xr.DataTree, "to_netcdf", full_in_the_library)
        with pytest.raises(OSError, match="cannot be written") as raised:
            sweep(PLAN, tmp_path)
    assert "room" in str(raised.value).split(", expected")[0] or "No space left" in str(raised.value)
    assert "make room and run the same again" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.glob("*.nc")] == ["chunk-00000.nc"]
    assert_same_bits(sweep(PLAN, tmp_path), whole)


BAD_STORES = {
    "number": (5, TypeError, "store=5 is int, expected a folder"),
    "file": ("file", ValueError, "store='file' is no folder"),
    "nothing": ("", ValueError, "is no folder"),
}


@pytest.mark.parametrize("case", BAD_STORES)
def test_what_is_no_folder_is_refused(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    given, kind, words = BAD_STORES[case]
    with pytest.raises(kind, match=words):
        RunStore(given, {})


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[2])
from experiment.small_sweep import PLAN
from gradnoise.experiment.sweep import sweep
sweep({**PLAN, "seeds": 20, "reference_epochs": 4000, "num_records": 20}, sys.argv[1])
"""


@pytest.mark.slow
def test_killed_at_random_moments_it_goes_on_to_the_same_bits(tmp_path, rng):
    tests = str(Path(__file__).parents[1])

    def started(store):
        return subprocess.Popen([sys.executable, "-c", SCRIPT, str(store), tests], stderr=subprocess.PIPE)

    def stored(store):
        return len(list(store.glob("*.nc")))

    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    assert started(undisturbed).wait(timeout=170) == 0
    assert stored(undisturbed) == 30
    for share in np.sort(rng.uniform(0, 0.8, 3)):
        process = started(killed)
        while process.poll() is None and stored(killed) <= 30 * share:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it was not quick enough to be killed"
        assert 0 < stored(killed) < 30
    assert started(killed).wait(timeout=170) == 0
    for path in sorted(undisturbed.glob("*.nc")):
        one, other = gn.load(path), gn.load(killed / path.name)
        assert one.attrs["seal"] == other.attrs["seal"]
        assert_same_bits(one, other)
    assert not [name for name in os.listdir(killed) if name.endswith(".part")]
