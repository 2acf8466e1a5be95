"""Files: they come back as they went, whole or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

import gradnoise as gn
from gradnoise.estimate import Estimate
from gradnoise.results import load, save
from report.synthetic import results_tree


def test_a_tree_comes_back_identical_with_names_types_and_attributes(tmp_path):
    tree = results_tree(problem="Ziffern ✓ ü", converged=True, stopped=False)
    tree["simulated"].attrs["dtype"] = "float32"
    back = load(save(tree, tmp_path / "results.nc"))
    xr.testing.assert_identical(back, tree)
    assert back.attrs["converged"] is True
    assert back.attrs["stopped"] is False
    assert back["compared"]["verdict"].dtype.kind == "U"


def test_infinity_and_nan_come_back(tmp_path):
    values = xr.Dataset({"x": ("t", [np.nan, np.inf, -np.inf, 0.1])}, attrs={"y": float("inf"), "z": float("nan")})
    back = load(save(values, tmp_path / "x.nc"))
    np.testing.assert_array_equal(back["x"].values, values["x"].values)
    assert back.attrs["y"] == np.inf
    assert np.isnan(back.attrs["z"])


def test_a_piece_goes_into_its_group(tmp_path):
    piece = xr.Dataset({"value": ("entry", [1.0])}, attrs={"group": "measured"})
    assert load(save(piece, tmp_path / "a.nc"))["measured"]["value"].item() == 1.0
    assert load(save(Estimate(2.0, 0.5, 10), tmp_path / "b.nc"))["value_se"].item() == 0.5


def test_saving_changes_nothing_in_the_tree(tmp_path):
    tree = results_tree(converged=True)
    before = tree.copy(deep=True)
    save(tree, tmp_path / "results.nc")
    xr.testing.assert_identical(tree, before)


def test_folders_are_made_and_nothing_else_is_left(tmp_path):
    place = save(results_tree(), tmp_path / "new" / "folder" / "results.nc")
    assert [p.name for p in place.parent.iterdir()] == ["results.nc"]


def test_the_file_is_closed_after_loading(tmp_path):
    place = save(results_tree(), tmp_path / "results.nc")
    tree = load(place)
    place.unlink()
    assert np.isfinite(tree["predicted"]["loss"].values).all()


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, failure):
    place = save(results_tree(problem="old"), tmp_path / "results.nc")

    def half(tree, path, **options):
        Path(path).write_bytes(b"half a file")
        raise failure

    monkeypatch.setattr(xr.DataTree, "to_netcdf", half)
    with pytest.raises(type(failure)):
        save(results_tree(problem="new"), place)
    assert load(place).attrs["problem"] == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["results.nc"]


def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path):
    place = save(results_tree(problem="old"), tmp_path / "results.nc")
    dying = (
        "import os, sys, xarray as xr; from gradnoise.results import io\n"
        "os.replace = lambda *names: os._exit(9)\n"
        "io.save(xr.Dataset({'value': ('entry', [1.0])}), sys.argv[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", dying, str(place)], check=False, env={**os.environ, "JAX_PLATFORMS": "cpu"}
    )
    assert done.returncode == 9
    assert load(place).attrs["problem"] == "old"


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.1, 0.5, 0.9, 0.999999])
def test_a_truncated_file_is_refused(tmp_path, share):
    content = save(results_tree(), tmp_path / "whole.nc").read_bytes()
    cut = tmp_path / "cut.nc"
    cut.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"path=.*no readable netCDF4 file: damaged, cut short"):
        load(cut)


def test_a_changed_number_is_found_by_its_checksum(tmp_path):
    numbers = np.arange(500.0) + 0.25
    place = save(xr.Dataset({"x": ("t", numbers)}), tmp_path / "x.nc")
    content = place.read_bytes()
    where = content.index(numbers[100:110].tobytes())
    place.write_bytes(content[:where] + b"\x01" + content[where + 1 :])
    with pytest.raises(ValueError, match="damaged"):
        load(place)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x89PNG\r\n", b"CDF\x02" + bytes(100), b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"]
)
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    other = tmp_path / "other.nc"
    other.write_bytes(content)
    with pytest.raises(ValueError, match="no readable netCDF4 file"):
        load(other)


def test_a_netcdf_file_of_someone_else_is_refused(tmp_path):
    xr.Dataset({"x": ("t", [1.0])}).to_netcdf(tmp_path / "other.nc")
    with pytest.raises(ValueError, match="not one of gradnoise's"):
        load(tmp_path / "other.nc")


def test_a_header_that_claims_a_hundred_gigabytes_is_refused_before_allocation(tmp_path):
    with netCDF4.Dataset(tmp_path / "huge.nc", "w") as huge:
        huge.gradnoise_version = "0.1.0"
        huge.createGroup("measured").createDimension("entry", 10**11 // 8)
        huge["measured"].createVariable("entry", "f8", ("entry",), chunksizes=(1000,))
    with pytest.raises(ValueError, match=r"claims 100 GB of numbers in .* hostile"):
        load(tmp_path / "huge.nc")


BAD = {
    "load: missing": (lambda p: load("no such file.nc"), FileNotFoundError, "path='no such file.nc' does not exist"),
    "load: folder": (lambda p: load(p), ValueError, "is a folder, expected a file"),
    "load: empty name": (lambda p: load(""), ValueError, "expected a file"),
    "load: number": (lambda p: load(3), TypeError, "path=3 is int, expected text or a Path"),
    "save: no path": (lambda p: save(results_tree(), None), TypeError, "path=None is NoneType"),
    "save: folder": (lambda p: save(results_tree(), p), ValueError, "is a folder, expected a file"),
    "save: a dict": (lambda p: save({"a": 1}, p / "x.nc"), TypeError, "x is dict, which has no place among results"),
    "save: nothing": (lambda p: save(None, p / "x.nc"), TypeError, "x is NoneType, which has no place"),
    "save: odd attribute": (
        lambda p: save(xr.Dataset(attrs={"a": {}}), p / "x.nc"),
        TypeError,
        "attribute a={} is no text",
    ),
    "to_results: array": (lambda p: gn.to_results(np.ones(3)), TypeError, "Give DiagramValues, a predicted curve"),
    "to_results: class": (lambda p: gn.to_results(Estimate), TypeError, "x is type"),
    "to_results: text": (lambda p: gn.to_results("x"), TypeError, "x is str"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_input_is_one_sentence_and_nothing_is_written(tmp_path, case):
    call, kind, said = BAD[case]
    with pytest.raises(kind) as raised:
        call(tmp_path)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []
