"""Numbers as a reader wants them."""

import math
from typing import Any

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: Any, digits: int = 3) -> str:
    """A number in `digits` significant digits; "unbounded" for infinity, "unknown" for NaN.

    >>> number(0.012345), number(1234567.0), number(2.5e-7), number(40), number(float("inf"))
    ('0.0123', '1,230,000', '2.5×10⁻⁷', '40', 'unbounded')
    """
    value = float(value)
    if math.isnan(value):
        return "unknown"
    if math.isinf(value):
        return "unbounded" if value > 0 else "−unbounded"
    sign, size = ("−" if value < 0 else ""), abs(value)
    if size == 0:
        return "0"
    rounded = float(f"{size:.{digits}g}")
    exponent = math.floor(math.log10(rounded))
    if not -4 <= exponent < 7:
        factor = f"{rounded / 10.0**exponent:.{digits}g}"
        return f"{sign}{factor}×10{str(exponent).translate(_RAISED)}"
    decimals = max(digits - 1 - exponent, 0)
    text = f"{rounded:,.{decimals}f}"
    return sign + (text.rstrip("0").rstrip(".") if "." in text else text)


def tick(value: float) -> str:
    """A label on a logarithmic axis.

    >>> tick(0.01), tick(1e-6), tick(2e-6)
    ('0.01', '10⁻⁶', '2×10⁻⁶')
    """
    if not 1e-3 <= value < 1e5:
        exponent = math.floor(math.log10(value * 1.0000001))
        factor = round(value / 10.0**exponent, 3)
        power = f"10{str(exponent).translate(_RAISED)}"
        return power if factor == 1 else f"{factor:g}×{power}"
    return number(value, 2)


def with_error(value: Any, error: Any) -> str:
    """value ± error, the value rounded where the error starts; an error of 0, of rounding size or unknown is left out.

    >>> with_error(1.23456, 0.021), with_error(2.0, 0.0), with_error(3.14159, float("nan"))
    ('1.235 ± 0.021', '2', '3.142')
    """
    value, error = float(value), float(error)
    if not (math.isfinite(value) and math.isfinite(error)) or error <= 1e-6 * abs(value):
        return number(value, 4)
    digits = 4 if value == 0 else math.floor(math.log10(abs(value))) - math.floor(math.log10(error)) + 2
    return f"{number(value, min(max(digits, 1), 8))} ± {number(error, 2)}"


def interval(low: Any, high: Any) -> str:
    """An interval in words.

    >>> interval(30, 42.3), interval(12, float("inf")), interval(-float("inf"), 3)
    ('30 to 42.3', 'above 12, unbounded', 'below 3, unbounded')
    """
    low, high = float(low), float(high)
    if math.isnan(low) or math.isnan(high):
        return "unknown"
    if math.isinf(low) or math.isinf(high):
        ends = [f"above {number(low)}"] * math.isfinite(low) + [f"below {number(high)}"] * math.isfinite(high)
        return ", ".join([*ends, "unbounded"])
    return f"{number(low)} to {number(high)}"


def percent(share: Any) -> str:
    """A share in percent: two digits, "under 1%" for small ones.

    >>> percent(0.4567), percent(0.002), percent(0.9962)
    ('46%', 'under 1%', 'over 99%')
    """
    share = float(share)
    if math.isnan(share):
        return "unknown"
    if 0.99 < share < 1:
        return "over 99%"
    return "under 1%" if 0 < share < 0.01 else f"{100 * share:.0f}%"


def listed(items: list[str]) -> str:
    """a, b and c.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""
