"""The named experiments: their records, what they refuse, what they find small, and the script that shows them."""

import importlib.util
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from scipy import stats

import gradnoise as gn
from experiment.synthetic_runs import as_simulation
from gradnoise.experiment.svag_paper import CONFIGURATIONS, Setting, run_configuration
from gradnoise.experiment.svag_paper.configuration import SCHEDULES
from gradnoise.experiment.svag_paper.contrasts import contrasts, shrinks
from gradnoise.experiment.svag_paper.problems import problems_of
from gradnoise.experiment.svag_paper.run import squared_norm
from gradnoise.testbeds import linear_gradients

SCRIPT = Path(__file__).parents[2] / "examples" / "svag_paper.py"
REPLICAS = 16
BOUND = float(stats.t.isf(stats.norm.sf(4.5), REPLICAS - 1))
"""A true hypothesis is refused about as rarely as by 4.5 standard errors of a normal law."""
SIMULATED = [name for name in CONFIGURATIONS if name != "linear-scaling"]


def setting_of(name, size) -> Any:
    return CONFIGURATIONS[name].at(size)


def pool_of(num_examples):
    return gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float32(0), np.zeros(num_examples, np.float32))


def test_every_experiment_of_the_list_is_there_and_frozen():
    assert list(CONFIGURATIONS) == [
        "sgd-noisygd-gd", "svag-small-batch", "svag-large-batch", "sampling-modes", "schedules", "normalization", "width",
        "weak-order", "linear-scaling",
    ]  # fmt: skip
    with pytest.raises(FrozenInstanceError):
        setting_of("width", "small").batch_size = 1


@pytest.mark.parametrize("name", SIMULATED)
@pytest.mark.parametrize("size", ["small", "paper"])
def test_pairs_name_runs_models_are_known_and_records_end_at_the_last_step(name, size):
    configuration, setting = CONFIGURATIONS[name], setting_of(name, size)
    assert {label for pair in configuration.pairs for label in pair} <= set(configuration.runs)
    assert {run.model for run in configuration.runs.values()} == set(configuration.models)
    assert setting.num_steps % setting.every == 0
    for run in configuration.runs.values():
        assert setting.spacetime(run.sampling).num_steps == setting.num_steps
        assert setting.rates(run.schedule).shape == (setting.num_steps,)


def test_the_papers_size_has_the_papers_numbers():
    paper = setting_of("svag-small-batch", "paper")
    assert (paper.learning_rate, paper.batch_size, paper.weight_decay) == (0.8, 128, 5e-4)
    epoch = 50_000 // 128
    assert (paper.num_steps, paper.milestones) == (160 * epoch, (80 * epoch, 120 * epoch))
    rates = paper.rates("step")
    assert rates[[0, 80 * epoch - 1, 80 * epoch, 120 * epoch]] == pytest.approx([0.8, 0.8, 0.08, 0.008])
    first = setting_of("sgd-noisygd-gd", "paper")
    assert (first.learning_rate, first.batch_size, first.milestones) == (0.8, 125, (24_000,))
    scaling = setting_of("linear-scaling", "paper")
    assert (scaling.learning_rate, scaling.batch_size, scaling.weight_decay) == (0.8, 128, 5e-4)
    assert [scaling.batch_size * factor for factor in scaling.factors][-1] == 2**16
    assert scaling.closeness**2 == pytest.approx(2)


def test_small_and_large_batch_are_one_linear_scaling_apart():
    small, large = (setting_of(f"svag-{each}-batch", "small") for each in ("small", "large"))
    assert small.learning_rate / small.batch_size == pytest.approx(large.learning_rate / large.batch_size)
    assert small.learning_rate * small.num_steps == pytest.approx(large.learning_rate * large.num_steps)


def test_schedules_spend_what_their_shapes_say():
    """Mean rate over the peak: half a cosine 1/2, a quarter 2/pi, triangles of heights 1 and 1/2 3/8."""
    setting = Setting(0.8, 10, 1000, 300, 1, 8, milestones=(200,))
    means = {schedule: setting.rates(schedule).mean() / 0.8 for schedule in SCHEDULES}
    assert means["step"] == pytest.approx((200 + 0.1 * 100) / 300)
    assert means["cosine"] == pytest.approx(1 / 2, abs=1 / 300)
    assert means["quarter_cosine"] == pytest.approx(2 / np.pi, abs=1 / 300)
    assert means["triangle"] == pytest.approx(3 / 8)


