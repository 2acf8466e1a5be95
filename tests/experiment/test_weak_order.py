"""The test of the SDE by SVAG: verdict, band, power, fit and stopping rule, on made-up runs and closed hierarchies."""

import jax
import numpy as np
import pytest
from scipy import stats

import gradnoise as gn
from experiment.synthetic_runs import GRID, as_simulation, sde_run, svag_runs
from gradnoise.experiment.simultaneous import simultaneous_band
from gradnoise.experiment.weak_fit import fit_approach
from gradnoise.experiment.weak_order import weak_order, weak_order_of
from gradnoise.testbeds import linear_gradients, linear_losses
from gradnoise.testbeds.linear_gradients import LinearRun, sde_moments, sgd_moments, svag_moments
from gradnoise.testbeds.linear_losses import svag_cumulants

L_VALUES = (1, 2, 4, 8)
FAMILY = 1 - 2 * float(stats.norm.sf(4.5))
"""A level at which a true hypothesis is refused about as rarely as by |z| > 4.5."""


def noise(rng, num_replicas, *shape):
    """Standard normal numbers, the same twice with opposite signs: their mean over replicas is zero."""
    half = rng.normal(size=(num_replicas // 2, *shape))
    return np.concatenate([half, -half])


def test_a_difference_beyond_the_band_is_said_with_place_and_size(rng):
    samples = noise(rng, 1000, 4, 5)
    samples[:, 2, 3] += 1.0
    found = weak_order_of(svag_runs(samples, L_VALUES))
    assert found.holds == "differs"
    assert (found.largest.compared, found.largest.step) == ("SVAG(4)", 3)
    assert found.largest.difference.value == pytest.approx(1.0)
    assert found.largest.low < 1 < found.largest.high
    low, high = found.largest_size
    assert (low, high) == pytest.approx((found.largest.low, found.largest.high))
    assert "SVAG(4) and SGD differ in test_loss, by 1 +- " in found.sentence
    assert "the SDE does not describe SGD for this observable here" in found.sentence


def test_where_nothing_is_seen_the_detectable_size_is_said(rng):
    found = weak_order_of(svag_runs(noise(rng, 1000, 4, 5), L_VALUES), level=0.9)
    assert found.holds == "no difference seen"
    assert found.detectable == pytest.approx((found.band + 0.8416) * found.effects.stderr.max(), rel=1e-4)
    assert f"one of {found.detectable:.3g} at any step would have been seen with a chance of 80 %" in found.sentence
    assert "simultaneous 90 % over 3 x 5 comparisons" in found.sentence


def test_a_difference_of_the_detectable_size_is_seen_at_least_four_times_in_five(rng):
    seen, tries = 0, 200
    for _ in range(tries):
        samples = rng.normal(size=(200, 3, 4))
        found = weak_order_of(svag_runs(samples, (1, 2, 4)))
        samples[:, 1, 2] += found.detectable
        seen += weak_order_of(svag_runs(samples, (1, 2, 4))).holds == "differs"
    assert seen / tries > 0.8 - 4.5 * (0.8 * 0.2 / tries) ** 0.5


def test_errors_are_of_differences_so_what_replicas_share_drops_out(rng):
    samples, shared = noise(rng, 400, 4, 5), 100 * rng.normal(size=(400, 1, 1))
    alone, together = (weak_order_of(svag_runs(s, L_VALUES)) for s in (samples, samples + shared))
    np.testing.assert_allclose(together.effects.stderr, alone.effects.stderr, rtol=1e-9)
    np.testing.assert_allclose(together.z, alone.z, atol=1e-6)
    assert together.means.stderr.min() > 3


def test_effects_are_against_sgd_and_successive_ones_against_the_row_before(rng):
    means = np.array([4.0, 3.0, 2.5, 2.25])[:, None] * np.ones(5)
    found = weak_order_of(svag_runs(means + noise(rng, 100, 4, 5), L_VALUES), reference=sde_run(2 + noise(rng, 100, 5)))
    assert found.compared == ("SVAG(2)", "SVAG(4)", "SVAG(8)", "sde, 64 substeps")
    np.testing.assert_allclose(found.effects.value[:, 0], [-1, -1.5, -1.75, -2], atol=1e-12)
    np.testing.assert_allclose(found.successive.value[:, 0], [-1, -0.5, -0.25, -0.25], atol=1e-12)
    np.testing.assert_allclose(found.limit.value, 2, atol=1e-12)
    np.testing.assert_allclose(found.coefficient.value, 2, atol=1e-12)
    assert found.slope.holds


def test_runs_without_noise_differ_where_they_differ_beyond_rounding():
    values = np.ones((20, 4, 5))
    same = weak_order_of(svag_runs(values * (1 + 1e-15), L_VALUES))
    assert same.holds == "no difference seen"
    values[:, 3] += 1e-6
    assert weak_order_of(svag_runs(values, L_VALUES)).holds == "differs"


def test_runs_that_are_all_zero_do_not_differ():
    found = weak_order_of(svag_runs(np.zeros((20, 4, 5)), L_VALUES))
    assert found.holds == "no difference seen"
    assert found.detectable < 1e-300


@pytest.mark.parametrize(("error", "expected"), [(10.0, 2), (0.9, 4), (0.1, None)])
def test_doubling_may_stop_where_c_over_l_is_below_two_standard_errors(error, expected, rng):
    """C = 4 and standard errors e: C/l < 2 e from l = 4/(2 e) on."""
    unit = noise(rng, 100, 4, 3)
    unit *= 10 / unit.std(axis=0, ddof=1) * error  # the standard errors are `error`
    exact = 1 + 4 / np.array(L_VALUES)[None, :, None] + unit
    found = weak_order_of(svag_runs(exact, L_VALUES))
    np.testing.assert_allclose(found.means.stderr, error, rtol=1e-9)
    np.testing.assert_allclose(found.coefficient.value, 4, atol=1e-9)
    assert found.enough == expected
    if expected is None:
        assert "not below two standard errors at l = 8 yet (100 replicas)" in found.sentence
    else:
        assert f"From l = {found.enough} on" in found.sentence


def exact_means(l_values, rng, spread=1e-9):
    """Replicas (replica, l, power - 1) whose means are those of the closed hierarchy after ten steps."""
    run = LinearRun(0.4, 10)
    means = np.stack([svag_moments(run, l)[-1, 1:] for l in l_values])
    return run, means + spread * noise(rng, 200, *means.shape)


def test_the_fit_finds_the_sde_from_svag_2_to_16_and_is_better_without_sgd(rng):
    run, samples = exact_means((1, 2, 4, 8, 16), rng)
    exact, far = sde_moments(run)[-1, 1:], np.array([1, 1 / 2, 1 / 4, 1 / 8, 1 / 16])
    found = fit_approach(samples, list(far))
    coefficient = 512 * (svag_moments(run, 512)[-1, 1:] - exact)
    assert np.abs(found.limit.value - exact).max() < 4.2e-4
    assert np.abs(found.coefficient.value / coefficient - 1).max() < 0.38
    weights = np.linalg.pinv(np.stack([np.ones(5), far], axis=1))
    with_sgd = weights @ samples.mean(axis=0)
    assert np.abs(with_sgd[0] - exact).max() > 1.3e-3
    assert np.abs(with_sgd[1] / coefficient - 1).max() > 0.75


def test_the_exponent_of_the_closed_hierarchy_is_one(rng):
    _, samples = exact_means((1, 32, 64, 128, 256), rng, spread=1e-6)
    for power in range(4):
        slope = fit_approach(samples[:, :, power : power + 1], [1, 1 / 32, 1 / 64, 1 / 128, 1 / 256]).slope
        assert abs(slope.value - 1) < 0.05
        assert slope.low < slope.value < slope.high


def test_l_that_are_too_small_for_one_over_l_are_said(rng):
    means = np.array([1.0, 1 / 8, 1 / 64, 1 / 512])[None, :, None] + 1e-4 * noise(rng, 400, 4, 2)
    found = weak_order_of(svag_runs(means, L_VALUES))
    assert not found.slope.holds
    assert "fall as l^-s with s = 3 (" in found.sentence
    assert "these l are too small for the fit" in found.sentence


def test_the_exponent_of_pure_noise_is_not_told(rng):
    slope = fit_approach(noise(rng, 50, 4, 3), [1, 1 / 2, 1 / 4, 1 / 8]).slope
    assert (slope.low, slope.high) == (0.0, np.inf)
    slope = fit_approach(noise(rng, 50, 3, 3), [1, 1 / 2, 1 / 4]).slope  # two points beside SGD
    assert np.isnan(slope.value)
    assert slope.holds


def test_the_band_of_one_cell_is_students_and_of_copies_the_same(rng):
    one = rng.normal(size=(30, 1))
    quantile = stats.t.isf(0.025, 29)
    assert simultaneous_band(one) == pytest.approx(quantile)
    copies = np.concatenate([one, np.ones((30, 3)), -2 * one, one + 5], axis=1)
    assert simultaneous_band(copies) == pytest.approx(quantile, rel=0.05)


@pytest.mark.parametrize(("num_replicas", "num_cells"), [(2000, 20), (400, 600)])
def test_the_band_of_independent_cells_is_just_below_bonferronis(num_replicas, num_cells, rng):
    samples = rng.normal(size=(num_replicas, num_cells))
    sidak = stats.t.isf((1 - 0.95 ** (1 / num_cells)) / 2, num_replicas - 1)
    band = simultaneous_band(samples)
    assert band == pytest.approx(sidak, rel=0.03)
    assert band <= stats.t.isf(0.05 / num_cells / 2, num_replicas - 1)


@pytest.mark.slow
def test_no_true_mean_leaves_the_band_more_often_than_stated(rng):
    """Runs whose records are strongly correlated, as the steps of a run are."""
    inside, tries = 0, 1500
    for _ in range(tries):
        samples = np.cumsum(rng.normal(size=(100, 12)), axis=1) + rng.normal(size=(100, 1))
        error = samples.std(axis=0, ddof=1) / 10
        inside += np.max(np.abs(samples.mean(axis=0) / error)) <= simultaneous_band(samples)
    assert abs(inside / tries - 0.95) < 4.5 * (0.95 * 0.05 / tries) ** 0.5


@pytest.mark.parametrize(
    ("l_values", "options", "words"),
    [
        ((1, 2), {}, "at least three growing numbers from 1"),
        ((2, 4, 8), {}, "at least three growing numbers from 1"),
        ((1, 4, 2), {}, "at least three growing numbers from 1"),
        ((1, 2.5, 4), {}, "l_values=2.5 is not an integer"),
        (L_VALUES, {"observable": "tset_loss"}, "Did you mean 'test_loss'"),
        (L_VALUES, {"reference": "ode"}, "reference='ode' is unknown"),
        (L_VALUES, {"reference": 3}, "reference is int, expected a Process"),
        (L_VALUES, {"num_replicas": 7}, "num_replicas=7 is below 8"),
        (L_VALUES, {"level": 1.0}, "level=1 is not below 1"),
        (L_VALUES, {"spacetime": gn.Spacetime(4, 2)}, "independent"),
    ],
)
def test_wrong_input_is_answered_with_one_sentence_before_anything_runs(l_values, options, words, getkey):
    call = {"spacetime": GRID, "num_replicas": 10, "key": getkey()} | options
    with pytest.raises((TypeError, ValueError), match=words):
        weak_order(linear_gradients(), np.float32(1), learning_rate=0.1, l_values=l_values, **call)


def test_runs_that_do_not_belong_together_are_refused(rng):
    runs = svag_runs(noise(rng, 20, 4, 5), L_VALUES)
    bad = {
        "spacetime differs": {4: svag_runs(noise(rng, 20, 1, 5), (4,), spacetime=gn.Spacetime(4, 2))[4]},
        "num_replicas differs": {4: svag_runs(noise(rng, 22, 1, 5), (4,))[4]},
        "steps differ": {4: svag_runs(noise(rng, 20, 1, 4), (4,))[4]},
        "learning_rate differs": {4: svag_runs(noise(rng, 20, 1, 5), (4,), learning_rate=0.2)[4]},
        "is of svag with 2 substeps": {4: runs[2]},
        "momentum differs": {4: as_simulation(gn.svag(linear_gradients(), 4, momentum=0.5), noise(rng, 20, 5))},
        "diverged": {4: svag_runs(noise(rng, 20, 1, 5), (4,), diverged_at=np.arange(20))[4]},
    }
    for words, changed in bad.items():
        with pytest.raises(ValueError, match=words):
            weak_order_of(runs | changed)
    with pytest.raises(ValueError, match="num_replicas=4 is below 8"):
        weak_order_of(svag_runs(noise(rng, 4, 4, 5), L_VALUES))
    halves = gn.svag(linear_gradients(), 4)._replace(settings=(("batches", "split"),))
    with pytest.raises(ValueError, match="changes the size of the noise with l"):
        weak_order_of({**runs, 4: as_simulation(halves, noise(rng, 20, 5))})
    strange: dict = {**runs, 8: "runs"}
    with pytest.raises(TypeError, match="simulations holds a str"):
        weak_order_of(strange)
    with pytest.raises(KeyError, match="was not recorded"):
        weak_order_of(runs, "gap")


def power(p):
    return lambda x, examples: x**p


@pytest.mark.slow
def test_on_linear_gradients_runs_give_the_closed_hierarchy_and_the_verdict_it_implies(getkey):
    run, problem = LinearRun(0.4, 10), linear_gradients()
    options = {"num_replicas": 40_000, "key": getkey(), "training_set": "population", "every": 5, "dtype": "float64"}
    observe = {str(p): power(p) for p in (1, 2, 3, 4)}
    grid = gn.Spacetime(4, 1, sampling="with_replacement", num_steps=10)
    runs = {l: gn.simulate(gn.svag(problem, l), np.array(1.5), grid, 0.4, observe=observe, **options) for l in L_VALUES}
    reference = gn.simulate(gn.sde(problem, 32), np.array(1.5), grid, 0.4, observe=observe, **options)
    for p in (1, 2, 3, 4):
        found = weak_order_of(runs, str(p), reference)
        rows = [svag_moments(run, l)[::5, p] for l in L_VALUES] + [sde_moments(run, 32)[::5, p]]
        z = (found.means.value - rows)[:, 1:] / found.means.stderr[:, 1:]
        assert np.abs(z).max() < 4.5
        z = (found.effects.value - (rows[1:] - sgd_moments(run)[::5, p]))[:, 1:] / found.effects.stderr[:, 1:]
        assert np.abs(z).max() < 4.5
        print(p, found.sentence, found.slope)
    assert weak_order_of(runs, "1").holds == "differs"  # .06 between SVAG(8) and SGD at step 5, with an error of .002


@pytest.mark.slow
def test_linear_losses_differ_from_the_sde_in_the_cube_alone(getkey):
    """Mean and variance of x are the same for every l; the third moment is SGD's only for l = 1."""
    problem = linear_losses([0.0, 0.0, 0.0, 1.0])
    mean = -0.2  # of x after 8 steps
    observe = {"mean": power(1), "variance": lambda x, e: (x - mean) ** 2, "third": lambda x, e: (x - mean) ** 3}
    grid = gn.Spacetime(4, 1, sampling="with_replacement", num_steps=8)
    key, options = getkey(), {"training_set": "population", "every": 8, "dtype": "float64"}
    runs = {
        l: gn.simulate(gn.svag(problem, l), np.array(0.0), grid, 0.1, 30_000, key, observe, **options)
        for l in (1, 8, 64)
    }
    found = {name: weak_order_of(runs, name, level=FAMILY) for name in observe}
    assert [found[name].holds for name in observe] == ["no difference seen", "no difference seen", "differs"]
    exact = [svag_cumulants([0.0, 0.0, 0.0, 1.0], l, 0.1, 8)[3] for l in (1, 8, 64)]
    third = found["third"].means[:, 1]
    assert np.abs((third.value - exact) / third.stderr).max() < 4.5


@pytest.mark.slow
def test_on_a_network_runs_share_their_training_sets_and_a_named_reference_joins_them(getkey):
    problem = gn.testbeds.digits_logistic(60)
    params = problem.init(jax.random.key(0))
    grid = gn.Spacetime(20, 4, sampling="subset", num_steps=6)
    found = weak_order(
        problem, params, grid, 0.3, (1, 2, 4), num_replicas=400, key=getkey(), every=3, reference="sde"
    )  # fmt: skip
    assert found.compared == ("SVAG(2)", "SVAG(4)", "sde, 16 substeps")
    independent = np.hypot(found.means.stderr[1:, 1:], found.means.stderr[0, 1:])
    assert np.all(found.effects.stderr[:2, 1:] < 0.95 * independent[:2])
    np.testing.assert_array_equal(found.effects.value[:, 0], 0)
    plain = gn.simulate(gn.sgd(problem), params, grid, 0.3, 400, jax.random.key(5), every=3).mean("test_loss")
    z = (found.means.value[0] - plain.value)[1:] / np.hypot(found.means.stderr[0], plain.stderr)[1:]
    assert np.abs(z).max() < 4.5
