"""Medians of the last epochs, spikes, flatness: rules by hand, rates of firing, scores over repetitions."""

import math

import numpy as np
import pytest
from scipy.signal import lfilter

from gradnoise.averaging.steady_state import converged, steady_median, trim_spikes


def autoregression(rng, phi, shape):
    noise = rng.normal(size=(*shape[:-1], shape[-1] + 200)) * math.sqrt(1 - phi**2)
    return lfilter([1.0], [1.0, -phi], noise)[..., 200:]


def by_hand(run, window):
    """The rule as published, one run at a time."""
    while run[-7:].mean() > run[-25:].mean() and len(run) > 25 + window:
        run = run[:-1]
    return len(run)


def test_without_margin_the_rule_is_the_published_one(rng):
    runs = rng.normal(size=(40, 110))
    assert trim_spikes(runs, margin=0).kept.tolist() == [by_hand(run, 50) for run in runs]


@pytest.mark.parametrize(("margin", "rate"), [(0.0, 0.5), (1.0, 0.1587), (2.0, 0.0228)])
def test_on_stationary_noise_the_published_rule_fires_half_the_time_and_the_margin_is_a_score(margin, rate, rng):
    """V: .5. The spread that the margin multiplies is estimated from 50 epochs: normal tails fatten a little."""
    runs = 6000
    fired = (trim_spikes(rng.normal(size=(runs, 100)), margin=margin).kept < 100).mean()
    slack = 0.0 if margin == 0 else 0.35 * rate
    assert abs(fired - rate) < 4.5 * math.sqrt(rate * (1 - rate) / runs) + slack


def test_with_the_default_margin_stationary_noise_is_left_alone_and_spikes_are_cut(rng):
    runs = rng.normal(size=(2000, 100))
    assert (trim_spikes(runs).kept < 100).mean() < 0.01
    for length in (2, 5):
        spiked = runs.copy()
        spiked[:, -length:] += 40
        cut = 100 - trim_spikes(spiked).kept
        assert np.all(cut >= length)
        assert np.mean(cut == length) > 0.97


def test_a_spike_that_does_not_end_is_flagged_and_never_cut_below_25_plus_window(rng):
    runs = rng.normal(size=(3, 200))
    runs[1] += np.exp(0.1 * np.arange(200))  # diverging
    found = trim_spikes(runs, window=50)
    assert found.kept[1] == 75
    assert found.unsettled.tolist() == [False, True, False]


def test_runs_do_not_depend_on_each_other(rng):
    runs = np.cumsum(rng.normal(size=(6, 120)), axis=1)
    together, alone = trim_spikes(runs), [trim_spikes(run) for run in runs]
    assert together.kept.tolist() == [int(one.kept[0]) for one in alone]
    assert together.unsettled.tolist() == [bool(one.unsettled[0]) for one in alone]


def test_the_median_is_that_of_the_last_epochs_kept(rng):
    runs = rng.normal(size=(3, 130))
    found = steady_median(runs, kept=np.array([130, 100, 75]), window=50)
    expected = [np.median(run[end - 50 : end]) for run, end in zip(runs, (130, 100, 75), strict=True)]
    np.testing.assert_allclose(found.value, expected)


@pytest.mark.parametrize("phi", [0.0, 0.5])
def test_the_medians_error_is_its_spread_over_repetitions(phi, rng):
    """z of 300 x 20 medians: unit spread, up to what 1000 epochs leave of phi's error."""
    z = np.concatenate(
        [one.value / one.stderr for _ in range(300) for one in [steady_median(autoregression(rng, phi, (20, 60)))]]
    )
    assert abs(z.std() - 1) < 4.5 / math.sqrt(2 * len(z)) + 0.03


def test_slopes_have_scores_of_unit_spread_though_epochs_are_correlated(rng):
    z = []
    for _ in range(300):
        change = converged(autoregression(rng, 0.5, (20, 60))).change
        z.append(change.value / change.stderr)
    assert abs(np.std(z) - 1) < 4.5 / math.sqrt(2 * 6000) + 0.04


def test_the_change_is_the_slope_times_the_window(rng):
    runs = rng.normal(size=(2, 100))
    slope = np.polyfit(np.arange(50), runs[0, 50:], 1)[0]
    assert converged(runs).change.value[0] == pytest.approx(50 * slope, rel=1e-9)


def test_stationary_runs_are_flat_and_drifting_ones_are_not(rng):
    drift = np.linspace(0, 3, 100) * np.array([0.0, 1.0, 0.0, -1.0])[:, None] * 6
    alarms = 0
    for _ in range(200):
        noise = autoregression(rng, 0.5, (4, 100))
        alarms += not converged(noise).flat.all()
        assert converged(noise + drift).flat[[1, 3]].sum() <= 1
    assert alarms < 200 * 0.02 + 4.5 * math.sqrt(200 * 0.02) + 4


def test_what_may_be_hidden_covers_the_true_change(rng):
    hidden = [converged(0.02 * np.arange(60) + rng.normal(size=(4, 60))).largest_change for _ in range(100)]
    assert np.mean(np.array(hidden) >= 0.02 * 50) > 0.99 - 4.5 * math.sqrt(0.01 / 400)


def test_a_window_too_short_for_its_memory_is_not_called_flat(rng):
    found = converged(np.cumsum(rng.normal(size=80)))
    assert np.isnan(found.p[0])
    assert not found.flat[0]
    assert np.isnan(steady_median(np.cumsum(rng.normal(size=80))).stderr[0])


def test_a_slope_without_noise_is_not_flat():
    assert not converged(np.linspace(1, 2, 80)).flat[0]


def test_constant_runs_are_flat_without_error():
    found = converged(np.full((2, 80), 0.3))
    assert found.flat.all()
    np.testing.assert_allclose(found.change.stderr, 0, atol=1e-12)
    np.testing.assert_allclose(steady_median(np.full((2, 80), 0.3)).stderr, 0, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: trim_spikes(np.ones((2, 74))), r"loss has shape \(2, 74\), expected \(run, epoch\) with at least 75"),
        (lambda: trim_spikes(np.full((2, 80), np.nan)), "loss holds NaN or infinity"),
        (lambda: trim_spikes(np.ones((2, 80)), margin=-1), "margin=-1 does not do"),
        (lambda: steady_median(np.ones((2, 40))), r"series has shape \(2, 40\)"),
        (lambda: steady_median(np.ones((2, 80)), kept=np.array([80, 40])), r"kept=\[80 40\] does not do"),
        (lambda: converged(np.ones((2, 80)), kept=[80, 81]), r"kept=\[80 81\] does not do"),
    ],
)
def test_wrong_calls_are_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()
