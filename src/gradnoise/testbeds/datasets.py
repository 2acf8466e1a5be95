"""Data for the stock problems: scikit-learn's digits, and a user's own files."""

import os
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np

from gradnoise import _checks
from gradnoise.testbeds.cifar import (
    is_binary_cifar_folder,
    is_pickled_cifar_folder,
    read_binary_cifar,
    read_pickled_cifar,
)
from gradnoise.testbeds.data import MAX_BYTES, MAX_CLASSES, Arrays, Data, data_from_arrays
from gradnoise.testbeds.huggingface import is_huggingface_folder, read_huggingface_folder
from gradnoise.testbeds.idx import is_idx_folder, read_idx_folder
from gradnoise.testbeds.npz import read_arrays

__all__ = ["MAX_BYTES", "MAX_CLASSES", "Data", "digits", "load_data", "load_npz"]

FOLDERS: Mapping[str, tuple[Callable[[set[str]], bool], Callable[[str, int], Arrays]]] = {
    "IDX files as of MNIST (train-images-idx3-ubyte, ...)": (is_idx_folder, read_idx_folder),
    "CIFAR's binary files (data_batch_1.bin, ... or train.bin)": (is_binary_cifar_folder, read_binary_cifar),
    "CIFAR's Python files (data_batch_1, ... or train, beside batches.meta or meta)": (
        is_pickled_cifar_folder,
        read_pickled_cifar,
    ),
    "a dataset of Hugging Face's save_to_disk (dataset_dict.json or state.json)": (
        is_huggingface_folder,
        read_huggingface_folder,
    ),
}
"""What a folder may hold -> (is it that, by its names; how it is read)."""


def digits(num_pool: int | None = None, num_test: int = 0) -> Data:
    """scikit-learn's 1797 handwritten digits, 8 x 8 pixels in 0..16 divided by 16, labels 0..9.

    Pixels are scaled, not standardized: the hessian of softmax regression then has its largest eigenvalue near 1.2
    (0.73 with standardized pixels, where a few rarely inked ones reach 40 standard deviations and rule the noise).
    `num_test` takes the last examples out of the pool as held-out ones; `num_pool` keeps the first of the rest.

    >>> data = digits(num_pool=256)
    >>> data.pool["x"].shape, data.num_outputs, data.test_pool is None
    ((256, 64), 10, True)

    Raises ValueError for more examples than there are, or none for the pool.
    """
    x, y = (array.copy() for array in _digits())  # the caller may write into them
    num_test = _checks.integer("num_test", num_test, minimum=0)
    most = len(x) - num_test
    num_pool = most if num_pool is None else _checks.integer("num_pool", num_pool)
    if not 1 <= num_pool <= most:
        raise ValueError(
            f"num_pool={num_pool} and num_test={num_test} do not fit: the digits are {len(x)} examples. Take fewer."
        )
    test_pool = {"x": x[len(x) - num_test :], "y": y[len(y) - num_test :]} if num_test else None
    return Data({"x": x[:num_pool], "y": y[:num_pool]}, test_pool, "classification", 64, 10)


def load_data(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> Data:
    """A user's data by what stands at `path`: an .npz file, or a folder of IDX, CIFAR or Hugging Face files.

    All give the same: x flattened and standardized by the training pool, the published test set as test pool, names of
    classes where the files hold them. Images are (channels, height, width) before they are flattened. See docs/data.md.

    Raises FileNotFoundError if there is nothing, ModuleNotFoundError if a package that reads it is not installed,
    otherwise ValueError, one sentence: none or several of these forms, a file missing, cut short, damaged or of another
    form, labels out of range, numbers that differ, NaN, or more than `max_bytes` of numbers in one array.
    """
    place = os.fspath(path)
    if not os.path.isdir(place):
        return load_npz(place, max_bytes)
    told = f"data={place!r}"
    names = {entry.name for entry in os.scandir(place) if entry.is_file()}
    readers = [read for recognize, read in FOLDERS.values() if recognize(names)]
    if len(readers) != 1:
        shown = ", ".join(repr(name[:40]) for name in sorted(names)[:8]) or "no files"
        raise ValueError(
            f"{told} is a folder of {'several kinds of data' if readers else shown}, expected one of: "
            f"{'; '.join(FOLDERS)}. Name the folder that holds {'just one' if readers else 'them, unpacked'}."
        )
    return data_from_arrays(told, readers[0](place, max_bytes), max_bytes)


def load_npz(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> Data:
    """A user's data: FILE.npz with x and y, or with x_train, y_train, x_test and y_test (held-out setting).

    y of integers is classification with labels 0..K-1, floating y regression with targets (n,) or (n, k). x of shape
    (n, ...) is flattened to (n, num_features) and standardized by the training pool: (x - mean)/sd for each feature,
    zero where a feature is constant there. Numbers that float32 holds exactly (integers of at most 16 bits, float16,
    float32) become float32, others float64.

    Raises FileNotFoundError if there is no file, otherwise ValueError: not a zip archive, cut short, wrong keys, an
    array of objects, NaN, lengths that differ, no examples, wrong dimensions, labels below zero, or more than
    `max_bytes` once unpacked, which is found before memory is taken.
    """
    arrays = read_arrays(path, (("x", "y"), ("x_train", "y_train", "x_test", "y_test")), max_bytes)
    return data_from_arrays(f"data={os.fspath(path)!r}", Arrays(arrays), max_bytes)


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits  # 1.3 s to import: only when digits are asked for

    x, y = load_digits(return_X_y=True)
    return (np.asarray(x) / 16).astype(np.float32), np.asarray(y).astype(np.int32)
