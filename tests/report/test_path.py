"""The section of the whole run says what the tree says: numbers, domain, licence, cost, and absence."""

import html
import json
import re

import numpy as np
import pytest
import xarray as xr

from gradnoise.report.page import page
from gradnoise.report.path import path_cards, whole_run
from gradnoise.report.source import Source
from gradnoise.results import build_tree
from report.synthetic import PATH_BATCHES, PATH_STEPS, path_group, results_tree


def tree_with(group: xr.Dataset | None = None, **root) -> xr.DataTree:
    return build_tree({"path": path_group() if group is None else group}, {"num_pool": 1797, "kinks": "", **root})


def said(tree: xr.DataTree) -> str:
    text = re.sub(r"(?s)<script.*?</script>", "", whole_run(Source(tree)))
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", text)))


def traces(tree: xr.DataTree, figure: str = "whole-run", variant: str = "test") -> list[dict]:
    (block,) = re.findall(rf'(?s)id="{figure}-data">(.*?)</script>', whole_run(Source(tree)))
    return json.loads(block)[variant]["data"]


def lines(found: list[dict]) -> dict[str, dict]:
    return {t["name"]: t for t in found if t["mode"] == "lines" and "fill" not in t}


def test_the_words_hold_the_numbers_of_the_tree():
    text = said(tree_with())
    assert "A whole training run, for five batch sizes" in text
    assert "After 40 steps at learning rate 0.35, gradient descent without noise has test loss 0.664;" in text
    assert "the noise of batch size B adds (1.2 ± 0.036)/B (0.15 at batch size 8, 0.075 at batch size 16" in text
    assert "stops paying at about batch size 88 (95%: 83 to 94): there one more doubling" in text
    assert "lowers the test loss by 1%, and above by less" in text
    assert "is (0.81 ± 0.2)/B² at every batch size inside the domain" in text


def test_the_cost_is_told_as_it_is():
    text = said(tree_with())
    assert "13,400 gradient equivalents (gradients over the whole pool of 1,797 examples) for the prediction" in text
    assert "16.7 for 27 plain runs at batch size 8, as accurate: for one batch size plain simulation is cheaper" in text
    assert "cheaper, 800 times" in text  # 13400 / 16.7
    assert "(plain runs at those drawn: 105)" in text
    dear = said(tree_with(path_group(simulation_equivalents=26800.0)))
    assert "on a pool this small the prediction is cheaper, 2 times" in dear
    assert "with the error bars drawn here" in said(tree_with(path_group(num_probes=0)))


def test_curves_are_drawn_inside_the_domain_alone_and_the_end_is_said():
    group, text = path_group(), said(tree_with())
    for target in ("test", "gap"):
        drawn = lines(traces(tree_with(), variant=target))
        for size in PATH_BATCHES:
            inside = group["in_domain"].sel(batch_size=size).values > 0
            end = PATH_STEPS if inside.all() else int(np.argmin(inside)) - 1
            curve = drawn[f"batch size {size}"]
            assert max(curve["x"]) == end
            expected = group["predicted"].sel(batch_size=size, target=target, loops=1, step=curve["x"])
            np.testing.assert_allclose(curve["y"], expected, rtol=1e-5)
            assert inside.all() or f"step {end + 1} at batch size {size}" in text
    assert "noise is more than 30% of the loss" in text
    group["in_domain"][:] = 1
    assert "Theory covers the whole run at all five batch sizes" in said(tree_with(group))


def test_points_are_the_simulated_means_with_their_bars():
    group = path_group()
    points = {t["name"]: t for t in traces(tree_with()) if t["mode"] == "markers" and "error_y" in t}
    for size in PATH_BATCHES:
        at = {"batch_size": size, "target": "test"}
        np.testing.assert_allclose(
            points[f"batch size {size}"]["y"], group["simulated"].sel(at).dropna("step"), rtol=1e-5
        )
        bars = 1.96 * group["simulated_se"].sel(at).dropna("step")
        np.testing.assert_allclose(points[f"batch size {size}"]["error_y"]["array"], bars, rtol=1e-5)


