"""Reading a folder of IDX files, the form of MNIST and its family, packed with gzip or not."""

import gzip
import math
import os
import re
import zlib
from typing import IO, cast

import numpy as np

from gradnoise.testbeds.data import Arrays
from gradnoise.testbeds.npz import DEFLATE_MAX_RATIO

NAME = re.compile(r"(train|t10k|test)-(images|labels)[-.]idx\d-ubyte(\.gz)?")
DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx_folder(folder: str, max_bytes: int) -> Arrays:
    """Images and labels of `train-images-idx3-ubyte` and its kin; with `t10k-` or `test-` files these are the test pool.

    Names may end in .gz and write a dot for the dash before idx; where a file is there both ways, the plain one is read.

    With a test pool the classes are those up to the largest training label. Numbers of images and labels, and the range
    of labels, are not looked at here but in `data_from_arrays`.

    Raises ValueError, one sentence: a file is missing, no IDX file, cut short, longer than its header says, or claims
    more than `max_bytes`.

    Source: "THE IDX FILE FORMAT", LeCun, Cortes, Burges, The MNIST database.
    """
    told, parts = f"data={folder!r}", _parts(folder)
    arrays = {}
    for part in ("train", "test") if any(owner == "test" for owner, _ in parts) else ("train",):
        for letter, kind, dims in (("x", "images", 3), ("y", "labels", 1)):
            if (part, kind) not in parts:
                name = f"{'t10k' if part == 'test' else part}-{kind}-idx{dims}-ubyte"
                raise ValueError(f"{told} lacks the {part} {kind}, expected {name} or {name}.gz. Add the file.")
            arrays[f"{letter}_{part}"] = read_idx(os.path.join(folder, parts[part, kind]), max_bytes)
    if "x_test" not in arrays:
        return Arrays({"x": arrays["x_train"], "y": arrays["y_train"]})
    return Arrays(arrays, num_classes=1 + int(arrays["y_train"].max(initial=0)))


def is_idx_folder(names: set[str]) -> bool:
    """Whether these names of files are those of the MNIST family."""
    return any(NAME.fullmatch(name) for name in names)


def read_idx(path: str, max_bytes: int) -> np.ndarray:
    """The array of one IDX file; its header is checked against the file's length before memory is taken."""
    told = f"data={os.path.dirname(path)!r}: {os.path.basename(path)}"
    packed = path.endswith(".gz")
    try:
        length = os.path.getsize(path)
        with gzip.open(path, "rb") if packed else open(path, "rb") as stream:
            shape, dtype = _header(cast(IO[bytes], stream), told)
            claimed = math.prod(shape) * dtype.itemsize
            if claimed > max_bytes or claimed > length * (DEFLATE_MAX_RATIO if packed else 1):
                raise ValueError(
                    f"{told} claims {claimed} bytes in shape {shape}, expected at most {max_bytes} and no more than its "
                    f"{length} bytes can hold. The file is damaged or too large: get it again or cut it."
                )
            content, rest = stream.read(claimed), stream.read(1)
    except (OSError, EOFError, zlib.error):
        raise ValueError(
            f"{told} cannot be read, expected a whole IDX file{' packed with gzip' if packed else ''}. Get it again."
        ) from None
    if len(content) < claimed or rest:
        raise ValueError(
            f"{told} is {'cut short' if len(content) < claimed else 'too long'}, expected the {claimed} bytes that its "
            "header claims. Get it again."
        )
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _parts(folder: str) -> dict[tuple[str, str], str]:
    """(train or test, images or labels) -> name of the file, the plain one before the packed one."""
    found = {}
    for name in sorted(os.listdir(folder), key=lambda name: (name.endswith(".gz"), name), reverse=True):
        match = NAME.fullmatch(name)
        if match is not None and os.path.isfile(os.path.join(folder, name)):
            found["train" if match[1] == "train" else "test", match[2]] = name
    return found


def _header(stream: IO[bytes], told: str) -> tuple[tuple[int, ...], np.dtype]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES or not 1 <= magic[3] <= 4:
        raise ValueError(
            f"{told} begins with {magic.hex(' ') or 'nothing'}, expected 00 00 08 03 for images or 00 00 08 01 for labels. "
            "Give the file as published."
        )
    sizes = stream.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise ValueError(f"{told} is cut short in its header, expected {magic[3]} sizes. Get it again.")
    return tuple(int(size) for size in np.frombuffer(sizes, ">u4")), np.dtype(DTYPES[magic[2]])
