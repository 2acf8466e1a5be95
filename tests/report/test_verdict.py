"""The verdict says what the numbers say, and no more."""

import html
import re

import numpy as np
import pytest
import xarray as xr

from gradnoise.report.scaling import doubling, examples_factor, steps_factor
from gradnoise.report.source import Source
from gradnoise.report.theory import share_off
from gradnoise.report.verdict import verdict
from report.synthetic import RATES, STEPS, exact_loss, results_tree


def said(tree: xr.DataTree) -> str:
    """The section's text without markup."""
    return html.unescape(re.sub(r"<[^>]+>", " ", verdict(Source(tree))))


def judged(*words: str) -> xr.DataTree:
    """A tree whose order-3 verdict on the test loss is given for every learning rate."""
    tree = results_tree()
    verdicts = tree["compared"]["verdict"].copy(deep=True).astype("<U11")
    verdicts.loc[{"target": "test", "order": 3}] = list(words)
    tree["compared"]["verdict"] = verdicts
    return tree


def changed(group: str, name: str, values: object) -> xr.DataTree:
    tree = results_tree()
    tree[group][name] = tree[group][name].copy(data=np.asarray(values))
    return tree


A, S, T, D = "agrees", "statistical", "truncation", "disagrees"


@pytest.mark.parametrize(
    ("verdicts", "finding"),
    [
        ((A, A, T, T, T), "agrees with the simulation up to learning rate 0.004 and stops at 0.008."),
        ((A, A, T, A, T), "up to learning rate 0.004 and stops at 0.008."),
        ((S, A, A, D, D), "up to learning rate 0.008 and stops at 0.016."),
        ((A, A, A, A, A), "agrees with the simulation up to learning rate 0.032. Larger learning rates were not tried"),
        ((T, A, A, A, A), "fits at none of the learning rates tried, not even at 0.002."),
        ((S, S, S, T, T), "was not put to the test: the simulation is too noisy to tell, up to learning rate 0.008"),
        ((A, A, S, T, T), "At 0.008 nothing contradicts the prediction, but the simulation's error is as large"),
    ],
)
def test_where_the_prediction_holds_and_stops(verdicts, finding):
    assert finding in re.sub(r"\s+", " ", said(judged(*verdicts)))


def test_how_it_stops_is_told_apart():
    assert "the missing orders show" in said(judged(A, A, T, T, T))
    assert "theory and simulation disagree" in said(judged(A, A, D, D, D))
    assert "theory and simulation disagree" not in said(judged(A, A, T, T, T))


def test_the_size_of_the_miss_is_told_as_a_share_of_the_change():
    tree = judged(A, A, T, T, T)
    source = Source(tree)
    ends = np.array([0.0, STEPS])
    exact, series = exact_loss("test", 0.008, ends), exact_loss("test", 0.008, ends, 3)
    off = abs(exact[1] - series[1]) / abs(exact[1] - exact[0])
    assert share_off(source, "test", 0.008, 3) == pytest.approx(off, abs=0.01)
    assert re.search(r"off by \d+% at learning rate 0.008 and \d+% at learning rate 0.032, as a share", said(tree))


def test_agreement_is_never_called_proof():
    assert "it is no proof" in said(results_tree())


def test_the_rule_of_thumb_is_evaluated():
    text = said(judged(A, A, T, T, T))
    assert "With 60 steps and largest curvature 3.1" in text
    assert "a learning rate of about 0.0054; at 0.004 the product is 0.74" in text  # 1 / (60 * 3.1), 0.004 * 60 * 3.1


def test_without_a_comparison_the_page_says_so():
    text = said(results_tree(omit=("compared",)))
    assert "Theory and simulation were not compared." in text


def test_rates_that_could_not_be_compared_are_not_called_untried():
    tree = judged(A, A, A, A, A)
    tree["compared"] = xr.DataTree(tree["compared"].to_dataset().isel(learning_rate=slice(0, 4)))
    assert f"Runs at {RATES[-1]} could not be compared" in said(tree)


