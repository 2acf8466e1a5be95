"""What is each replica's own before it starts: the number its draws hang on, the factor of its learning rate."""

from typing import Any, NamedTuple

import numpy as np

from gradnoise import _checks

LARGEST_NUMBER = 2**31 - 1


class Runs(NamedTuple):
    """`number` (num_replicas,) is folded into every key; `rate_scale` (num_replicas,) times the learning rate, or None."""

    number: Any
    rate_scale: Any = None

    def chunk(self, first: int, width: int) -> "Runs":
        """Runs first, ..., first + width - 1; after the last run come copies of it.

        >>> Runs(np.arange(3)).chunk(2, 2).number.tolist()
        [2, 2]
        """
        places = np.minimum(np.arange(first, first + width), len(self.number) - 1)
        return Runs(*(None if array is None else array[places] for array in self))

    @property
    def largest_scale(self) -> float:
        """The largest factor of a learning rate."""
        return 1.0 if self.rate_scale is None else float(np.max(self.rate_scale))


def make_runs(num_replicas: int, replica_numbers: Any, rate_scales: Any, dtype: str) -> Runs:
    """Runs 0, ..., num_replicas - 1 at the common rate, or as given; raises, naming the argument, for what does not do."""
    numbers = np.arange(num_replicas, dtype=np.int32) if replica_numbers is None else _numbers(replica_numbers)
    scales = None if rate_scales is None else _scales(rate_scales, dtype)
    for name, array in {"replica_numbers": numbers, "rate_scales": scales}.items():
        if array is not None and array.shape != (num_replicas,):
            raise ValueError(
                f"{name} has shape {array.shape}, expected ({num_replicas},): one for each of num_replicas={num_replicas}. "
                "Give as many."
            )
    return Runs(numbers, scales)


def _numbers(given: Any) -> np.ndarray:
    array = np.asarray(given)
    if array.dtype.kind not in "iu":
        raise TypeError(f"replica_numbers has dtype {array.dtype}, expected whole numbers. Give np.arange(8), say.")
    for number in (array.min(initial=0), array.max(initial=0)):
        _checks.integer("replica_numbers", number, 0, LARGEST_NUMBER)
    return array.astype(np.int32)


def _scales(given: Any, dtype: str) -> np.ndarray:
    """As numbers of `dtype`, in which they must be finite too."""
    try:
        with np.errstate(over="ignore"):
            array = np.asarray(given, dtype=float).astype(dtype)
    except (TypeError, ValueError):
        raise TypeError(
            f"rate_scales is {type(given).__name__}, expected numbers, one a replica. Give [0.5, 1.0], say."
        ) from None
    bad = ~(np.isfinite(array) & (array >= 0))
    if bad.any():
        raise ValueError(
            f"rate_scales holds {array[bad].flat[0]:g}, expected finite numbers of at least 0 in {dtype}. Give 1.0 for the "
            "learning rate as it is."
        )
    return array
