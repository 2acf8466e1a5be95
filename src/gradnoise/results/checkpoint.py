"""A folder in which a long simulation keeps what it has done, so that a killed one goes on to the same numbers."""

import hashlib
import json
import math
import os
import time
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from gradnoise import _checks
from gradnoise.dynamics.identity import digest
from gradnoise.results.io import written_aside
from gradnoise.results.kept import MOST_IDENTITY, cannot_write, forget_parts, kept_folder, require_same

RUN = "run.json"
OWNER = "run"
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError)


class DamagedCheckpoint(UserWarning):
    """A file of a checkpoint that is cut short or altered; what it held is done again."""


class CheckpointFolder:
    """A folder for the checkpoint of ONE simulation: `gn.simulate(..., checkpoint=CheckpointFolder("run", seconds=60))`.

    Chunks of runs are kept as they finish, and of the chunk in progress the runs' state at most once every `seconds`:
    being killed at any moment loses no more than that. Every file is written aside, flushed to the disk and renamed; one
    that is damaged all the same is named in a warning (`DamagedCheckpoint`) and done again. Files hold plain arrays;
    nothing in them is run. One process at a time.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     kept = CheckpointFolder(folder)
    ...     kept.begin({"seed": 0})
    ...     kept.save("chunk-0", {"step": np.array(5)})
    ...     int(kept.load("chunk-0")["step"])
    5

    Raises TypeError or ValueError for a path or seconds that do not do; `begin` raises ValueError, naming what differs,
    if the folder holds another run; `save` raises OSError, one sentence, if it cannot write: what was saved stays.
    """

    def __init__(self, path: str | os.PathLike[str], seconds: float = 10.0) -> None:
        self.folder = kept_folder("checkpoint", path, "my-run")
        self.seconds = _checks.number("seconds", seconds, minimum=0)
        self._mark, self._saved_at = "", time.monotonic()

    def begin(self, identity: Mapping[str, str | int]) -> None:
        """Make sure that the folder is new or holds this very run."""
        text = json.dumps(dict(identity), indent=1, sort_keys=True)
        self._mark, self._saved_at = hashlib.sha256(text.encode()).hexdigest()[:16], time.monotonic()
        found = self._identity()
        if found is not None:
            require_same(self._told, "run", found, identity)
        else:
            self._write(RUN, lambda file: file.write(text.encode()))
        forget_parts(self.folder)

    def due(self) -> bool:
        """Whether `seconds` have passed since something was last saved."""
        return time.monotonic() - self._saved_at >= self.seconds

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        """The arrays saved under `name` by this run; None if there are none, or they are damaged (then it warns)."""
        place = self._place(name)
        if not place.exists():
            return None
        try:
            arrays = _read(place)
            if str(arrays.pop(OWNER)) == self._seal(arrays):
                return arrays
        except _UNREADABLE:
            pass
        _warn(place)
        return None

    def save(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Replace what `name` holds, whole or not at all."""
        content: dict[str, Any] = {OWNER: np.array(self._seal(dict(arrays))), **arrays}
        self._write(self._place(name).name, lambda file: np.savez(file, allow_pickle=False, **content))
        self._saved_at = time.monotonic()

    def _seal(self, arrays: dict[str, np.ndarray]) -> str:
        """Whose numbers these are, and which: names and all."""
        return f"{self._mark} {digest(arrays)}"

    def _place(self, name: str) -> Path:
        return self.folder / f"{name}.npz"

    def _identity(self) -> dict[str, Any] | None:
        """Which run the folder holds; None for a new folder, or where the file that says it is damaged (then it warns)."""
        place = self.folder / RUN
        if not place.exists():
            return None
        try:
            with place.open("rb") as file:
                found = json.loads(file.read(MOST_IDENTITY))
            if isinstance(found, dict):
                return found
        except _UNREADABLE:
            pass
        _warn(place)
        return None

    @property
    def _told(self) -> str:
        return f"checkpoint={str(self.folder)!r}"

    def _write(self, name: str, write: Callable[[IO[bytes]], Any]) -> None:
        try:
            with written_aside(self.folder / name) as temporary, temporary.open("wb") as file:
                write(file)
                file.flush()
        except OSError as error:
            raise OSError(cannot_write(self._told, error, "What was saved before stays")) from error


def _warn(place: Path) -> None:
    warnings.warn(f"{str(place)!r} is damaged: what it held is done again.", DamagedCheckpoint, stacklevel=4)


def _read(place: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file that claims no more than it holds; ValueError, BadZipFile and the like otherwise."""
    with place.open("rb") as file:
        with zipfile.ZipFile(file) as archive:
            length = os.fstat(file.fileno()).st_size
            for info in archive.infolist():
                with archive.open(info) as member:
                    _check_member(member, info, length)
        file.seek(0)
        with np.load(file, allow_pickle=False) as loaded:
            return {key: loaded[key] for key in loaded.files}


def _check_member(member: IO[bytes], info: zipfile.ZipInfo, length: int) -> None:
    version = np.lib.format.read_magic(member)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(member, max_header_size=10_000)
    claimed = math.prod(int(count) for count in shape) * dtype.itemsize
    stored = info.compress_type == zipfile.ZIP_STORED and info.file_size <= length
    if dtype.hasobject or not stored or claimed != info.file_size - member.tell():
        raise ValueError(f"{info.filename} is not what was saved")
