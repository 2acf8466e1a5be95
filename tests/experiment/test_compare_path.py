"""The curves of a path beside simulations: verdicts by loops, the domain, and everything that must agree."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradnoise as gn
from cases import CASES
from gradnoise.dynamics.simulation import Simulation
from gradnoise.estimate import Estimate
from gradnoise.experiment.same_run import same_rates
from gradnoise.predict import Domain, PathCurve

pytestmark = pytest.mark.slow  # compiling takes a minute in all

case_of = cache(lambda name: CASES[name]())
"""Made once, so that tests share compiled code."""
SPACETIME = gn.Spacetime(4, 2)
SUMS = np.array([[1.0, 1.0, 1.0], [0.8, 0.9, 0.91], [0.6, 0.8, 0.84]])
"""The path, with one loop, with two, after 0, 1 and 2 steps."""

INSIDE = np.arange(3)


def constructed(rng, means, spread, num_loops=2, end=None, licensed_loops=2, target="test"):
    """A path's curve whose sums are SUMS, and 400 runs whose means are `means`."""
    sums = Estimate(SUMS[:, : num_loops + 1], np.zeros((3, num_loops + 1)), 10)
    curve = PathCurve(
        sums.value[:, -1], np.zeros(3), 10, target=target, learning_rate=0.1, spacetime=SPACETIME, problem_name="made",
        domain=Domain(end, np.array([0.0, 0.1, 0.2]), (3 if end is None else end) > INSIDE),
        licensed_loops=licensed_loops, partial_sums=sums,
    )  # fmt: skip
    noise = rng.normal(size=(400, 1)) * np.array([0.0, 1.0, 2.0])
    runs = np.asarray(means) + spread * (noise - noise.mean(0))
    simulation = Simulation(
        {"test_loss": runs, "train_loss": runs, "gap": runs}, np.arange(3), np.full(400, -1), None, SPACETIME, 0.1,
        400, "drawn", None, "float64", "cpu", 1, 1, "population", "made", "sgd",
    )  # fmt: skip
    return curve, simulation


@pytest.mark.parametrize(
    ("means", "spread", "verdicts"),
    [
        ((1.0, 0.91, 0.84), 1e-4, ("truncation", "truncation", "agrees")),
        ((1.0, 0.91, 0.84), 3.0, ("statistical", "statistical", "statistical")),
        ((1.0, 0.92, 0.86), 1e-4, ("truncation", "truncation", "truncation")),
        ((1.0, 0.91, 0.90), 1e-4, ("truncation", "disagrees", "disagrees")),
        ((1.0, 0.60, 0.84), 1e-4, ("truncation", "disagrees", "disagrees")),
    ],
)
def test_each_loop_is_excused_by_the_next(rng, means, spread, verdicts):
    assert gn.compare(*constructed(rng, means, spread)).verdicts == verdicts


def test_the_difference_of_one_loop_alone_is_excused_up_to_that_loop(rng):
    for last, verdict in ((0.81, "truncation"), (0.99, "truncation"), (1.02, "disagrees")):
        assert gn.compare(*constructed(rng, (1.0, 0.9, last), 1e-4, num_loops=1)).verdict == verdict


def test_steps_outside_the_domain_are_nan_and_do_not_enter_the_verdict(rng):
    found = gn.compare(*constructed(rng, (1.0, 0.91, 5.0), 1e-4, end=2))
    assert found.verdict == "agrees"
    assert found.domain_end() == 2
    for array in (found.predicted, found.difference, found.stderr, found.z, found.last_term):
        np.testing.assert_array_equal(np.isnan(array), [[False] * 3, [False] * 3, [True] * 3])
    assert np.isnan(found.residual.value).all()
    assert gn.compare(*constructed(rng, (1.0, 0.91, 0.84), 1e-4)).domain_end() is None


def test_a_curve_that_is_outside_its_domain_everywhere_is_not_licensed(rng):
    assert gn.compare(*constructed(rng, (1.0, 0.91, 0.84), 1e-4, end=1)).verdicts == ("not licensed",) * 3


def test_with_kinks_the_path_stands_and_its_loops_are_not_licensed(getkey):
    problem = gn.from_arrays(lambda w, x: jnp.abs(w - x) + w**2, lambda key: np.float64(0.0), np.array([0.0, 0.2, 2.0]))
    runs = gn.simulate(gn.sgd(problem), np.float64(0.1), SPACETIME, 0.01, 100, getkey(), dtype="float64")
    curve = gn.predict_path(problem, np.float64(0.1), SPACETIME, 0.01).curve("test")
    found = gn.compare(curve, runs)
    assert found.verdicts[1] == "not licensed" != found.verdicts[0]
    assert np.isnan(found.difference[:, 1]).all()
    assert np.isfinite(found.difference[:, 0]).all()


def schedule(step):
    return 0.3 / (1 + step)


RUNS = {
    "plain": ({}, {}, 0.3),
    "momentum and decay": ({"momentum": 0.5, "nesterov": True, "weight_decay": 0.1}, {}, 0.1),
    "schedule": ({}, {}, schedule),
    "given": ({}, {"training_set": "given"}, 0.3),
    "distinct": ({}, {"training_set": "distinct"}, 0.3),
    "population": ({}, {"training_set": "population"}, 0.3),
}


