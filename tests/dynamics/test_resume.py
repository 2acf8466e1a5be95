"""A simulation that is stopped anywhere goes on to the same bits, and never from the checkpoint of another run."""

import json
import os
import subprocess
import sys
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradnoise.dynamics import levy, plan, sde, sgd, svag
from gradnoise.dynamics.identity import differing, digest
from gradnoise.dynamics.momentum import MomentumState
from gradnoise.dynamics.simulate import simulate
from gradnoise.problem import Problem, from_arrays
from gradnoise.process import Process
from gradnoise.spacetime import Spacetime

POOL = np.random.default_rng(0).normal(size=(7, 2))
START = np.array([0.3, -0.2])
GRID = Spacetime(6, 2, 4, "with_replacement")


def bent(w, x):
    return jnp.log(jnp.cosh(w @ x)) + 0.1 * jnp.sum((w - x) ** 2)


PROBLEM = from_arrays(bent, lambda key: START, POOL)
ENDLESS = Problem(bent, lambda key, n: jax.random.normal(key, (n, 2)), lambda key: START)
PROCESSES = {
    "sgd with momentum": sgd(PROBLEM, momentum=0.9),
    "svag": svag(PROBLEM, 3, momentum=0.5),
    "sde": sde(PROBLEM, num_substeps=3),
    "levy": levy(PROBLEM, 1.5, 0.1, num_substeps=2),
    "sgd without a pool": sgd(ENDLESS, momentum=0.9),
}


class Memory:
    """A checkpoint in the test's own memory; `patience` saves go well, then it is killed in the middle of one."""

    def __init__(self, patience=None, always=True):
        self.kept, self.patience, self.always = {}, patience, always
        self.identity: dict | None = None

    def begin(self, identity):
        assert self.identity in (None, dict(identity))
        self.identity = dict(identity)

    def due(self):
        return self.always

    def load(self, name):
        return self.kept.get(name)

    def save(self, name, arrays):
        if self.patience == 0:
            raise Killed
        self.kept[name] = {key: np.array(value) for key, value in arrays.items()}
        if self.patience is not None:
            self.patience -= 1


class Killed(Exception):
    pass


def run(process=PROCESSES["sgd with momentum"], grid=GRID, num_replicas=5, **options):
    return simulate(process, START, grid, 0.1, num_replicas, jax.random.key(0), **{"every": 4, **options})


def assert_same_bits(one, other):
    assert one.observables.keys() == other.observables.keys()
    for name, values in one.observables.items():
        assert values.dtype == other.observables[name].dtype
        assert values.tobytes() == other.observables[name].tobytes(), name
    np.testing.assert_array_equal(one.diverged_at, other.diverged_at)


def resumed_after_every_stop(**options):
    """The run, killed after every further record; how often it was killed."""
    checkpoint, heard = Memory(), set()

    def stop(done, total):
        if done not in heard:
            heard.add(done)
            raise Killed

    while len(heard) < 100:
        try:
            return run(**options, checkpoint=checkpoint, progress=stop), len(heard)
        except Killed:
            continue
    raise AssertionError("it makes no progress")


@pytest.fixture(autouse=True)
def chunks_of_two(monkeypatch):
    """Every run in chunks of two replicas."""
    monkeypatch.setattr(plan, "MAX_WIDTH", 2)


@pytest.fixture
def short_segments(monkeypatch):
    """Compiled calls of one step each."""
    monkeypatch.setattr(plan, "SEGMENT_TARGET", 1)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * ("pool" in name)) for name in PROCESSES]
)
def test_a_run_killed_after_every_record_ends_with_the_bits_of_an_undisturbed_one(name, short_segments):
    whole = run(PROCESSES[name])
    again, stops = resumed_after_every_stop(process=PROCESSES[name])
    assert_same_bits(whole, again)
    assert stops >= 3 * 4  # three chunks of two, four records each


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "float64"},
        {"training_set": "population"},
        {"training_set": "distinct", "grid": Spacetime(6, 2, 4, "reshuffle")},
        {"training_set": "given", "grid": Spacetime(7, 7, 12), "observe": {"norm": lambda w, e: w @ w}},
        {"process": svag(PROBLEM, 1, injected_noise=0.3), "grid": Spacetime(6, 2, 4, "subset"), "every": 12},
    ],
    ids=["float64", "population", "distinct", "given", "injected noise"],
)
def test_in_every_setting_a_killed_run_ends_with_the_bits_of_an_undisturbed_one(options, short_segments):
    again, stops = resumed_after_every_stop(**options)
    assert stops
    assert_same_bits(run(**options), again)


