"""The advice on linear scaling: what is judged from series, and what runs of a closed-form toy and of the digits show."""

import numpy as np
import pytest
import xarray as xr

import gradnoise as gn
from gradnoise.experiment import scaling
from gradnoise.report.equilibrium import linear_scaling_cards
from gradnoise.report.equilibrium_words import contradiction, factors
from gradnoise.report.source import Source
from gradnoise.results import build_tree
from gradnoise.testbeds.label_noise import with_label_noise

AVERAGES = {1: (10.0, 1.0, 4.0), 2: (10.0, 1.0, 2.0), 8: (25.0, 0.6, 0.3)}
RATE, DECAY = 0.1, 0.025


def series(rng, averages=AVERAGES, drift=0.0, spread=0.05, diverged=()):
    """Independent records around given R, G, N; the balance holds at factor 1: (2 - eta wd) wd R = eta (G + N)."""
    shape = len(averages), 4, 93
    noise = 1 + spread * rng.normal(size=(3, *shape))
    R, G, N = (noise[k] * np.array([each[k] for each in averages.values()])[:, None, None] for k in range(3))
    R = R * np.exp(drift * np.linspace(0, 1, shape[-1]))
    dims = ("factor", "replica", "record")
    losses = 1 + 0.01 * rng.normal(size=shape) + 0.5 * (np.array(list(averages)) == 8)[:, None, None]
    table = {
        "squared_norm": R,
        "gradient_norm_squared": G,
        "batch_noise_trace": N,
        "test_loss": losses,
        "train_loss": losses,
    }
    attrs = {
        "learning_rate": RATE, "batch_size": 16, "weight_decay": DECAY, "closeness": 2**0.5, "every": 80, "burn_in": 960,
        "num_steps": 7360, "num_examples": 1000, "sampling": "with_replacement", "invariant_groups": "a, b",
        "other_groups": "",
    }  # fmt: skip
    found = xr.Dataset({name: (dims, values) for name, values in table.items()}, {"factor": list(averages)}, attrs)
    found["num_diverged"] = ("factor", [int(factor in diverged) for factor in averages])
    return found.assign_coords(step=("record", 80 * np.arange(shape[-1])))


def source(dataset):
    return Source(build_tree({"scaling": dataset}))


def told(dataset):
    cards = linear_scaling_cards(source(dataset))
    return "\n".join(line for _, finding, more, _ in cards for line in (finding, *more))


def test_the_critical_batch_of_given_averages_is_in_its_interval(rng):
    """N/G = 4, C^2 = 2: sharp 16 (2 + 4), printed 16 * 2 * 5, approximate 16 * 2 * 4; B_simple 16 * 4."""
    found = scaling.judge(series(rng))
    for form, expected in {"sharp": 96, "printed": 160, "approximate": 128}.items():
        low, high = (float(found[f"critical_batch_{end}"].sel(form=form)) for end in ("low", "high"))
        assert low < expected < high
        assert high - low < 0.2 * expected
    assert float(found["simple_noise_scale_low"]) < 64 < float(found["simple_noise_scale_high"])


def test_another_closeness_judges_the_same_runs_anew(rng):
    runs = series(rng)
    again = scaling.judge(scaling.judge(runs), closeness=2.0)
    assert again.attrs["closeness"] == 2.0
    assert float(again["critical_batch"].sel(form="sharp")) == pytest.approx(16 * (4 + 3 * 4), rel=0.1)
    assert again["closeness"].equals(scaling.judge(runs)["closeness"])


def test_a_run_that_scales_and_one_that_does_not_are_told_apart(rng):
    """Factor 2 has R, G the same and half the noise; factor 8 has R/R' = 0.4."""
    found = scaling.judge(series(rng))
    assert float(found["closeness"].sel(factor=2)) < 1.1
    assert float(found["closeness_low"].sel(factor=8)) > 2**0.5
    assert found["must_fail"].sel(factor=[2, 8]).values.tolist() == [0, 1]
    assert np.isnan(found["closeness"].sel(factor=1))
    assert "must fail above batch size 9" in told(found)
    assert "surely broken at batch size 128, and it holds at batch size 32" in told(found)
    assert "At batch size 128 the test loss averaged over the window is more than 20% above the best" in told(found)


def test_a_certificate_that_the_runs_contradict_is_said(rng):
    kept = dict(AVERAGES) | {8: (10.0, 1.0, 0.5)}
    assert "an assumption is broken" in contradiction(source(scaling.judge(series(rng, kept))))
    assert contradiction(source(scaling.judge(series(rng)))) == ""


def test_a_run_that_still_drifts_has_no_certificate(rng):
    said = told(scaling.judge(series(rng, drift=3.0, spread=0.005)))
    assert said.startswith("No certificate")
    assert "R still drifts" in said


def test_a_loss_that_is_not_scale_invariant_has_no_certificate(rng):
    found = scaling.judge(series(rng)).assign_attrs(invariant_groups="", other_groups="a, b")
    assert "not scale-invariant in any parameter group" in told(found)
    assert "Not scale-invariant: a, b" in told(found)