@pytest.mark.parametrize("name", RUNS)
def test_the_curve_of_a_path_agrees_with_its_simulation(getkey, name):
    case, (optimizer, chosen, rate) = case_of("penalized_held_out"), RUNS[name]
    spacetime, key = gn.Spacetime(6, 3, 3, "reshuffle"), getkey()
    runs = gn.simulate(
        gn.sgd(case.problem, **optimizer), case.params, spacetime, rate, 2000, key, dtype="float64", **chosen
    )
    path = gn.predict_path(case.problem, case.params, spacetime, rate, **optimizer, **chosen)
    for target in ("test", "train", "gap"):
        found = gn.compare(path.curve(target), runs)
        narrow = ("not licensed",) if (name, target) == ("distinct", "gap") else ()  # noise too large beside the drop
        assert found.verdict in ("agrees", "statistical", "truncation", *narrow), (target, found)
        assert found.difference.shape == (7, 2)
        assert found.expansion == "noise"


def test_two_loops_are_a_third_column(getkey):
    case, key = case_of("one_weight"), getkey()
    spacetime = gn.Spacetime(12, 3)
    runs = gn.simulate(gn.sgd(case.problem), case.params, spacetime, 0.1, 500, key, every=2, dtype="float64")
    path = gn.predict_path(case.problem, case.params, spacetime, 0.1, num_loops=2, num_probes=10, key=key)
    found = gn.compare(path.curve("gap"), runs)
    assert found.difference.shape == (3, 3)
    assert len(found.verdicts) == 3


def logistic_pair(**changes):
    """A path's curve and a simulation of two replicas that differ in `changes` of the latter."""
    case = case_of("logistic")
    options = {
        "spacetime": gn.Spacetime(6, 3),
        "learning_rate": 0.1,
        "training_set": "drawn",
        "momentum": 0.0,
        **changes,
    }
    curve = gn.predict_path(case.problem, case.params, gn.Spacetime(6, 3), 0.1).curve("test")
    process = gn.sgd(case.problem, momentum=options.pop("momentum"))
    return curve, gn.simulate(process, case.params, num_replicas=2, key=jax.random.key(0), **options)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"spacetime": gn.Spacetime(6, 2)}, "spacetime differs"),
        ({"spacetime": gn.Spacetime(6, 3, 1, "reshuffle")}, "spacetime differs"),
        ({"learning_rate": 0.2}, "learning_rate differs"),
        ({"learning_rate": np.array([0.1, 0.2])}, "learning_rate differs"),
        ({"training_set": "distinct"}, "training_set differs"),
        ({"momentum": 0.5}, "momentum differs"),
    ],
)
def test_a_path_of_another_run_is_refused(change, word):
    with pytest.raises(ValueError, match=word):
        gn.compare(*logistic_pair(**change))


def test_a_schedule_that_is_the_same_rates_in_other_words_is_accepted():
    assert gn.compare(*logistic_pair(learning_rate=np.array([0.1, 0.1]))).verdict
    assert same_rates({"a": 0.1, "b": np.full(2, 0.1)}, 0.1, 3)
    assert same_rates({"a": 0.1, "b": np.full(2, 0.1)}, {"a": 0.1, "b": 0.1}, 3)
    assert not same_rates({"a": 0.1, "b": 0.2}, {"a": 0.1, "b": 0.1}, 3)
    assert not same_rates({"a": 0.1, "b": 0.1}, np.full(3, 0.1), 3)
    assert same_rates(schedule, np.array([schedule(step) for step in range(4)]), 4)


@pytest.mark.parametrize("target", ["displacement", "variance"])
def test_a_curve_of_what_is_not_recorded_is_refused(target):
    case = case_of("logistic")
    path = gn.predict_path(case.problem, case.params, gn.Spacetime(6, 3), 0.1)
    with pytest.raises(ValueError, match=f'target="{target}"'):
        gn.compare(path.curve(target), logistic_pair()[1])
    with pytest.raises(TypeError, match=r"PathPrediction.*curve"):
        gn.compare(path, logistic_pair()[1])  # type: ignore[arg-type]


def test_a_comparison_with_a_path_goes_into_a_results_file(rng, tmp_path):
    gn.save(gn.compare(*constructed(rng, (1.0, 0.91, 5.0), 1e-4, end=2)), tmp_path / "one.nc")
    kept = gn.load(tmp_path / "one.nc")["compared"]
    assert kept.attrs["expansion"] == "noise"
    assert np.isnan(kept["z"].values[0, 0, 2]).all()


def test_a_schedule_labels_no_results():
    curve, runs = logistic_pair(learning_rate=np.array([0.1, 0.1]))
    assert gn.compare(curve, runs).to_dataset()
    case = case_of("logistic")
    scheduled = gn.predict_path(case.problem, case.params, gn.Spacetime(6, 3), lambda step: 0.1).curve("test")
    with pytest.raises(ValueError, match="learning_rate is a schedule"):
        gn.compare(scheduled, runs).to_dataset()


def test_the_curve_of_a_path_becomes_the_predicted_group_with_loops_as_orders(rng):
    curve, _ = constructed(rng, (1.0, 0.91, 0.84), 1e-4, end=2)
    found = gn.to_results(curve)
    assert (found.attrs["group"], found.attrs["expansion"], found.attrs["domain_end"]) == ("predicted", "noise", 2)
    loss = found["loss"].sel(target="test", learning_rate=0.1).values
    np.testing.assert_array_equal(loss[:2], SUMS[:2])
    np.testing.assert_array_equal(loss[2], [SUMS[2, 0], np.nan, np.nan])