def test_a_run_killed_at_every_segment_ends_with_the_bits_of_an_undisturbed_one(short_segments):
    whole, checkpoint, kills = run(), Memory(), 0
    for _ in range(3 * 12 + 3):  # three chunks of twelve one-step segments
        checkpoint.patience = 1  # one segment is kept, the next save is interrupted
        try:
            run(checkpoint=checkpoint)
        except Killed:
            kills += 1
    assert_same_bits(whole, run(checkpoint=checkpoint))
    assert kills >= 3 * 12 - 1


def test_the_length_of_segments_changes_no_bit(monkeypatch):
    whole = run()
    for target in (1, 2**15):
        monkeypatch.setattr(plan, "SEGMENT_TARGET", target)
        assert_same_bits(whole, run())


def test_keeping_changes_no_bit_and_a_finished_run_is_given_back_without_a_step(monkeypatch):
    checkpoint = Memory(always=False)
    whole = run(checkpoint=checkpoint)
    assert_same_bits(whole, run())
    module = sys.modules[simulate.__module__]
    monkeypatch.setattr(module, "start_chunk", lambda *arguments: pytest.fail("it began to simulate"))
    told = []
    assert_same_bits(whole, run(checkpoint=checkpoint, progress=lambda done, total: told.append((done, total))))
    assert told == [(4, 12), (8, 12), (12, 12)]


def test_only_the_chunk_that_was_lost_is_done_again(short_segments):
    checkpoint, told = Memory(), []
    whole = run(checkpoint=checkpoint)
    del checkpoint.kept["chunk-00001"]
    assert_same_bits(whole, run(checkpoint=checkpoint, progress=lambda done, total: told.append(done)))
    assert told == [4, 5, 6, 7, 8, 12]


def test_a_diverged_replica_stays_diverged_from_its_step_on():
    exploding = from_arrays(lambda w, x: x[0] ** 2 * jnp.sum(w**4), lambda key: START, POOL)
    options: dict[str, Any] = {
        "process": sgd(exploding),
        "spacetime": Spacetime(6, 1, 3),
        "num_replicas": 40,
        "every": 1,
    }
    options |= {"observe": {"first": lambda w, e: w[0]}}
    whole = simulate(**named(options, 30.0))
    lost = whole.diverged_at >= 0
    assert lost.sum() > 0
    checkpoint = Memory(patience=9)
    with pytest.raises(Killed):
        simulate(**named(options, 30.0), checkpoint=checkpoint)
    checkpoint.patience = None
    again = simulate(**named(options, 30.0), checkpoint=checkpoint)
    assert_same_bits(whole, again)
    for row, step in zip(again.observables["first"], again.diverged_at, strict=True):
        assert np.isnan(row[step:]).all() == (step >= 0)
        assert np.isfinite(row[: step if step >= 0 else None]).all()
    told = f"{lost.sum()} of 40 replicas diverged, the first at step {whole.diverged_at[lost].min()}"
    with pytest.raises(ValueError, match=told):
        again.mean("test_loss")


def named(options, rate):
    return {**options, "params": START, "learning_rate": rate, "key": jax.random.key(1)}


def wandering():
    """A process whose state holds a random key, a half-width number and a truth value beside the weights."""

    def init(params):
        return {"w": params, "key": jax.random.key(7), "half": jnp.bfloat16(1.5), "odd": jnp.array(False)}

    def step(key, state, batches, learning_rate):
        own, draw = jax.random.split(state["key"])
        move = jax.random.normal(draw, state["w"].shape, state["w"].dtype)
        half = state["half"] * jnp.bfloat16(0.75)
        w = state["w"] + learning_rate * jnp.where(state["odd"], move, -move) + half.astype(move.dtype)
        return {"w": w, "key": own, "half": half, "odd": ~state["odd"]}

    return Process("wandering", PROBLEM, init, step, lambda state: state["w"])


def test_any_state_is_kept_random_keys_and_narrow_types_too(short_segments):
    process = wandering()
    again, stops = resumed_after_every_stop(process=process)
    assert stops
    assert_same_bits(run(process), again)


def other_loss(w, x):
    return jnp.log(jnp.cosh(w @ x)) + 0.11 * jnp.sum((w - x) ** 2)


