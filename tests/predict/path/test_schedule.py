"""Gradients in the schedules against differences of predictions; the best batch schedule against all others."""

from functools import cache
from itertools import product

import jax
import numpy as np
import pytest

import gradnoise as gn
from cases import CASES
from gradnoise.predict.path.attribution import StepAttribution, step_attribution
from gradnoise.predict.path.batch_schedule import best_batch_schedule
from gradnoise.predict.path.engines import run_dense_on
from gradnoise.predict.path.schedule import schedule_gradient
from gradnoise.predict.path.setting import read_setting

pytestmark = pytest.mark.slow  # compiling takes minutes in all

RATES = np.array([0.3, 0.2, 0.25, 0.1])
ONE_EPOCH = gn.Spacetime(8, 2)
SETTINGS = {
    "one epoch": (ONE_EPOCH, {}),
    "nesterov": (ONE_EPOCH, {"momentum": 0.6, "nesterov": True}),
    "two epochs": (gn.Spacetime(4, 2, epochs=2, sampling="reshuffle"), {}),
    "given": (gn.Spacetime(4, 2, epochs=2, sampling="reshuffle"), {"training_set": "given"}),
}


def predicted(spacetime, rates, **options):
    case = CASES["two_weights"]()
    return gn.predict_path(case.problem, case.params, spacetime, rates, **options).curve("test").value[-1]


def slope(function, rates, direction):
    """A central difference: error of order step^2 and rounding / step, 1e-9."""
    step = 1e-5 * direction
    return (function(rates + step) - function(rates - step)) / 2e-5


@pytest.mark.parametrize("name", SETTINGS)
def test_the_gradient_in_the_rates_is_the_slope_of_the_prediction(name, rng):
    spacetime, options = SETTINGS[name]
    found = schedule_gradient(*CASES["two_weights"](), spacetime, RATES, **options)
    assert found.loss.value == pytest.approx(predicted(spacetime, RATES, **options), rel=1e-12)
    direction = rng.normal(size=4)
    expected = slope(lambda rates: predicted(spacetime, rates, **options), RATES, direction)
    assert found.learning_rate.value @ direction == pytest.approx(expected, rel=1e-6, abs=1e-7)


def test_the_gradient_of_fixed_probes_is_the_slope_of_their_prediction(getkey, rng):
    options = {"method": "probes", "num_probes": 5, "key": getkey()}
    found = schedule_gradient(*CASES["two_weights"](), ONE_EPOCH, RATES, **options)
    assert found.loss.value == pytest.approx(predicted(ONE_EPOCH, RATES, **options), rel=1e-12)
    direction = rng.normal(size=4)
    expected = slope(lambda rates: predicted(ONE_EPOCH, rates, **options), RATES, direction)
    assert found.learning_rate.value @ direction == pytest.approx(expected, rel=1e-6, abs=1e-7)


@cache
def dense():
    return schedule_gradient(*CASES["two_weights"](), ONE_EPOCH, RATES)


def test_probes_have_the_dense_gradients_as_their_mean(getkey):
    found = schedule_gradient(*CASES["two_weights"](), ONE_EPOCH, RATES, method="probes", num_probes=2000, key=getkey())
    for name in ("loss", "learning_rate", "batch_size", "attribution"):
        one, other = getattr(found, name), getattr(dense(), name)
        assert np.all(np.abs(one.value - other.value) < 4.5 * one.stderr), name


def test_batch_sizes_of_their_own_are_noise_of_other_strength():
    case, sizes = CASES["two_weights"](), np.array([1.0, 3.0, 2.5, 8.0])
    attribution = step_attribution(*case, ONE_EPOCH, RATES, method="dense").value
    found = schedule_gradient(*case, ONE_EPOCH, RATES, batch_sizes=sizes)
    with jax.enable_x64(True):
        setting = read_setting(*case, ONE_EPOCH, RATES, "drawn", 0.0, False, 0.0, 0.0, 0.0)
        record = run_dense_on(setting, setting.rates, 2, None, np.sqrt(2 / sizes))
        loss = float(record.path_test[-1] + record.test[-1, 0] / 2)
    assert found.loss.value == pytest.approx(loss, rel=1e-12)
    assert found.loss.value == pytest.approx(found.path_loss + np.sum(attribution / sizes), rel=1e-12)
    np.testing.assert_allclose(found.batch_size.value, -attribution / sizes**2, rtol=1e-11)
    np.testing.assert_allclose(found.attribution.value, attribution, rtol=1e-11)


