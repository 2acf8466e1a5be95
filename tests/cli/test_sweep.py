"""`gradnoise sweep`: wrong use in one sentence, the plan first, files that stay, and nothing done twice."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import gradnoise as gn
from gradnoise.experiment.sweep import run as engine

TINY = ("--problem", "mine:good", "--learning-rate", "0.1,0.2", "--batch-size", 2, "--num-examples", 4, "--seeds", 2)
SHORT = (*TINY, "--reference-epochs", 20)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--problem", "digits-mlp"), ("neither of --learning-rate and --temperature came", "--learning-rate=0.1")),
        (("--hours", 2), ("--hours=2 came without --advise",)),
        (("--advise", "--hours", 0), ("--hours='0'", "above 0")),
        (("--advise", "--learning-rate", 0.1), ("--temperature is empty",)),
        (("--advise", "--variant", "plain,momentum", "--temperature", 0.1), ("--variant has several",)),
        (("--learning-rate", "0.1,x"), ("--learning-rate='0.1,x'", "above 0")),
        (("--learning-rate", -1), ("--learning-rate[0]=-1.0", "greater than 0")),
        (("--learning-rate", "0.1", "--learning-rate", "0.1"), ("holds 0.1 twice",)),
        (("--learning-rate", 0.1, "--temperature", 0.1), ("both of --learning-rate",)),
        (("--learning-rate", 0.1, "--batch-size", 0), ("--batch-size='0'", "at least 1")),
        (("--learning-rate", 0.1, "--variant", "adam"), ("--variant='adam'", "momentum-cosine")),
        (("--learning-rate", 0.1, "--seeds", 0), ("--seeds='0'", "at least 1")),
        (
            ("--learning-rate", 0.1, "--batch-size", 8, "--num-examples", 4),
            ("--batch-size holds 8", "--num-examples=4"),
        ),
        (("--learning-rate", 0.1, "--problem", "digit-mlp"), ("digits-mlp",)),
        (("--learning-rate", 0.1, "--problem", "absent:it"), ("--problem='absent:it'", "no module")),
        (("--learning-rate", 0.1, "--problem", "gauss", "--width", 3), ("width",)),
        (("--learning-rate", 0.1, "--problem", "gauss", "--data", "x.npz"), ("--data='x.npz'", "beside")),
        (("--learning-rate", 0.1, "--data", "absent.npz"), ("absent.npz",)),
        (("--learning-rate", 0.1, "--sampling", "fixed"), ("--sampling='fixed'", "reshuffle")),
        (("--learning-rate", 0.1, "--weight-decay", 30), ("--weight-decay=30", "turns the weights around")),
        (("absent.toml",), ("'absent.toml' cannot be read", "No such file")),
        (("--learning-rate", 0.1, "--resume"), ("--resume", "--out")),
        (("--learning-rate", 0.1, "--resume", "--out", "nowhere"), ("--resume found no sweep", "--out='nowhere'")),
    ],
)
def test_wrong_use_is_one_sentence_and_leaves_nothing(call, folder, arguments, words):
    told = call("sweep", *arguments)
    assert told.code == 2, told
    assert told.out == ""
    assert told.err.count("\n") == 1, told.err
    assert all(word in told.err for word in words), told.err
    assert list(folder.rglob("*")) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("not_scalar", "loss gives shape (2,) for one example"),
        ("at_random", "loss is random"),
        ("not_finite", "expected finite values"),
        ("a_number", "gives an object of type int"),
        ("raises", "ZeroDivisionError"),
    ],
)
def test_a_problem_that_cannot_be_studied_is_one_sentence_and_leaves_nothing(call, pools, folder, name, words):
    told = call("sweep", *SHORT[2:], "--problem", f"mine:{name}", "--out", "place")
    assert told.code == 2, told
    assert told.err.count("\n") == 1
    assert words in told.err
    assert not (folder / "place").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("learning_rate = 0.1", "Did you mean 'learning_rates'?"),
        ("learning_rates = [0.1", "cannot be read"),
        ("learning_rates = 0.1\nvariants = 'sgd'", "--variant[0]='sgd' does not do"),
        ("learning_rates = [0.1, 2]\nlearning_rate_cap = 1.0", "--learning-rate holds 2, above"),
    ],
)
def test_a_wrong_plan_is_one_sentence(call, folder, text, words):
    (folder / "plan.toml").write_text(text)
    told = call("sweep", "plan.toml", "--out", "place")
    assert told.code == 2, told
    assert words in told.err
    assert told.err.count("\n") == 1
    assert not (folder / "place").exists()


def test_a_sweep_tells_its_cells_and_paths_and_run_again_does_nothing(call, pools, folder, monkeypatch):
    told = call("sweep", *SHORT, "--out", "place")
    assert told.code == 0, told
    lines = told.out.splitlines()
    assert lines[0].startswith("cells: 2, seeds: 2, runs: 4 of 40 steps")
    assert lines[1].split()[:2] == ["learning", "rate"]
    assert "±" in lines[2]
    assert any(line.startswith("Temperature: No best temperature") for line in lines)
    assert lines[-2:] == ["place/results.nc", "place/report.html"]
    assert told.err == ""
    found = gn.load("place/results.nc")["sweep"].to_dataset()
    assert found.sizes["run"] == 4
    monkeypatch.setattr(engine, "do_chunk", lambda *given: pytest.fail("it ran again"))
    again = call("sweep", *SHORT, "--out", "place", "--resume", "--json")
    assert again.code == 0, again
    told = json.loads(again.out)
    assert told["files"] == {"results": "place/results.nc", "report": "place/report.html"}
    assert any("finished already" in note for note in told["notes"])
    np.testing.assert_array_equal(told["groups"]["sweep"]["data_vars"]["gap"]["data"], found["gap"])


def test_another_sweep_in_the_folder_is_refused_by_name(call, pools, folder):
    assert call("sweep", *SHORT, "--out", "place").code == 0
    before = sorted(path.name for path in (folder / "place").rglob("*"))
    told = call("sweep", *SHORT, "--weight-decay", 0.1, "--out", "place")
    assert told.code == 2
    assert "--out='place/runs' holds another sweep" in told.err
    assert "weight_decay" in told.err.replace("-", "_")
    assert sorted(path.name for path in (folder / "place").rglob("*")) == before


@pytest.mark.slow
def test_a_dry_run_says_cells_time_and_memory_and_writes_nothing(call, pools, folder):
    told = call("sweep", *SHORT, "--dry-run", "--out", "place")
    assert told.code == 0, told
    assert all(word in told.out for word in ("time ", "memory ", "cells: 2", "Nothing was written."))
    assert [path.name for path in folder.iterdir() if path.name != "__pycache__"] == ["mine.py"]


@pytest.mark.slow
def test_options_stand_before_the_plan_of_a_file(call, pools, folder):
    (folder / "plan.toml").write_text(
        'problem = "mine:good"\nlearning_rates = [0.1, 0.2]\nbatch_sizes = 2\nnum_examples = 4\nseeds = 2\n'
        "reference_epochs = 20\nnum_records = 4\n"
    )
    told = call("sweep", "plan.toml", "--seeds", 3, "--json")
    assert told.code == 0, told
    found = json.loads(told.out)["groups"]["sweep"]
    assert found["dims"] == {"run": 6, "record": 5}


@pytest.mark.slow
def test_interrupted_it_says_what_is_kept_and_goes_on(pools, folder):
    command = [
        sys.executable, "-m", "gradnoise", "sweep", *map(str, TINY), "--reference-epochs", "20000", "--variant",
        "plain,momentum,cosine", "--out", "place",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list((folder / "place").rglob("chunk-*.nc")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 130, told
    assert "finished runs are kept in place/runs. Run the same command to go on." in told
    kept = {path.name: path.read_bytes() for path in (folder / "place" / "runs").glob("*.nc")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "place/report.html"
    assert all((folder / "place" / "runs" / name).read_bytes() == content for name, content in kept.items())
    assert len(os.listdir(folder / "place" / "runs")) == 3 + 1
