"""Reading pickled arrays that nobody vouches for: a stand-in takes the place of every class, so that no code is run."""

import io
import pickle
from typing import Any, ClassVar

import numpy as np

DTYPES = {"u1": "u1", "i8": "<i8", "i4": "<i4", "i2": "<i2", "i1": "i1", "f4": "<f4", "f8": "<f8"}


def read_pickle(content: bytes) -> Any:
    """What a pickle holds: numbers, strings, bytes, lists, tuples, dicts; at the top or in the top dict numeric arrays.

    Strings that Python 2 wrote come as bytes. Numpy's own classes are not called either: an array is made from its bytes,
    in little-endian order, once these are counted. Arrays in protocol 5 are another form, and refused.

    >>> read_pickle(pickle.dumps({"data": np.arange(3, dtype=np.uint8)}, protocol=4))
    {'data': array([0, 1, 2], dtype=uint8)}

    Raises pickle.UnpicklingError for any other class or function, and for whatever is no whole pickle.
    """
    try:
        found = _Restricted(io.BytesIO(content), encoding="bytes").load()
        return {key: _finished(value) for key, value in found.items()} if type(found) is dict else _finished(found)
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise pickle.UnpicklingError(f"it is no whole pickle ({type(error).__name__})") from None


class _Array:
    """Stands for numpy.ndarray: keeps the state that a pickled array has, and makes the array itself."""

    array: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran_order, content = state
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes):
            raise pickle.UnpicklingError("it holds an array of Python objects")
        flat = np.frombuffer(content, dtype.name)
        self.array = flat.reshape(shape, order="F" if fortran_order else "C")


class _Dtype:
    """Stands for numpy.dtype: one of DTYPES, little-endian."""

    def __init__(self, name: Any, *_: Any) -> None:
        text = name.decode("ascii") if isinstance(name, bytes) else name
        if text not in DTYPES:
            raise pickle.UnpicklingError(f"it holds an array of dtype {str(text)[:20]}")
        self.name = DTYPES[text]

    def __setstate__(self, state: Any) -> None:
        if state[1] in (">", b">"):
            raise pickle.UnpicklingError("it holds a big-endian array")


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _latin1(text: str, encoding: str) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("it holds text in an unknown encoding")
    return text.encode("latin1")


STANDS_FOR: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _latin1,
}


_PythonUnpickler: Any = pickle._Unpickler
"""The unpickler written in Python: its memo is a dict, where the one in C takes as much memory as a pickle asks for."""


class _Restricted(_PythonUnpickler):
    """Finds stand-ins alone, sets the state of stand-ins alone, and takes no memory before the bytes that fill it."""

    def find_class(self, module: str, name: str) -> Any:
        stand_in = STANDS_FOR.get((module, name))
        if stand_in is None:
            raise pickle.UnpicklingError(f"it names {module[:40]}.{name[:40]}, which is no part of an array")
        return stand_in

    def load_build(self) -> None:
        if not isinstance(self.stack[-2], (_Array, _Dtype)):
            raise pickle.UnpicklingError("it sets attributes of what is no array")
        super().load_build()

    dispatch: ClassVar = {
        **{code: load for code, load in _PythonUnpickler.dispatch.items() if code != pickle.BYTEARRAY8[0]},
        pickle.BUILD[0]: load_build,
    }


def _finished(value: Any) -> Any:
    """The array for its stand-in; anything else as it is."""
    if not isinstance(value, _Array):
        return value
    if value.array is None:
        raise pickle.UnpicklingError("it holds an array without content")
    return value.array
