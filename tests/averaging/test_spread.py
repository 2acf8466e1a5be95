"""Spread against mean of each example's loss."""

import numpy as np
import pytest

from gradnoise.averaging.spread import evenly_spaced_epochs, loss_spread


@pytest.mark.parametrize(("num_epochs", "count", "share"), [(300, 20, 0.25), (80, 20, 0.25), (97, 7, 0.5), (5, 5, 1.0)])
def test_epochs_are_distinct_evenly_spaced_end_with_the_last_and_stay_in_their_share(num_epochs, count, share):
    epochs = evenly_spaced_epochs(num_epochs, count, share)
    assert len(set(epochs.tolist())) == count
    assert epochs[-1] == num_epochs - 1
    assert epochs[0] >= num_epochs * (1 - share) - 1e-9
    assert np.ptp(np.diff(epochs)) <= 1


def test_a_loss_that_moves_in_proportion_has_that_slope_and_no_intercept(rng):
    scale, wave = rng.uniform(0, 3, 50), 1 + 0.1 * rng.normal(size=(20, 1))
    found = loss_spread(wave * scale)
    assert found.slope.value == pytest.approx(wave.std(ddof=1) / wave.mean(), rel=1e-10)
    assert found.intercept.value == pytest.approx(0.0, abs=1e-12)
    assert found.slope.stderr < 1e-12


def test_slope_and_intercept_are_those_of_least_squares(rng):
    found = loss_spread(rng.exponential(size=(8, 30)) * rng.uniform(1, 4, 30))
    slope, intercept = np.polyfit(found.mean, found.standard_deviation, 1)
    assert (found.slope.value, found.intercept.value) == pytest.approx((slope, intercept), rel=1e-9)


def test_errors_are_the_spread_over_draws_of_examples(rng):
    """z of 400 draws of examples around the slope of a million: sd 1 within 4.5 sigma of a standard deviation's error."""

    def draw(examples):
        scale = rng.uniform(0.5, 3, examples)
        return scale + 0.1 * scale * rng.normal(size=(20, examples))

    whole = loss_spread(draw(300_000))
    found = [loss_spread(draw(300)) for _ in range(400)]
    for name in ("slope", "intercept"):
        true = getattr(whole, name).value
        z = np.array([(getattr(one, name).value - true) / getattr(one, name).stderr for one in found])
        assert abs(z.mean()) < 4.5 / 20
        assert abs(z.std() - 1) < 4.5 / np.sqrt(2 * 400) + 0.02


def test_noisy_means_shrink_the_slope_by_the_reliability(rng):
    scale = rng.uniform(1, 2, 100_000)
    found = loss_spread(scale + scale * rng.normal(size=(20, 100_000)))
    exact = loss_spread(np.array([1, -1])[:, None] * scale * 0 + scale)  # the means themselves
    assert found.reliability == pytest.approx(exact.mean.var() / found.mean.var(), rel=0.03)
    c4 = 1 - 1 / (4 * 19)  # the mean of a standard deviation from 20 records, to first order
    assert found.slope.value == pytest.approx(c4 * found.reliability, rel=0.03)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: evenly_spaced_epochs(40), "The last 10 epochs do not hold 20"),
        (lambda: loss_spread(np.ones(5)), r"losses has shape \(5,\), expected \(record, example\)"),
        (lambda: loss_spread([[1.0, np.nan, 2.0], [1.0, 2.0, 3.0]]), "expected .* finite numbers"),
        (lambda: loss_spread(np.ones((4, 5))), "All examples have the same mean loss"),
    ],
)
def test_wrong_calls_are_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()