def test_a_family_of_svag_is_told_from_other_experiments():
    families = [name for name, configuration in CONFIGURATIONS.items() if configuration.l_values]
    assert families == ["svag-small-batch", "svag-large-batch", "weak-order"]
    assert CONFIGURATIONS["weak-order"].l_values == (1, 2, 4, 8, 16)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"name": "svag-large"}, "Did you mean 'svag-large-batch'"),
        ({"name": "width", "size": "big"}, "size='big' is unknown. Choose one of 'small', 'paper'"),
        ({"name": "width", "size": "paper"}, 'size="paper" came without a problem'),
        ({"name": "weak-order", "size": "paper", "problem": pool_of(49_999)}, "a pool of 49999 examples, .* is of 50000"),
        ({"name": "linear-scaling", "size": "paper", "problem": pool_of(1000)}, "a pool of 1000 examples, .* is of 50000"),
        ({"name": "weak-order", "problem": pool_of(1000)}, "a pool of 1000 examples, .* is of 1024"),
        ({"name": "width", "problem": pool_of(2000)}, "expected a mapping of 'width 8', 'width 32', 'width 128'"),
        ({"name": "normalization", "problem": {"batch norm": pool_of(2000)}}, "Batch normalization is not offered"),
        ({"name": "weak-order", "num_replicas": 4}, "num_replicas=4 is below 8"),
        ({"name": "weak-order", "seed": -1}, "seed=-1 is below 0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_a_sentence_before_anything_runs(arguments, told):
    with pytest.raises(ValueError, match=told):
        run_configuration(**arguments)
    with pytest.raises(TypeError, match="expected a Problem"):
        run_configuration("weak-order", problem=cast(Any, 3))


def test_a_callers_problem_of_the_papers_size_is_taken():
    problem = pool_of(50_000)
    assert problems_of("weak-order", CONFIGURATIONS["weak-order"], "paper", problem) == {"network": problem}


def test_the_squared_norm_is_that_of_all_weights():
    params = {"a": np.array([3.0, 4.0], np.float32), "b": np.float32(2)}
    assert float(squared_norm(params, None)) == 29


def made_up(rng, shifts, num_replicas=400, records=5):
    """Runs with common noise, each shifted by its own constant, with a little noise of its own whose mean is zero."""
    common = rng.normal(size=(num_replicas, records))
    own = {label: 0.1 * rng.normal(size=common.shape) for label in shifts}
    values = {label: common + shift + own[label] - own[label].mean(axis=0) for label, shift in shifts.items()}
    process = gn.sgd(linear_gradients())
    return {label: as_simulation(process, each) for label, each in values.items()}


def test_what_replicas_share_drops_out_of_a_contrast_and_the_band_tells_the_pairs_apart(rng):
    runs = made_up(rng, {"a": 0.0, "b": 0.0, "c": 0.1})
    found = contrasts(runs, [("b", "a"), ("c", "a")], "test_loss")
    assert np.all(found.differences.stderr < 0.02 * 0.5)
    assert not found.differs(0)
    assert found.differs(1)
    low, high = found.size(1)
    assert low < 0.1 < high
    assert found.size(0)[0] == 0
    assert "b and a: no difference seen, at most" in found.sentence
    assert "would have been seen with a chance of 80 %" in found.sentence
    assert "c less a: 0.1" in found.sentence


def test_a_replica_that_diverged_is_refused(rng):
    runs = made_up(rng, {"a": 0.0, "b": 0.0})
    runs["b"] = replace(runs["b"], diverged_at=np.where(np.arange(400) == 3, 2, -1))
    with pytest.raises(ValueError, match="1 of 400 replicas diverged"):
        contrasts(runs, [("b", "a")], "test_loss")


@pytest.mark.parametrize(
    ("effects", "verdict"), [((-0.3, -0.1), "it shrinks"), ((-0.1, 0.3), "it grows"), ((0.2, -0.2), "no change is seen")]
)  # fmt: skip
def test_a_difference_shrinks_in_size_whatever_its_sign(rng, effects, verdict):
    runs = made_up(rng, {"a": 0.0, "narrow": effects[0], "wide": effects[1]})
    pairs = (("narrow", "a"), ("wide", "a"))
    samples = np.stack(
        [runs[other].observables["test_loss"] - runs["a"].observables["test_loss"] for other, _ in pairs], 1
    )
    assert verdict in shrinks(contrasts(runs, pairs, "test_loss"), samples)


@pytest.fixture(scope="module")
def found():
    """Every simulated experiment at the small size with far fewer replicas."""
    return {name: run_configuration(name, num_replicas=REPLICAS) for name in SIMULATED}


def z(table, name, pair):
    difference, error = (table[f"{name}_difference{end}"].sel(pair=pair).values[1:] for end in ("", "_se"))
    return difference / error


@pytest.mark.slow
def test_noisy_gradient_descent_has_sgds_losses_and_gradient_descent_lower_ones(found):
    table = found["sgd-noisygd-gd"]
    for name in ("train_loss", "test_loss"):
        assert np.max(np.abs(z(table, name, "noisy GD - SGD"))) < BOUND
        assert np.min(z(table, name, "GD - SGD")) < -BOUND
    assert np.all(table["train_loss_se"].sel(process="GD") <= 1e-6)


@pytest.mark.slow
def test_svag_differs_at_the_large_batch_by_more_than_it_may_at_the_small_one(found):
    assert "differ in train_loss" in found["svag-large-batch"].attrs["sentence"]
    largest = {}
    for size in ("small", "large"):
        table = found[f"svag-{size}-batch"]
        value, reach = (
            table["train_loss_difference"].values,
            float(table["train_loss_band"]) * table["train_loss_difference_se"].values,
        )
        largest[size] = (np.max(np.abs(value) - reach), np.max(np.abs(value) + reach))
    assert largest["small"][1] < largest["large"][0]


@pytest.mark.slow
def test_the_other_experiments_find_what_the_page_says(found):
    for schedule in SCHEDULES:
        pair = f"SVAG(4) [{schedule.replace('_', ' ')}] - SGD [{schedule.replace('_', ' ')}]"
        assert np.min(z(found["schedules"], "train_loss", pair)) < -float(found["schedules"]["train_loss_band"])
    assert "it shrinks" in found["width"].attrs["sentence"]
    norms = found["normalization"]["train_loss_difference"].min("step")
    assert float(norms[0]) < 3 * float(norms[1]) < 0
    slope = [float(found["weak-order"][f"squared_norm_slope{end}"]) for end in ("_low", "_high")]
    assert slope[0] < 1 < slope[1]
    modes = found["sampling-modes"]
    assert np.max(np.abs(z(modes, "train_loss", "subset - with replacement"))) < BOUND


@pytest.mark.slow
def test_every_estimate_has_an_error_and_the_settings_are_recorded(found):
    for name, table in found.items():
        for observable in ("train_loss", "test_loss", "gap", "squared_norm", "test_accuracy"):
            assert table[observable].dims == table[f"{observable}_se"].dims == ("process", "step")
        assert table.attrs["configuration"] == name
        assert table.attrs["num_replicas"] == REPLICAS
        assert table.attrs["learning_rate"] == setting_of(name, "small").learning_rate


@pytest.mark.slow
def test_a_stored_run_goes_on_to_the_same_numbers(found, tmp_path):
    first = run_configuration("svag-large-batch", num_replicas=REPLICAS, store=tmp_path)
    heard = []
    again = run_configuration(
        "svag-large-batch", num_replicas=REPLICAS, store=tmp_path, progress=lambda *told: heard.append(told)
    )
    assert first.drop_attrs().identical(again.drop_attrs())
    assert first.drop_attrs().identical(found["svag-large-batch"].drop_attrs())
    assert heard[-1] == ("SVAG(16)", 1.0)


@pytest.mark.slow
def test_linear_scaling_is_that_of_the_advisor_and_its_certificate_comes_true():
    table = run_configuration("linear-scaling", num_replicas=2)
    assert list(table["process"].values) == [f"SGD, batch size {size}" for size in (16, 64, 512)]
    assert table["squared_norm"].dims == ("process", "step")
    assert float(table["critical_batch_high"].sel(form="sharp")) < 512
    assert float(table["must_fail"][-1]) == 1
    assert float(table["closeness_low"][-1]) > table.attrs["closeness"]


@pytest.mark.slow
def test_the_script_prints_a_table_and_writes_one_page(capsys, tmp_path):
    spec = importlib.util.spec_from_file_location("svag_paper_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    page = tmp_path / "page.html"
    script.main(["svag-large-batch", "--num-replicas", "16", "--out", str(page)])
    said = capsys.readouterr().out
    assert "SVAG(16)" in said
    assert "SGD differ in train_loss" in said
    text = page.read_text()
    assert 'data-figure="svag-large-batch"' in text
    assert 'http-equiv="Content-Security-Policy"' in text
    with pytest.raises(SystemExit):
        script.main(["width", "--size", "paper"])
    assert "came without a problem" in capsys.readouterr().err
