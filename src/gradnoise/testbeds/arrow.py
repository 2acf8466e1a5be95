"""Reading columns of Arrow's IPC streams through pyarrow, an extra; packed streams are refused before they are unpacked."""

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

SCHEMA, RECORD_BATCH = 1, 3
"""Kinds of messages (Arrow's Message.fbs); dictionaries, tensors and what is unknown are refused."""

END = b"\xff\xff\xff\xff\0\0\0\0"
"""How a stream ends; without it a file cut between two batches would pass for a whole one."""

KIND, CONTENT, COMPRESSION = 1, 2, 3
"""Places of fields: of a message its kind and content, of a record batch its compression."""


def pyarrow() -> Any:
    """The package, or a sentence on how to get it."""
    try:
        import pyarrow
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "reading a Hugging Face dataset needs pyarrow, which is not installed. Install gradnoise[huggingface]."
        ) from None
    return pyarrow


def read_columns(path: str, names: Sequence[str], told: str) -> list[list[Any]]:
    """For each name the chunks, pyarrow arrays backed by the mapped file, of that column of an IPC stream.

    Raises ValueError if the file is no whole stream, is packed, or if an array in it contradicts itself.
    """
    arrow = pyarrow()
    try:
        with arrow.memory_map(path) as source:
            if source.size() < len(END) or source.read_at(len(END), source.size() - len(END)) != END:
                raise OSError
            for message in _messages(arrow, source):
                _plain(bytes(message.metadata), told)
            source.seek(0)
            with arrow.ipc.open_stream(source) as stream:
                batches = list(stream)
            columns = [[batch.column(name) for batch in batches if len(batch)] for name in names]
            for chunk in (chunk for column in columns for chunk in column):
                chunk.validate(full=True)
            return columns
    except (OSError, KeyError, struct.error, arrow.ArrowException):
        raise _not_whole(told) from None


def column_names(path: str, told: str) -> list[str]:
    """The names of a stream's columns."""
    arrow = pyarrow()
    try:
        with arrow.memory_map(path) as source, arrow.ipc.open_stream(source) as stream:
            return stream.schema.names
    except (OSError, arrow.ArrowException):
        raise _not_whole(told) from None


def numbers(chunks: Sequence[Any], told: str) -> np.ndarray:
    """The column as an array (n, ...): numbers, or lists of lists of numbers, all of one shape."""
    parts = [_nested(chunk, told) for chunk in chunks]
    if len({part.shape[1:] for part in parts}) > 1:
        raise ValueError(f"{told} holds lists of different lengths, expected one shape. Crop or pad them.")
    return np.concatenate(parts)


def _not_whole(told: str) -> ValueError:
    return ValueError(f"{told} is no whole Arrow stream. Write the dataset again with save_to_disk.")


def refuse_missing(chunks: Sequence[Any], told: str) -> None:
    """Raise ValueError where some value of these arrays is missing."""
    missing = sum(chunk.null_count for chunk in chunks)
    if missing:
        raise ValueError(f"{told} holds {missing} missing values, expected none. Leave those examples out.")


def _nested(array: Any, told: str) -> np.ndarray:
    arrow, shape = pyarrow(), [len(array)]
    while True:
        array = array.storage if isinstance(array, arrow.ExtensionArray) else array
        refuse_missing([array], told)
        if not arrow.types.is_nested(array.type):
            break
        if not hasattr(array, "value_lengths") and not arrow.types.is_fixed_size_list(array.type):
            raise ValueError(f"{told} holds {array.type}, expected numbers or lists of numbers. Convert the column.")
        shape.append(_common_length(array, told))
        array = array.flatten()
    if not (arrow.types.is_integer(array.type) or arrow.types.is_floating(array.type)):
        raise ValueError(f"{told} holds {array.type}, expected numbers. Convert the column.")
    return array.to_numpy(zero_copy_only=False).reshape(shape)


def _common_length(array: Any, told: str) -> int:
    arrow = pyarrow()
    if arrow.types.is_fixed_size_list(array.type):
        return array.type.list_size
    lengths = np.unique(array.value_lengths().to_numpy(zero_copy_only=False))
    if len(lengths) != 1:
        raise ValueError(f"{told} holds lists of different lengths, expected one shape. Crop or pad them.")
    return int(lengths[0])


def _messages(arrow: Any, source: Any) -> Iterator[Any]:
    reader = arrow.ipc.MessageReader.open_stream(source)
    while True:
        try:
            yield reader.read_next_message()
        except StopIteration:
            return


def _plain(metadata: bytes, told: str) -> None:
    """Raise unless a message is a schema or an unpacked record batch: what is packed has a size that nothing bounds."""
    (root,) = struct.unpack_from("<I", metadata)
    place = _field(metadata, root, KIND)
    kind = metadata[place] if place else 0
    content = _field(metadata, root, CONTENT)
    if kind not in (SCHEMA, RECORD_BATCH) or not content:
        raise ValueError(f"{told} holds dictionaries or tensors, expected plain columns. Write it with save_to_disk.")
    batch = content + struct.unpack_from("<I", metadata, content)[0]
    if kind == RECORD_BATCH and _field(metadata, batch, COMPRESSION):
        raise ValueError(f"{told} is packed, expected what save_to_disk writes. Write the dataset again with it.")


def _field(metadata: bytes, table: int, number: int) -> int:
    """Where field `number` of the flatbuffer table at `table` stands; 0 where it has its default."""
    signed, place = struct.unpack_from("<i", metadata, table)[0], 4 + 2 * number
    names = table - signed
    if names < 0 or place + 2 > struct.unpack_from("<H", metadata, names)[0]:
        return 0
    (offset,) = struct.unpack_from("<H", metadata, names + place)
    return table + offset if offset else 0
