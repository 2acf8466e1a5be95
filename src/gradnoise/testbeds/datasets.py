"""Data for the stock problems: scikit-learn's digits, and a user's own `.npz` file."""

import os
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from gradnoise import _checks
from gradnoise.testbeds.npz import read_arrays

MAX_CLASSES = 10_000
MAX_BYTES = 2 * 2**30


class Data(NamedTuple):
    """Examples `{"x": (n, num_features), "y": (n,) labels or (n, num_outputs) targets}` and the sizes a model needs."""

    pool: dict[str, np.ndarray]
    test_pool: dict[str, np.ndarray] | None
    task: str
    num_features: int
    num_outputs: int


def digits(num_pool: int | None = None, num_test: int = 0) -> Data:
    """scikit-learn's 1797 handwritten digits, 8 x 8 pixels in 0..16 divided by 16, labels 0..9.

    Pixels are scaled, not standardized: the hessian of softmax regression then has its largest eigenvalue near 1.2
    (0.73 with standardized pixels, where a few rarely inked ones reach 40 standard deviations and rule the noise).
    `num_test` takes the last examples out of the pool as held-out ones; `num_pool` keeps the first of the rest.

    >>> data = digits(num_pool=256)
    >>> data.pool["x"].shape, data.num_outputs, data.test_pool is None
    ((256, 64), 10, True)
    """
    x, y = _digits()
    num_test = _checks.integer("num_test", num_test, minimum=0)
    most = len(x) - num_test
    num_pool = most if num_pool is None else _checks.integer("num_pool", num_pool)
    if not 1 <= num_pool <= most:
        raise ValueError(
            f"num_pool={num_pool} and num_test={num_test} do not fit: the digits are {len(x)} examples. Take fewer."
        )
    test_pool = {"x": x[len(x) - num_test :], "y": y[len(y) - num_test :]} if num_test else None
    return Data({"x": x[:num_pool], "y": y[:num_pool]}, test_pool, "classification", 64, 10)


