"""Running the command line inside the test's process, in an empty folder."""

import os
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from gradnoise.cli import main

MODULE = Path(__file__).parent / "users_module.txt"


class Told(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder; environment and path are put back afterwards, and modules made in it forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(os, "environ", os.environ.copy())
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def call(folder, capfd):
    """Run `gradnoise` with arguments: exit code, stdout, stderr."""

    def run(*arguments):
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return Told(code, *capfd.readouterr())

    return run


@pytest.fixture
def data(folder):
    """A small data file of two classes."""
    rng = np.random.default_rng(0)
    np.savez("data.npz", x=rng.normal(size=(21, 3)), y=rng.integers(0, 2, 21))
    return "data.npz"


@pytest.fixture
def pools(folder):
    """A module of the user's with good and bad problems."""
    (folder / "mine.py").write_text(MODULE.read_text())
    return "mine"
