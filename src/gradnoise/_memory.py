"""Amounts of memory: as text, and as this machine has them."""

import os
import re
from pathlib import Path

UNITS = {"": 1, "B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40, "KB": 10**3, "MB": 10**6, "GB": 10**9}

DEFAULT_MEMORY = 2 * 2**30
"""The bound where none is given: fixed, so that results do not depend on what the machine has free."""

LEAST_ROOM = 2**29
"""What work may take where the process holds DEFAULT_MEMORY already."""


def parse_memory(amount: int | str) -> int:
    """Bytes from a number of bytes or from text such as "2GiB", "500 MB", "1.5GiB".

    >>> parse_memory("2GiB"), parse_memory("500 MB"), parse_memory(1024)
    (2147483648, 500000000, 1024)

    Raises ValueError or TypeError, naming memory, if it is neither, or not positive.
    """
    expected = 'expected a number of bytes or text such as "2GiB". Give "2GiB", say.'
    if isinstance(amount, bool) or not isinstance(amount, (int, str)):
        raise TypeError(f"memory={amount!r} is {type(amount).__name__}, {expected}")
    if isinstance(amount, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", amount)
        unit = UNITS.get(match[2].upper()) if match else None
        if match is None or unit is None:
            raise ValueError(f"memory={amount!r} is not an amount of memory, {expected}")
        amount = int(float(match[1]) * unit)
    if amount <= 0:
        raise ValueError(f"memory={amount} is not positive, {expected}")
    return amount


def room(memory: int | str | None, reserve: int = 0) -> int:
    """Bytes that work may still take so that the process stays within `memory`, `reserve` kept back; may be negative.

    None means DEFAULT_MEMORY, whatever the machine has free, or where the process holds too much for that already
    LEAST_ROOM more: only a bound that was asked for can fail.
    """
    limit = DEFAULT_MEMORY if memory is None else parse_memory(memory)
    left = limit - resident_memory() - reserve
    return max(left, LEAST_ROOM) if memory is None else left


def format_memory(amount: int) -> str:
    """Bytes as text in binary units.

    >>> format_memory(3 * 2**29), format_memory(10 * 2**20)
    ('1.5 GiB', '10 MiB')
    """
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if amount >= size:
            return f"{amount / size:.3g} {unit}"
    return f"{amount} B"


def available_memory() -> int:
    """Bytes that this process may still take: what the machine has free, or less under a container's limit."""
    free = _machine_free()
    limit, used = _number("/sys/fs/cgroup/memory.max"), _number("/sys/fs/cgroup/memory.current")
    return free if limit is None or used is None else min(free, max(limit - used, 0))


def peak_memory() -> int:
    """The most bytes this process has had in memory so far, by the operating system's own figure."""
    import resource
    import sys

    status = _fields("/proc/self/status")  # of this program; getrusage on Linux also counts the one that started it
    if "VmHWM" in status:
        return status["VmHWM"]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def resident_memory() -> int:
    """Bytes of this process in memory now (its peak, where the system does not say)."""
    return _fields("/proc/self/status").get("VmRSS") or peak_memory()


def _machine_free() -> int:
    free = _fields("/proc/meminfo").get("MemAvailable")
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2 if free is None else free


def _fields(path: str) -> dict[str, int]:
    """The sizes in a file of lines "Name:   123 kB", in bytes; empty if there is no such file."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return {}
    matches = (re.fullmatch(r"(\w+):\s+(\d+) kB", line) for line in lines)
    return {match[1]: int(match[2]) * 1024 for match in matches if match}


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None
