"""`gradnoise scaling`: wrong use in one sentence, the plan first, the advice, its files, and runs judged anew."""

import json

import pytest
import xarray as xr

import gradnoise as gn
from gradnoise.results import build_tree

TOY = (
    "--problem", "angle-toy", "--batch-size", 1, "--learning-rate", 0.1, "--weight-decay", 0.05, "--num-replicas", 4,
    "--svag-replicas", 0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--weight-decay", 0), ("--weight-decay=0", "no equilibrium")),
        (("--learning-rate", 3, "--weight-decay", 0.5), ("jump over zero",)),
        (("--sampling", "fixed"), ("--sampling='fixed'",)),
        (("--factors", "2;4"), ("--factors='2;4'", "2,4,8")),
        (("--factors", "4,2"), ("growing",)),
        (("--closeness", 0.9), ("closeness",)),
        (("--svag-replicas", 3), ("--svag-replicas=3", "at least 8")),
        (("--label-noise", 1.5), ("--label-noise='1.5'",)),
        (("--problem", "mean-estimation", "--label-noise", 0.2), ("label noise", "classification")),
        (("--resume",), ("--resume", "--out")),
        (("--sampling", "subset", "--batch-size", 5000), ("--batch-size=5000",)),
        (("--read", "absent.nc"), ("absent.nc",)),
        (("--read", "absent.nc", "--batch-size", 8), ("--batch-size", "--closeness at most")),
    ],
)
def test_wrong_use_is_one_sentence_and_leaves_nothing(call, folder, arguments, words):
    told = call("scaling", *arguments)
    assert told.code == 2, told
    assert told.out == ""
    assert told.err.count("\n") == 1, told.err
    assert all(word in told.err for word in words), told.err
    assert list(folder.rglob("*")) == []


def test_a_results_file_of_another_command_is_refused(call, folder):
    gn.save(build_tree({"measured": xr.Dataset({"value": ("entry", [1.0])})}), "other.nc")
    told = call("scaling", "--read", "other.nc")
    assert told.code == 2
    assert "holds no runs of gradnoise scaling" in told.err


@pytest.mark.slow
def test_a_dry_run_says_the_plan_and_writes_nothing(call, folder):
    told = call("scaling", *TOY, "--verify", "--dry-run", "--out", "place")
    assert told.code == 0, told
    assert "a relaxation time is 200 steps" in told.out
    assert "batch sizes 1, 2, 4, 8, 16, 32" in told.out
    assert list(folder.rglob("*")) == []


@pytest.mark.slow
def test_the_toy_gets_its_certificate_a_page_and_a_file_that_is_read_again(call, folder):
    told = call("scaling", *TOY, "--factors", "2,8", "--out", "place", "--json")
    assert told.code == 0, told
    found = json.loads(told.out)
    forms = found["groups"]["scaling"]["data_vars"]["critical_batch"]["data"]
    assert forms[1] == pytest.approx(2 + 25 / 9, rel=0.05)  # sharp
    assert "linear-scaling" in (folder / "place" / "report.html").read_text()
    again = call("scaling", "--read", "place/results.nc", "--closeness", 2)
    assert again.code == 0, again
    assert "C = 2" in again.out
    assert "must fail above batch size 12" in again.out  # 4 + 3 * 25/9