MEASURED_OTHERWISE = from_arrays(bent, PROBLEM.init, POOL, measured=other_loss)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"num_replicas": 6}, "num_replicas"),
        ({"every": 2}, "every"),
        ({"training_set": "population"}, "training_set"),
        ({"key": jax.random.key(1)}, "key"),
        ({"learning_rate": 0.2}, "learning_rate"),
        ({"learning_rate": np.linspace(0.1, 0.05, 12)}, "learning_rate"),
        ({"params": START + 1}, "params"),
        ({"spacetime": Spacetime(6, 2, 4, "subset")}, "spacetime"),
        ({"observe": {"norm": lambda w, e: w @ w}}, "observe"),
        ({"process": sgd(PROBLEM, momentum=0.8)}, "settings"),
        ({"process": svag(PROBLEM, 1, momentum=0.9)}, "process"),
        ({"process": sgd(from_arrays(other_loss, PROBLEM.init, POOL), momentum=0.9)}, "function of the step"),
        ({"process": sgd(from_arrays(bent, PROBLEM.init, POOL + 1e-6), momentum=0.9)}, "pool"),
        ({"process": sgd(MEASURED_OTHERWISE, momentum=0.9)}, "function of the records"),
    ],
)
def test_another_run_is_another_identity_that_names_what_differs(change, word):
    assert word in differing(identity_of(), identity_of(**change))[0]


def identity_of(**change):
    """The identity that a run hands to its checkpoint; nothing is compiled."""

    class Refusing(Memory):
        def begin(self, identity):
            super().begin(identity)
            raise Killed

    checkpoint = Refusing()
    given: dict[str, Any] = {"process": PROCESSES["sgd with momentum"], "params": START, "spacetime": GRID, "every": 4}
    given |= {"learning_rate": 0.1, "num_replicas": 5, "key": jax.random.key(0), "checkpoint": checkpoint}
    with pytest.raises(Killed):
        simulate(**{**given, **change})
    assert checkpoint.identity is not None
    assert checkpoint.identity == json.loads(json.dumps(checkpoint.identity))
    return checkpoint.identity


def test_a_constant_inside_the_loss_counts_and_its_name_does_not():
    def loss_with(weights):
        return lambda w, x: jnp.sum(weights * (w - x) ** 2)

    def kept(loss):
        return identity_of(process=sgd(from_arrays(loss, PROBLEM.init, POOL)))

    def renamed(position, example):
        return jnp.sum(np.array([1.0, 2.0]) * (position - example) ** 2)

    first = kept(loss_with(np.array([1.0, 2.0])))
    assert first == kept(renamed)
    assert differing(first, kept(loss_with(np.array([1.0, 2.5])))) == [
        "function of the step",
        "function of the records",
    ]


IDENTITIES = """
import json, sys
import jax
sys.path.insert(0, sys.argv[1])
import test_resume as t
from gradnoise import dynamics as d
made = [d.sgd(t.PROBLEM), d.gradient_descent(t.PROBLEM), d.svag(t.ENDLESS, 2), d.noisy_gd(t.PROBLEM), d.sde(t.PROBLEM)]
made += [d.levy(t.PROBLEM), d.hessian_sgd(t.PROBLEM, 0.1), d.gradient_flow(t.PROBLEM)]
if sys.argv[2] == "after others":
    made = made[::-1]
found = {process.name: t.identity_of(process=process) for process in made}
print(json.dumps(found, sort_keys=True))
"""


@pytest.mark.slow
def test_a_process_of_each_kind_has_the_same_identity_wherever_and_whenever_it_is_made(request):
    told = [
        subprocess.run(
            [sys.executable, "-c", IDENTITIES, str(request.path.parent), order],
            env={**os.environ, "PYTHONHASHSEED": seed}, check=True, timeout=300, capture_output=True, text=True,
        ).stdout
        for order, seed in (("alone", "1"), ("after others", "2"))
    ]  # fmt: skip
    assert told[0] == told[1]
    functions = [found["function of the step"] for found in json.loads(told[0]).values()]
    assert len(set(functions)) == 8


def test_digests_tell_numbers_shapes_types_and_structure_apart():
    trees = [
        np.zeros(4),
        np.zeros(4, np.float32),
        np.zeros((2, 2)),
        {"a": np.zeros(4)},
        [np.zeros(4)],
        np.full(4, -0.0),
    ]
    trees += [jax.random.key(0), jax.random.key(1), jax.random.key_data(jax.random.key(0)), None]
    assert len({digest(tree) for tree in trees}) == len(trees)
    assert digest(MomentumState(np.ones(2))) == digest(MomentumState(np.ones(2)))


def test_a_run_of_no_steps_is_kept_too():
    checkpoint, options = Memory(), {"grid": GRID.truncate(0), "every": 1}
    whole = run(**options, checkpoint=checkpoint)
    assert_same_bits(whole, run(**options, checkpoint=checkpoint))
    assert len(checkpoint.kept) == 3


def test_what_is_no_checkpoint_is_refused():
    with pytest.raises(TypeError, match="checkpoint is str, expected begin, due, load and save"):
        run(checkpoint="folder")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(checkpoint=None)
