"""A folder in which work is kept: whose it is, told by an identity of names and values, and what is said where it fails."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradnoise.dynamics.identity import DIGEST, differing

MOST_IDENTITY = 1 << 20
"""Bytes of the file that says what a folder holds."""
RUNS = ".runs"
"""How the name of a simulation's folder ends."""


def kept_folder(argument: str, path: str | os.PathLike[str], example: str) -> Path:
    """The folder that `argument` names, there or new; raises TypeError or ValueError for what cannot be one."""
    if not isinstance(path, (str, os.PathLike)) or isinstance(path, bytes):
        raise TypeError(f"{argument}={path!r} is {type(path).__name__}, expected a folder. Give {example!r}, say.")
    folder = Path(path)
    if not str(path) or "\0" in str(path) or (folder.exists() and not folder.is_dir()):
        raise ValueError(f"{argument}={str(path)!r} is no folder, expected one or a new name. Give another name.")
    return folder


def require_same(place: str, kind: str, found: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Raise ValueError, naming what differs, unless what a folder holds is what is to be kept there."""
    names = differing(identity, found)
    if names:
        pairs = [(name, found.get(name), identity.get(name)) for name in names]
        told = [f"{name} was {was!r}, is {now!r}" for name, was, now in pairs if DIGEST not in f"{was}{now}"]
        raise ValueError(
            f"{place} holds another {kind}: {', '.join(names)} "
            f"{'differ' if len(names) > 1 else 'differs'}{f' ({told[0][:200]})' if told else ''}. "
            "Run it as it was begun, or give another folder."
        )


def forget_parts(folder: Path) -> None:
    """Remove what a process that was killed left half written."""
    for left in folder.glob(".*.part"):
        left.unlink(missing_ok=True)


def cannot_write(place: str, error: OSError, stays: str) -> str:
    """The sentence for a folder without room; `stays`: what is kept all the same."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return (
        f"{place} cannot be written ({reason}), expected a folder with room. {stays}: make room and run the same again to "
        "go on."
    )
