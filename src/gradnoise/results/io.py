"""One results file: written aside and renamed, read whole and closed."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import NetCDF4DataStore

from gradnoise.results.convert import to_results
from gradnoise.results.schema import FORMAT, clean_attributes
from gradnoise.results.variables import GROUPS

MOST_CLAIMED = 1 << 26
"""Bytes a file may claim to hold beyond ten times its own size, before anything is read."""

HDF5 = b"\x89HDF\r\n\x1a\n"
"""The first bytes of a netCDF4 file."""

_UNREADABLE = (
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    MemoryError,
    OverflowError,
)


class _Claim(Exception):
    """A file that claims more than it can hold."""


def save(results: Any, path: str | os.PathLike[str]) -> Path:
    """Write `results` as one netCDF4 file and return its path; folders are made, a file of that name is replaced whole.

    `results`: a DataTree, a Dataset, or anything `to_results` takes. The file is written beside its place, flushed to
    the disk and renamed: whoever reads sees the old file or the new one, also after a crash.

    >>> import tempfile
    >>> values = xr.Dataset({"value": ("entry", [1.0, 2.0])}, attrs={"group": "measured"})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load(save(values, folder + "/results.nc"))["measured"]["value"].values
    array([1., 2.])

    Raises TypeError for what cannot be results, ValueError for a path that is a folder, OSError if it cannot be written.
    """
    place, tree = checked_path(path), as_tree(results)
    for node in tree.subtree:
        node.attrs = {name: _stored(value) for name, value in node.attrs.items()}
    checked = {
        node.path: {name: {"fletcher32": True} for name in _numeric(node.to_dataset(inherit=False))}
        for node in tree.subtree
    }
    with written_aside(place) as temporary:
        try:
            tree.to_netcdf(temporary, engine="netcdf4", mode="w", encoding=checked)
        except RuntimeError as error:  # the netCDF library tells a full disk so
            raise OSError(f"{error}, perhaps for want of room") from error
    return place


def load(path: str | os.PathLike[str]) -> xr.DataTree:
    """The results tree in the file at `path`, all in memory; the file is closed.

    Raises FileNotFoundError if there is none, ValueError if the file is damaged, too large for what it is, or not one
    that gradnoise wrote.
    """
    place = checked_path(path)
    if not place.is_file():
        raise FileNotFoundError(
            f"path={str(path)!r} does not exist. Give a results file that gn.save or gradnoise wrote."
        )
    try:
        tree = _read(_content(place), path)
    except _Claim as error:
        raise ValueError(str(error)) from None
    except _UNREADABLE as error:
        raise ValueError(
            f"path={str(path)!r} is no readable netCDF4 file: damaged, cut short, or of another kind. Give a file "
            "that gn.save wrote."
        ) from error
    if "gradnoise_version" not in tree.attrs:
        raise ValueError(
            f"path={str(path)!r} is a netCDF file, but not one of gradnoise's. Give a file that gn.save wrote."
        )
    for node in tree.subtree:
        node.attrs = {name: _restored(value) for name, value in node.attrs.items()}
        node.encoding = {}
        for variable in node.to_dataset(inherit=False).variables.values():
            variable.encoding = {}
    return tree


@contextmanager
def written_aside(place: Path) -> Iterator[Path]:
    """A temporary path in the folder of `place`; on leaving it is flushed and renamed to `place`, or removed on an error."""
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.parent / f".{place.name}.{os.getpid()}-{secrets.token_hex(4)}.part"
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, place)
        _flush(place.parent)
    finally:
        temporary.unlink(missing_ok=True)


def checked_path(path: Any) -> Path:
    """`path` as a Path; TypeError if it is none, ValueError if it is empty or an existing folder."""
    if not isinstance(path, (str, os.PathLike)) or isinstance(path, bytes):
        raise TypeError(f"path={path!r} is {type(path).__name__}, expected text or a Path. Give 'results.nc', say.")
    place = Path(path)
    if not str(path) or "\0" in str(path) or place.is_dir():
        raise ValueError(
            f"path={str(path)!r} is {'a folder' if place.name else 'empty'}, expected a file. Give 'results.nc', say."
        )
    return place


def as_tree(results: Any) -> xr.DataTree:
    """`results` as a marked tree: a piece goes into the group that its attribute `group` names, or to the root."""
    results = to_results(results)
    if isinstance(results, xr.Dataset):
        group = results.attrs.get("group")
        tree = xr.DataTree.from_dict({group if group in GROUPS else "/": results})
    else:
        tree = results.copy()
    tree.attrs = {"gradnoise_version": _version(), "results_format": FORMAT, **tree.attrs}
    for node in tree.subtree:
        node.attrs = clean_attributes(node.attrs)
    return tree


def _version() -> str:
    import gradnoise

    return gradnoise.__version__


def _numeric(dataset: xr.Dataset) -> list[Any]:
    """Names of the variables that can carry a checksum: arrays of numbers."""
    return [
        name
        for name, variable in dataset.variables.items()
        if variable.dtype.kind in "iufb" and variable.size and variable.ndim
    ]


def _stored(value: Any) -> Any:
    """netCDF has no truth values: they are kept as one-byte integers, which nothing else is."""
    return np.int8(value) if isinstance(value, bool) else value


def _restored(value: Any) -> Any:
    if isinstance(value, np.generic) and value.dtype == np.int8:
        return bool(value)
    return value.item() if isinstance(value, np.generic) else value


def _content(place: Path) -> bytes:
    with place.open("rb") as file:
        start = file.read(len(HDF5))
        if start != HDF5:
            raise OSError("no HDF5 file")
        return start + file.read()


def _read(content: bytes, path: Any) -> xr.DataTree:
    """All groups of a netCDF4 file that is in memory already: nothing stays open, whatever goes wrong."""
    import netCDF4

    with netCDF4.Dataset("results", mode="r", memory=content) as opened:
        claimed = _claimed(opened)
        if claimed > MOST_CLAIMED + 10 * len(content):
            raise _Claim(
                f"path={str(path)!r} claims {claimed / 1e9:.3g} GB of numbers in {len(content) / 1e6:.3g} MB of file, "
                "which no results file does. It is damaged or hostile; make it again."
            )
        return xr.DataTree.from_dict(_datasets(opened, "/"))


def _datasets(group: Any, name: str) -> dict[str, xr.Dataset]:
    own = xr.open_dataset(NetCDF4DataStore(group)).load().copy(deep=True)
    below = [_datasets(child, f"{name.rstrip('/')}/{label}") for label, child in group.groups.items()]
    return {name: own} | {place: dataset for each in below for place, dataset in each.items()}


def _claimed(group: Any) -> int:
    own = sum(int(np.prod(each.shape, dtype=object)) * _width(each.dtype) for each in group.variables.values())
    return own + sum(_claimed(child) for child in group.groups.values())


def _width(dtype: Any) -> int:
    return 16 if dtype is str else np.dtype(dtype).itemsize


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
