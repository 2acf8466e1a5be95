"""Finished stages of a run on disk, so that a killed run goes on where it was, to the same numbers."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import gradnoise
from gradnoise.results.checkpoint import CheckpointFolder
from gradnoise.results.io import load, save
from gradnoise.results.kept import RUNS
from gradnoise.results.schema import build_tree


class Stages:
    """A folder of finished stages, and of simulations, that belong to one fingerprint; others in the folder are ignored.

    `put` writes aside and renames, so a stage is there whole or not at all; `get` gives None for a stage that is absent
    or damaged (it is then done again).
    `checkpoint` is where a simulation keeps its runs: what several stages need of them is simulated once.
    """

    def __init__(self, folder: Path, mark: str) -> None:
        self.folder, self.mark = Path(folder), mark

    def _path(self, stage: str) -> Path:
        return self.folder / f"{stage}-{self.mark}.nc"

    def get(self, stage: str) -> xr.Dataset | None:
        """The stored stage, or None."""
        try:
            tree = load(self._path(stage))
            return tree[stage].to_dataset()
        except (OSError, ValueError, KeyError):
            return None

    def put(self, stage: str, dataset: xr.Dataset) -> None:
        """Store a finished stage."""
        save(build_tree({stage: dataset}), self._path(stage))

    def checkpoint(self, name: str) -> CheckpointFolder:
        """The folder of the simulation `name`."""
        return CheckpointFolder(self.folder / f"{name}-{self.mark}{RUNS}")


def fingerprint(settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """16 hex digits that change with any setting, any number in the arrays, or the version of gradnoise.

    >>> fingerprint({"seed": 0}, {}) == fingerprint({"seed": 1}, {})
    False
    """
    digest = hashlib.sha256(json.dumps({**settings, "version": gradnoise.__version__}, sort_keys=True).encode())
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