def test_rates_by_weight_are_raised_together():
    case = CASES["two_weights"]()
    by_weight = jax.tree.map(lambda leaf: np.full(np.shape(leaf), 0.2), case.params)
    assert np.ndim(jax.tree.leaves(by_weight)[0]) == 1
    uneven = jax.tree.map(lambda leaf: leaf * np.array([1.0, 1.5]), by_weight)
    found = schedule_gradient(*case, ONE_EPOCH, uneven)

    def raised(amount):
        return predicted(ONE_EPOCH, jax.tree.map(lambda leaf: leaf + amount, uneven))

    assert found.learning_rate.value.sum() == pytest.approx((raised(1e-5) - raised(-1e-5)) / 2e-5, rel=1e-6)


def test_where_steps_share_noise_batch_sizes_are_refused_and_their_gradient_is_none():
    case = CASES["two_weights"]()
    spacetime, _ = SETTINGS["two epochs"]
    assert schedule_gradient(*case, spacetime, RATES).batch_size is None
    with pytest.raises(ValueError, match="batch_sizes: steps share noise"):
        schedule_gradient(*case, spacetime, RATES, batch_sizes=[1, 2, 3, 4])
    with pytest.raises(ValueError, match=r"batch_sizes holds 0\.5"):
        schedule_gradient(*case, ONE_EPOCH, RATES, batch_sizes=[1, 2, 3, 0.5])
    with pytest.raises(ValueError, match=r"batch_sizes has shape \(1,\), expected \(4,\)"):
        schedule_gradient(*case, ONE_EPOCH, RATES, batch_sizes=[2])


def made(steps):
    steps = np.atleast_2d(np.asarray(steps, dtype=float))
    value, error = steps.mean(0), steps.std(0) / np.sqrt(len(steps))
    return StepAttribution(value, error, len(steps), batch_size=2, path_loss=1.0, samples=steps)


@pytest.mark.parametrize("steps", [[1, 4, 9], [0, 1, 0.01], [5, 5, 5], [-2, 3, 1], [1e-9, 1, 7.3]])
@pytest.mark.parametrize("budget", [6, 7, 13, 20])
@pytest.mark.parametrize("minimum", [1, 2])
def test_the_best_batch_schedule_is_better_than_every_other(steps, budget, minimum):
    found = best_batch_schedule(made(steps), budget, minimum)
    others = [s for s in product(range(minimum, budget + 1), repeat=3) if sum(s) <= budget]
    best = min(sum(a / b for a, b in zip(steps, sizes, strict=True)) for sizes in others)
    assert found.batch_sizes.sum() <= budget
    assert found.loss.value - 1 == pytest.approx(best, rel=1e-12)


def test_sizes_go_as_the_square_root_of_the_contribution():
    found = best_batch_schedule(made([1, 4, 9, 0.25]), 65_000, 1)
    np.testing.assert_allclose(found.batch_sizes, [10_000, 20_000, 30_000, 5_000], atol=1)
    saving = 14.25 * 4 / 65_000 - (1 + 2 + 3 + 0.5) ** 2 / 65_000
    assert found.saving.value == pytest.approx(saving, rel=1e-8)
    assert found.constant_loss.value - found.loss.value == pytest.approx(saving, rel=1e-8)


def test_negative_contributions_get_the_smallest_batch_and_nothing_is_spent_for_nothing():
    assert best_batch_schedule(made([-1, 4, -3]), 30, 2).batch_sizes.tolist() == [2, 26, 2]
    assert best_batch_schedule(made([-1, -4]), 30, 3).batch_sizes.tolist() == [3, 3]


def test_without_a_minimum_no_batch_falls_below_a_quarter_of_the_constant_one():
    """On digits softmax a minimum of 1 out of 20 promised .056 and gained .009: two loops."""
    assert best_batch_schedule(made([-1, 4, 0, 3]), 80).batch_sizes.min() == 5
    assert best_batch_schedule(made([-1, 4, 0, 3]), 80, 1).batch_sizes.min() == 1


def test_stages_have_one_size_each():
    found = best_batch_schedule(made([0, 2, 7, 11]), 41, 1, num_stages=2)
    assert found.batch_sizes.tolist() == [5, 5, 15, 15]  # sqrt(1 : 9); one example is left over
    assert "40 examples in 4 steps of 5 to 15" in str(found)


def test_what_probes_do_not_tell_from_zero_is_refused(rng):
    samples = np.array([1.0, 0.0]) + rng.normal(size=(100, 2))
    samples[:, 1] -= samples[:, 1].mean()
    with pytest.raises(ValueError, match=r"contribution of stage 2 of 2 is .* its batch size would be chance"):
        best_batch_schedule(made(samples), 10)
    assert best_batch_schedule(made(samples), 10, num_stages=1).saving.stderr == 0


def test_a_budget_below_the_minimum_is_refused():
    with pytest.raises(ValueError, match="num_examples=5 does not give 3 steps 2 each"):
        best_batch_schedule(made([1, 2, 3]), 5, 2)
    with pytest.raises(TypeError, match="expected that of step_attribution"):
        best_batch_schedule(dense().attribution, 5)
