"""The main job, taken up again: no simulation twice, also not one that was cut off inside."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import gradnoise as gn
from gradnoise.cli import main
from gradnoise.dynamics import plan
from gradnoise.dynamics.simulate import simulate
from gradnoise.experiment.config import Config
from gradnoise.experiment.pipeline import estimate, run

SMALL = Config.model_validate(
    {"learning_rate": 0.02, "batch_size": 2, "num_examples": 8, "epochs": 1, "num_replicas": 20, "max_order": 1}
)
STAGES = ("simulated", "compared")
SIMULATE = sys.modules[simulate.__module__]


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def problem():
    pool = np.random.default_rng(0).normal(size=(12, 3))
    return gn.from_arrays(lambda w, x: jnp.cos(w @ x[:2] - x[2]), lambda key: jnp.array([0.5, -1.0]), pool, "small")


@pytest.fixture
def begun(monkeypatch):
    """Chunks of ten replicas; the list of those that were begun to be simulated."""
    monkeypatch.setattr(plan, "MAX_WIDTH", 10)
    started, start = [], SIMULATE.start_chunk
    monkeypatch.setattr(SIMULATE, "start_chunk", lambda *given: started.append(given[-1]) or start(*given))
    return started


def stop_at(message, share):
    def stop(heard, done):
        if heard == message and done >= share:
            raise Killed

    return stop


def assert_same(one, other, stages=STAGES):
    for name in stages:
        xr.testing.assert_identical(one[name].to_dataset(), other[name].to_dataset())


def test_every_stop_inside_the_simulation_is_taken_up_to_the_same_numbers(problem, tmp_path, begun):
    whole = run(problem, SMALL, stages=STAGES[:1])
    assert len(begun) == 6 * 2  # six rates, two chunks each
    begun.clear()
    for share in (0.2, 0.5, 0.9):
        with pytest.raises(Killed):
            run(problem, SMALL, stages=STAGES[:1], store=tmp_path, progress=stop_at("simulation", share))
    assert_same(whole, run(problem, SMALL, stages=STAGES[:1], store=tmp_path), STAGES[:1])
    assert len(begun) <= 12 + 3  # of each stop at most the chunk in progress


@pytest.mark.slow
def test_compared_after_simulated_simulates_nothing_again(problem, tmp_path, begun):
    whole = run(problem, SMALL, stages=STAGES, store=tmp_path)
    assert len(begun) == 2 * 12  # six rates, two chunks each, and as many of control variates
    begun.clear()
    for path in tmp_path.glob("compared-*.nc"):
        path.unlink()  # as if it was killed before
    assert_same(whole, run(problem, SMALL, stages=STAGES, store=tmp_path))
    assert not begun


@pytest.mark.parametrize("call", [run, estimate])
def test_a_decay_too_large_for_the_largest_rate_is_refused_before_anything_runs(problem, begun, call):
    config = SMALL.model_copy(update={"weight_decay": 25.0})
    words = r"weight_decay=25 times 0.08, the largest rate tried beside learning_rate=0.02, is 2, expected below 2"
    with pytest.raises(ValueError, match=words):
        call(problem, config, stages=STAGES)
    assert not begun


@pytest.mark.slow
def test_other_settings_have_runs_of_their_own(problem, tmp_path, begun):
    run(problem, SMALL, stages=("simulated",), store=tmp_path)
    begun.clear()
    other = SMALL.model_copy(update={"seed": 1})
    assert_same(
        run(problem, other, stages=STAGES[:1]), run(problem, other, stages=STAGES[:1], store=tmp_path), STAGES[:1]
    )
    assert len(begun) == 2 * 12


@pytest.mark.slow
def test_a_simulation_with_control_variates_resumes_to_the_same_mean(problem, tmp_path, begun):
    given = gn.sgd(problem), jnp.array([0.5, -1.0]), gn.Spacetime(8, 2), 0.02, 40, jax.random.key(0)

    def stop(done, total):
        if done == 7:
            raise Killed

    def simulated(**options):
        return gn.simulate(*given, variance_reduction="path", **options).mean("test_loss")

    with pytest.raises(Killed):
        simulated(checkpoint=tmp_path, progress=stop)
    again, whole = simulated(checkpoint=tmp_path), simulated()
    assert (np.asarray(again.value) == whole.value).all()
    assert (np.asarray(again.stderr) == whole.stderr).all()
    with pytest.raises(ValueError, match="holds another run"):
        gn.simulate(*given, checkpoint=tmp_path)


COMMAND = ["simulate", "--batch-size", "2", "--num-examples", "4", "--num-replicas", "20", "--learning-rate", "0.01"]


@pytest.fixture
def command(tmp_path, monkeypatch, begun):
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", x=np.random.default_rng(0).normal(size=(21, 3)), y=np.arange(21) % 2)
    return [*COMMAND, "--data", "data.npz", "--model", "logistic", "--out", "out"]


def interrupted(command, monkeypatch, at):
    """The command, interrupted when it begins chunk number `at`; its exit code."""
    count, start = [], SIMULATE.start_chunk

    def begin(*given):
        count.append(None)
        if len(count) > at:
            raise KeyboardInterrupt
        return start(*given)

    with monkeypatch.context() as patch:
        patch.setattr(SIMULATE, "start_chunk", begin)
        return main(command)


@pytest.mark.slow
def test_the_command_resumes_inside_the_simulation_and_leaves_only_results(command, monkeypatch, begun, capfd):
    assert interrupted(command, monkeypatch, 5) == 130
    assert "what was done is kept in out/.stages" in capfd.readouterr().err
    begun.clear()
    assert main([*command, "--resume"]) == 0
    assert len(begun) == 7
    first = gn.load("out/results.nc")
    assert [path.name for path in Path("out").iterdir()] == ["results.nc"]
    assert main(command) == 0
    assert_same(gn.load("out/results.nc"), first, STAGES[:1])


@pytest.mark.slow
def test_the_command_names_a_damaged_file_in_one_line_and_does_it_again(command, monkeypatch, begun, capfd, tmp_path):
    interrupted(command, monkeypatch, 5)
    chunk = min((tmp_path / "out" / ".stages").rglob("chunk-*.npz"))
    chunk.write_bytes(b"")
    capfd.readouterr()
    begun.clear()
    assert main([*command, "--resume"]) == 0
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith("gradnoise: 'out/.stages/")
    assert "is damaged" in told
    assert len(begun) == 8


@pytest.mark.slow
def test_a_disk_that_fills_up_while_it_simulates_is_one_sentence_and_loses_nothing(command, monkeypatch, begun, capfd):
    interrupted(command, monkeypatch, 5)

    def full(*given, **named):
        raise OSError(28, "No space left on device")

    capfd.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        assert main([*command, "--resume"]) == 2
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    for words in ("out/.stages", "No space left on device", "make room", "go on"):
        assert words in told
    begun.clear()
    assert main([*command, "--resume"]) == 0
    assert len(begun) == 7


@pytest.mark.slow
def test_without_resume_it_starts_afresh(command, monkeypatch, begun):
    interrupted(command, monkeypatch, 5)
    begun.clear()
    assert main(command) == 0
    assert len(begun) == 12


@pytest.mark.slow
def test_another_amount_of_memory_that_cuts_the_runs_otherwise_is_refused(command, monkeypatch, begun, capfd):
    interrupted(command, monkeypatch, 5)
    monkeypatch.setattr(plan, "MAX_WIDTH", 4)
    capfd.readouterr()
    assert main([*command, "--resume"]) == 2
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert "chunk_width was 10, is 4" in told
