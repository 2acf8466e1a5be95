"""The page is one file, made of the results alone, and nothing in them can act on it."""

import json
import os
import re
import socket
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr

import gradnoise as gn
from gradnoise.report.curves import domain, first_difference
from gradnoise.report.diagram_table import rows
from gradnoise.report.page import page
from gradnoise.report.source import Source
from gradnoise.results import build_tree, load, save
from report.synthetic import results_tree

HOSTILE = "<script>alert(1)</script>"


class Reader(HTMLParser):
    """Elements with their attributes, the text of JSON blocks, the text of the body."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.blocks: dict[str, str] = {}
        self.inside: dict[str, str | None] | None = None
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.inside = dict(attrs)

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self.inside = None

    def handle_data(self, data):
        if self.inside is None:
            self.text += data
        elif self.inside.get("type") == "application/json":
            self.blocks[self.inside["id"] or ""] = data


@pytest.fixture(scope="module")
def text() -> str:
    return page(results_tree())


@pytest.fixture(scope="module")
def read(text) -> Reader:
    return Reader(text)


def test_a_page_from_the_reloaded_file_has_the_same_bytes(tmp_path, text):
    place = save(results_tree(), tmp_path / "results.nc")
    by_path = gn.write_report(place, tmp_path / "a.html").read_bytes()
    by_tree = gn.write_report(load(place), tmp_path / "sub" / "b.html").read_bytes()
    assert by_path == by_tree == text.encode()


def test_nothing_is_loaded_from_anywhere(read):
    for tag, attributes in read.elements:
        assert tag not in ("link", "iframe", "object", "embed", "img", "base")
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            assert name not in attributes, (tag, attributes)
    (policy,) = [a["content"] for t, a in read.elements if t == "meta" and a.get("http-equiv")]
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]


def test_plotly_is_inside_once(text):
    assert text.count("* plotly.js v") == 1
    assert len(text) < 7_000_000


def test_every_figure_has_a_height_and_its_data(read):
    plots = [a for t, a in read.elements if t == "div" and "data-figure" in a]
    assert {a["id"] for a in plots} == {
        *("loss-curves", "residual", "whole-run", "two-loops", "noise-spectrum", "noise-scale-groups", "trade")
    }
    for attributes in plots:
        assert re.fullmatch(r"height:[1-9]\d\dpx", attributes["style"] or "")
        variants = json.loads(read.blocks[f"{attributes['id']}-data"])
        assert attributes["data-start"] in variants or not attributes["data-names"]
        assert all(variant["data"] for variant in variants.values())


def test_plotly_takes_every_figure(read):
    go = pytest.importorskip("plotly.graph_objects")
    for block in read.blocks.values():
        for variant in json.loads(re.sub(r"@\w+(/[\d.]+)?", "#123456", block)).values():
            go.Figure({"data": variant["data"], "layout": variant["layout"]})


def test_a_hostile_name_stays_text():
    tree = results_tree(problem=HOSTILE, extra=HOSTILE, device=f'"{HOSTILE}')
    measured = (
        tree["measured"]
        .to_dataset()
        .assign_coords(
            group=[HOSTILE, "</script><img src=x onerror=alert(1)>", "{{script}}", "b"],
            meaning=("entry", [HOSTILE] * tree["measured"].sizes["entry"]),
            diagram=("entry", [HOSTILE] * tree["measured"].sizes["entry"]),
        )
    )
    tree["measured"] = xr.DataTree(measured)
    tree["simulated"] = xr.DataTree(tree["simulated"].to_dataset().assign_coords(process=[HOSTILE]))
    text = page(tree)
    clean = page(results_tree())
    assert HOSTILE not in text
    assert "<img" not in text.replace(re.findall(r"(?s)<script>/\*\*\n\* plotly.*?</script>", text)[0], "")
    assert text.count("<script") == clean.count("<script")
    assert HOSTILE in Reader(text).text
    assert "<title>&lt;script&gt;" in text


def test_the_page_names_no_machine_and_no_path(text):
    own = text[: text.index("<script>/**")]
    assert socket.gethostname() not in re.findall(r"[\w.-]+", own)
    for place in (os.getcwd(), os.path.expanduser("~"), "/tmp", "/home", "/usr"):
        assert place not in own


def test_headings_and_reload_and_citations_are_there(read):
    for words in (
        "The verdict",
        "Predicted and simulated loss",
        "How the error grows",
        "A whole training run, for five batch sizes",
        "Spectrum of the gradient noise",
        "Noise scale by parameter group",
        "Steps against examples",
        "Which diagrams matter",
        "Where this comes from",
        "gn.load",
        "arXiv:1812.06162",
        "arXiv:2102.12470",
        "0123456789abcdef",
    ):
        assert words in read.text, words


@pytest.mark.parametrize("group", ["measured", "predicted", "simulated", "compared", "path"])
def test_a_missing_group_is_said_to_be_absent(group):
    assert "Where this comes from" in page(results_tree(omit=(group,)))


def test_any_variable_may_be_missing():
    few = {"learning_rate": [0.032], "target": ["test"]}
    tree = results_tree()
    parts = {
        name: node.to_dataset().sel({d: v for d, v in few.items() if d in node.dims})
        for name, node in tree.children.items()
    }
    parts["measured"], parts["predicted"] = (parts[name].isel(entry=slice(0, 6)) for name in ("measured", "predicted"))
    whole = build_tree(parts, tree.attrs)
    for group in whole.children:
        for name in whole[group].data_vars:
            tree = whole.copy()
            tree[group] = xr.DataTree(whole[group].to_dataset().drop_vars(str(name)))
            assert "Where this comes from" in page(tree)


def test_nan_everywhere_is_survived():
    tree = results_tree()
    for group in tree.children:
        for name, values in tree[group].data_vars.items():
            if values.dtype.kind == "f":
                tree[group][name] = values * np.nan
    text = page(tree)
    assert "not shown" in text
    assert ">nan<" not in text


def test_one_group_alone_makes_a_page():
    only = build_tree({"measured": xr.Dataset({"test_loss": ("checkpoint", [1.0])}, {"checkpoint": ["start"]})})
    shown = Reader(page(only)).text
    assert shown.count("not shown") == 7
    assert "Theory and simulation were not compared." in shown


def test_a_curve_ends_where_its_next_term_is_no_longer_small():
    source = Source(results_tree(omit=("compared", "simulated")))
    loss = source.array("predicted", "loss").sel(target="test", learning_rate=0.032)
    steps = loss["step"].values
    inside, why = domain(source, loss, "test", 0.032, 1)
    ratio = np.abs(loss.sel(order=2) - loss.sel(order=1)) / np.abs(loss.sel(order=1) - loss.sel(order=1)[0])
    assert float(ratio[inside - 1]) <= 0.3 < float(ratio[inside])
    assert "next term" in why
    last, why = domain(source, loss, "test", 0.032, 3)
    assert inside < last < len(steps)
    assert "last term" in why
    small = source.array("predicted", "loss").sel(target="test", learning_rate=0.002)
    assert domain(source, small, "test", 0.002, 3) == (len(steps), "")


def test_a_curve_is_dotted_from_where_it_leaves_the_band():
    source = Source(results_tree())
    z = source.array("compared", "z").sel(target="test", learning_rate=0.032, order=2)
    assert first_difference(source, "test", 0.032, 2) == float(z["step"][np.abs(z.values) > 3.6][0])
    assert first_difference(source, "test", 0.002, 3) is None


def test_orders_without_a_licence_are_not_drawn():
    blocks = Reader(page(results_tree(kinks="max"))).blocks
    names = {trace.get("name") for v in json.loads(blocks["loss-curves-data"]).values() for trace in v["data"]}
    assert "order 1" in names
    assert not names & {"order 2", "order 3"}


def test_contributions_are_coefficient_times_value_times_rate_to_the_order():
    source = Source(results_tree())
    found = rows(source, "test", 0.01)
    assert all(row.contribution == pytest.approx(row.factor * row.value * 0.01**row.order) for row in found)
    keys = [(row.order, -abs(row.contribution)) for row in found]
    assert keys == sorted(keys)
    assert not any(gn.Diagram.parse(row.written).is_root_tied for row in found)
    assert all(gn.Diagram.parse(row.written).is_root_tied for row in rows(source, "gap", 0.01))


def test_the_main_rate_is_the_one_asked_for_if_it_was_predicted():
    assert Source(results_tree(learning_rate=0.016)).main_rate == 0.016
    assert Source(results_tree(learning_rate=0.5, measured={"baseline_learning_rate": 0.008})).main_rate == 0.008
    assert Source(results_tree()).main_rate == 0.004, "the largest that agrees"


def test_diagrams_are_drawn(text):
    assert text.count("<svg") >= 22
    assert "<code>(01-2)(02-12)</code>" in text


BAD = {
    "no results": (lambda p: gn.write_report(None, p / "x.html"), TypeError, "x is NoneType, which has no place"),
    "a number": (lambda p: gn.write_report(3, p / "x.html"), TypeError, "x is int, which has no place"),
    "missing file": (
        lambda p: gn.write_report("gone.nc", p / "x.html"),
        FileNotFoundError,
        "path='gone.nc' does not exist",
    ),
    "no group": (lambda p: gn.write_report(xr.Dataset(), p / "x.html"), ValueError, "results has no group 'measured'"),
    "no path": (lambda p: gn.write_report(results_tree(), None), TypeError, "path=None is NoneType"),
    "a folder": (lambda p: gn.write_report(results_tree(), p), ValueError, "is a folder, expected a file"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_input_is_one_sentence_and_nothing_is_written(tmp_path, case):
    call, kind, said = BAD[case]
    with pytest.raises(kind) as raised:
        call(tmp_path)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_page(tmp_path, monkeypatch):
    place = tmp_path / "report.html"
    place.write_text("old")
    monkeypatch.setattr(os, "replace", lambda *names: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        gn.write_report(results_tree(), place)
    assert place.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
