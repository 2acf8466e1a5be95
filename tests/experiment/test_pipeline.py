"""The main job on small problems: complete, resumable to the same numbers, honest about what it needs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

import gradnoise as gn
from gradnoise.experiment.config import Config
from gradnoise.experiment.pipeline import STAGES, estimate, run
from gradnoise.problem import penalized
from gradnoise.results import validate

SMALL = Config(
    batch_size=2,
    num_examples=8,
    epochs=1,
    num_replicas=40,
    max_order=2,
    baseline_steps=20,
    path_steps=4,
    path_replicas=20,
)


def small_problem(name="small"):
    pool = np.random.default_rng(0).normal(size=(12, 3))
    return gn.from_arrays(
        lambda w, x: jnp.log(jnp.cosh(w @ x[:2] - x[2])), lambda key: jax.random.normal(key, (2,)), pool, name
    )


@pytest.fixture(scope="module")
def finished():
    return run(small_problem(), SMALL)


def test_the_tree_is_complete_and_survives_the_file(finished, tmp_path):
    validate(finished, complete=True)
    gn.save(finished, tmp_path / "results.nc")
    again = gn.load(tmp_path / "results.nc")
    for stage in STAGES:
        xr.testing.assert_identical(again[stage].to_dataset(), finished[stage].to_dataset())


def test_no_host_user_or_path_is_among_the_attributes(finished):
    import getpass
    import platform

    told = repr({name: group.attrs for name, group in finished.subtree_with_keys})
    for secret in (platform.node(), f"/{getpass.getuser()}/", "/home", "/tmp"):
        assert not secret or secret not in told


@pytest.mark.parametrize("held_out", [False, True])
def test_contributions_of_the_diagrams_add_up_to_the_prediction(finished, held_out):
    if held_out:
        problem = small_problem()
        other = np.random.default_rng(1).normal(size=(5, 3))
        problem = gn.from_arrays(
            problem.loss, problem.init, problem.pool, "held", lambda w, x: jnp.sin(w @ x[:2]), other
        )
        finished = run(problem, SMALL, stages=("measured", "predicted"))
    measured, predicted = finished["measured"], finished["predicted"]
    for target in ("test", "train", "gap"):
        by_order = np.array(
            [
                float((predicted["factor"].sel(target=target) * measured["value"]).where(measured["order"] == k).sum())
                for k in range(3)
            ]
        )
        np.testing.assert_allclose(by_order, predicted["coefficient"].sel(target=target), rtol=1e-9, atol=1e-12)


class Killed(Exception):
    pass


@pytest.mark.parametrize("stage", ["simulation", pytest.param("control variates", marks=pytest.mark.slow)])
def test_a_killed_run_resumes_to_the_same_numbers(finished, tmp_path, stage):
    def die(message, share):
        if message == stage:
            raise Killed

    with pytest.raises(Killed):
        run(small_problem(), SMALL, store=tmp_path, progress=die)
    kept = sorted(path.name.split("-")[0] for path in tmp_path.iterdir())
    assert kept[:2] == ["measured", "predicted"]
    heard = []
    resumed = run(small_problem(), SMALL, store=tmp_path, progress=lambda message, share: heard.append(message))
    assert "baseline run" not in heard
    for name in STAGES:
        xr.testing.assert_identical(resumed[name].to_dataset(), finished[name].to_dataset())


def test_a_damaged_stage_is_done_again(finished, tmp_path):
    run(small_problem(), SMALL, stages=("predicted",), store=tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    again = run(small_problem(), SMALL, stages=("predicted",), store=tmp_path)
    xr.testing.assert_identical(again["predicted"].to_dataset(), finished["predicted"].to_dataset())


def test_other_settings_do_not_find_the_stored_stages(tmp_path):
    run(small_problem(), SMALL, stages=("predicted",), store=tmp_path)
    run(small_problem(), SMALL.model_copy(update={"seed": 1}), stages=("predicted",), store=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_another_loss_of_the_same_name_does_not_find_the_stored_stages(tmp_path):
    problem = small_problem()
    run(problem, SMALL, stages=("predicted",), store=tmp_path)
    mended = gn.from_arrays(lambda w, x: 2 * problem.loss(w, x), problem.init, problem.pool, problem.name)
    run(mended, SMALL, stages=("predicted",), store=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_rates_that_diverge_leave_a_report_with_unknown_slopes():
    config = SMALL.model_copy(update={"learning_rate": 0.02, "epochs": 4, "num_replicas": 16})
    tree = run(small_quartic(), config, stages=("simulated", "compared"))
    assert int(tree["simulated"]["num_diverged"].max()) > 0
    assert bool(np.isnan(tree["compared"]["slope"]).any()) == (tree["compared"].sizes["learning_rate"] < 4)


@pytest.mark.slow
def test_weight_decay_is_predicted_as_the_penalty_it_is(getkey):
    """SGD with coupled decay against the series of the penalized problem, 4000 replicas: within the band."""
    problem, rate, decay = small_problem(), 0.02, 0.3
    params, spacetime = np.array([0.5, -1.0]), gn.Spacetime(8, 2)
    values = gn.diagram_values(penalized(problem, decay), params)
    runs = gn.simulate(gn.sgd(problem, weight_decay=decay), params, spacetime, rate, 4000, getkey(), dtype="float64")
    right = gn.compare(gn.predict_curve(values, spacetime, rate), runs)
    assert np.abs(right.z[:, -1]).max() < right.band
    with pytest.raises(ValueError, match="weight_decay differs"):
        gn.compare(gn.predict_curve(gn.diagram_values(problem, params), spacetime, rate), runs)


def test_a_problem_without_a_pool_goes_the_whole_way():
    config = SMALL.model_copy(update={"num_replicas": 20, "max_order": 1})
    tree = run(gn.testbeds.problem("gauss"), config)
    assert float(tree["measured"]["value_se"].max()) > 0
    assert "needs a pool" in tree["path"].attrs["absent"]


@pytest.mark.slow
def test_the_estimate_counts_replicas_by_the_spread_of_the_change():
    asked, finer = (estimate(small_problem(), SMALL, error=error) for error in (0.1, 0.05))
    assert finer.num_replicas_needed == pytest.approx(4 * asked.num_replicas_needed, rel=0.1, abs=4)
    assert asked.seconds > 0
    assert asked.memory_bytes > 2**28


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"learning_rate": -1}, "learning_rate"),
        ({"sampling": "random"}, "sampling"),
        ({"momentum": 1.0}, "momentum"),
        ({"memory": "lots"}, "memory"),
        ({"batchsize": 3}, "batchsize"),
        ({"num_probes": 1}, "num_probes"),
        ({"path_steps": 0}, "path_steps"),
        ({"path_learning_rate": -0.1}, "path_learning_rate"),
    ],
)
def test_a_wrong_setting_names_itself(change, word):
    with pytest.raises(ValidationError, match=word):
        Config(**change)


def test_diverging_at_every_rate_is_said():
    with pytest.raises(ValueError, match=r"learning_rate=.*diverged at every learning rate"):
        run(small_quartic(), SMALL.model_copy(update={"learning_rate": 1e9, "epochs": 4}), stages=("compared",))


def small_quartic():
    pool = np.random.default_rng(0).normal(size=(12, 2))
    return gn.from_arrays(lambda w, x: jnp.sum((w - x) ** 4), lambda key: jnp.ones(2), pool)
