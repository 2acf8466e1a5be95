"""Reading a folder of Hugging Face's `save_to_disk` without the `datasets` package: JSON files and Arrow streams."""

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradnoise.testbeds.arrow import column_names, numbers, pyarrow, read_columns, refuse_missing
from gradnoise.testbeds.data import Arrays
from gradnoise.testbeds.encoded_images import decoded

TEST_SPLITS = ("test", "validation", "valid")
INPUTS = ("image", "img", "x", "pixel_values", "features")
TARGETS = ("label", "labels", "fine_label", "y", "target")
MAX_JSON_BYTES = 2**24


def is_huggingface_folder(names: set[str]) -> bool:
    """Whether these names of files are those of a saved dataset or a dict of them."""
    return bool({"dataset_dict.json", "state.json"} & names)


def read_huggingface_folder(folder: str, max_bytes: int) -> Arrays:
    """A saved DatasetDict (train, and test, validation or valid, the first there, as test pool) or a saved Dataset.

    The input column is the one named as in INPUTS: encoded images or their bytes, or (nested lists of) numbers of one
    shape; the target column the one named as in TARGETS. Class names are those of a ClassLabel.

    Raises ModuleNotFoundError without pyarrow (for encoded images: Pillow), ValueError: no train split, a file missing,
    outside of the folder or damaged, no or several such columns, missing values, different shapes, rows picked by an index.
    """
    told = f"data={folder!r}"
    if not os.path.isfile(os.path.join(folder, "dataset_dict.json")):
        x, y, class_names = _split(folder, told, max_bytes)
        return Arrays({"x": x, "y": y}, class_names=class_names)
    splits = _listed(_json(folder, "dataset_dict.json", told).get("splits"))
    if "train" not in splits:
        raise ValueError(f"{told} holds the splits {splits}, expected 'train' among them. Rename one to train.")
    x, y, class_names = _split(os.path.join(folder, "train"), f"{told}: train", max_bytes)
    test = next((name for name in TEST_SPLITS if name in splits), None)
    if test is None:
        return Arrays({"x": x, "y": y}, class_names=class_names)
    x_test, y_test, _ = _split(os.path.join(folder, test), f"{told}: {test}", max_bytes)
    return Arrays({"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test}, class_names=class_names)


def _split(folder: str, told: str, max_bytes: int) -> tuple[np.ndarray, np.ndarray, list[str] | None]:
    pyarrow()
    state = _json(folder, "state.json", told)
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise ValueError(f"{told} holds an index over its rows. Call flatten_indices() before save_to_disk.")
    names = _file_names(folder, state.get("_data_files"), told)
    present = column_names(os.path.join(folder, names[0]), f"{told}: {names[0]}")
    chosen = _chosen(present, INPUTS, "inputs", told), _chosen(present, TARGETS, "targets", told)
    x_chunks, y_chunks = [], []
    for name in names:
        x, y = read_columns(os.path.join(folder, name), chosen, f"{told}: {name}")
        x_chunks += x
        y_chunks += y
    if not x_chunks:
        raise ValueError(f"{told} holds no examples, expected at least one. Check what was saved.")
    inputs = _inputs(x_chunks, f"{told}: column {chosen[0]!r}", max_bytes)
    return inputs, numbers(y_chunks, f"{told}: column {chosen[1]!r}"), _class_names(folder, chosen[1], told)


def _file_names(folder: str, listed: Any, told: str) -> list[str]:
    """Names of the Arrow files, all of them in this folder."""
    names = (
        [str(entry.get("filename")) for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    )
    if not names or any(name != os.path.basename(name) for name in names):
        raise ValueError(f"{told}: state.json names no files of this folder. Write it again with save_to_disk.")
    for name in names:
        if not os.path.isfile(os.path.join(folder, name)):
            raise ValueError(f"{told}: {name} is missing, expected it beside state.json. Add it.")
    return names


def _chosen(present: Sequence[str], known: Sequence[str], what: str, told: str) -> str:
    found = [name for name in known if name in present]
    if len(found) != 1 or list(present).count(found[0]) != 1:
        raise ValueError(
            f"{told} has the columns {', '.join(map(repr, present[:12]))}, expected exactly one of "
            f"{', '.join(map(repr, known))} for the {what}. Rename or remove columns before save_to_disk."
        )
    return found[0]


def _inputs(chunks: Sequence[Any], told: str, max_bytes: int) -> np.ndarray:
    """Encoded images decoded, numbers as they are."""
    types, kinds = pyarrow().types, list(dict.fromkeys(chunk.type for chunk in chunks))
    kind = next((each for each in kinds if types.is_struct(each) or _is_bytes(each)), None)
    if kind is None:
        return numbers(chunks, told)
    if len(kinds) > 1:
        raise ValueError(f"{told} holds {' and '.join(map(str, kinds))}, expected one type. Save the dataset again.")
    refuse_missing(chunks, told)
    if not _is_bytes(kind):
        if kind.get_field_index("bytes") < 0:
            raise ValueError(f"{told} holds {kind}, expected images with their bytes. Save them so.")
        chunks = [chunk.field("bytes") for chunk in chunks]
    if any(chunk.null_count for chunk in chunks):
        raise ValueError(f"{told} names image files instead of holding their bytes. Embed them before save_to_disk.")
    return decoded([file.as_py() for chunk in chunks for file in chunk], told, max_bytes)


def _is_bytes(kind: Any) -> bool:
    return pyarrow().types.is_binary(kind) or pyarrow().types.is_large_binary(kind)


def _class_names(folder: str, column: str, told: str) -> list[str] | None:
    if not os.path.isfile(os.path.join(folder, "dataset_info.json")):
        return None
    features = _json(folder, "dataset_info.json", told).get("features")
    feature = features.get(column) if isinstance(features, dict) else None
    return _listed(feature.get("names")) or None if isinstance(feature, dict) else None


def _listed(names: Any) -> list[str]:
    return [str(name) for name in names] if isinstance(names, list) else []


def _json(folder: str, name: str, told: str) -> dict[str, Any]:
    path = os.path.join(folder, name)
    try:
        if os.path.getsize(path) > MAX_JSON_BYTES:
            raise ValueError
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError, RecursionError):
        raise ValueError(f"{told}: {name} is missing or damaged, expected a small JSON file. Save it again.") from None
    return found if isinstance(found, dict) else {}
