"""Advice from a sweep: nothing good is dropped early, the proposal is a cell of the optimum, its interval covers."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest

from experiment.synthetic_sweep import RECORDS, TEMPERATURES, changed, sweep_results
from gradnoise.averaging import FittedOptimum, interval_after
from gradnoise.dynamics import sgd
from gradnoise.estimate import Estimate
from gradnoise.experiment.sweep import advise, proposal, read_plan, sweep
from gradnoise.experiment.sweep.advise import _of, _rounds, _seeds, coarse_grid, temperatures_to_continue
from gradnoise.experiment.sweep.cells import cells
from gradnoise.experiment.sweep.cost import SweepCost
from gradnoise.experiment.sweep.judge import statements
from gradnoise.experiment.sweep.proposal import HOUR, of_an_hour
from gradnoise.experiment.sweep.settled import settled
from gradnoise.problem import from_arrays

RING = from_arrays(
    lambda w, x: (w - x) ** 2 / 2,
    lambda key: jnp.float32(2.0),
    np.random.default_rng(0).permutation(np.linspace(-1.7, 1.7, 400)),
    "ring",
    measured=lambda w, x: (w**2 - 0.15) ** 2 + 0.02 * (w - x) ** 2,
)
"""SGD settles to a cloud of variance T/(2 - rate) about the mean; the test loss is lowest where it is near 0.15/3."""
PLAN = {
    "problem": RING, "batch_sizes": [1, 2], "num_examples": 200, "reference_epochs": 50, "num_records": 100,
    "temperatures": [0.02, 0.04, 0.07, 0.12, 0.2, 0.3],
}  # fmt: skip


def steep_gap(T):
    """Test loss lowest at T = 0.01, and rising by far more than the seeds' noise."""
    return 0.3 + 0.1 * np.square(np.log(T / 0.01)) - 2.0 * T


def test_of_settled_temperatures_only_the_worse_ones_go_and_never_the_neighbours_of_the_lowest():
    kept = temperatures_to_continue(settled(sweep_results(gap=steep_gap)["sweep"].to_dataset()))
    assert kept == TEMPERATURES[:4].tolist()  # the lowest is the second: two to either side


def test_a_temperature_that_still_moves_goes_on_however_high_its_loss():
    tree = sweep_results(gap=steep_gap)
    rows = np.concatenate([np.arange(25, 30), np.arange(55, 60)])
    falling = np.linspace(3.0, 2.0, RECORDS + 1) + 1e-3 * np.random.default_rng(0).normal(size=(10, RECORDS + 1))
    moving = changed(changed(tree, "train_loss", rows, falling), "test_loss", rows, falling)
    assert TEMPERATURES[-1] in temperatures_to_continue(settled(moving["sweep"].to_dataset()))


def test_a_cold_run_that_has_hardly_left_its_start_is_not_called_settled():
    tree = sweep_results(gap=steep_gap)
    rows = np.concatenate([np.arange(5), np.arange(30, 35)])
    slow = np.linspace(2.0, 1.9, RECORDS + 1) + 1e-4 * np.random.default_rng(0).normal(size=(10, RECORDS + 1))
    cold = settled(changed(changed(tree, "train_loss", rows, slow), "test_loss", rows, slow)["sweep"].to_dataset())
    assert cold["flat"].values[[0, 6]].tolist() == [[0.0] * 5] * 2  # 2.5 % of itself, but half of its way
    assert TEMPERATURES[0] in temperatures_to_continue(cold)


def test_where_seeds_do_not_tell_temperatures_apart_nothing_is_dropped():
    table = settled(sweep_results(gap=lambda T: 0.5 - 2.0 * T, noise=0.05)["sweep"].to_dataset())
    assert temperatures_to_continue(table) == TEMPERATURES.tolist()


def test_temperatures_all_of_whose_cells_failed_are_dropped():
    tree = sweep_results(gap=steep_gap)
    rows = np.concatenate([np.arange(5), np.arange(30, 35)])
    lost = changed(tree, "test_loss", rows, np.full((10, RECORDS + 1), np.nan))
    assert temperatures_to_continue(settled(lost["sweep"].to_dataset()))[0] == TEMPERATURES[1]
    everything = changed(tree, "test_loss", slice(None), np.nan)
    with pytest.raises(ValueError, match="Every cell has a run that diverged"):
        temperatures_to_continue(settled(everything["sweep"].to_dataset()))


def test_a_coarse_grid_ends_where_the_smallest_batch_has_the_rate_one_over_the_curvature():
    plan = coarse_grid(read_plan({**PLAN, "temperatures": 1.0}))
    assert len(plan.temperatures) == 8
    assert plan.temperatures[-1] == pytest.approx(1.0, rel=0.05)  # the curvature of the loss is 1, the batch 1
    assert plan.learning_rate_cap == pytest.approx(2.0, rel=1e-6)
    assert plan.temperatures[0] == pytest.approx(1 / 200, rel=0.05)


def test_the_highest_temperature_of_a_coarse_grid_is_not_rounded_above_the_cap():
    plan = coarse_grid(read_plan({**PLAN, "temperatures": 1.0, "batch_sizes": [8], "learning_rate_cap": 0.47}))
    assert plan.temperatures[-1] == 0.058  # 0.47 / 8 = 0.05875
    assert len(plan.rates(8)) == 8


