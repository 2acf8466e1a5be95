"""The whole run of the main job: the numbers are those of predict_path and simulate, and the rest follows from them."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy import stats

import gradnoise as gn
from gradnoise.experiment.config import Config
from gradnoise.experiment.job import Job
from gradnoise.experiment.path import batch_row, make_plan
from gradnoise.experiment.path_cost import whole_run_cost
from gradnoise.experiment.path_table import flatness
from gradnoise.experiment.pipeline import estimate, run

SMALL = Config(batch_size=4, path_steps=24, path_learning_rate=0.5, path_replicas=200, momentum=0.5, weight_decay=0.1)


def small_problem(loss=lambda w, x: jnp.log(jnp.cosh(w @ x[:2] - x[2]))):
    pool = np.random.default_rng(0).normal(size=(60, 3))
    return gn.from_arrays(loss, lambda key: jax.random.normal(key, (2,)), pool, "small")


def quiet(message, share):
    pass


def group(config, problem=None):
    return run(problem or small_problem(), config, stages=("path",))["path"].to_dataset()


@pytest.fixture(scope="module")
def finished():
    return group(SMALL)


@pytest.mark.slow
def test_the_curves_are_those_of_predict_path_with_momentum_and_decay(finished):
    job = Job(small_problem(), SMALL, quiet)
    path = gn.predict_path(job.problem, job.params, gn.Spacetime(96, 4), 0.5, momentum=0.5, weight_decay=0.1)
    for batch in (1, 2, 4, 8, 16):
        for target in ("test", "gap"):
            found = finished["predicted"].sel(batch_size=batch, target=target)
            curve = path.curve(target, batch_size=batch)
            expected = np.array(curve.partial_sums.value)
            expected[~curve.domain.inside & (target == "gap"), 1:] = np.nan  # the gap has a domain of its own
            np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(finished["path_loss"], path.path_test)
    np.testing.assert_allclose(finished["test_coefficient"], path.test_coefficient.value, rtol=1e-12)


def test_the_points_are_those_of_sgd_with_momentum_and_decay(finished):
    job = Job(small_problem(), SMALL, quiet)
    process = gn.sgd(job.problem, momentum=0.5, weight_decay=0.1)
    key = jax.random.fold_in(job.key["path"], 4)  # the fourth batch size
    runs = gn.simulate(process, job.params, gn.Spacetime(24 * 8, 8), 0.5, 200, key, every=3)
    found = finished["simulated"].sel(batch_size=8, target="gap")
    assert found["step"].values[np.isfinite(found)].tolist() == list(range(0, 25, 3))
    np.testing.assert_allclose(found.dropna("step"), runs.observables["gap"].mean(axis=0), rtol=1e-5, atol=1e-7)


def test_prediction_and_simulation_agree_up_to_the_next_order_of_the_noise(finished):
    """At the largest batch size what is left out is far below the error: 4.4 = the 99.99% band of 8 records."""
    at = {"batch_size": 16, "target": "test"}
    miss = finished["simulated"].sel(at) - finished["predicted"].sel(at).sel(loops=1)
    assert float(np.abs(miss / finished["simulated_se"].sel(at)).isel(step=slice(1, None)).max()) < 4.4


def test_residuals_and_domain_follow_from_the_curves(finished):
    last = finished.sel(target="test").isel(step=-1)
    expected = finished["batch_size"] ** 2 * (last["simulated"] - last["predicted"].sel(loops=1))
    np.testing.assert_allclose(finished["residual_scaled"], expected)
    predicted = finished["predicted"].sel(target="test")
    share = np.abs(predicted.sel(loops=1) - predicted.sel(loops=0)) / predicted.sel(loops=0)
    left = (share > 0.3).cumsum("step") > 0
    np.testing.assert_array_equal(finished["in_domain"], (~left).transpose("batch_size", "step").astype(int))


def test_at_the_doubling_batch_size_a_doubling_changes_the_loss_by_one_percent(finished):
    slope, size = float(finished["test_coefficient"][-1]), float(finished["doubling_batch_size"])
    loss = float(finished["path_loss"][-1]) + slope / size
    assert slope / (2 * size) == pytest.approx(0.01 * loss, rel=1e-6)


@pytest.mark.slow
def test_the_cost_counts_the_runs_that_know_as_much():
    found = group(SMALL.model_copy(update={"num_probes": 30, "path_replicas": 40}), wide_problem())
    place = found.sel(target="test", batch_size=4).isel(step=-1)
    ratio = float(place["simulated_se"] / place["predicted_se"].sel(loops=1))
    assert found.attrs["simulation_runs"] == int(np.ceil(40 * ratio**2))
    each = 24 * 4 / 60 + 1 / 3
    assert found.attrs["simulation_equivalents"] == pytest.approx(found.attrs["simulation_runs"] * each)
    sizes = found["batch_size"].values
    assert found.attrs["simulation_equivalents_all"] == pytest.approx(
        found.attrs["simulation_runs"] * np.sum(24 * sizes / 60 + 1 / 3)
    )
    assert found.attrs["method"] == "probes"
    assert found.attrs["num_probes"] == 30


def wide_problem():
    """301 weights, of which two matter: one more than the dense form is taken for."""
    pool = np.random.default_rng(0).normal(size=(60, 3))
    return gn.from_arrays(
        lambda w, x: jnp.log(jnp.cosh(w[:2] @ x[:2] - x[2])) + jnp.sum(w**2) / 20,
        lambda key: jnp.ones(301) / 9,
        pool,
        "wide",
    )


def test_without_replicas_nothing_is_simulated():
    found = group(SMALL.model_copy(update={"path_replicas": 0}))
    assert np.isnan(found["simulated"]).all()
    assert np.isfinite(found["predicted"].sel(target="test")).all()
    assert not found["num_replicas"].any()


@pytest.mark.parametrize(
    ("change", "problem", "said"),
    [
        ({"num_probes": 0}, None, "left it out"),
        ({}, gn.testbeds.problem("gauss"), "needs a pool"),
        ({"path_learning_rate": 1e3}, small_problem(lambda w, x: jnp.sum((w - x[:2]) ** 4)), "diverges, its loss is"),
    ],
)
def test_where_there_is_no_whole_run_the_group_says_why(change, problem, said):
    found = group(SMALL.model_copy(update=change), problem)
    assert not found.data_vars
    assert said in found.attrs["absent"]
    assert "\n" not in found.attrs["absent"]


@pytest.mark.slow
def test_runs_that_diverge_have_no_mean_from_there_on():
    problem = small_problem(lambda w, x: jnp.sum((w - 3 * x[:2]) ** 4) / 40)
    found = group(SMALL.model_copy(update={"path_learning_rate": 0.2, "momentum": 0.0}), problem)
    wild = found["num_diverged"] > 0
    assert wild.any(), "the case must have runs that diverge"
    assert np.isnan(found["simulated"].isel(step=-1, batch_size=int(np.argmax(wild.values)))).all()


def test_it_resumes_to_the_same_numbers(finished, tmp_path):
    for _ in range(2):
        again = run(small_problem(), SMALL, stages=("path",), store=tmp_path)["path"].to_dataset()
        xr.testing.assert_identical(again, finished)
    assert len(list(tmp_path.glob("*.nc"))) == 1


def test_what_is_left_open_is_chosen_from_curvature_and_size():
    job = Job(small_problem(), Config(), quiet)
    plan = make_plan(job)
    assert plan.learning_rate == pytest.approx(0.25 / job.curvature, rel=0.05)
    assert plan.spacetime == gn.Spacetime(64 * 8, 8)
    assert plan.method == "dense"
    assert make_plan(Job(wide_problem(), Config(), quiet)).method == "probes"
    slow = make_plan(Job(small_problem(), Config(learning_rate=0.01), quiet))
    assert (slow.learning_rate, slow.spacetime.num_steps) == (0.01, 96), "the user's own rate; then the longer run"


@pytest.mark.parametrize(("batch", "pool"), [(8, 1797), (3, 1797), (64, 100), (200, 100), (1, 3)])
def test_batch_sizes_are_a_row_of_doublings_around_the_given_one(batch, pool):
    row = batch_row(batch, pool)
    assert batch in row
    assert all(b == 2 * a for a, b in pairwise(row))
    assert max(row) <= max(pool, batch)
    assert len(row) == 5 or batch % 2 or max(row) * 2 > pool


def test_the_level_allows_for_the_error_that_all_points_share():
    """B^2 r = 2 + d B with one d for all points: fitted to 2; without the shared error it is uneven beyond chance."""
    sizes, own = np.array([2.0, 4.0, 8.0, 16.0, 32.0]), np.full(5, 1e-3)
    tilted = 2 / sizes**2 + 0.05 / sizes
    found = flatness(sizes, tilted, own, 0.05 / sizes)
    assert abs(found.value - 2) < 3 * found.stderr
    assert found.p_value > 0.05
    assert flatness(sizes, tilted, own, 0 * sizes).p_value < 1e-6
    assert np.isnan(flatness(sizes[:1], tilted[:1], own[:1], own[:1]).p_value)


def test_the_flatness_test_is_level():
    """Its p-value is uniform where the model holds: Kolmogorov-Smirnov at 0.1%."""
    rng, sizes = np.random.default_rng(0), np.array([2.0, 4.0, 8.0, 16.0])
    own, shared = np.array([4e-3, 2e-3, 1e-3, 1e-3]), 0.05 / sizes
    chances = [
        flatness(sizes, 2 / sizes**2 + own * rng.normal(size=4) + shared * rng.normal(), own, shared).p_value
        for _ in range(2000)
    ]
    assert stats.kstest(chances, "uniform").pvalue > 1e-3


@pytest.mark.slow
def test_a_dry_run_counts_it_in():
    told, seconds, held = whole_run_cost(Job(small_problem(), SMALL, quiet))
    assert "whole run of 24 steps at learning rate 0.5, batch sizes 1, 2, 4, 8, 16" in told
    assert seconds > 0
    assert held > 0
    found = estimate(small_problem(), SMALL, stages=("path",))
    assert found.notes[-1] == told
    assert "no whole training run" in estimate(gn.testbeds.problem("gauss"), SMALL, stages=("path",)).notes[-1]
