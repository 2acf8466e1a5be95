"""The folder behind a resumable simulation: whole files or none, damage found and named, strangers refused."""

import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradnoise as gn
from gradnoise.dynamics import plan
from gradnoise.results.checkpoint import CheckpointFolder, DamagedCheckpoint

POOL = np.random.default_rng(0).normal(size=(7, 2))
FIRST = "chunk-00000.npz"


def bent(w, x):
    return jnp.sum(jnp.cos(w - x))


def start(key):
    return jnp.array([0.3, -0.2])


PROBLEM = gn.from_arrays(bent, start, POOL)


class Killed(Exception):
    pass


@pytest.fixture(autouse=True)
def chunks_of_two(monkeypatch):
    monkeypatch.setattr(plan, "MAX_WIDTH", 2)


def run(problem=PROBLEM, num_replicas=4, grid=gn.Spacetime(6, 2, 4), **options):
    return gn.simulate(
        gn.sgd(problem, 0.9), start(None), grid, 0.1, num_replicas, jax.random.key(0), every=3, **options
    )


@pytest.fixture(scope="module")
def whole():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "MAX_WIDTH", 2)
        return run()


def assert_same_bits(one, other):
    for name, values in one.observables.items():
        assert values.tobytes() == other.observables[name].tobytes(), name


def stopped(folder, at, seconds=0.0):
    """A run in `folder` that is stopped after record number `at` of all chunks."""

    def stop(done, total):
        if done == at:
            raise Killed

    with pytest.raises(Killed):
        run(checkpoint=CheckpointFolder(folder, seconds), progress=stop)


def test_a_path_is_enough_and_the_same_call_goes_on(tmp_path, whole):
    for again in range(3):
        assert_same_bits(whole, run(checkpoint=tmp_path / "run"))
        assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [FIRST, "chunk-00001.npz", "run.json"]
        if not again:
            (tmp_path / "run" / FIRST).unlink()
    assert_same_bits(whole, run(checkpoint=str(tmp_path / "run")))


@pytest.mark.parametrize("at", [1, 4, 5, 7])
def test_a_stopped_run_goes_on_from_its_files(tmp_path, whole, at):
    stopped(tmp_path, at)
    told = []
    assert_same_bits(whole, run(checkpoint=tmp_path, progress=lambda done, total: told.append((done, total))))
    assert len(told) == 10 - at + at // 5  # a finished chunk of five records is told once
    assert told[-1] == (10, 10)


def test_between_finished_chunks_nothing_is_written_before_its_time(tmp_path):
    stopped(tmp_path, 4, seconds=1e6)
    assert not (tmp_path / FIRST).exists()
    stopped(tmp_path, 7, seconds=1e6)
    assert sorted(path.name for path in tmp_path.glob("chunk*")) == [FIRST]


def damage_cut(path, part):
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])


def damage_flip(path, part):
    """One wrong bit in the numbers of the last array at or before `part`."""
    content = bytearray(path.read_bytes())
    content[content.rindex(b"\x93NUMPY", 0, int(part * len(content))) + 128] ^= 1
    path.write_bytes(content)


def damage_pickle(path, part):
    with zipfile.ZipFile(path, "w") as archive, archive.open("step.npy", "w") as member:
        np.save(member, np.array([print], dtype=object), allow_pickle=True)
    assert b"print" in pickle.dumps(print)