def test_noise_scale_at_start_and_end_with_interval_and_meaning():
    text = re.sub(r"\s+", " ", said(results_tree()))
    assert "B_simple is 31.4 examples at the start of the baseline run and 431 examples at its end." in text
    assert "At the end: 95% interval 340 to 590." in text
    assert (
        "at batch 8: training takes 54.9 times the fewest possible steps and 1.02 times" in text
    )  # 1 + 431/8, 1 + 8/431
    assert "Doubling the batch from 8 to 16 saves 49% of the steps and takes 2% more examples" in text
    assert "rule of thumb (McCandlish et al. 2018)" in text
    assert "not a guarantee" in text


def test_doubling_is_the_ratio_of_the_factors():
    for scale, batch in ((5.0, 10.0), (100.0, 8.0), (3.0, 3.0)):
        saved, added = doubling(scale, batch)
        assert saved == pytest.approx(1 - steps_factor(scale, 2 * batch) / steps_factor(scale, batch))
        assert added == pytest.approx(examples_factor(scale, 2 * batch) / examples_factor(scale, batch) - 1)
    assert doubling(np.inf, 8) == (0.5, 0.0)


def test_an_unbounded_interval_is_said():
    text = said(changed("measured", "simple_noise_scale_high", [33.9, np.inf]))
    assert "above 340, unbounded; with this many examples the mean gradient cannot be told from zero" in text


def test_an_infinite_noise_scale_is_not_a_number_of_examples():
    tree = changed("measured", "simple_noise_scale", [31.4, np.inf])
    text = said(tree)
    assert "and not bounded at its end" in text
    assert "may be anything above 340: doubling the batch from 8 to 16 then saves at least 49% of the steps" in text
    assert "inf" not in re.findall(r"\binf\b", text)


def test_exact_values_have_no_interval():
    tree = results_tree()
    for end in ("low", "high"):
        tree["measured"][f"simple_noise_scale_{end}"] = tree["measured"]["simple_noise_scale"]
    assert "At the start: exact for this pool of examples." in said(tree)


def test_no_certificate_for_a_loss_that_is_not_scale_invariant():
    text = said(results_tree())
    assert "No certificate; nothing is promised." in text
    assert "Theorem 5.6 of Li, Malladi and Arora" in text
    assert "must fail above batch" not in text


def test_the_certificate_of_a_scale_invariant_loss_has_its_conditions():
    text = said(results_tree(measured={"scale_invariant": True}))
    assert "must fail above batch 447 (95%: 356 to 606), if the run was at equilibrium" in text  # 2 * 8 + 431
    assert "Below that batch nothing is promised, and nothing is said about test error." in text
    moving = said(results_tree(measured={"scale_invariant": True, "equilibrium": False}))
    assert "No certificate: the run was not at equilibrium." in moving
    assert "must fail above" not in moving


def test_an_unchecked_scale_invariance_gives_no_certificate():
    tree = results_tree()
    del tree["measured"].attrs["scale_invariant"]
    assert "nobody checked whether the loss is scale-invariant" in said(tree)


def test_curvature_limit_against_the_learning_rate():
    text = said(results_tree())
    assert "2/λmax is 0.645 at the start of the baseline run and 0.27 at its end." in text
    assert "learning rate 0.1 is 37% of the lowest limit" in text
    above = said(results_tree(measured={"baseline_learning_rate": 0.5}))
    assert "learning rate 0.5 is above the limit at its end" in above


def test_kinks_take_the_licence_from_orders_beyond_one():
    text = said(results_tree(kinks="max"))
    assert "not smooth in the weights (max): orders from 2 on are not licensed" in text
    assert "The order-1 prediction of the test loss" in text
    assert "kinks" not in said(results_tree())


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("population", "The mean over the whole pool, not a held-out loss."),
        ("held out", "The mean over held-out examples."),
        ("this training set", "All runs train on this one training set."),
        (None, "The results do not say."),
    ],
)
def test_the_setting_is_always_said(setting, sentence):
    assert sentence in said(results_tree(setting=setting))


def test_the_population_setting_is_never_called_held_out():
    text = said(results_tree(setting="population"))
    assert "training examples are part of the pool" in text


def test_diverged_runs_are_counted():
    diverged = np.zeros((1, len(RATES)), dtype=int)
    diverged[0, -1] = 17
    text = said(changed("simulated", "num_diverged", diverged))
    assert "Some simulated runs diverged: 17 of 4,000 at learning rate 0.032 (sgd)." in text
    assert "4,000 runs at each learning rate, none diverged." in said(results_tree())
