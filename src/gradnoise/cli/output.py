"""What the commands print on stdout: strict JSON, or a few plain lines."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr


def to_json(value: Any) -> str:
    """One line of strict JSON: NaN becomes null, infinities "Infinity" and "-Infinity"; numpy's numbers are numbers.

    >>> to_json({"a": float("nan"), "b": [1, float("-inf")]})
    '{"a": null, "b": [1, "-Infinity"]}'
    """
    return json.dumps(_plain(value), allow_nan=False)


def tree_to_dict(tree: "xr.DataTree") -> dict[str, Any]:
    """A results tree as nested dictionaries: attributes, and for each group attrs, coords and data_vars."""
    groups = {name: group.to_dataset(inherit=False).to_dict(data="list") for name, group in tree.children.items()}
    return {"attributes": dict(tree.attrs), "groups": groups}


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as aligned columns, the first column flush left, the others flush right.

    >>> print(table([["rate", "loss"], ["0.01", "2"]]))
    rate  loss
    0.01     2
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows)
    return "\n".join("  ".join(line).rstrip() for line in lines)


def duration(seconds: float) -> str:
    """Seconds in words.

    >>> duration(0.4), duration(75), duration(7300)
    ('under a second', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 1:
        return "under a second"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (str, bool, int)) or value is None:
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, Sequence):
        return [_plain(part) for part in value]
    return str(value)