def damage_bomb(path, part):
    """A header that claims 8 TB, in a packed file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("step.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})


def damage_stranger(path, part):
    np.savez(path, run=np.array("0" * 16), step=np.array(3))


CUTS = [(damage_cut, part) for part in (0.0, 0.1, 0.5, 0.99)] + [(damage_flip, part) for part in (0.3, 0.7)]


@pytest.mark.parametrize(("damage", "part"), [*CUTS, (damage_pickle, 0), (damage_bomb, 0), (damage_stranger, 0)])
@pytest.mark.parametrize("finished", [False, True])
def test_a_damaged_file_is_named_and_what_it_held_is_done_again(tmp_path, whole, damage, part, finished):
    stopped(tmp_path, 8 if finished else 4)
    damage(tmp_path / FIRST, part)
    with pytest.warns(DamagedCheckpoint, match=rf"{FIRST}' is damaged") as told:
        assert_same_bits(whole, run(checkpoint=tmp_path))
    assert len(told) == 1
    assert_same_bits(whole, run(checkpoint=tmp_path))


def test_one_wrong_bit_anywhere_is_found_or_changes_no_number(tmp_path, seed):
    kept = CheckpointFolder(tmp_path)
    kept.begin({"seed": 0})
    kept.save("small", {"step": np.array(5), "value a": np.arange(6.0).reshape(2, 3)})
    right, content, found = kept.load("small") or {}, (tmp_path / "small.npz").read_bytes(), 0
    for place in range(seed % 3, len(content), 3):
        wrong = bytearray(content)
        wrong[place] ^= 1 << place % 8
        (tmp_path / "small.npz").write_bytes(wrong)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            arrays = kept.load("small")
        found += len(told)
        assert arrays is None or (
            arrays.keys() == right.keys() and all(arrays[name].tobytes() == right[name].tobytes() for name in right)
        )
    assert found > len(content) // 6


def test_without_its_identity_a_folder_still_knows_its_own_chunks_and_no_others(tmp_path, whole):
    stopped(tmp_path, 8)
    for damage in (lambda: (tmp_path / "run.json").write_text("{"), lambda: (tmp_path / "run.json").write_text("[]")):
        damage()
        with pytest.warns(DamagedCheckpoint, match=r"run.json"):
            assert_same_bits(whole, run(checkpoint=tmp_path))
    (tmp_path / "run.json").unlink()
    with pytest.warns(DamagedCheckpoint):
        assert_same_bits(run(num_replicas=3), run(num_replicas=3, checkpoint=tmp_path))


EDITED = gn.from_arrays(lambda w, x: bent(w, x) + 1e-3 * w[0], start, POOL)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_replicas": 3}, r"num_replicas differs \(num_replicas was 4, is 3\)"),
        ({"problem": EDITED}, r"run: function of the step, function of the records differ\."),
        ({"problem": gn.from_arrays(bent, start, POOL + 1)}, r"holds another run: pool differs"),
    ],
)
def test_another_run_is_refused_in_one_sentence_and_the_folder_left_alone(tmp_path, whole, change, words):
    stopped(tmp_path, 4)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=words) as raised:
        run(**change, checkpoint=tmp_path)
    assert "\n" not in str(raised.value)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert_same_bits(whole, run(checkpoint=tmp_path))


@pytest.mark.parametrize(
    "name", ["gradnoise_version", "jax_version", "device", "num_devices", "machine", "chunk_width"]
)
def test_other_versions_and_machines_are_refused_by_name(tmp_path, name):
    identity = {"gradnoise_version": "1", "jax_version": "1", "device": "cpu", "num_devices": 1, "machine": "x"}
    CheckpointFolder(tmp_path).begin(identity | {"chunk_width": 3})
    with pytest.raises(ValueError, match=rf"another run: {name} differs \({name} was .*, is 'other'\)"):
        CheckpointFolder(tmp_path).begin(identity | {"chunk_width": 3, name: "other"})


@pytest.mark.parametrize("broken", ["os.replace", "os.fsync", "numpy.savez"])
def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path, whole, monkeypatch, broken):
    stopped(tmp_path, 7)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(broken, full)
        with pytest.raises(OSError, match=r"cannot be written \(No space left on device\), expected") as raised:
            run(checkpoint=CheckpointFolder(tmp_path, 0))
    assert "\n" not in str(raised.value)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert_same_bits(whole, run(checkpoint=tmp_path))


def test_what_a_killed_process_left_half_written_is_removed(tmp_path, whole):
    stopped(tmp_path, 4)
    (tmp_path / ".chunk-00000.npz.123-abcd.part").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    assert_same_bits(whole, run(checkpoint=tmp_path))
    assert not list(tmp_path.glob(".*"))
    assert (tmp_path / "notes.txt").exists()


def test_no_place_or_user_is_among_what_is_kept(tmp_path):
    run(checkpoint=tmp_path)
    told = (tmp_path / "run.json").read_text()
    assert str(Path.home()) not in told
    assert str(tmp_path) not in told
    assert json.loads(told)["num_replicas"] == 4


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        (b"x", TypeError, "checkpoint=b'x' is bytes"),
        (3, TypeError, "checkpoint is int"),
        ("", ValueError, "checkpoint='' is no folder"),
        ("a\0b", ValueError, "is no folder"),
        (__file__, ValueError, "is no folder"),
        (f"{__file__}/below", OSError, "cannot be written"),
    ],
)
def test_what_is_no_folder_is_refused(path, error, words):
    with pytest.raises(error, match=words):
        run(checkpoint=path)


@pytest.mark.parametrize("seconds", [-1, float("nan"), "often"])
def test_seconds_that_are_none_are_refused(tmp_path, seconds):
    with pytest.raises((TypeError, ValueError), match="seconds="):
        CheckpointFolder(tmp_path, seconds)


LONG = """
import sys
import jax, numpy as np
import gradnoise as gn
from gradnoise.dynamics import plan
from gradnoise.results.checkpoint import CheckpointFolder
plan.MAX_WIDTH = 64
pool = np.random.default_rng(0).normal(size=(40, 12))
problem = gn.from_arrays(lambda w, x: jax.numpy.log(jax.numpy.cosh(w @ x)), lambda key: 0, pool)
process = {"sgd": gn.sgd(problem, 0.9), "svag": gn.svag(problem, 2), "sde": gn.sde(problem), "levy": gn.levy(problem)}
grid = gn.Spacetime(32, 4, sampling="with_replacement", num_steps=int(sys.argv[4]))
keep = CheckpointFolder(sys.argv[2], 0.05) if sys.argv[2] else None
start, key = np.linspace(-1, 1, 12), jax.random.key(1)
runs = gn.simulate(process[sys.argv[1]], start, grid, 0.05, 150, key, every=50, checkpoint=keep)
np.savez(sys.argv[3], **runs.observables, diverged_at=runs.diverged_at)
"""


def killed_at_random(command, begun, moments):
    """Start `command`, wait until `begun()`, then for a random moment, and kill it; whether it was still at work."""
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 150
    while not begun() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(moments.uniform(0, 0.3))
    running.send_signal(signal.SIGKILL)
    return running.wait(timeout=60) == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize(("process", "steps"), [("sgd", 6000), ("svag", 2000)])
def test_a_process_killed_twice_ends_with_the_bits_of_an_undisturbed_one(tmp_path, seed, process, steps):
    def command(folder, target):
        return [sys.executable, "-c", LONG, process, str(folder), str(tmp_path / target), str(steps)]

    def newest():
        return max((path.stat().st_mtime_ns for path in (tmp_path / "kept").glob("*.npz")), default=0)

    subprocess.run(command("", "whole.npz"), check=True, timeout=200)
    moments = random.Random(seed)
    for _ in range(2):
        before = newest()
        assert killed_at_random(command(tmp_path / "kept", "no.npz"), lambda before=before: newest() > before, moments)
    assert not (tmp_path / "no.npz").exists()
    subprocess.run(command(tmp_path / "kept", "again.npz"), check=True, timeout=200)
    with np.load(tmp_path / "whole.npz") as whole, np.load(tmp_path / "again.npz") as again:
        assert set(whole.files) == set(again.files)
        for name in whole.files:
            assert whole[name].tobytes() == again[name].tobytes(), name


@pytest.mark.slow
def test_a_simulation_killed_on_the_command_line_twice_resumes_to_the_same_numbers(tmp_path, seed, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    module = Path(__file__).parents[1] / "cli" / "users_module.txt"
    Path("mine.py").write_text(module.read_text())
    command = [sys.executable, "-m", "gradnoise", "simulate", "--problem", "mine:good", "--batch-size", "2"]
    command += ["--num-examples", "4", "--epochs", "300", "--num-replicas", "20000", "--learning-rate", "0.01"]
    subprocess.run([*command, "--out", "whole"], check=True, timeout=200)
    moments = random.Random(seed)

    def chunks():
        return len(list(Path("out/.stages").glob("*.runs/chunk*.npz")))

    for resume in ([], ["--resume"]):
        before = chunks()
        assert killed_at_random([*command, "--out", "out", *resume], lambda before=before: chunks() > before, moments)
    assert chunks() > 1
    subprocess.run([*command, "--out", "out", "--resume"], check=True, timeout=200)
    assert [path.name for path in Path("out").iterdir()] == ["results.nc"]
    whole, again = (gn.load(f"{folder}/results.nc")["simulated"].to_dataset() for folder in ("whole", "out"))
    assert whole.equals(again)
