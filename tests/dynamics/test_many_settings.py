"""One call for many settings: each replica with its own learning rate, its own draws, its own start."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradnoise.dynamics import plan
from gradnoise.dynamics.cost import estimate_simulation
from gradnoise.dynamics.discrete import sgd
from gradnoise.dynamics.simulate import simulate
from gradnoise.problem import from_arrays
from gradnoise.spacetime import Spacetime
from gradnoise.testbeds import networks

POOL = np.random.default_rng(0).normal(size=(11, 3))
START = {"slope": np.array([0.1, -0.2]), "offset": np.zeros(())}
GRID = Spacetime(8, 2, 3, "with_replacement")


def loss(w, x):
    return jnp.log(jnp.cosh(w["slope"] @ x[:2] + w["offset"] - x[2]))


def drawn_start(key):
    return {"slope": jax.random.normal(key, (2,)), "offset": jnp.zeros(())}


PROBLEM = from_arrays(loss, drawn_start, POOL)


def run(params: Any = START, learning_rate: Any = 0.5, num_replicas: Any = 4, make: Any = sgd, **options: Any):
    key = jax.random.key(options.pop("seed", 0))
    return simulate(make(PROBLEM), params, GRID, learning_rate, num_replicas, key, every=4, **options)


def assert_same_bits(one, other):
    for name, values in one.items():
        assert values.tobytes() == other[name].tobytes(), name


def of(runs, replica):
    return {name: values[replica] for name, values in runs.observables.items()}


def test_scales_of_one_change_no_bit():
    assert_same_bits(run().observables, run(rate_scales=np.ones(4)).observables)


@pytest.mark.parametrize(
    "make",
    [sgd, pytest.param(lambda problem: sgd(problem, momentum=0.9), marks=pytest.mark.slow)],
    ids=["plain", "momentum"],
)
def test_a_scaled_replica_is_the_replica_of_a_run_at_that_rate(make):
    scaled = run(learning_rate=1.0, rate_scales=[0.1, 0.2, 0.3, 0.4], make=make)
    for replica, rate in enumerate([0.1, 0.2, 0.3, 0.4]):
        assert_same_bits(of(scaled, replica), of(run(learning_rate=rate, make=make), replica))


@pytest.mark.slow
def test_scales_multiply_schedules_and_rates_by_weight():
    steps = np.linspace(0.4, 0.1, GRID.num_steps)
    scaled = run(learning_rate=steps, rate_scales=[1, 0.5, 2, 1])
    np.testing.assert_allclose(of(scaled, 2)["gap"], of(run(learning_rate=2 * steps), 2)["gap"], rtol=1e-5, atol=1e-6)
    rates = {"slope": 0.5, "offset": 0.25}
    halved = jax.tree.map(lambda rate: rate / 2, rates)
    assert_same_bits(of(run(learning_rate=rates, rate_scales=[1, 0.5, 2, 1]), 1), of(run(learning_rate=halved), 1))


def test_the_draws_of_a_replica_are_those_of_its_number():
    plain, named = run(num_replicas=8), run(replica_numbers=[7, 3, 3, 0])
    for place, number in enumerate([7, 3, 3, 0]):
        for name, values in named.observables.items():
            np.testing.assert_allclose(values[place], plain.observables[name][number], rtol=2e-5, atol=2e-6)


def test_replicas_of_one_number_share_training_set_start_and_batches():
    seen = {"first": lambda w, x: x[0, 0], "slope": lambda w, x: w["slope"][0]}
    runs = run(drawn_start, replica_numbers=[5, 5, 5, 6], rate_scales=[1, 1, 0, 1], observe=seen)
    first, slope = runs.observables["first"], runs.observables["slope"]
    assert (first[0] == first[2]).all()
    assert slope[0, 0] == slope[2, 0] == slope[2, -1] != slope[3, 0]
    assert_same_bits(of(runs, 0), of(runs, 1))


@pytest.mark.slow
def test_a_replica_does_not_depend_on_those_beside_it(monkeypatch):
    given = {"replica_numbers": [2, 9, 4, 2, 1], "rate_scales": [1, 0.5, 2, 0.1, 1]}
    whole = run(drawn_start, num_replicas=5, **given)
    monkeypatch.setattr(plan, "MAX_WIDTH", 2)
    narrow = run(drawn_start, num_replicas=5, **given)
    assert narrow.chunk_width == 2
    alone = run(drawn_start, num_replicas=1, replica_numbers=[4], rate_scales=[2.0])
    for name, values in whole.observables.items():
        np.testing.assert_allclose(narrow.observables[name], values, rtol=2e-5, atol=2e-6)
        np.testing.assert_allclose(alone.observables[name][0], values[2], rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_starts_of_their_own_are_independent_of_all_other_draws(dtype):
    seen = {"slope": lambda w, x: w["slope"][0], "first": lambda w, x: x[:, 0].mean()}
    together, drawn = run(dtype=dtype, observe=seen), run(drawn_start, dtype=dtype, observe=seen)
    assert len(np.unique(drawn.observables["slope"][:, 0])) == 4
    assert drawn.observables["slope"].dtype == dtype
    assert (together.observables["first"] == drawn.observables["first"]).all()
    assert (together.observables["test_loss"][:, 0] == together.observables["test_loss"][0, 0]).all()


@pytest.mark.slow
def test_weights_that_are_callable_are_weights():
    model = networks.logistic(3, 2)
    pool = {"x": POOL, "y": np.arange(11) % 2}
    problem = from_arrays(model.loss, model.init, pool)
    params = model.init(jax.random.key(1))
    assert callable(params)
    given = GRID, 0.1, 2, jax.random.key(0)
    one, each = (
        simulate(sgd(problem), start, *given).observables["test_loss"][:, 0] for start in (params, problem.init)
    )
    assert one[0] == one[1]
    assert each[0] != each[1]


def test_rates_and_numbers_are_traced():
    traces = []

    def counted(w, x):
        traces.append(None)
        return loss(w, x)

    process = sgd(from_arrays(counted, drawn_start, POOL))
    given = process, drawn_start, GRID, 1.0, 3, jax.random.key(0)
    simulate(*given, rate_scales=[0.1, 0.2, 0.3], replica_numbers=[0, 1, 2])
    before = len(traces)
    simulate(*given, rate_scales=[0.3, 0.4, 0.5], replica_numbers=[5, 5, 5])
    assert len(traces) == before > 0


def test_a_checkpoint_of_other_rates_or_numbers_is_refused(tmp_path):
    from gradnoise.results import CheckpointFolder

    given = {"rate_scales": [1, 2, 1, 1], "replica_numbers": [0, 1, 2, 3]}
    first = run(drawn_start, checkpoint=CheckpointFolder(tmp_path), **given)
    assert_same_bits(first.observables, run(drawn_start, checkpoint=CheckpointFolder(tmp_path), **given).observables)
    for name, other in {"rate_scales": [1, 1, 1, 1], "replica_numbers": [0, 1, 2, 2]}.items():
        with pytest.raises(ValueError, match=f"another run: {name} differs"):
            run(drawn_start, checkpoint=CheckpointFolder(tmp_path), **{**given, name: other})


@pytest.mark.slow
def test_the_cost_is_estimated_for_scaled_runs_with_starts_of_their_own():
    cost = estimate_simulation(sgd(PROBLEM), drawn_start, GRID, 4, 4, rate_scales=[1, 2, 1, 1])
    assert cost.seconds > 0
    assert cost.bytes > 0


BAD = {
    "too few scales": ({"rate_scales": [1.0]}, ValueError, r"rate_scales has shape \(1,\), expected \(4,\)"),
    "a number": ({"rate_scales": 2.0}, ValueError, r"rate_scales has shape \(\)"),
    "words": ({"rate_scales": ["a"] * 4}, TypeError, "rate_scales is list, expected numbers"),
    "negative": ({"rate_scales": [1, -1, 1, 1]}, ValueError, "rate_scales holds -1, expected finite"),
    "not finite": ({"rate_scales": [1, np.inf, 1, 1]}, ValueError, "rate_scales holds inf"),
    "not finite in float32": ({"rate_scales": [1, 1e39, 1, 1]}, ValueError, "rate_scales holds inf.*float32"),
    "no whole numbers": ({"replica_numbers": [0.5] * 4}, TypeError, "replica_numbers has dtype float64"),
    "below zero": ({"replica_numbers": [0, -1, 0, 0]}, ValueError, "replica_numbers=-1 is below 0"),
    "too large": ({"replica_numbers": [0, 2**31, 0, 0]}, ValueError, "replica_numbers=2147483648 is above"),
    "too many numbers": ({"replica_numbers": range(5)}, ValueError, r"replica_numbers has shape \(5,\)"),
    "decay of the fastest": (
        {"rate_scales": [1, 8, 1, 1], "make": lambda problem: sgd(problem, weight_decay=0.5)},
        ValueError,
        "weight_decay=0.5 times learning_rate=4 is 2, expected below 2",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_in_one_sentence(case):
    options, kind, words = BAD[case]
    with pytest.raises(kind, match=words) as raised:
        run(**options)
    assert "\n" not in str(raised.value)
