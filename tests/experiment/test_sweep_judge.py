"""From runs to statements: medians of their ends, the fit, predictions, collapse, the optimum, each series by itself."""

import math

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from experiment.synthetic_sweep import RECORDS, TEMPERATURES, changed, planted_gap, planted_train, sweep_results
from gradnoise.averaging import collapse_in_temperature, fit_gap, fit_optimum, gap_trend
from gradnoise.experiment.sweep.judge import judge
from gradnoise.experiment.sweep.settled import settled
from gradnoise.results import load, save, validate


def interior_gap(T):
    """With the planted train loss the test loss is lowest inside."""
    return 0.4 + 0.05 * np.square(np.log(T / 0.03)) - planted_train(T)


@pytest.fixture(scope="module")
def tree():
    return sweep_results()


@pytest.fixture(scope="module")
def judged(tree):
    return judge(tree)


@pytest.fixture(scope="module")
def found(judged):
    return judged["temperature"].to_dataset()


def cell_table(tree, metric):
    """Medians of the last half (the last 50 of 100 epochs), by loops: temperatures and (cell, seed)."""
    runs = tree["sweep"].to_dataset()
    rows = {}
    for run in range(runs.sizes["run"]):
        one = runs.isel(run=run)
        key = (float(one["temperature"]), int(one["batch_size"]))
        rows.setdefault(key, []).append(float(np.median(one[metric].values[-RECORDS // 2 :])))
    return np.array([T for T, _ in rows]), np.array(list(rows.values()))


def test_a_run_settles_to_the_median_of_its_last_50_epochs(tree, found):
    for metric in ("train_loss", "test_loss", "gap", "test_accuracy"):
        T, expected = cell_table(tree, metric)
        np.testing.assert_allclose(found["steady"].sel(metric=metric), expected, rtol=1e-12)
        np.testing.assert_array_equal(found["temperature"], T)


def test_the_statements_are_those_of_the_array_functions(tree, found):
    T, gap = cell_table(tree, "gap")
    _, test = cell_table(tree, "test_loss")
    fit, optimum, collapse = fit_gap(T, gap), fit_optimum(T, test), collapse_in_temperature(T, test)
    own = found.sel(series="plain")
    np.testing.assert_allclose(own["fit"].sel(metric="gap"), [fit.a.value, fit.b.value, fit.c.value], rtol=1e-9)
    np.testing.assert_allclose(own["fit_high"].sel(metric="gap")[1], fit.interval("b")[1], rtol=1e-9)
    assert float(own["optimum"].sel(metric="test_loss")) == pytest.approx(float(optimum.temperature.value))
    assert float(own["collapse_high"].sel(metric="test_loss")) == pytest.approx(collapse.ratio_high)
    assert found.attrs["trend_gap_0"] == gap_trend(T, gap).sentence
    assert found.attrs["collapse_test_loss_0"] == collapse.sentence


def test_a_planted_gap_is_found_again_and_its_prediction_passes(found):
    own = found.sel(series="plain", metric="gap")
    planted = np.array([4e-4, 0.1, 0.1])
    z = (own["fit"].values - planted) / own["fit_se"].values
    assert np.all(np.abs(z) < 4.5)
    assert np.all((own["fit_low"].values < planted) & (planted < own["fit_high"].values))
    assert str(found["verdict"].sel(series="plain", prediction="gap").values) == "pass"
    assert str(found["verdict"].sel(series="plain", prediction="train_loss").values) == "pass"


def test_a_planted_optimum_is_found_again_for_loss_and_accuracy():
    found = judge(sweep_results(gap=interior_gap))["temperature"].to_dataset().sel(series="plain")
    for metric, prediction in (("test_loss", "optimum"), ("test_accuracy", "accuracy_optimum")):
        own = found.sel(metric=metric)
        assert float(own["optimum_low"]) < 0.03 < float(own["optimum_high"])
        assert abs(math.log(float(own["optimum"]) / 0.03)) < 0.1
        assert str(found["verdict"].sel(prediction=prediction).values) == "pass"
    assert (
        "test error is lowest" in judge(sweep_results(gap=interior_gap))["temperature"].attrs["optimum_test_accuracy_0"]
    )


def test_means_over_cells_and_seeds_have_the_error_of_independent_seeds(tree, found):
    T, table = cell_table(tree, "gap")
    columns = np.array([table[level == T].mean(axis=0) for level in TEMPERATURES])
    np.testing.assert_allclose(found["average"].sel(metric="gap"), columns.mean(axis=1), rtol=1e-12)
    expected = columns.std(axis=1, ddof=1) / math.sqrt(5)
    np.testing.assert_allclose(found["average_se"].sel(metric="gap"), expected, rtol=1e-9)


def test_each_variant_is_judged_by_itself_and_only_the_one_that_depends_on_the_batch_fails_to_collapse():
    tree = sweep_results(
        variants=("plain", "momentum"), shift=lambda variant, T, batch: 0.1 * (variant == "momentum") * (batch == 16)
    )
    found = judge(tree)["temperature"].to_dataset()
    assert found["series"].values.tolist() == ["plain", "momentum"]
    own = found.sel(metric="test_loss")
    assert float(own["collapse_high"].sel(series="plain")) < 0.25 < float(own["collapse_low"].sel(series="momentum"))
    assert found.attrs["collapse_test_loss_0"].startswith("collapses")
    assert found.attrs["collapse_test_loss_1"].startswith("fails")
    assert found.sizes["level"] == 2 * len(TEMPERATURES)


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 290), st.floats(0.0, 3.0))
def test_training_examples_of_the_pool_are_taken_out_of_the_test_figures_exactly(size, unseen):
    tree = sweep_results(noise=0.0, seeds=2, temperatures=TEMPERATURES[:1], batches=(4,), accuracy=False)
    runs = tree["sweep"].to_dataset()
    train = runs["train_loss"].values
    pool = (size * train + (300 - size) * unseen) / 300
    runs = runs.assign(test_loss=(("run", "record"), pool), gap=(("run", "record"), pool - train))
    runs = runs.assign_coords(num_examples=("run", np.full(2, size)))
    steady = settled(runs, 300)["steady"]
    np.testing.assert_allclose(steady.sel(metric="test_loss"), unseen, atol=1e-11)
    np.testing.assert_allclose(steady.sel(metric="gap") + steady.sel(metric="train_loss"), unseen, atol=1e-11)


def test_only_distinct_examples_of_a_pool_without_held_out_data_are_taken_out():
    gaps = {}
    for kind in ("drawn", "distinct"):
        found = judge(sweep_results(training_set=kind))["temperature"]
        gaps[kind] = found["steady"].sel(metric="gap").values
        assert found.attrs["unseen"] == (kind == "distinct")
    np.testing.assert_allclose(gaps["distinct"], gaps["drawn"] * 300 / 240, rtol=1e-9)
    held_out = sweep_results(training_set="distinct")
    held_out.attrs["setting"] = "held out"
    np.testing.assert_allclose(judge(held_out)["temperature"]["steady"].sel(metric="gap"), gaps["drawn"], rtol=1e-12)


def test_a_cell_with_a_failed_run_is_left_out_and_counted(tree, found):
    rows = np.arange(5 * 11, 5 * 12)  # the last cell: T = 0.16, batch size 16
    series = np.full((1, RECORDS + 1), np.nan)
    series[0, :5] = 1.0
    diverged = changed(changed(tree, "test_loss", rows[:1], series), "train_loss", rows[:1], series)
    no_better = changed(tree, "train_loss", rows[1:3], np.full((2, RECORDS + 1), 3.0))
    for other, count in ((diverged, 1), (no_better, 2)):
        out = judge(other)["temperature"].to_dataset()
        assert out["failed"].values.tolist() == [0] * 11 + [count]
        assert out["judged"].values.tolist() == [1] * 11 + [0]
        T, table = cell_table(tree, "gap")
        assert float(out["fit"].sel(metric="gap")[0, 1]) == pytest.approx(float(fit_gap(T[:11], table[:11]).b.value))


def test_cells_that_still_move_are_left_out_where_four_temperatures_have_settled(tree):
    rows = np.concatenate([np.arange(5), np.arange(30, 35)])  # both cells of the lowest temperature
    falling = np.broadcast_to(np.linspace(2.0, 1.0, RECORDS + 1), (10, RECORDS + 1)) + np.zeros((10, 1))
    noise = 1e-3 * np.random.default_rng(0).normal(size=falling.shape)
    moving = changed(changed(tree, "train_loss", rows, falling + noise), "test_loss", rows, falling + noise)
    found = judge(moving)["temperature"].to_dataset()
    assert found["judged"].values.tolist() == [0, 1, 1, 1, 1, 1] * 2
    assert found["level_temperature"].values.tolist() == TEMPERATURES[1:].tolist()
    few = sweep_results(temperatures=TEMPERATURES[:4])
    places = np.concatenate([np.arange(5), np.arange(20, 25)])
    few = changed(changed(few, "train_loss", places, falling + noise), "test_loss", places, falling + noise)
    assert judge(few)["temperature"].to_dataset()["judged"].values.tolist() == [1] * 8


def test_what_cannot_be_judged_is_a_sentence():
    two = judge(sweep_results(temperatures=TEMPERATURES[:2], batches=(4,)))["temperature"].to_dataset()
    assert "expected at least 3" in two.attrs["optimum_test_loss_0"]
    assert np.all(two["verdict"].values == "unknown")
    assert np.isnan(two["collapse"].values).all()
    one = judge(sweep_results(seeds=1))["temperature"].to_dataset()
    assert "seeds" in one.attrs["optimum_test_loss_0"]
    assert np.isnan(one["average_se"].values).all()
    short = sweep_results()["sweep"].to_dataset().isel(record=slice(0, 6))
    tree = sweep_results()
    tree["sweep"] = xr.DataTree(short)
    assert "num_records=5 is too few" in judge(tree)["temperature"].attrs["absent"]
    with pytest.raises(ValueError, match="no group 'sweep'"):
        judge(xr.DataTree())


def test_series_are_named_by_what_varies():
    runs = sweep_results(temperatures=TEMPERATURES[:2], batches=(4,), seeds=2)["sweep"].to_dataset()
    other = runs.assign_coords(num_examples=("run", np.full(4, 120)))
    both = xr.concat([runs, other], "run")
    assert set(settled(both)["series"].values) == {"plain, N = 60", "plain, N = 120"}


def test_judged_results_are_saved_and_loaded_as_they_are(judged, tmp_path):
    validate(judged)
    save(judged, tmp_path / "results.nc")
    back = load(tmp_path / "results.nc")["temperature"].to_dataset()
    xr.testing.assert_identical(back.drop_attrs(), judged["temperature"].to_dataset().drop_attrs())
    assert back.attrs["trend_gap_0"] == judged["temperature"].attrs["trend_gap_0"]


def test_without_accuracies_there_is_no_statement_on_them():
    found = judge(sweep_results(accuracy=False))["temperature"].to_dataset()
    assert found["metric"].values.tolist() == ["gap", "test_loss", "train_loss"]
    assert found["prediction"].values.tolist() == ["gap", "optimum", "train_loss"]


def test_the_planted_gap_is_the_one_of_the_formula():
    assert planted_gap(0.1) == pytest.approx((4e-3 + 0.1) / math.e)
