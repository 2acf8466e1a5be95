"""Reading `.npz` files that nobody vouches for: every size is checked before memory is taken, nothing is unpickled."""

import math
import os
import zipfile
import zlib
from collections.abc import Sequence
from typing import IO

import numpy as np

DEFLATE_MAX_RATIO = 1032
"""Deflate cannot expand further than this, so a larger claim is a lie."""


def read_arrays(path: str | os.PathLike[str], wanted: Sequence[Sequence[str]], max_bytes: int) -> dict[str, np.ndarray]:
    """The arrays of the one set of keys in `wanted` that the file holds in full.

    Raises FileNotFoundError if there is no file; ValueError, one sentence, if it is no zip archive, is damaged or
    encrypted, holds none or several of the sets, holds Python objects, or if the arrays claim more than `max_bytes`
    or more than the archive can contain. Headers are read first; nothing is allocated for a file that fails.
    """
    told = f"data={os.fspath(path)!r}"
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{told}: there is no such file, expected an .npz file. Check the path.")
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            keys = _chosen_keys(archive, wanted, told)
            length = os.fstat(file.fileno()).st_size
            claimed = sum(_claimed_bytes(archive, key, length, told) for key in keys)
            if claimed > max_bytes:
                raise _Refused(
                    f"{told} claims {_amount(claimed)} of numbers, expected at most {_amount(max_bytes)}. "
                    "Take fewer examples, or raise the limit."
                )
            file.seek(0)
            with np.load(file, allow_pickle=False) as loaded:
                return {key: loaded[key] for key in keys}
    except _Refused as refusal:
        raise ValueError(str(refusal)) from None
    except PermissionError:
        raise ValueError(f"{told} may not be read, expected a readable file. Change its permissions.") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError):
        raise ValueError(
            f"{told} is no whole .npz file (no zip archive, cut short or damaged). Write it again with numpy.savez."
        ) from None


class _Refused(Exception):
    """A file that was understood, and is not taken; carries the sentence for the user."""


def _chosen_keys(archive: zipfile.ZipFile, wanted: Sequence[Sequence[str]], told: str) -> Sequence[str]:
    present = {info.filename.removesuffix(".npy") for info in archive.infolist() if info.filename.endswith(".npy")}
    sets = [keys for keys in wanted if present.issuperset(keys)]
    if len(sets) == 1:
        return sets[0]
    choices = ", or ".join(" and ".join(keys) for keys in wanted)
    if not sets:
        names = sorted(name[:40] for name in present)
        shown = ", ".join(map(repr, names[:8])) + (", ..." if len(names) > 8 else "") if names else "no arrays"
        raise _Refused(f"{told} holds {shown}, expected {choices}. Save it with numpy.savez under these names.")
    raise _Refused(f"{told} holds several sets of arrays, expected either {choices}. Keep one of them.")


def _claimed_bytes(archive: zipfile.ZipFile, key: str, length: int, told: str) -> int:
    """Memory that the member will take by its own header, refused where header, zip entry and file disagree."""
    info = archive.getinfo(f"{key}.npy")
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _Refused(
            f"{told}: {key} is encrypted or packed in an unusual way, expected what numpy.savez writes. Save it again."
        )
    with archive.open(info) as stream:
        shape, dtype = _header(stream)
        header_bytes = stream.tell()
    if dtype.hasobject:
        raise _Refused(f"{told}: {key} holds Python objects, expected numbers. Convert it to a numeric array first.")
    claimed = math.prod(int(count) for count in shape) * dtype.itemsize
    packed = min(info.compress_size, length)
    if any(count < 0 for count in shape) or claimed > DEFLATE_MAX_RATIO * packed:
        raise _Refused(
            f"{told}: the header of {key} claims {_amount(claimed)}, expected no more than its {packed} packed bytes "
            "can hold. The file is damaged or hostile: write it again with numpy.savez."
        )
    if claimed != info.file_size - header_bytes:
        raise _Refused(
            f"{told}: the header of {key} claims {claimed} bytes, expected the {info.file_size - header_bytes} that "
            "follow it. The file is damaged: write it again with numpy.savez."
        )
    return claimed


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream, max_header_size=10_000)
    return shape, dtype


def _amount(count: int) -> str:
    return f"{count / 1e9:,.3g} GB" if count >= 1e8 else f"{count} bytes"