def test_a_scaled_run_that_diverged_is_left_out_and_told(rng):
    found = scaling.judge(series(rng, diverged=(8,)))
    assert np.isnan(found["closeness"].sel(factor=8))
    assert np.isfinite(found["closeness"].sel(factor=2))
    assert "At batch size 128 replicas diverged" in told(found)


def test_a_signal_that_is_not_told_from_zero_leaves_the_rest_standing(rng):
    """An unbiased estimate of a small G may come out negative: no closeness, no certificate, but no error either."""
    found = scaling.judge(series(rng, dict(AVERAGES) | {8: (25.0, -0.01, 0.3)}))
    assert np.isnan(found["closeness"].sel(factor=8))
    assert np.isfinite(found["closeness"].sel(factor=2))
    assert "No certificate" in told(scaling.judge(series(rng, {1: (10.0, -0.01, 4.0)})))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"weight_decay": 0.0}, "weight_decay"),
        ({"learning_rate": 3.0, "weight_decay": 0.5}, "weights would jump"),
        ({"factors": (2, 64), "verify": True, "weight_decay": 0.05}, "weights would jump"),
        ({"factors": (4, 2)}, "growing"),
        ({"svag_replicas": 3}, "svag_replicas=3"),
        ({"closeness": 1.0}, "closeness"),
        ({"num_steps": 100}, "less than 3 relaxation times"),
        ({"optimizer": "adam", "verify": True}, "adam"),
    ],
)
def test_settings_that_do_not_do_are_refused(settings, named):
    with pytest.raises(ValueError, match=named):
        scaling.Config(**settings)


def test_batches_larger_than_the_training_set_are_refused_before_anything_runs():
    config = scaling.Config(batch_size=16, sampling="subset", verify=True, factors=(2, 8), svag_replicas=0)
    with pytest.raises(ValueError, match="batch_size=128"):
        scaling.run(gn.testbeds.problem("digits-normalized-mlp", num_pool=100), config)


def test_every_run_has_the_same_number_of_records():
    config = scaling.Config(verify=True, factors=(2, 4, 32), learning_rate=0.3, weight_decay=0.007)
    grid = config.grid
    assert all(grid.num_steps % (factor * (grid.every // factor)) == 0 for factor in config.run_factors)
    assert grid.every % 32 == 0
    assert grid.burn_in % grid.every == 0


@pytest.fixture(scope="module")
def toy():
    """The angle toy at N/G = 25/9: sharp critical batch 2 + 25/9 = 4.78, attained."""
    config = scaling.Config(
        learning_rate=0.1,
        batch_size=1,
        weight_decay=0.02,
        num_replicas=16,
        verify=True,
        factors=(2, 8),
        svag_replicas=0,
    )
    return scaling.run(gn.testbeds.problem("angle-toy"), config)


@pytest.mark.slow
def test_on_the_angle_toy_prediction_and_scaled_runs_have_their_closed_forms(toy):
    found, ratio = toy["scaling"].to_dataset(), 25 / 9
    low, high = (float(found[f"critical_batch_{end}"].sel(form="sharp")) for end in ("low", "high"))
    assert low - 0.02 <= 2 + ratio <= high + 0.02
    for factor in (2, 8):  # R/R' of the closed form, at learning rates that are not infinitely small
        scale = np.sqrt((1 + ratio) / (factor * (1 + ratio / factor)))
        assert float(found["closeness"].sel(factor=factor)) == pytest.approx(1 / scale, rel=0.02)
    assert float(found["closeness_low"].sel(factor=8)) > 2**0.5


@pytest.mark.slow
def test_above_the_certificate_the_invariance_is_measured_to_fail(toy):
    found = toy["scaling"].to_dataset()
    certain = found["must_fail"].values > 0
    assert certain.any()
    assert np.all(found["closeness_high"].values[certain] > found.attrs["closeness"])
    assert contradiction(Source(toy)) == ""


@pytest.mark.slow
def test_on_digits_with_label_noise_predicted_and_observed_critical_batch_agree():
    problem = with_label_noise(gn.testbeds.problem("digits-normalized-mlp", num_test=297), 0.3)
    config = scaling.Config(weight_decay=0.02, num_replicas=4, verify=True, factors=(2, 8), svag_replicas=0)
    tree = scaling.run(problem, config)
    found = tree["scaling"].to_dataset()
    sharp = [float(found[f"critical_batch{end}"].sel(form="sharp")) for end in ("_low", "_high")]
    assert 32 < sharp[0] < sharp[1] < 128  # between the two scaled runs
    assert float(found["closeness_low"].sel(factor=8)) > 2**0.5
    assert contradiction(Source(tree)) == ""
    assert factors(Source(tree)) == [1, 2, 8]


def test_a_large_training_set_is_estimated_from_batches_and_a_small_one_is_not():
    config = scaling.Config()
    assert config.num_batches(1797) is None
    assert config.num_batches(60_000) == 64
    assert config.num_batches(60_000, factor=32) == 8
    assert scaling.Config(num_examples=500).num_batches(60_000) is None
