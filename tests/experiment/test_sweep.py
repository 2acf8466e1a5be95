"""A sweep holds the runs that its plan names: as simulated one by one, paired by seed, labelled, of stated length."""

import pickle
import time

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradnoise as gn
from experiment.small_sweep import PLAN, PROBLEM, assert_same_bits
from gradnoise.dynamics import sgd, simulate
from gradnoise.dynamics.cost import SimulationCost
from gradnoise.experiment.sweep import estimate, read_plan, sweep
from gradnoise.experiment.sweep.cells import Run, cells, chunks, cut, temperature
from gradnoise.experiment.sweep.cost import cost_of
from gradnoise.experiment.sweep.run import do_chunk
from gradnoise.results import validate
from gradnoise.schedules import quarter_cosine
from gradnoise.spacetime import Spacetime

LENGTHS = {"learning_rates": 0.1}


@pytest.fixture(scope="module")
def whole():
    """The small sweep, undisturbed."""
    return sweep(PLAN)


def test_the_lengths_are_those_of_the_protocol():
    plan = read_plan({**LENGTHS, "reference_epochs": 300, "reference_temperature": 2e-4})
    assert [plan.epochs(t) for t in (4e-4, 2e-4, 1e-4, 5e-5)] == [300, 300, 375, 525]
    assert {plan.epochs(2e-4 / factor) for factor in (13, 14, 1000)} == {1200}
    assert plan.epochs(2e-4 / 12.9) < 1200


def test_the_lengths_are_not_inverse_to_temperature():
    plan = read_plan({**LENGTHS, "reference_epochs": 300, "reference_temperature": 2e-4})
    assert plan.epochs(1e-4) != 600  # what "more epochs in proportion to 1/T" would say


@settings(max_examples=50)
@given(st.floats(1e-6, 1), st.floats(1e-6, 1), st.integers(1, 500), st.floats(1, 10))
def test_no_run_is_shorter_than_the_reference_or_longer_than_the_cap_and_cooler_ones_are_no_shorter(t, cooler, e, most):
    plan = read_plan({**LENGTHS, "reference_epochs": e, "reference_temperature": 1e-3, "max_factor": most})
    assert e <= plan.epochs(t) <= np.ceil(e * most)
    assert plan.epochs(t * cooler) >= plan.epochs(t)


def test_a_rounded_temperature_adds_no_epoch():
    plan = read_plan({**LENGTHS, "reference_epochs": 300, "reference_temperature": 2e-4})
    for batch_size in range(1, 300):
        rate = 1e-4 * batch_size
        assert plan.epochs(rate / batch_size) == 375


def test_every_run_is_the_one_that_simulate_gives_at_its_settings(whole):
    table = whole["sweep"].to_dataset()
    for place in range(table.sizes["run"]):
        one = table.isel(run=place)
        alone = simulate(
            sgd(PROBLEM), PROBLEM.init, Spacetime(4, 2, sampling="with_replacement", num_steps=12),
            float(one["learning_rate"]), 2, jax.random.key(0), every=4,
        )  # fmt: skip
        for name, values in alone.observables.items():
            np.testing.assert_allclose(one[name], values[int(one["seed"])], rtol=2e-5, atol=2e-6)


def test_the_table_says_what_each_run_is(whole):
    table = validate(whole)["sweep"].to_dataset()
    assert dict(table.sizes) == {"run": 6, "record": 4}
    assert table["learning_rate"].values.tolist() == [0.1, 0.1, 0.2, 0.2, 0.3, 0.3]
    assert table["seed"].values.tolist() == [0, 1] * 3
    np.testing.assert_allclose(table["temperature"], table["learning_rate"] / table["batch_size"])
    assert table["epochs"].values.tolist() == [6.0] * 6
    assert table["epoch"].values[0].tolist() == [0, 2, 4, 6]
    assert set(table["variant"].values) == {"plain"}
    assert set(table["width"].values) == {0}
    assert {"train_accuracy", "test_accuracy"} <= set(table.data_vars)
    np.testing.assert_allclose(table["gap"], table["test_loss"] - table["train_loss"], atol=1e-6)
    assert (table["diverged_at"] == -1).all()
    assert table["gap"].attrs["units"] == "loss"
    assert whole.attrs["problem"] == "bent"


