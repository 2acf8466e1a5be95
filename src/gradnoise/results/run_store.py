"""A folder of finished runs, chunk by chunk, so that a long sweep survives whatever stops it."""

import json
import os
import shutil
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from gradnoise.dynamics.identity import DIGEST, digest
from gradnoise.results.checkpoint import CheckpointFolder
from gradnoise.results.io import load, save, written_aside
from gradnoise.results.kept import MOST_IDENTITY, RUNS, cannot_write, forget_parts, kept_folder, require_same
from gradnoise.results.provenance import provenance
from gradnoise.results.schema import build_tree

PLAN = "sweep.json"
STAYS = "The runs that are finished stay"


class RunStore:
    """A folder that holds the finished runs of ONE sweep, named by `identity`: what the last bits of its numbers hang on.

    `sweep.json` says which sweep it is; `NAME.nc` holds the runs of a chunk with where they come from and a checksum,
    itself a results file; `NAME-DEVICE.runs` the state of the chunk in progress. Every file is written aside, flushed to
    the disk and renamed: it is there whole or not at all. One process at a time.

    >>> import tempfile
    >>> runs = xr.Dataset({"train_loss": (("run", "record"), [[2.0, 1.0]])})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = RunStore(folder, {"seeds": 1})
    ...     store.begin()
    ...     store.put("chunk-00000", runs)
    ...     done, damaged = store.scan(["chunk-00000", "chunk-00001"])
    >>> list(done), damaged
    (['chunk-00000'], [])

    Raises TypeError or ValueError for a path that does not do; `begin` and `require_same` raise ValueError, naming what
    differs, if the folder holds another sweep; `put` raises OSError, one sentence, if it cannot write: what is there stays.
    """

    def __init__(self, path: str | os.PathLike[str], identity: Mapping[str, Any]) -> None:
        self.folder = kept_folder("store", path, "my-sweep")
        self.identity = json.loads(json.dumps(dict(identity)))
        self.mark = digest({"sweep": np.frombuffer(json.dumps(self.identity, sort_keys=True).encode(), np.uint8)})

    def require_same(self) -> None:
        """Raise ValueError, naming what differs, if the folder holds another sweep; writes nothing."""
        found = self._stored_identity()
        if found is None:
            self._require_no_others()
            return
        require_same(self._told, "sweep", found, self.identity)

    def _require_no_others(self) -> None:
        """Raise ValueError where runs of another sweep lie in a folder that does not say which it is of."""
        others = [path.name for path in sorted(self.folder.glob("*.nc")) if self._is_of_another(path)]
        if others:
            raise ValueError(
                f"store={str(self.folder)!r} holds runs of another sweep ({others[0]}), and no {PLAN} that says of which. "
                "Give another folder."
            )

    def _is_of_another(self, path: Path) -> bool:
        try:
            seal = load(path).attrs.get("seal")
        except (OSError, ValueError):
            return False
        return seal is not None and not str(seal).startswith(self.mark)

    def begin(self) -> None:
        """Make sure that the folder is new or holds this very sweep."""
        self.require_same()
        text = json.dumps(self.identity, indent=1)
        if self._stored_identity() is None:
            try:
                with written_aside(self.folder / PLAN) as temporary:
                    temporary.write_text(text)
            except OSError as error:
                raise OSError(cannot_write(self._told, error, STAYS)) from error
        forget_parts(self.folder)

    def scan(self, names: Iterable[str]) -> tuple[dict[str, xr.Dataset], list[str]]:
        """What is stored whole under `names`, and the paths of those that are cut short or altered."""
        done, damaged = {}, []
        for name in names:
            if self._place(name).exists():
                found = self._read(name)
                if found is None:
                    damaged.append(str(self._place(name)))
                else:
                    done[name] = found
        return done, damaged

    def put(self, name: str, runs: xr.Dataset) -> None:
        """Store finished runs, whole or not at all, and forget their state in progress."""
        stamps = {**provenance(), "seal": self._seal(name, runs)}
        try:
            save(build_tree({"sweep": runs}, stamps), self._place(name))
        except OSError as error:
            raise OSError(cannot_write(self._told, error, STAYS)) from error
        self.forget_progress({name})

    def forget_progress(self, finished: Container[str]) -> None:
        """Remove the states in progress of chunks that are stored: also those that a process stopped in `put` has left."""
        for folder in self.folder.glob(f"*-*{RUNS}"):
            if folder.name.rpartition("-")[0] in finished:
                shutil.rmtree(folder, ignore_errors=True)

    def checkpoint(self, name: str) -> CheckpointFolder:
        """Where the chunk in progress keeps its state: on other devices it begins anew."""
        made = {"device": jax.devices()[0].device_kind, "num_devices": jax.device_count()}
        where = digest({key: np.frombuffer(f"{value}".encode(), np.uint8) for key, value in made.items()})
        return CheckpointFolder(self.folder / f"{name}-{where.removeprefix(DIGEST)}{RUNS}")

    def _read(self, name: str) -> xr.Dataset | None:
        """The stored runs, or None where the file is not what was written."""
        try:
            tree = load(self._place(name))
            runs = tree.children["sweep"].to_dataset()
        except (OSError, ValueError, KeyError):
            return None
        return runs if tree.attrs.get("seal") == self._seal(name, runs) else None

    def _seal(self, name: str, runs: xr.Dataset) -> str:
        """Whose numbers these are, and which."""
        return f"{self.mark} {name} {digest({str(key): values.values for key, values in runs.data_vars.items()})}"

    def _place(self, name: str) -> Path:
        return self.folder / f"{name}.nc"

    def _stored_identity(self) -> dict[str, Any] | None:
        """Which sweep the folder holds; None for a new one, or where the file that says it is damaged."""
        try:
            with (self.folder / PLAN).open("rb") as file:
                found = json.loads(file.read(MOST_IDENTITY))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    @property
    def _told(self) -> str:
        return f"store={str(self.folder)!r}"
