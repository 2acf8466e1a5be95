"""Every failure as one plain sentence on stderr: what was expected, what came, what to do."""

import errno
import linecache
import os
import re
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import Any

from gradnoise.cli.expected import EXPECTED, WrongUse, option, wrong_value

WRONG_USE, BUG, INTERRUPTED = 2, 1, 130
PACKAGE = Path(__file__).resolve().parents[1]
LONGEST = 600
"""Letters of a sentence; what a library says may be longer."""

_PLAIN_NAMES = ("problem", "data", "model", "sampling", "epochs", "momentum", "memory", "seed", "device", "order")
_NAMES = re.compile(
    rf"(?<![\w.-])({'|'.join([*(n for n in EXPECTED if '_' in n), *(f'{n}(?==)' for n in _PLAIN_NAMES)])})(?!\w)"
)
_OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory", "out of memory")


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with the sentence that says how to go on."""


def tell(error: BaseException, debug: bool = False) -> int:
    """Write one sentence about `error` to stderr, and with `debug` its traceback before; return the exit code."""
    sentence, code = explain(error)
    if debug:
        traceback.print_exception(error)
    print(f"gradnoise: {_one_line(sentence)}", file=sys.stderr)
    return code


def explain(error: BaseException) -> tuple[str, int]:
    """The sentence for `error`, and the exit code: 2 for what the user can mend, 1 for a bug of ours.

    >>> explain(WrongUse("--seed=x is no number. Give --seed 0, say."))
    ('--seed=x is no number. Give --seed 0, say.', 2)
    """
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "interrupted.", INTERRUPTED
    if isinstance(error, WrongUse):
        return str(error), WRONG_USE
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):
        return _usage(error), WRONG_USE
    if type(error).__name__ == "ValidationError" and hasattr(error, "errors"):
        return _validation(error), WRONG_USE
    if isinstance(error, MemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY):
        return "memory ran out. Give a smaller --memory, fewer replicas or fewer examples.", WRONG_USE
    if isinstance(error, OSError) and not _said_by_us(error):
        return _system(error), WRONG_USE
    if isinstance(error, (ValueError, TypeError, KeyError, OSError)) and _said_by_us(error):
        return as_options(str(error.args[0]) if error.args else str(error)), WRONG_USE
    place = _users_place(error)
    told = f"{type(error).__name__}: {_first_line(error)}"
    if place:
        return (
            f"the code that --problem names raised {told} ({place}). Mend it there; --debug shows the whole traceback.",
            WRONG_USE,
        )
    return f"{told} (this is a bug, run again with --debug and report what it shows).", BUG


def as_options(text: str) -> str:
    """A sentence about Python arguments as one about options of the command line.

    >>> as_options('batch_size=3 does not divide num_examples=10. Use sampling="with_replacement".')
    '--batch-size=3 does not divide --num-examples=10. Use --sampling="with_replacement".'
    """
    return _NAMES.sub(lambda match: option(match[1]), text)


def _usage(error: Any) -> str:
    """What typer found wrong with the command line."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "gradnoise"
    name, told = getattr(error, "option_name", None), str(error.format_message()).rstrip(".")
    if name is None:
        extra = re.fullmatch(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", told)
        if extra:
            return f"{extra[1]!r} came as an argument of {command}, expected options alone. See {command} --help."
        return f"{told}. See {command} --help for what it takes."
    if type(error).__name__ == "NoSuchOption":
        near = getattr(error, "possibilities", None)
        hint = f"Did you mean {near[0]}?" if near else f"See {command} --help for those it has."
        return f"{name} is no option of {command}, expected one that it has. {hint}"
    key = name.lstrip("-").replace("-", "_")
    if key in EXPECTED:
        expected, example = EXPECTED[key]
        return f"{name} came without a value, expected {expected}. Give {name} {example}, say."
    return f"{name} came with a value, expected it alone. Write {name} and nothing after it."


def _validation(error: Any) -> str:
    """The first thing that pydantic found."""
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    if name in EXPECTED:
        return wrong_value(name, first["input"])
    return as_options(str(first["msg"]).removeprefix("Value error, "))


def _system(error: OSError) -> str:
    reason = os.strerror(error.errno) if error.errno else str(error)
    name = f"{os.fspath(error.filename)!r}" if isinstance(error.filename, (str, os.PathLike)) else "a file"
    todo = "Make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Check the path and its permissions"
    return f"{name} cannot be used: {reason}, expected a place that can be read and written. {todo}."


def _said_by_us(error: BaseException) -> bool:
    """Whether a `raise` of gradnoise's own made `error`, so that its text is a sentence for the user."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or not Path(frames[-1].filename).resolve().is_relative_to(PACKAGE):
        return False
    line = linecache.getline(frames[-1].filename, frames[-1].lineno or 0).strip()
    return not line or line.startswith("raise")


def _users_place(error: BaseException) -> str:
    """File and line, innermost, of code that is neither gradnoise's nor an installed package's; "" without any."""
    known = [PACKAGE, *(Path(path).resolve() for path in sysconfig.get_paths().values())]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_file() and not any(path.resolve().is_relative_to(place) for place in known):
            return f"{path.name}, line {frame.lineno}"
    return ""


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no message"


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 4] + " ..."
