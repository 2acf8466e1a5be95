"""What a simulation promises beside its numbers: reproducible, paired, compiled once, honest about divergence."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradnoise.dynamics import plan
from gradnoise.dynamics.discrete import gradient_descent, sgd
from gradnoise.dynamics.simulate import simulate
from gradnoise.problem import from_arrays
from gradnoise.process import Process
from gradnoise.spacetime import Spacetime

POOL = {"x": np.random.default_rng(0).normal(size=(11, 3)), "y": np.array([0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1])}


def logistic(w, e):
    z = e["x"] @ w["slope"] + w["offset"]
    return jnp.logaddexp(0.0, z) - e["y"] * z


def init(key):
    return {"slope": np.array([0.1, -0.2, 0.3]), "offset": np.zeros(())}


@pytest.fixture(scope="module")
def problem():
    return from_arrays(
        logistic, init, POOL, metrics={"accuracy": lambda w, e: (logistic(w, e) < np.log(2)).astype(int)}
    )


def run(problem, num_replicas=10, sampling="reshuffle", learning_rate=0.5, key=0, make=sgd, **options):
    grid = Spacetime(8, 2, 3, sampling)
    return simulate(make(problem), init(None), grid, learning_rate, num_replicas, jax.random.key(key), **options)


def assert_close(a, b):
    for name in a.observables:
        np.testing.assert_allclose(a.observables[name], b.observables[name], rtol=2e-5, atol=2e-6)


def test_the_same_key_gives_the_same_numbers_and_another_key_others(problem):
    first, again, other = run(problem), run(problem), run(problem, key=1)
    for name, values in first.observables.items():
        assert (values == again.observables[name]).all()
    assert not np.allclose(first.observables["test_loss"][:, 1:], other.observables["test_loss"][:, 1:])
    assert len(np.unique(first.observables["test_loss"][:, -1])) == 10


def test_a_replica_does_not_depend_on_chunks_blocks_or_how_many_run_beside_it(problem, monkeypatch):
    whole = run(problem)
    few = run(problem, num_replicas=4)
    np.testing.assert_allclose(few.observables["gap"], whole.observables["gap"][:4], rtol=2e-5, atol=2e-6)
    monkeypatch.setattr(plan, "MAX_WIDTH", 3)
    monkeypatch.setattr(plan, "ROWS_TARGET", 1)
    monkeypatch.setattr(plan, "EVALUATION_TARGET", 1)
    narrow = run(problem)
    assert narrow.chunk_width == 3
    assert_close(whole, narrow)


def test_records_do_not_change_the_path(problem):
    often, seldom = run(problem), run(problem, every=4)
    assert seldom.steps.tolist() == [0, 4, 8, 12]
    assert_close(
        seldom, type(often)(**{**vars(often), "observables": {k: v[:, ::4] for k, v in often.observables.items()}})
    )


def test_two_processes_with_one_key_share_training_sets_and_batches(problem):
    seen = {"mean_y": lambda w, e: e["y"].mean(dtype=w["offset"].dtype), "slope": lambda w, e: w["slope"][0]}
    plain, heavy = run(problem, observe=seen), run(problem, observe=seen, make=lambda p: sgd(p, momentum=0.5))
    assert (plain.observables["mean_y"] == heavy.observables["mean_y"]).all()
    first = [runs.observables["slope"][:, 1] for runs in (plain, heavy)]  # momentum acts from the second step on
    np.testing.assert_allclose(*first, rtol=1e-5)


def test_double_precision_sees_the_same_examples_and_agrees_with_single(problem):
    single, double = run(problem), run(problem, dtype="float64")
    assert {v.dtype for v in single.observables.values()} == {np.dtype("float32")}
    assert {v.dtype for v in double.observables.values()} == {np.dtype("float64")}
    assert_close(single, double)
    assert not jax.config.jax_enable_x64


def test_step_zero_is_the_start_and_test_minus_train_is_the_gap(problem):
    runs = run(problem, dtype="float64")
    start = np.mean([float(logistic(init(None), {k: v[n] for k, v in POOL.items()})) for n in range(11)])
    np.testing.assert_allclose(runs.observables["test_loss"][:, 0], start, rtol=1e-6)
    seen = runs.observables
    np.testing.assert_allclose(seen["gap"], seen["test_loss"] - seen["train_loss"], atol=1e-15)
    assert set(np.unique(np.round(seen["train_accuracy"] * 8, 12))) <= set(range(9))
    assert (runs.steps == np.arange(13)).all()
    assert (runs.num_replicas, runs.setting, runs.process_name) == (10, "population", "sgd")


def test_a_truncated_spacetime_stops_there(problem):
    grid = Spacetime(8, 2, 3, "reshuffle")
    whole = run(problem)
    cut = simulate(sgd(problem), init(None), grid.truncate(5), 0.5, 10, jax.random.key(0))
    assert cut.steps.tolist() == list(range(6))
    np.testing.assert_allclose(cut.observables["gap"], whole.observables["gap"][:, :6], rtol=2e-5, atol=2e-6)
    nowhere = simulate(sgd(problem), init(None), grid.truncate(0), 0.5, 10, jax.random.key(0))
    np.testing.assert_allclose(nowhere.observables["gap"], whole.observables["gap"][:, :1], rtol=2e-5, atol=2e-6)


def test_a_learning_rate_sweep_compiles_once():
    traces = []

    def counted(w, e):
        traces.append(None)
        return logistic(w, e)

    problem = from_arrays(counted, init, POOL)
    run(problem, learning_rate=0.1)
    before = len(traces)
    for rate in (0.2, 0.3):
        run(problem, learning_rate=rate)
    run(problem, learning_rate=lambda step: 0.1 / (1 + step))
    run(problem, learning_rate=np.linspace(0.1, 0, 12))
    run(problem, key=7)
    assert before > 0
    assert len(traces) == before
    run(problem, learning_rate={"slope": 0.1, "offset": 0.2})
    once = len(traces)
    run(problem, learning_rate={"slope": 0.3, "offset": 0.1})
    assert len(traces) == once > before


def test_schedules_and_rates_by_weight_are_what_they_say(problem):
    constant = run(problem, learning_rate=0.5)
    for same in (lambda step: 0.5, np.full(12, 0.5), {"slope": np.full(3, 0.5), "offset": 0.5}):
        assert_close(constant, run(problem, learning_rate=same))
    halted = run(problem, learning_rate=lambda step: 0.5 if step < 4 else 0.0)
    np.testing.assert_allclose(
        halted.observables["gap"][:, :5], constant.observables["gap"][:, :5], rtol=2e-5, atol=2e-6
    )
    assert (halted.observables["gap"][:, 4:] == halted.observables["gap"][:, 4:5]).all()


def test_a_weight_of_rate_zero_stays(problem):
    observe = {"offset": lambda w, e: w["offset"], "slope": lambda w, e: w["slope"][0]}
    runs = run(problem, learning_rate={"slope": np.full(3, 0.5), "offset": 0.0}, observe=observe)
    assert (runs.observables["offset"] == 0).all()
    assert runs.observables["slope"].std() > 0


@pytest.fixture(scope="module")
def exploding():
    """A step on an example 1 throws the weight to -1e25, its square is beyond float32; an example 0 does nothing."""
    return from_arrays(lambda w, x: x * w**2 / 2, lambda key: np.ones(()), np.array([0.0, 0.0, 1.0]))


def test_a_diverged_replica_is_nan_from_its_step_on_and_leaves_the_others_alone(exploding):
    observe = {f"x{n}": lambda w, e, n=n: e[n] for n in range(4)}
    runs = simulate(sgd(exploding), np.ones(()), Spacetime(4, 1), lambda t: 1e25, 200, jax.random.key(0), observe)
    drawn = np.stack([runs.observables[f"x{n}"][:, 0] for n in range(4)], axis=1)
    struck = np.where(drawn.any(1), drawn.argmax(1) + 1, -1)
    hit, safe = struck >= 0, struck < 0
    assert (runs.diverged_at[hit] == struck[hit]).all()
    after = np.arange(5) >= np.where(runs.diverged_at < 0, 99, runs.diverged_at)[:, None]
    assert (np.isnan(runs.observables["test_loss"]) == after).all()
    assert safe.any()


def test_the_mean_refuses_when_a_replica_diverged(exploding):
    runs = simulate(sgd(exploding), np.ones(()), Spacetime(4, 1), 1e30, 50, jax.random.key(0))
    lost = (runs.diverged_at >= 0).sum()
    assert 0 < lost < 50
    with pytest.raises(ValueError, match=rf"{lost} of 50 replicas diverged, the first at step 1 .*Lower learning_rate"):
        runs.mean("test_loss")
    with pytest.raises(KeyError, match="accuracy"):
        runs.mean("accuracy")


def test_weights_that_overflow_between_records_carry_their_own_step(exploding):
    start, grid = np.ones(()), Spacetime(60, 10, 2)
    runs = simulate(gradient_descent(exploding), start, grid, 1e30, 4, jax.random.key(0), every=12)
    assert (runs.diverged_at == 2).all()  # 1 -> about -3e29 -> about 1e59


def test_progress_is_told_to_the_end(problem):
    told = []
    run(problem, every=4, progress=lambda done, total: told.append((done, total)))
    assert told == [(i, 4) for i in range(1, 5)]


def averaging(batches, substeps):
    """A process that adds up the examples it is shown."""

    def step(key, state, batch, learning_rate):
        assert batch.examples.shape == (batches, 2)
        return state + learning_rate * batch.examples.sum()

    pool = from_arrays(lambda w, x: w * x, lambda key: np.zeros(()), np.arange(5.0))
    return Process("averaging", pool, lambda w: w, step, lambda s: s, substeps, batches)


def test_substeps_and_several_batches_a_substep_are_independent_draws():
    process = averaging(batches=2, substeps=3)
    grid = Spacetime(5, 2, sampling="with_replacement", num_steps=4)
    observe = {"total": lambda w, e: w, "mean": lambda w, e: e.mean()}
    runs = simulate(process, np.zeros(()), grid, 1.0, 4000, jax.random.key(0), observe, training_set="given")
    total = runs.observables["total"][:, -1]  # 4 steps * 3 substeps * 2 batches * 2 draws, uniform on 0..4: variance 2
    draws = 48
    assert abs(total.mean() - 2 * draws) < 4.5 * np.sqrt(2 * draws / 4000)
    assert abs(total.var() / (2 * draws) - 1) < 4.5 * np.sqrt(2 / 4000)


def test_epochs_are_not_defined_for_several_batches_a_step():
    with pytest.raises(ValueError, match=r'sampling="fixed".*6 independent batches'):
        simulate(averaging(2, 3), np.zeros(()), Spacetime(6, 2), 1.0, 1, jax.random.key(0))


TWO_DEVICES = """
import sys
import jax, numpy as np
sys.path.insert(0, sys.argv[1])
import test_simulate as t
from gradnoise.problem import from_arrays
assert len(jax.devices()) == 2
runs = t.run(from_arrays(t.logistic, t.init, t.POOL), num_replicas=9)
assert runs.num_devices == 2
np.savez(sys.argv[2], **runs.observables)
"""


def test_two_devices_agree_with_one_to_rounding(tmp_path, request):
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "PATH": "", "JAX_PLATFORMS": "cpu"}
    target = tmp_path / "two.npz"
    command = [sys.executable, "-c", TWO_DEVICES, str(request.path.parent), str(target)]
    subprocess.run(command, env=environment, check=True, timeout=300)
    one = run(from_arrays(logistic, init, POOL), num_replicas=9)
    with np.load(target) as two:
        for name, values in one.observables.items():
            np.testing.assert_allclose(two[name], values, rtol=2e-5, atol=2e-6)
