"""A second loop fitted at one batch size: at that size it is the simulation, at others it is theirs."""

import jax
import numpy as np
import pytest

import gradnoise as gn
from cases import CASES
from gradnoise.experiment.two_loops import fit_two_loops

pytestmark = pytest.mark.slow  # compiling takes minutes in all

CASE = CASES["one_weight"]()
RATE = 0.4


def grid(batch_size, **options):
    return gn.Spacetime(3 * batch_size, batch_size, **({"epochs": 2} | options))


def run(key, batch_size=4, num_replicas=4000, every=1, spacetime=None, **options):
    spacetime = grid(batch_size) if spacetime is None else spacetime
    return gn.simulate(
        gn.sgd(CASE.problem), CASE.params, spacetime, RATE, num_replicas, key, every=every, dtype="float64", **options
    )


@pytest.fixture(scope="module")
def path():
    return gn.predict_path(CASE.problem, CASE.params, grid(4), RATE)


def test_at_the_simulated_batch_size_the_prediction_is_the_simulation(path, getkey):
    runs = run(getkey())
    fitted = fit_two_loops(path, runs)
    for target, name in (("test", "test_loss"), ("train", "train_loss"), ("gap", "gap")):
        curve, mean = fitted.curve(target), runs.mean(name)
        np.testing.assert_allclose(curve.value, mean.value, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(curve.stderr, mean.stderr, rtol=1e-10, atol=1e-12)
    assert (fitted.num_loops, fitted.fitted.num_replicas) == (2, 4000)
    assert "4000 runs of Spacetime(num_examples=12, batch_size=4" in repr(fitted)


def test_the_coefficients_are_the_scaled_residuals_and_give_the_curves(path, getkey):
    runs = run(getkey(), batch_size=8)
    fitted = fit_two_loops(path, runs)
    residual = runs.mean("test_loss").value - path.curve("test", 8).value
    np.testing.assert_allclose(fitted.second_test_coefficient.value, 64 * residual, atol=1e-11)
    gap = runs.mean("gap").value - path.curve("gap", 8).value
    np.testing.assert_allclose(fitted.second_gap_coefficient.value, 8 * 24 * gap, atol=1e-11)
    for size in (4, 20):
        expected = path.curve("test", size).value + fitted.second_test_coefficient.value / size**2
        np.testing.assert_allclose(fitted.curve("test", size).value, expected, rtol=1e-10)
        expected = path.curve("gap", size).value + fitted.second_gap_coefficient.value / (3 * size**2)
        np.testing.assert_allclose(fitted.curve("gap", size).value, expected, rtol=1e-10, atol=1e-12)
        assert fitted.curve("test", size).stderr[-1] == pytest.approx(runs.mean("test_loss").stderr[-1] * 64 / size**2)


def test_the_fit_is_the_second_loop_by_pairs_of_probes(path, getkey):
    fitted = fit_two_loops(path, run(getkey(), batch_size=8, num_replicas=100_000, every=6))
    pairs = gn.predict_path(CASE.problem, CASE.params, grid(4), RATE, num_loops=2, num_probes=20_000, key=getkey())
    for name in ("second_test_coefficient", "second_gap_coefficient"):
        one, other = getattr(fitted, name)[-1], getattr(pairs, name)[-1]
        third = 0.1 * abs(other.value)  # of the third loop, relative to the second: 1/B
        assert abs(one.value - other.value) < 4 * np.hypot(one.stderr, other.stderr) + third, name


def test_errors_of_probes_enter_by_what_the_two_sizes_do_not_share(getkey):
    path = gn.predict_path(CASE.problem, CASE.params, grid(4), RATE, method="probes", num_probes=40, key=getkey())
    runs = run(getkey(), num_replicas=1000)
    fitted = fit_two_loops(path, runs)
    noise, simulated = path.test_coefficient.stderr, runs.mean("test_loss").stderr
    np.testing.assert_allclose(fitted.curve("test").stderr, simulated, rtol=1e-9, atol=1e-12)
    for size in (2, 8):
        factor = (4 / size) ** 2
        expected = np.hypot(noise * abs(1 / size - factor / 4), factor * simulated)
        np.testing.assert_allclose(fitted.curve("test", size).stderr, expected, rtol=1e-9, atol=1e-12)
    choice = gn.batch_choice(fitted, [4, 8])
    assert choice.test_loss.value[0] == pytest.approx(runs.mean("test_loss").value[-1])
    assert choice.interval[0] < choice.batch_size.value < choice.interval[1]


def test_between_records_the_residual_is_interpolated(path, getkey):
    key = getkey()
    every, third = run(key, num_replicas=200), run(key, num_replicas=200, every=3)
    residual = every.mean("test_loss").value - path.curve("test").value
    coefficient = fit_two_loops(path, third).second_test_coefficient.value
    np.testing.assert_allclose(coefficient, 16 * np.interp(np.arange(7), [0, 3, 6], residual[::3]), atol=1e-10)


def test_fresh_noise_serves_test_loss_at_every_number_of_examples_and_gaps_at_their_own(getkey):
    path = gn.predict_path(CASE.problem, CASE.params, grid(4, epochs=1), RATE)
    fitted = fit_two_loops(path, run(getkey(), spacetime=grid(4, epochs=1), num_replicas=100))
    assert fitted.curve("test", 4, 16).value[-1] == pytest.approx(fitted.curve("test").value[-1])
    with pytest.raises(ValueError, match="the second loop of gap was fitted at 12 with 4"):
        fitted.curve("gap", 4, 16)


def bad(getkey):
    key = getkey()
    one = gn.predict_path(CASE.problem, CASE.params, grid(4), 0.3)
    yield one, run(key, num_replicas=10), "learning_rate differs"
    path = gn.predict_path(CASE.problem, CASE.params, grid(4), RATE)
    yield path, run(key, spacetime=gn.Spacetime(16, 4, epochs=2), num_replicas=10), "num_steps differs"
    yield path, run(key, spacetime=gn.Spacetime(24, 4), num_replicas=10), "other columns an epoch"
    yield path, run(key, spacetime=grid(4, sampling="reshuffle"), num_replicas=10), "spacetime differs"
    distinct = gn.predict_path(CASE.problem, CASE.params, gn.Spacetime(3, 1), RATE, training_set="distinct")
    yield distinct, run(key, num_replicas=10), "does not scale as 1/B"


def test_what_does_not_belong_together_is_refused(getkey):
    for prediction, simulation, message in bad(getkey):
        with pytest.raises(ValueError, match=message):
            fit_two_loops(prediction, simulation)
    with pytest.raises(TypeError, match="expected that of predict_path"):
        fit_two_loops(simulation, simulation)


def test_a_batch_outside_the_expansion_is_refused(getkey):
    problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: 0.0, np.array([-1.0, 1.0]))
    path = gn.predict_path(problem, np.float64(0), gn.Spacetime(8, 1), 1.5)
    runs = gn.simulate(gn.sgd(problem), np.float64(0), gn.Spacetime(8, 1), 1.5, 10, getkey())
    with pytest.raises(ValueError, match="batch_size=1 is outside the expansion"):
        fit_two_loops(path, runs)