def test_a_seed_has_one_training_set_and_start_in_every_cell_and_seeds_differ():
    plan = {**PLAN, "learning_rates": [0.1], "batch_sizes": [1, 2], "num_records": 1}
    table = sweep({**plan, "reference_epochs": 1})["sweep"].to_dataset()
    first = table.isel(record=0)
    for seed in (0, 1):
        own = first.where(first["seed"] == seed, drop=True)
        assert len(set(own["train_loss"].values)) == len(set(own["test_loss"].values)) == 1
    assert len(set(first["train_loss"].values)) == 2


def test_how_runs_are_cut_into_chunks_changes_nothing_but_rounding(whole):
    other = sweep({**PLAN, "runs_per_chunk": None})["sweep"].to_dataset()
    for name in ("train_loss", "test_loss", "gap"):
        np.testing.assert_allclose(other[name], whole["sweep"][name].values, rtol=2e-5, atol=2e-6)


@pytest.mark.slow
def test_variants_are_momentum_and_the_quarter_cosine():
    plan = {**PLAN, "learning_rates": [0.2], "variants": ["momentum", "cosine", "momentum-cosine"], "momentum": 0.5}
    table = sweep({**plan, "seeds": 1})["sweep"].to_dataset()
    grid = Spacetime(4, 2, sampling="with_replacement", num_steps=12)
    for name, process, rate in (
        ("momentum", sgd(PROBLEM, momentum=0.5), 0.2),
        ("cosine", sgd(PROBLEM), quarter_cosine(0.2, 12)),
        ("momentum-cosine", sgd(PROBLEM, momentum=0.5), quarter_cosine(0.2, 12)),
    ):
        alone = simulate(process, PROBLEM.init, grid, rate, 1, jax.random.key(0), every=4).observables["gap"]
        (place,) = np.flatnonzero(table["variant"].values == name)
        np.testing.assert_allclose(table["gap"].values[place], alone[0], rtol=2e-5, atol=2e-6)


@pytest.mark.slow
def test_widths_distinct_sets_and_reshuffled_epochs_run():
    plan = {
        "problem": "digits-mlp", "widths": [2, 3], "learning_rates": 0.1, "num_examples": 16, "sampling": "reshuffle",
        "training_set": "distinct", "reference_epochs": 3, "num_records": 3, "seeds": 2,
    }  # fmt: skip
    table = sweep(plan)["sweep"].to_dataset()
    assert table["width"].values.tolist() == [2, 2, 3, 3]
    assert np.isfinite(table["gap"]).all()
    assert table["num_steps"].values.tolist() == [6] * 4


@pytest.mark.slow
def test_a_run_that_diverges_is_nan_from_then_on_and_the_others_go_on():
    plan = {"problem": "mean-estimation", "learning_rates": [0.1, 50.0], "num_examples": 16, "seeds": 2}
    table = sweep(plan)["sweep"].to_dataset()
    lost = table["learning_rate"].values == 50
    assert (table["diverged_at"].values[lost] > 0).all()
    assert np.isnan(table["gap"].values[lost, -1]).all()
    assert np.isfinite(table["gap"].values[~lost]).all()


def test_temperatures_give_the_rate_at_each_batch_size_up_to_the_cap():
    plan = read_plan(
        {"problem": PROBLEM, "temperatures": (0.1, 0.3), "batch_sizes": (1, 2, 4), "learning_rate_cap": 0.5}
    )
    found = {(cell.batch_size, round(cell.learning_rate, 9)) for cell in cells(plan)}
    assert found == {(1, 0.1), (1, 0.3), (2, 0.2), (4, 0.4)}


def test_cells_of_one_temperature_have_one_number():
    plan = read_plan({"problem": PROBLEM, "temperatures": 0.1, "batch_sizes": list(range(1, 7)), "num_examples": 7})
    assert {cell.temperature for cell in cells(plan)} == {0.1}
    assert len({cell.learning_rate / cell.batch_size for cell in cells(plan)}) > 1  # as the division rounds


@settings(max_examples=50)
@given(st.integers(1, 200), st.integers(1, 50))
def test_a_cut_takes_every_run_once_in_order(count, size):
    runs = [Run(0.1, seed) for seed in range(count)]
    pieces = list(cut(runs, size))
    assert [run for piece in pieces for run in piece] == runs
    assert {len(piece) for piece in pieces[:-1]} <= {size}


