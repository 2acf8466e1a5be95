"""The section on temperature: what stands in it is what was judged, in words, panels and a table."""

import json
import re

import numpy as np
import pytest
import xarray as xr

from experiment.synthetic_sweep import TEMPERATURES, changed, sweep_results
from gradnoise.experiment.sweep.judge import judge
from gradnoise.report.page import page
from gradnoise.report.source import Source
from gradnoise.report.temperature import which_temperature
from gradnoise.report.temperature_words import best, cell_rows, choice, left_out, temperature_cards

PANELS = ("gap", "test_loss", "train_loss", "accuracy_gap", "test_accuracy", "train_accuracy")


def inside(T):
    return 0.3 + 0.05 * np.square(np.log(T / 0.03)) - 2.0 * T


@pytest.fixture(scope="module")
def judged():
    return judge(sweep_results(gap=inside))


@pytest.fixture(scope="module")
def text(judged):
    return str(which_temperature(Source(judged)))


def panel(text, metric):
    """What a panel draws."""
    block = re.search(rf'<script type="application/json" id="temperature-{metric}-data">(.*?)</script>', text)
    assert block is not None
    return json.loads(block[1])["all"]


def test_there_are_six_panels_against_a_logarithmic_temperature(text):
    for metric in PANELS:
        drawn = panel(text, metric)
        assert drawn["layout"]["xaxis"]["type"] == "log"
        assert [len(trace["x"]) for trace in drawn["data"] if "batch size" in trace["name"]] == [30, 30]


def test_the_means_and_their_bars_are_those_of_the_results(judged, text):
    group = judged["temperature"]
    for place, metric in enumerate(group["metric"].values):
        (mean,) = [trace for trace in panel(text, metric)["data"] if trace["name"] == "plain"]
        np.testing.assert_allclose(mean["x"], TEMPERATURES, rtol=1e-5)
        np.testing.assert_allclose(mean["y"], group["average"].values[place], rtol=1e-5)
        np.testing.assert_allclose(mean["error_y"]["array"], group["average_se"].values[place], rtol=1e-5)


def test_the_band_is_the_interval_of_the_optimum_and_only_where_there_is_one(judged, text):
    own = judged["temperature"].to_dataset().sel(series="plain")
    for metric in PANELS:
        shapes = panel(text, metric)["layout"]["shapes"]
        assert len(shapes) == (metric in ("test_loss", "test_accuracy"))
        for shape in shapes:
            ends = [float(own[f"optimum_{end}"].sel(metric=metric)) for end in ("low", "high")]
            np.testing.assert_allclose([shape["x0"], shape["x1"]], ends)


def test_the_curve_is_the_fit(judged, text):
    own = judged["temperature"].to_dataset().sel(series="plain", metric="test_loss")
    a, b, c = own["fit"].values
    (curve,) = [trace for trace in panel(text, "test_loss")["data"] if trace["name"] == "fit"]
    T = np.array(curve["x"])
    np.testing.assert_allclose(curve["y"], (a / T + b) * np.exp(-T / c), rtol=1e-4)


def test_first_stands_the_best_temperature_and_the_rates_it_means(judged, text):
    source = Source(judged)
    assert re.fullmatch(r"The test loss is lowest at T = 0\.0\d+ \(95%: 0\.0\d+ to 0\.0\d+\)\.", best(source, "plain"))
    assert best(source, "plain") in text
    assert "at batch size 4 and" in choice(source, "plain")
    assert "through their ratio" in choice(source, "plain")
    assert "A: the gap falls" in text
    assert "Collapse of the test loss: collapses" in text


def test_rates_come_with_a_caution_where_cells_of_one_temperature_differ():
    tree = judge(sweep_results(gap=inside, shift=lambda variant, T, batch: 0.2 * (batch == 16)))
    assert "keep to batch sizes that were run" in choice(Source(tree), "plain")


def test_an_optimum_at_an_edge_is_called_so():
    source = Source(judge(sweep_results(gap=lambda T: 0.3 + T)))
    assert "reaches the lowest temperature that was judged" in best(source, "plain")


def test_what_is_left_out_is_named():
    tree = sweep_results(gap=inside)
    lost = np.full((1, tree["sweep"].sizes["record"]), np.nan)
    source = Source(judge(changed(tree, "test_loss", [59], lost)))
    assert left_out(source, "plain") == [
        "Left out, for a run diverged or ended no better than it began: T = 0.16 at batch size 16."
    ]
    assert cell_rows(source)[-1][-1] == "1 failed"


def test_the_table_has_a_row_a_cell_with_errors_over_seeds(judged):
    head, *rows = cell_rows(Source(judged))
    assert head[:4] == ["T", "learning rate", "batch size", "series"]
    assert len(rows) == 2 * len(TEMPERATURES)
    assert all("±" in row[4] and row[-1] == "yes" for row in rows)


def test_several_variants_are_told_apart():
    tree = judge(sweep_results(variants=("plain", "momentum"), seeds=3))
    text = str(which_temperature(Source(tree)))
    assert "<h3>Momentum</h3>" in text
    assert panel(text, "gap")["layout"]["showlegend"] is True
    assert len(temperature_cards(Source(tree))) == 2


def test_too_few_records_are_said_in_a_sentence_in_place_of_the_section():
    tree = sweep_results(seeds=2)
    tree["sweep"] = xr.DataTree(tree["sweep"].to_dataset().isel(record=slice(0, 5)))
    text = str(which_temperature(Source(judge(tree))))
    assert "num_records=4 is too few" in text
    assert "<figure" not in text


def test_the_page_has_the_section_and_not_the_main_jobs(judged):
    text = page(judged)
    assert 'id="temperature"' in text
    assert 'id="curves"' not in text
    assert page(judged) == text


def test_nothing_in_the_results_becomes_markup(judged):
    hostile = judged.copy()
    hostile["temperature"].attrs["trend_gap_0"] = "<script>alert(1)</script>"
    assert "<script>alert" not in page(hostile)
