"""The commands that run the main job: what they print, what they write, how they are stopped and taken up again."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

import gradnoise as gn
from gradnoise.cli import main
from gradnoise.experiment import pipeline
from gradnoise.experiment.config import Config
from gradnoise.experiment.job import Job
from gradnoise.results import build_tree

MODULE = Path(__file__).parent / "users_module.txt"
TINY: dict[str, tuple] = {
    "measure": ("--batch-size", 2, "--max-order", 1, "--baseline-steps", 5),
    "predict": ("--batch-size", 2, "--max-order", 1, "--baseline-steps", 5, "--num-examples", 4, "--epochs", 1),
    "simulate": ("--batch-size", 2, "--num-examples", 4, "--epochs", 1, "--num-replicas", 20),
}
TINY["report"] = (*TINY["predict"], "--num-replicas", 20, "--path-steps", 4)
GROUPS = {
    "measure": {"measured"},
    "predict": {"measured", "predicted", "path"},
    "simulate": {"simulated"},
    "report": {"measured", "predicted", "simulated", "compared", "path"},
}


def refuse(name):
    raise AssertionError(f"{name} is no JSON")


def listed(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if "__pycache__" not in path.parts)


@pytest.fixture
def tiny(pools):
    """A problem of two weights and six examples, in a module of the user's."""
    return "--problem", "mine:good"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Results of a real report on a tiny problem, made once."""
    place = tmp_path_factory.mktemp("finished")
    (place / "mine.py").write_text(MODULE.read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "path", list(sys.path))
        assert main(["report", "--problem", "mine:good", *map(str, TINY["report"])]) == 0
        del sys.modules["mine"]
    assert listed(place) == [
        "gradnoise-report",
        "gradnoise-report/report.html",
        "gradnoise-report/results.nc",
        "mine.py",
    ]
    return gn.load(place / "gradnoise-report" / "results.nc")


@pytest.fixture
def ready(monkeypatch, finished):
    """The main job answers at once with the finished results, in the asked stages and settings."""
    asked = []

    def run(problem, config, *, stages, store=None, progress=None):
        asked.append((problem, config))
        attrs = {"seed": config.seed, "num_examples": config.spacetime(problem.num_pool).num_examples}
        return build_tree({stage: finished[stage].to_dataset() for stage in stages}, {**finished.attrs, **attrs})

    def estimate(problem, config, error=0.01, stages=()):
        asked.append((problem, config, error, stages))
        return pipeline.Estimation(75.0, 3 * 2**29, 400, ["a note"])

    monkeypatch.setattr(pipeline, "run", run)
    monkeypatch.setattr(pipeline, "estimate", estimate)
    return asked


@pytest.mark.parametrize("command", ["measure", "predict", "simulate"])
def test_without_out_it_prints_and_writes_nothing(call, folder, tiny, ready, command):
    before = listed(folder)
    told = call(command, *tiny, *TINY[command])
    assert (told.code, told.err) == (0, "")
    assert "learning rate" in told.out
    assert listed(folder) == before


@pytest.mark.parametrize("command", ["measure", "predict", "simulate"])
def test_with_out_it_writes_the_results_and_prints_their_path_last(call, folder, tiny, ready, command):
    told = call(command, *tiny, *TINY[command], "--out", "new/place")
    assert (told.code, told.err) == (0, "")
    assert told.out.splitlines()[-1] == "new/place/results.nc"
    assert listed(folder / "new") == ["place", "place/results.nc"]
    assert set(gn.load("new/place/results.nc").children) == GROUPS[command]


@pytest.mark.parametrize("command", list(TINY))
def test_json_is_one_strict_object_with_all_numbers_and_silence_otherwise(call, tiny, ready, command):
    told = call(command, *tiny, *TINY[command], "--json", "--seed", 3)
    assert (told.code, told.err) == (0, "")
    assert told.out.count("\n") == 1
    found = json.loads(told.out, parse_constant=refuse)
    assert found["command"] == command
    assert set(found["groups"]) == GROUPS[command]
    assert found["attributes"]["seed"] == 3
    assert bool(found["files"]) == (command == "report")


def test_report_replaces_its_two_files_and_leaves_others_alone(call, folder, tiny, ready):
    (folder / "out").mkdir()
    for name in ("results.nc", "report.html", "notes.txt"):
        (folder / "out" / name).write_text("mine")
    told = call("report", *tiny, *TINY["report"], "--out", "out")
    assert (told.code, told.err) == (0, "")
    assert told.out.splitlines()[-2:] == ["out/results.nc", "out/report.html"]
    assert listed(folder / "out") == ["notes.txt", "report.html", "results.nc"]
    assert (folder / "out" / "notes.txt").read_text() == "mine"
    assert "<html" in (folder / "out" / "report.html").read_text()
    assert gn.load("out/results.nc").attrs["problem"] == "mine"


def test_options_become_settings_and_those_not_given_keep_their_defaults(call, tiny, ready):
    options = ("--learning-rate", 0.5, "--batch-size", 3, "--num-examples", 6, "--epochs", 4, "--sampling", "reshuffle")
    more = ("--momentum", 0.9, "--weight-decay", 0.01, "--num-replicas", 77, "--max-order", 2, "--baseline-steps", 9)
    last = ("--memory", "1GiB", "--seed", 5, "--path-learning-rate", 0.25, "--path-steps", 7, "--num-probes", 11)
    assert call("report", *tiny, *options, *more, *last).code == 0
    values = dict(zip(*[iter((*options, *more, *last))] * 2, strict=True))
    expected = {name.lstrip("-").replace("-", "_"): value for name, value in values.items()}
    assert ready[-1][1] == Config.model_validate(expected)
    assert call("report", *tiny).code == 0
    assert ready[-1][1] == Config()


@pytest.mark.parametrize("command", list(TINY))
def test_dry_run_tells_cost_and_writes_nothing(call, folder, tiny, ready, command):
    before = listed(folder)
    error = ("--error", 0.02) if command in ("report", "simulate") else ()
    told = call(command, *tiny, *TINY[command], "--dry-run", "--out", "out", "--json", *error)
    assert (told.code, told.err) == (0, "")
    found = json.loads(told.out, parse_constant=refuse)
    assert (found["seconds"], found["memory_bytes"], found["notes"]) == (75.0, 3 * 2**29, ["a note"])
    assert found.get("num_replicas_needed") == (400 if error else None)
    assert ready[-1][2:] == (0.02 if error else 0.01, ready[-1][3])
    assert set(ready[-1][3]) == GROUPS[command]
    assert listed(folder) == before


def test_dry_run_in_words(call, tiny, ready):
    told = call("simulate", *tiny, *TINY["simulate"], "--dry-run")
    assert told.out.splitlines() == [
        "time      about 1 min 15 s",
        "memory    about 1.5 GiB",
        "replicas  400 needed for an error of 1% of the test loss's mean change",
        "a note",
        "Nothing was written.",
    ]


def test_a_real_dry_run_answers(call, folder, tiny):
    before = listed(folder)
    told = call("measure", *tiny, *TINY["measure"], "--dry-run")
    assert (told.code, told.err) == (0, "")
    assert re.match(r"time +about .*\nmemory +about .*\n", told.out)
    assert listed(folder) == before


def test_predict_tells_the_whole_run_in_one_line_and_simulates_nothing(call, tiny, ready):
    told = call("predict", *tiny, *TINY["predict"])
    (line,) = [line for line in told.out.splitlines() if line.startswith("After 4 steps")]
    assert "gradient descent without noise has test loss" in line
    assert ready[-1][1].path_replicas == 0


def test_no_probes_leave_the_whole_run_out_and_one_is_refused(call, tiny, folder):
    told = call("predict", *tiny, *TINY["predict"], "--num-probes", 0)
    assert told.out.splitlines()[-1] == "No whole run: num_probes=0 left it out."
    refused = call("predict", *tiny, *TINY["predict"], "--num-probes", 1)
    assert refused.code == 2
    assert refused.err == (
        "gradnoise: --num-probes=1 does not do, expected 0 or a whole number of at least 2. Give --num-probes 50, say.\n"
    )


def test_of_a_data_file_all_full_batches_are_used_and_the_rest_is_told(call, data, ready):
    told = call("simulate", "--data", data, "--model", "logistic", "--batch-size", 4)
    assert (told.code, told.err) == (0, "")
    assert told.out.splitlines()[0] == (
        "Each run trains on 20 examples drawn from the 21 in the data (1 left out, for batches are not padded)."
    )
    quiet = json.loads(call("report", "--data", data, "--hidden", 2, "--batch-size", 4, "--json").out)
    assert quiet["attributes"]["num_examples"] == 20
    assert "1 left out" in quiet["notes"][0]
    assert sum(leaf.size for leaf in jax.tree.leaves(ready[-1][0].init(jax.random.key(0)))) == 3 * 2 + 2 + 2 * 2 + 2


def test_num_examples_wins_over_the_data_file(call, data, ready):
    told = call("simulate", "--data", data, "--batch-size", 4, "--num-examples", 8, "--json")
    found = json.loads(told.out)
    assert found["attributes"]["num_examples"] == 8
    assert found["notes"] == []


def test_what_the_users_code_prints_does_not_get_into_the_json(call, pools, ready):
    told = call("simulate", "--problem", "mine:prints", *TINY["simulate"], "--json")
    assert told.code == 0
    assert json.loads(told.out)["command"] == "simulate"
    assert "a word from the user's code" in told.err


def test_a_problem_may_be_an_object_in_a_module(call, pools, ready):
    assert call("simulate", "--problem", "mine:ready", *TINY["simulate"]).code == 0
    assert ready[-1][0].name == "mine"


def interrupt(job):
    raise KeyboardInterrupt


def test_an_interrupted_report_is_taken_up_to_the_same_numbers(call, folder, tiny, finished, monkeypatch):
    arguments = ("report", *tiny, *TINY["report"])
    with monkeypatch.context() as patch:
        patch.setattr(Job, "simulated", interrupt)
        told = call(*arguments, "--out", "out")
    assert (told.code, told.out) == (130, "")
    assert told.err.count("\n") == 1
    assert "out/.stages" in told.err
    assert "--resume" in told.err
    assert len(list((folder / "out" / ".stages").glob("*.nc"))) == 2
    with monkeypatch.context() as patch:
        patch.setattr(Job, "measured", interrupt)
        assert call(*arguments, "--out", "out", "--resume").code == 0
    assert listed(folder / "out") == ["report.html", "results.nc"]
    resumed = gn.load("out/results.nc")
    assert all(finished[name].to_dataset().equals(resumed[name].to_dataset()) for name in GROUPS["report"])


def test_without_resume_an_interrupted_run_starts_afresh(call, folder, tiny, monkeypatch):
    arguments = ("report", *tiny, *TINY["report"], "--out", "out")
    for patched in ("simulated", "measured"):
        with monkeypatch.context() as patch:
            patch.setattr(Job, patched, interrupt)
            told = call(*arguments)
        assert told.code == 130
    assert "no stage was finished" in told.err
    assert listed(folder / "out") == []


def test_an_interruption_without_out_says_that_nothing_was_kept(call, tiny, monkeypatch):
    monkeypatch.setattr(Job, "simulated", interrupt)
    told = call("simulate", *tiny, *TINY["simulate"])
    assert told.code == 130
    assert "--out DIR" in told.err


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_wrong_use_that_only_the_run_finds_leaves_nothing(call, folder, tiny):
    before = listed(folder)
    told = call("report", *tiny, *TINY["report"], "--learning-rate", "1e200", "--out", "out")
    assert told.code == 2, told
    assert told.err.count("\n") == 1
    assert "--learning-rate" in told.err
    assert listed(folder) == before


def test_a_disk_that_fills_up_is_one_sentence(call, tiny, ready, monkeypatch):
    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device", "x")

    monkeypatch.setattr("gradnoise.report.write_report", full)
    told = call("report", *tiny, *TINY["report"], "--out", "out")
    assert told.code == 2
    assert told.err.count("\n") == 1
    for words in ("--out='out'", "No space left on device", "--resume"):
        assert words in told.err


def on_a_terminal(arguments, folder, interrupt_at=None):
    """Run the program with its three streams on a terminal of its own; everything it showed, and its exit code."""
    parent, child = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-m", "gradnoise", *map(str, arguments)],
        stdin=child,
        stdout=child,
        stderr=child,
        cwd=folder,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
        start_new_session=True,
    )
    os.close(child)
    shown, deadline, sent = b"", time.monotonic() + 600, False
    while time.monotonic() < deadline:
        try:
            part = os.read(parent, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
        if interrupt_at is not None and interrupt_at in shown and not sent:
            running.send_signal(signal.SIGINT)
            sent = True
    code = running.wait(timeout=60)
    os.close(parent)
    return code, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode(errors="replace"))


@pytest.mark.slow
def test_on_a_terminal_a_report_shows_time_progress_findings_and_paths(folder, tiny):
    code, shown = on_a_terminal(("report", *tiny, *TINY["report"]), folder)
    assert code == 0, shown
    for words in ("This takes about", "simulation", "%", "report.html", "B_simple"):
        assert words in shown
    assert "Traceback" not in shown


@pytest.mark.slow
def test_ctrl_c_on_a_terminal_is_one_line_and_resume_goes_on(folder, tiny):
    arguments = ("report", *tiny, *TINY["report"], "--num-replicas", 30000, "--epochs", 100)
    code, shown = on_a_terminal(arguments, folder, interrupt_at=b"simulation  ")
    assert code == 130, shown
    assert "Traceback" not in shown
    assert "interrupted;" in shown.splitlines()[-1]
    code, shown = on_a_terminal((*arguments[:-4], "--resume"), folder)
    assert code == 0, shown


@pytest.mark.slow
def test_the_whole_report_on_digits(folder):
    start = time.monotonic()
    told = subprocess.run(
        [sys.executable, "-m", "gradnoise", "report", "--problem", "digits-logistic"],
        capture_output=True, text=True, timeout=600, cwd=folder,
    )  # fmt: skip
    assert (told.returncode, told.stderr) == (0, ""), told.stderr
    assert listed(folder) == ["gradnoise-report", "gradnoise-report/report.html", "gradnoise-report/results.nc"]
    assert "agrees with the simulation" in told.stdout
    assert time.monotonic() - start < 600
