"""What every reader of data gives: checked arrays, flattened and standardized by the training pool."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

MAX_CLASSES = 10_000
MAX_BYTES = 2 * 2**30
"""Default limit of one array of inputs as it is kept: CIFAR-10's training images take 0.6 GB."""

ROWS_AT_ONCE = 1024


class Data(NamedTuple):
    """Examples `{"x": (n, num_features), "y": (n,) labels or (n, num_outputs) targets}` and the sizes a model needs."""

    pool: dict[str, np.ndarray]
    test_pool: dict[str, np.ndarray] | None
    task: str
    num_features: int
    num_outputs: int
    class_names: tuple[str, ...] | None = None


class Arrays(NamedTuple):
    """What was read: `x` and `y`, or `x_train y_train x_test y_test`; the number of classes or their names, where known."""

    arrays: Mapping[str, np.ndarray]
    num_classes: int | None = None
    class_names: Sequence[str] | None = None


def data_from_arrays(told: str, read: Arrays, max_bytes: int = MAX_BYTES) -> Data:
    """Data from arrays: x flattened and standardized by the training pool, (x - mean)/sd, zero where it is constant there.

    Numbers that float32 holds exactly (integers of at most 16 bits, float16, float32) become float32, others float64;
    labels become int32, floating targets (n, num_outputs).
    `told` begins every refusal: it says which data are meant.

    >>> read = Arrays({"x": np.array([[1.0], [3.0]]), "y": np.array([0, 1])})
    >>> data_from_arrays("data='here'", read).pool["x"]
    array([[-1.],
           [ 1.]])

    Raises ValueError: not numbers, NaN or infinity, no examples, wrong dimensions, lengths that differ, labels below
    zero or beyond the known classes, test examples of another form, or more than `max_bytes` of inputs.
    """
    held_out = "x_train" in read.arrays
    names = ("x_train", "y_train") if held_out else ("x", "y")
    pool, test_pool = _examples(told, names, read.arrays, max_bytes), None
    mean, scale = _standardization(pool["x"])
    if held_out:
        test_pool = _examples(told, ("x_test", "y_test"), read.arrays, max_bytes)
        _same_form(told, pool, test_pool)
        test_pool["x"] = _standardized(test_pool["x"], mean, scale).astype(pool["x"].dtype, copy=False)
    pool["x"] = _standardized(pool["x"], mean, scale)
    class_names = None if read.class_names is None else tuple(read.class_names)
    num_classes = len(class_names) if class_names else read.num_classes
    task, num_outputs = _task(told, names[1], pool["y"], test_pool, num_classes)
    return Data(pool, test_pool, task, pool["x"].shape[1], num_outputs, class_names)


def _examples(
    told: str, names: tuple[str, str], arrays: Mapping[str, np.ndarray], max_bytes: int
) -> dict[str, np.ndarray]:
    x, y = _inputs(told, names[0], arrays[names[0]], max_bytes), _targets(told, names[1], arrays[names[1]])
    if len(x) != len(y):
        raise ValueError(
            f"{told}: {names[0]} has {len(x)} examples and {names[1]} has {len(y)}, expected equal lengths. "
            "Leave out what has no partner."
        )
    return {"x": x, "y": y}


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
        raise ValueError(
            f"{told}: {name} has shape {y.shape} and dtype {y.dtype}, expected one whole number, the label, an example, or "
            "a row of floating targets. Give the places of the ones for one-hot rows, and floats for targets."
        )
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


def _task(
    told: str, name: str, y: np.ndarray, test_pool: dict[str, np.ndarray] | None, num_classes: int | None
) -> tuple[str, int]:
    if y.dtype.kind == "f":
        return "regression", y.shape[1]
    if y.min() == y.max():
        raise ValueError(
            f"{told}: {name} holds only the label {y[0]}, expected at least two classes. Check the labels."
        )
    largest = {name: int(y.max())} | ({} if test_pool is None else {"y_test": int(test_pool["y"].max())})
    if num_classes is None:
        return "classification", 1 + max(largest.values())
    for labels, label in largest.items():
        if label >= num_classes:
            raise ValueError(
                f"{told}: {labels} holds the label {label}, expected 0..{num_classes - 1}. The file is damaged or "
                "mislabelled: get it again."
            )
    return "classification", num_classes


def _standardization(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of each feature; a constant feature has scale 1, so that it becomes zero."""
    mean = x.mean(axis=0, dtype=np.float64)
    blocks = (x[start : start + ROWS_AT_ONCE] for start in range(0, len(x), ROWS_AT_ONCE))
    scale = np.sqrt(sum(np.square(block - mean).sum(axis=0) for block in blocks) / len(x))
    constant = x.min(axis=0) == x.max(axis=0)
    mean = np.where(constant, x[0], mean)
    return mean.astype(x.dtype), np.where(constant | (scale == 0), 1, scale).astype(x.dtype)


def _standardized(x: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(x - mean)/scale, in the memory of x where its dtype is wide enough."""
    if x.dtype != mean.dtype:
        return (x - mean) / scale
    x -= mean
    x /= scale
    return x


def _same_form(told: str, pool: dict[str, np.ndarray], test_pool: dict[str, np.ndarray]) -> None:
    x, y, x_test, y_test = pool["x"], pool["y"], test_pool["x"], test_pool["y"]
    if x_test.shape[1] != x.shape[1] or y_test.shape[1:] != y.shape[1:] or y_test.dtype.kind != y.dtype.kind:
        raise ValueError(
            f"{told}: x_test, y_test hold {_form(x_test)}, {_form(y_test)} an example, expected as in x_train, "
            f"y_train {_form(x)}, {_form(y)}. Give both the same features and the same kind of y."
        )


def _finite(told: str, name: str, array: np.ndarray) -> None:
    if not np.all(np.isfinite(array)):
        raise ValueError(
            f"{told}: {name} holds NaN or infinity, expected finite numbers. Remove or mend those examples."
        )


def _form(array: Any) -> str:
    return f"{array.dtype} {array.shape[1:]}"