@settings(max_examples=12)
@given(
    rates=st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]), min_size=1, max_size=4, unique=True),
    seeds=st.integers(1, 5),
    most=st.none() | st.integers(1, 7),
    variants=st.sampled_from([("plain",), ("plain", "cosine")]),
    reference=st.none() | st.just(0.1),
)
def test_chunks_are_a_function_of_the_plan_alone_and_hold_every_run_once(rates, seeds, most, variants, reference):
    asked = {**PLAN, "learning_rates": rates, "seeds": seeds, "variants": variants, "runs_per_chunk": most}
    plan = read_plan({**asked, "reference_temperature": reference})
    found = chunks(plan)
    assert found == chunks(read_plan({**asked, "reference_temperature": reference}))
    runs = [(chunk.shape.variant, *run) for chunk in found for run in chunk.runs]
    assert sorted(runs) == sorted((v, rate, seed) for v in variants for rate in rates for seed in range(seeds))
    assert [chunk.number for chunk in found] == list(range(len(found)))
    for chunk in found:
        assert len(chunk.padded) == chunk.size >= len(chunk.runs)
        assert chunk.size <= (most or chunk.size)
        for run in chunk.runs:  # a run is lengthened or cut by at most half a step a record
            assert abs(chunk.shape.num_steps - plan.epochs(run.learning_rate / 2) * 4 / 2) <= plan.num_records / 2
    sizes = {shape: {chunk.size for chunk in found if chunk.shape == shape} for shape in {c.shape for c in found}}
    assert all(len(each) == 1 for each in sizes.values())


def test_less_memory_makes_smaller_chunks_or_refuses():
    plan = {**PLAN, "seeds": 3000, "runs_per_chunk": None, "num_examples": 10**6, "reference_epochs": 1}
    wide, narrow = (chunks(read_plan({**plan, "memory": memory}))[0].size for memory in ("2GiB", "1GiB"))
    assert 1 < narrow < wide / 2
    with pytest.raises(ValueError, match="memory=550 MiB does not hold one run"):
        chunks(read_plan({**plan, "memory": "550MiB"}))


def test_plan_and_chunk_travel_to_other_processes():
    plan = read_plan({**PLAN, "problem": "experiment.small_sweep:PROBLEM"})
    chunk = chunks(plan)[0]
    assert pickle.loads(pickle.dumps((plan, chunk))) == (plan, chunk)
    assert pickle.loads(pickle.dumps(do_chunk(plan, chunk))).sizes["run"] == 2


def test_a_plan_of_a_file_is_that_of_a_mapping(tmp_path, whole):
    path = tmp_path / "plan.toml"
    path.write_text(
        'problem = "experiment.small_sweep:PROBLEM"\nlearning_rates = [0.1, 0.2, 0.3]\nbatch_sizes = 2\n'
        "num_examples = 4\nseeds = 2\nreference_epochs = 6\nnum_records = 3\nruns_per_chunk = 2\n"
    )
    assert_same_bits(sweep(path), whole)


def test_the_cost_names_cells_runs_and_chunks_before_anything_runs():
    cost = estimate(read_plan(PLAN))
    assert cost.num_replicas_needed == 6
    assert cost.seconds > 0
    assert "cells: 3, seeds: 2, runs: 6 of 12 steps, chunks of runs: 3, shapes to compile: 1" in cost.notes


def test_a_shape_is_compiled_once_in_the_cost_however_many_chunks_it_has(monkeypatch):
    plan, calls = read_plan({**PLAN, "batch_sizes": [1, 2]}), []

    def timed(plan, chunk):
        calls.append(chunk.shape)
        return SimulationCost((chunk.shape not in calls[:-1]) * 3.0 + 0.1 * chunk.shape.batch_size, 7)

    monkeypatch.setattr("gradnoise.experiment.sweep.cost._timed", timed)
    todo = chunks(plan)
    assert [chunk.shape.batch_size for chunk in todo] == [1, 1, 1, 2, 2, 2]
    assert cost_of(plan, todo) == pytest.approx((2 * 3.0 + 3 * 0.1 + 3 * 0.2, 7, 6.0))


@pytest.mark.slow
def test_the_seconds_of_many_chunks_of_one_shape_are_those_it_takes_within_a_factor():
    plan = read_plan({**PLAN, "seeds": 20, "reference_epochs": 2000})
    cost = cost_of(plan, chunks(plan))
    began = time.perf_counter()
    sweep(plan)  # compiled by the estimate
    assert 0.25 < (cost.seconds - cost.setting_up) / (time.perf_counter() - began) < 4