def test_residuals_are_hollow_outside_the_domain():
    group = path_group()
    points = {t["name"]: t for t in traces(tree_with(), "two-loops", "all") if t["mode"] == "markers"}
    assert points["inside the domain"]["x"] == [8, 16, 32]
    assert points["outside it"]["x"] == [2, 4]
    np.testing.assert_allclose(points["inside the domain"]["y"], group["residual_scaled"][2:], rtol=1e-5)


def test_an_uneven_rest_is_not_called_the_next_order():
    group = path_group().assign(residual_level_p=1e-5)
    assert "not the next order of the noise alone" in said(tree_with(group))
    assert "Within the errors" not in said(tree_with(group))


def test_kinks_leave_the_path_and_take_the_batch_sizes():
    tree = tree_with(kinks="max")
    text = said(tree)
    assert "the path of gradient descent stands, but the curvature along it is not licensed" in text
    assert "stops paying" not in text
    assert list(lines(traces(tree))) == ["no noise"]
    assert "two-loops" not in whole_run(Source(tree))
    assert path_cards(Source(tree))[0][1] == "Not licensed: the loss has kinks."


def test_a_run_that_is_only_predicted_is_drawn_without_points():
    group = path_group()
    for name in ("simulated", "simulated_se", "residual_scaled", "residual_level_p"):
        group[name] = group[name] * np.nan
    tree = tree_with(group)
    assert not [t for t in traces(tree) if "error_y" in t]
    assert "two-loops" not in whole_run(Source(tree))


def test_runs_far_above_leave_the_figure_and_are_told():
    group = path_group()
    group["simulated"][0, 0, -1] = 1e6
    found = whole_run(Source(tree_with(group)))
    assert "Some simulated points lie above the figure: batch size 2 (up to 1,000,000)" in found


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(40.0, np.inf, "above 40, unbounded"), (0.0, 90.0, "below 90"), (88.5, 88.5, "about batch size 88: there")],
)
def test_open_and_exact_intervals_have_their_words(low, high, words):
    group = path_group().assign(doubling_batch_size_low=low, doubling_batch_size_high=high)
    assert words in said(tree_with(group))


def test_where_no_doubling_pays_it_is_said():
    group = path_group().assign(doubling_batch_size=0.2, doubling_batch_size_low=0.1, doubling_batch_size_high=0.3)
    assert "No doubling of the batch lowers the test loss by 1%" in said(tree_with(group))


def test_a_short_run_is_called_one():
    assert "This is a short run" in said(tree_with(path_group(learning_rate=0.001)))
    assert "short run" not in said(tree_with())


def test_a_reason_for_absence_is_told_and_an_absent_group_too():
    empty = xr.Dataset(attrs={"absent": "learning_rate=9: the path <b>diverges</b>"})
    tree = results_tree(omit=("path",))
    tree["path"] = xr.DataTree(empty)
    assert "The run not shown: learning_rate=9: the path <b>diverges</b>." in said(tree)
    assert "<b>diverges" not in page(tree)
    assert "these results hold no whole run" in said(results_tree(omit=("path",)))
    assert path_cards(Source(tree)) == []


def test_the_verdict_has_a_card_of_it():
    title, finding, meaning, tone = path_cards(Source(tree_with()))[0]
    assert title == "What a larger batch buys over a whole run"
    assert "about batch size 88" in finding
    assert "without noise" in meaning[0]
    assert tone == "plain"


def test_last_losses_in_numbers_are_those_of_the_tree():
    text, group = said(tree_with()), path_group()
    assert "outside" in text
    value = float(group["predicted"].sel(batch_size=8, target="test", loops=1, step=PATH_STEPS))
    assert f"{value:.4f} ± 0.0045" in text or f"{value:.3f}" in text
