"""The schema holds what it says, and provenance tells nothing about people."""

import getpass
import os
import re
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gradnoise.diagrams import enumerate_diagrams
from gradnoise.results import build_tree, provenance, validate
from gradnoise.results.meaning import meaning
from gradnoise.results.variables import GROUPS, units
from report.synthetic import results_tree


def test_the_architecture_page_names_every_variable_and_dimension():
    page = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")
    for group, variables in GROUPS.items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{group}`")]
        for name, dims in variables.items():
            stem = re.sub(r"^group_|_se$|_low$|_high$", "", name)
            assert stem in row, f"{group}: {name}"
            assert all(dim in row for dim in dims), f"{group}: {name}"


def test_a_complete_tree_is_valid():
    assert validate(results_tree(), complete=True).attrs["results_format"] == 1


def test_variables_say_their_units():
    tree = results_tree()
    assert tree["measured"]["simple_noise_scale"].attrs["units"] == "examples"
    assert tree["predicted"]["loss_se"].attrs["units"] == "loss"
    assert units("rank") is None


def test_none_is_left_out_and_lists_of_names_are_joined():
    tree = results_tree(git_commit=None, kinks=("max", "abs"))
    assert "git_commit" not in tree.attrs
    assert tree.attrs["kinks"] == "max, abs"


def _without(group: str, name: str) -> xr.DataTree:
    tree = results_tree()
    tree[group] = xr.DataTree(tree[group].to_dataset().drop_vars(name))
    return tree


BAD = {
    "dataset": (lambda: validate(xr.Dataset()), TypeError, "results is Dataset, expected an xarray DataTree"),
    "unmarked": (lambda: validate(xr.DataTree()), ValueError, "has no attribute gradnoise_version"),
    "no group": (lambda: build_tree({}), ValueError, "results has no group 'measured'"),
    "unknown group": (lambda: build_tree({"meassured": xr.Dataset()}), ValueError, "groups has 'meassured'"),
    "not a dataset": (
        lambda: build_tree({"measured": {}}),
        TypeError,
        "groups['measured'] is dict, expected an xarray Dataset",
    ),
    "dimensions": (
        lambda: build_tree({"measured": xr.Dataset({"value": ("diagram", [1.0])})}),
        ValueError,
        "results['measured']['value'] has dimensions ('diagram',), expected ('entry',)",
    ),
    "labels": (
        lambda: build_tree({"measured": xr.Dataset({"rank": ("checkpoint", [1])})}),
        ValueError,
        "has no coordinate 'checkpoint'",
    ),
    "dtype": (
        lambda: build_tree({"measured": xr.Dataset({"value": ("entry", ["a"])})}),
        ValueError,
        "has dtype <U1, expected numbers",
    ),
    "later format": (
        lambda: validate(xr.DataTree(xr.Dataset(attrs={"gradnoise_version": "9", "results_format": 99}))),
        ValueError,
        "results has format 99, this gradnoise reads up to 1",
    ),
    "incomplete group": (
        lambda: validate(results_tree(omit=("compared",)), complete=True),
        ValueError,
        "no group 'compared'",
    ),
    "incomplete variable": (
        lambda: validate(_without("measured", "rank"), complete=True),
        ValueError,
        "no variable 'rank'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_in_one_sentence(case):
    call, kind, said = BAD[case]
    with pytest.raises(kind) as raised:
        call()
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_tree_without_some_groups_is_valid_but_not_complete():
    validate(results_tree(omit=("compared", "simulated")))


def test_provenance_has_versions_and_no_person_machine_or_place():
    made = provenance()
    assert set(made) == {
        "created",
        "gradnoise_version",
        "python_version",
        "jax_version",
        "numpy_version",
        "platform",
        "device",
        "num_devices",
        "git_commit",
    }
    told = " ".join(map(str, made.values()))
    assert "/" not in told
    assert "\\" not in told
    hidden = [socket.gethostname(), getpass.getuser(), *os.path.expanduser("~").strip(os.sep).split(os.sep)]
    words = set(re.split(r"[^A-Za-z0-9]+", told))
    assert not words & {word for word in hidden if len(word) > 3}


def test_the_commit_is_told_with_changes_and_none_outside_a_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance()["git_commit"] is None
    (tmp_path / "a").write_text("1")
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "a"], [*who, "commit", "-qm", "a"]):
        subprocess.run(["git", *command], check=True)
    clean = str(provenance()["git_commit"])
    assert re.fullmatch("[0-9a-f]{40}", clean)
    (tmp_path / "a").write_text("2")
    assert provenance()["git_commit"] == f"{clean}+changes"


def test_every_diagram_through_order_four_has_a_meaning_of_its_own():
    for order in range(4):
        diagrams = list(enumerate_diagrams(order))
        assert len({meaning(d) for d in diagrams}) == len(diagrams)
        assert all(":" in meaning(d) for d in diagrams), "a word from the table, with its letters"
    assert all(np.char.str_len(meaning(d)) > 5 for d in enumerate_diagrams(4))