def load_npz(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> Data:
    """A user's data: FILE.npz with x and y, or with x_train, y_train, x_test and y_test (held-out setting).

    y of integers is classification with labels 0..K-1, floating y regression with targets (n,) or (n, k). x of shape
    (n, ...) is flattened to (n, num_features) and standardized by the training pool: (x - mean)/sd for each feature,
    zero where a feature is constant there. Bytes and float32 become float32, wider numbers float64.

    Raises FileNotFoundError if there is no file, otherwise ValueError: not a zip archive, cut short, wrong keys, an
    array of objects, NaN, lengths that differ, no examples, wrong dimensions, labels below zero, or more than
    `max_bytes` once unpacked, which is found before memory is taken.
    """
    told = f"data={os.fspath(path)!r}"
    arrays = read_arrays(path, (("x", "y"), ("x_train", "y_train", "x_test", "y_test")), max_bytes)
    held_out = "x_train" in arrays
    x_name, y_name = ("x_train", "y_train") if held_out else ("x", "y")
    x, y = _inputs(told, x_name, arrays[x_name], max_bytes), _targets(told, y_name, arrays[y_name])
    _same_length(told, x_name, x, y_name, y)
    mean, scale = _standardization(x)
    pool, test_pool = {"x": (x - mean) / scale, "y": y}, None
    if held_out:
        x_test = _inputs(told, "x_test", arrays["x_test"], max_bytes)
        y_test = _targets(told, "y_test", arrays["y_test"])
        _same_length(told, "x_test", x_test, "y_test", y_test)
        if x_test.shape[1] != x.shape[1] or y_test.shape[1:] != y.shape[1:] or y_test.dtype.kind != y.dtype.kind:
            raise ValueError(
                f"{told}: x_test, y_test hold {_form(x_test)}, {_form(y_test)} an example, expected as in x_train, "
                f"y_train {_form(x)}, {_form(y)}. Give both the same features and the same kind of y."
            )
        test_pool = {"x": ((x_test - mean) / scale).astype(x.dtype), "y": y_test}
    task, num_outputs = _task(told, y_name, y, None if test_pool is None else test_pool["y"])
    return Data(pool, test_pool, task, x.shape[1], num_outputs)


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits  # 1.3 s to import: only when digits are asked for

    x, y = load_digits(return_X_y=True)
    return (np.asarray(x) / 16).astype(np.float32), np.asarray(y).astype(np.int32)


def _inputs(told: str, name: str, x: np.ndarray, max_bytes: int) -> np.ndarray:
    if x.dtype.kind not in "fiu":
        raise ValueError(f"{told}: {name} has dtype {x.dtype}, expected numbers. Convert it to a float array first.")
    if x.ndim < 2:
        raise ValueError(f"{told}: {name} has shape {x.shape}, expected (examples, features). Reshape it.")
    if x.size == 0:
        raise ValueError(f"{told}: {name} is empty (shape {x.shape}), expected at least one example and one feature.")
    dtype = np.result_type(x.dtype, np.float32) if x.dtype.itemsize <= 8 else np.dtype(np.float64)
    if x.size * dtype.itemsize > max_bytes:
        raise ValueError(
            f"{told}: {name} takes {x.size * dtype.itemsize} bytes as {dtype}, expected at most {max_bytes}. Cut it."
        )
    with np.errstate(over="ignore"):
        x = x.reshape(len(x), -1).astype(dtype)
    _finite(told, name, x)
    return x


def _targets(told: str, name: str, y: np.ndarray) -> np.ndarray:
    if y.dtype.kind not in "fiu":
        raise ValueError(
            f"{told}: {name} has dtype {y.dtype}, expected integer labels or floating targets. Convert it first."
        )
    if y.ndim not in ((1, 2) if y.dtype.kind == "f" else (1,)):
        raise ValueError(f"{told}: {name} has shape {y.shape}, expected one label, or a row of targets, an example.")
    if y.size == 0:
        raise ValueError(f"{told}: {name} is empty (shape {y.shape}), expected at least one example.")
    if y.dtype.kind == "f":
        _finite(told, name, y)
        return y.reshape(len(y), -1).astype(np.float64 if y.dtype.itemsize >= 8 else np.float32)
    if y.min() < 0 or y.max() >= MAX_CLASSES:
        bad = int(y.min()) if y.min() < 0 else int(y.max())
        raise ValueError(
            f"{told}: {name} holds the label {bad}, expected 0..K-1 (K at most {MAX_CLASSES}). Renumber them."
        )
    return y.astype(np.int32)


def _task(told: str, name: str, y: np.ndarray, y_test: np.ndarray | None) -> tuple[str, int]:
    if y.dtype.kind == "f":
        return "regression", y.shape[1]
    if y.min() == y.max():
        raise ValueError(
            f"{told}: {name} holds only the label {y[0]}, expected at least two classes. Check the labels."
        )
    return "classification", 1 + int(max(y.max(), y.max() if y_test is None else y_test.max()))


def _standardization(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of each feature; a constant feature has scale 1, so that it becomes zero."""
    mean = x.mean(axis=0, dtype=np.float64)
    scale = x.std(axis=0, dtype=np.float64)
    constant = (x == x[0]).all(axis=0)
    mean = np.where(constant, x[0], mean)
    return mean.astype(x.dtype), np.where(constant | (scale == 0), 1, scale).astype(x.dtype)


def _same_length(told: str, x_name: str, x: np.ndarray, y_name: str, y: np.ndarray) -> None:
    if len(x) != len(y):
        raise ValueError(
            f"{told}: {x_name} has {len(x)} examples and {y_name} has {len(y)}, expected equal lengths. "
            "Leave out what has no partner."
        )


def _finite(told: str, name: str, array: np.ndarray) -> None:
    if not np.all(np.isfinite(array)):
        raise ValueError(
            f"{told}: {name} holds NaN or infinity, expected finite numbers. Remove or mend those examples."
        )


def _form(array: Any) -> str:
    return f"{array.dtype} {array.shape[1:]}"
