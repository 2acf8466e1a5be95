"""Reading a folder of CIFAR-10 or CIFAR-100: the binary form, and the pickled Python form without running its code."""

import os
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradnoise.testbeds.data import Arrays
from gradnoise.testbeds.pickled import read_pickle

IMAGE_BYTES = 3 * 32 * 32
BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
MAX_META_BYTES = 2**20


def is_binary_cifar_folder(names: set[str]) -> bool:
    """Whether these names of files are those of CIFAR's binary form."""
    return "data_batch_1.bin" in names or "train.bin" in names


def is_pickled_cifar_folder(names: set[str]) -> bool:
    """Whether these names of files are those of CIFAR's Python form."""
    return {"data_batch_1", "batches.meta"} <= names or {"train", "meta"} <= names


def read_binary_cifar(folder: str, max_bytes: int) -> Arrays:
    """CIFAR-10's data_batch_1..5.bin and test_batch.bin, or CIFAR-100's train.bin and test.bin with the 100 fine labels.

    An example is its label (for CIFAR-100 the coarse, then the fine one) and 3 x 32 x 32 bytes of the image. Batches that
    are not there are left out, but for the first one and the test batch.

    Raises ValueError, one sentence: a file is missing, no whole number of examples long, or larger than `max_bytes`.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; the format: its web page.
    """
    ten = os.path.isfile(os.path.join(folder, "data_batch_1.bin"))
    train = [f"{name}.bin" for name in BATCHES if ten and os.path.isfile(os.path.join(folder, f"{name}.bin"))]
    label_bytes, num_classes = (1, 10) if ten else (2, 100)
    names = _lines(folder, "batches.meta.txt" if ten else "fine_label_names.txt", num_classes)
    arrays = {}
    for part, files in (("train", train or ["train.bin"]), ("test", ["test_batch.bin" if ten else "test.bin"])):
        rows = np.concatenate([_rows(folder, file, label_bytes + IMAGE_BYTES, max_bytes) for file in files])
        arrays[f"x_{part}"], arrays[f"y_{part}"] = rows[:, label_bytes:], rows[:, label_bytes - 1]
    return Arrays(arrays, num_classes, names)


def read_pickled_cifar(folder: str, max_bytes: int) -> Arrays:
    """CIFAR-10's data_batch_1..5, test_batch and batches.meta, or CIFAR-100's train, test and meta with the fine labels.

    Raises ValueError, one sentence: a file is missing, larger than `max_bytes`, no whole pickle, names anything but
    numbers, text, lists, dicts and arrays (nothing is run), or holds something else than images and labels.
    """
    ten = os.path.isfile(os.path.join(folder, "data_batch_1"))
    train = [name for name in BATCHES if ten and os.path.isfile(os.path.join(folder, name))]
    labels, meta, num_classes = (b"labels", "batches.meta", 10) if ten else (b"fine_labels", "meta", 100)
    arrays = {}
    for part, files in (("train", train or ["train"]), ("test", ["test_batch" if ten else "test"])):
        batches = [_pickled_batch(folder, file, labels, max_bytes) for file in files]
        arrays[f"x_{part}"], arrays[f"y_{part}"] = (np.concatenate(column) for column in zip(*batches, strict=True))
    names = _unpickled(folder, meta, MAX_META_BYTES).get(b"label_names" if ten else b"fine_label_names")
    return Arrays(arrays, num_classes, _texts(names, num_classes))


def _rows(folder: str, name: str, row_bytes: int, max_bytes: int) -> np.ndarray:
    content, told = _content(folder, name, max_bytes)
    if len(content) % row_bytes or not content:
        raise ValueError(
            f"{told} has {len(content)} bytes, expected a multiple of {row_bytes}, the bytes of one example. It is cut "
            "short or of another form: get it again."
        )
    return np.frombuffer(content, np.uint8).reshape(-1, row_bytes)


def _pickled_batch(folder: str, name: str, labels: bytes, max_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    batch, told = _unpickled(folder, name, max_bytes), f"data={folder!r}: {name}"
    x, y = batch.get(b"data"), batch.get(labels)
    if not isinstance(x, np.ndarray) or x.dtype != np.uint8 or x.ndim != 2 or x.shape[1] != IMAGE_BYTES:
        raise ValueError(
            f"{told} holds no images under 'data', expected an array of bytes (n, {IMAGE_BYTES}). Get it again."
        )
    if not isinstance(y, list) or len(y) != len(x) or not all(type(label) is int for label in y):
        raise ValueError(f"{told} holds no list of {len(x)} labels under {labels.decode()!r}. Get it again.")
    return x, np.array([label if -1 < label < 2**31 else -1 for label in y], np.int64)


def _unpickled(folder: str, name: str, max_bytes: int) -> dict[Any, Any]:
    content, told = _content(folder, name, max_bytes)
    try:
        found = read_pickle(content)
    except pickle.UnpicklingError as refusal:
        raise ValueError(
            f"{told} is refused, {refusal}: expected a pickle of numbers, text, lists, dicts and numeric arrays. Nothing "
            "in it was run: get it from where it was published."
        ) from None
    if not isinstance(found, dict):
        raise ValueError(f"{told} holds a {type(found).__name__}, expected a dict of images and labels. Get it again.")
    return {key.encode() if isinstance(key, str) else key: value for key, value in found.items()}


def _content(folder: str, name: str, max_bytes: int) -> tuple[bytes, str]:
    path, told = os.path.join(folder, name), f"data={folder!r}: {name}"
    if not os.path.isfile(path):
        raise ValueError(f"{told} is missing, expected it beside the others. Add it.")
    size = os.path.getsize(path)
    if size > max_bytes:
        raise ValueError(f"{told} has {size} bytes, expected at most {max_bytes}. Give the file as published.")
    try:
        with open(path, "rb") as stream:
            return stream.read(size), told
    except OSError:
        raise ValueError(f"{told} cannot be read, expected a readable file. Change its permissions.") from None


def _lines(folder: str, name: str, num_classes: int) -> Sequence[str] | None:
    if not os.path.isfile(os.path.join(folder, name)):
        return None
    content, _ = _content(folder, name, MAX_META_BYTES)
    return _texts(content.split(), num_classes)


def _texts(names: Any, num_classes: int) -> Sequence[str] | None:
    """Class names as text where there are as many as classes, else None: they are words for people only."""
    if not isinstance(names, list) or len(names) != num_classes:
        return None
    return [name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in names]