def test_temperatures_of_many_digits_are_found_again_and_those_above_the_cap_are_named_so():
    temperatures = np.geomspace(0.003, 0.05, 5).tolist()
    plan = read_plan({**PLAN, "temperatures": temperatures, "batch_sizes": [2, 3], "learning_rate_cap": 0.05})
    ran = [cell.temperature for cell in cells(plan)]
    assert not set(ran[1:]) & set(temperatures[1:4])  # they have twelve digits
    assert _of(plan, ran) == tuple(temperatures[:4])
    assert _rounds(plan, temperatures[:4], temperatures[:3], 6) == (
        "4 temperatures for a quarter of their epochs, 3 of them in full, 6 seeds. Dropped early, for they were worse or "
        "diverged: T = 0.0247. Not run, for every batch size needs a rate above the cap: T = 0.05."
    )
    assert _rounds(plan, temperatures, temperatures, 6).endswith("5 of them in full, 6 seeds.")


@pytest.fixture
def costs(monkeypatch):
    """Each estimate is of an hour to compile, and 100 s a seed; the list grows with every call."""
    calls = []

    def cost_of(plan, todo):
        calls.append(plan)
        return SweepCost(HOUR + 100.0 * plan.seeds, 1, HOUR)

    monkeypatch.setattr(sys.modules["gradnoise.experiment.sweep.advise"], "cost_of", cost_of)
    return calls


def test_the_hours_buy_seeds_after_what_is_compiled_once(costs):
    plan = read_plan({**PLAN, "seeds": 4})
    assert _seeds(plan, None, 1.5) == (18, 100.0)
    assert _seeds(plan, None, 0.5) == (3, 100.0)
    assert _seeds(plan, None, None) == (4, 100.0)


def test_the_seeds_are_kept_and_a_damaged_file_is_made_again(costs, tmp_path):
    plan = read_plan(PLAN)
    assert _seeds(plan, tmp_path, 1.5) == _seeds(plan, tmp_path, None) == (18, 100.0)
    assert len(costs) == 1
    for name in ("advice.json", ".advice.json.7-abc.part"):
        (tmp_path / name).write_text('{"seeds": 1')
    assert _seeds(plan, tmp_path, 1.5) == (18, 100.0)
    assert [path.name for path in tmp_path.iterdir()] == ["advice.json"]


def test_the_curvature_is_that_after_a_run_with_the_momentum_of_the_plan(monkeypatch):
    seen = []
    monkeypatch.setattr(
        proposal, "train", lambda process, start, *more: seen.append((process, more[2])) or np.float32(0)
    )
    plan = read_plan({**PLAN, "variants": "momentum", "momentum": 0.7, "weight_decay": 0.01})
    _, curvature = proposal._costs(plan, 0.1, np.array([1, 2]), 0.7)
    process, rate = seen[-1]
    assert process == sgd(process.problem, momentum=0.7, weight_decay=0.01)
    assert process != sgd(process.problem, weight_decay=0.01)
    assert rate == pytest.approx(0.2)
    assert curvature == pytest.approx(1.0)


def test_the_sentence_on_an_hour_is_interval_after():
    found = FittedOptimum(Estimate(0.01, 0.001, 5), Estimate(0.3, 0.01, 5), 0.005, 0.02, 0.95, 5)
    later = interval_after(found, HOUR, 240.0)
    assert f"about 15 more seeds: the interval, 0.005 to 0.02 now, is expected to shrink to {later.low:.3g} to" in (
        of_an_hour(found, 240.0)
    )
    edge = FittedOptimum(Estimate(0.01, 0.001, 5), Estimate(0.3, 0.01, 5), 0.0, 0.02, 0.95, 5)
    assert "beyond the edge" in of_an_hour(edge, 240.0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"variants": ["plain", "momentum"]}, "variants has several"),
        ({"temperatures": [], "learning_rates": [0.1]}, "temperatures is empty"),
        ({"seeds": 1}, "seeds=1"),
    ],
)
def test_what_cannot_be_advised_on_is_refused_before_anything_runs(settings, words):
    with pytest.raises(ValueError, match=words):
        advise(read_plan({**PLAN, **settings}))


@pytest.mark.slow
def test_the_proposal_is_a_cell_of_the_optimum_and_a_second_call_costs_nothing(tmp_path, monkeypatch):
    plan = read_plan({**PLAN, "seeds": 6})
    found = advise(plan, tmp_path)["temperature"].to_dataset()
    low, high = (float(found[f"optimum_{end}"].sel(metric="test_loss").values[0]) for end in ("low", "high"))
    rate, batch = found.attrs["proposed_learning_rate"], found.attrs["proposed_batch_size"]
    assert low <= rate / batch <= high
    assert batch in (1, 2)
    assert "Batch sizes possible there (rates below 2," in found.attrs["proposal"]  # the curvature is 1
    assert "Proposed: learning rate" in found.attrs["proposal"]
    assert "6 temperatures for a quarter of their epochs" in found.attrs["rounds"]
    monkeypatch.setattr("gradnoise.experiment.sweep.run.do_chunk", lambda *given: pytest.fail("it ran again"))
    again = advise(plan, tmp_path)["temperature"].to_dataset()
    np.testing.assert_array_equal(again["steady"], found["steady"])


@pytest.mark.slow
def test_the_interval_of_the_optimum_covers_that_of_a_large_sweep():
    table = settled(sweep({**PLAN, "seeds": 200})["sweep"].to_dataset())
    truth = float(statements(table)["optimum"].sel(metric="test_loss").values[0])
    hits = 0
    for first in range(0, 200, 8):
        own = statements(table.isel(seed=slice(first, first + 8))).sel(metric="test_loss")
        hits += float(own["optimum_low"].values[0]) <= truth <= float(own["optimum_high"].values[0])
    assert hits >= 25 * 0.95 - 4.5 * (25 * 0.95 * 0.05) ** 0.5  # of 25 intervals; 18.8