def digits(num_columns, epochs):
    """Softmax regression on 256 digits of the file in random order, start normal(0, .2): the case of loop.md 12.1."""
    whole = gn.testbeds.problem("digits-logistic")
    order = np.random.default_rng(0).permutation(whole.num_pool)[:256]
    pool = jax.tree.map(lambda leaf: leaf[order], whole.pool)
    problem = gn.from_arrays(whole.loss, whole.init, pool, "256 digits")
    start = whole.init(jax.random.key(0))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: 0.2 * (np.ndim(leaf) > 1) * rng.normal(size=np.shape(leaf)), start)
    return problem, params, {b: gn.Spacetime(num_columns * b, b, epochs) for b in (1, 2, 20)}


@pytest.mark.slow
def test_a_fit_at_batch_20_gives_batch_2_within_two_and_batch_1_within_five_percent(getkey):
    """Where one loop alone is 20 % and 43 % low. What is left at batch 1, about 4 %, is the third loop.

    (loop.md has 2 % at batch 1, with an error of 3.5 % on c2; its own c2 falls from .77 to .70 between batches 2 and 1.)
    """
    problem, params, grids = digits(20, 5)
    path = gn.predict_path(problem, params, grids[20], 0.5)
    fitted = fit_two_loops(path, gn.simulate(gn.sgd(problem), params, grids[20], 0.5, 100_000, getkey(), every=100))
    coefficient = fitted.second_test_coefficient[-1]
    print(f"c2 {coefficient}")
    for size, low, allowed in ((2, 0.15, 0.02), (1, 0.4, 0.05)):
        runs = gn.simulate(gn.sgd(problem), params, grids[size], 0.5, 20_000, getkey(), every=100).mean("test_loss")[-1]
        one, two = path.curve("test", size).value[-1], fitted.curve("test", size)[-1]
        print(f"batch {size}: one loop {one:.4f}, two {two}, simulated {runs}")
        assert runs.value - one > low * runs.value
        assert abs(two.value - runs.value) < allowed * runs.value + 2 * np.hypot(two.stderr, runs.stderr)
    pairs = gn.predict_path(problem, params, grids[20], 0.5, num_loops=2, num_probes=400, key=getkey())
    by_pairs = pairs.second_test_coefficient[-1]
    print(f"by pairs {by_pairs}")
    assert abs(by_pairs.value - coefficient.value) < 4 * np.hypot(by_pairs.stderr, coefficient.stderr)