def test_a_cell_that_only_rounding_puts_above_the_cap_is_run_at_the_cap():
    plan = read_plan({"temperatures": [0.1, 0.11], "batch_sizes": [8, 12], "learning_rate_cap": 1.2})
    assert 0.1 * 12 > 1.2
    assert plan.rates(12) == (1.2,)
    assert temperature(plan.rates(12)[0], 12) == temperature(plan.rates(8)[0], 8) == 0.1


LARGE = gn.from_arrays(lambda w, x: (w - x) ** 2, lambda key: np.float32(0), np.arange(100.0), "line")
BAD = {
    "no mapping": (5, TypeError, "plan is int, expected a mapping or the path of a TOML file"),
    "absent file": ("absent.toml", ValueError, "'absent.toml' cannot be read (No such file"),
    "unknown key": ({"learning_rate": 0.1}, ValueError, "Did you mean 'learning_rates'?"),
    "no rates": ({}, ValueError, "neither of learning_rates and temperatures came"),
    "both": ({"learning_rates": 0.1, "temperatures": 0.1}, ValueError, "both of learning_rates and"),
    "no number": ({"learning_rates": ["a"]}, ValueError, "learning_rates[0]='a' does not do"),
    "negative": ({"learning_rates": [0.1, -1]}, ValueError, "learning_rates[1]=-1 does not do"),
    "twice": ({"learning_rates": [0.1, 0.1]}, ValueError, "it holds 0.1 twice"),
    "no cell": ({"learning_rates": 0.1, "batch_sizes": []}, ValueError, "batch_sizes is empty"),
    "above the cap": (
        {"learning_rates": [0.1, 2], "learning_rate_cap": 1},
        ValueError,
        "learning_rates holds 2, above",
    ),
    "all above the cap": (
        {"temperatures": 1, "learning_rate_cap": 0.5, "batch_sizes": [1, 2]},
        ValueError,
        "learning_rate_cap=0.5 leaves no cell",
    ),
    "batch over N": (
        {"learning_rates": 0.1, "num_examples": 4},
        ValueError,
        "batch_sizes holds 8, above num_examples=4",
    ),
    "variant": ({"learning_rates": 0.1, "variants": "adam"}, ValueError, "variants[0]='adam' does not do"),
    "problem": ({"learning_rates": 0.1, "problem": "digit-mlp"}, ValueError, "Did you mean 'digits-mlp'?"),
    "module": ({"learning_rates": 0.1, "problem": "absent:it"}, ValueError, "problem='absent:it' cannot be imported"),
    "problem and data": (
        {"learning_rates": 0.1, "problem": "gauss", "data": "x"},
        ValueError,
        "problem came beside data",
    ),
    "model alone": ({"learning_rates": 0.1, "model": "mlp"}, ValueError, "came without data"),
    "width of what has none": ({"learning_rates": 0.1, "problem": "gauss", "widths": 3}, ValueError, "'width'"),
    "no pool": ({"learning_rates": 0.1, "problem": "gauss"}, ValueError, "num_examples is missing"),
    "distinct and whole": (
        {"learning_rates": 0.1, "problem": LARGE, "num_examples": 100, "training_set": "distinct"},
        ValueError,
        "num_examples=100 is the whole pool",
    ),
    "distinct and more": (
        {"learning_rates": 0.1, "problem": LARGE, "num_examples": 101, "training_set": "distinct"},
        ValueError,
        "num_examples=101 came with a pool of 100",
    ),
    "reshuffle": (
        {"learning_rates": 0.1, "problem": LARGE, "sampling": "reshuffle", "batch_sizes": 8},
        ValueError,
        "batch_size=8 does not divide num_examples=100",
    ),
    "decay": (
        {"learning_rates": 3, "problem": LARGE, "weight_decay": 1},
        ValueError,
        "weight_decay=1 times learning_rate=3",
    ),
    "records": (
        {"learning_rates": 0.1, "problem": LARGE, "reference_epochs": 1, "num_records": 50},
        ValueError,
        "num_records=50 is more than the 12.5 steps",
    ),
    "memory": ({"learning_rates": 0.1, "memory": "much"}, ValueError, "memory='much' is not an amount"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_impossible_is_said_in_one_sentence_before_anything_is_written(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan, kind, words = BAD[case]
    with pytest.raises(kind) as raised:
        sweep(plan, tmp_path / "store")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())
