"""How an option's text is read, and how a wrong one is answered."""

from collections.abc import Callable
from typing import Any

import typer

from gradnoise.cli.expected import WrongUse, option, wrong_value


def read(name: str, kind: Callable[[str], Any]) -> Callable[[Any], Any]:
    """A reader of the option's text that answers a wrong one with our own sentence."""

    def read(text: Any) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise WrongUse(wrong_value(name, text)) from None

    return read


def choice(*choices: str) -> Callable[[str], str]:
    """A reader of one of these words."""

    def choose(text: str) -> str:
        if text not in choices:
            raise ValueError
        return text

    return choose


def share(text: str) -> float:
    """Above 0 and below 1."""
    value = float(text)
    if not 0 < value < 1:
        raise ValueError
    return value


def count(text: str) -> int:
    """At least 1."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def declared(name: str, kind: Callable[[str], Any], metavar: str, help: str, *short: str) -> Any:
    """The option `name` (of `expected`), read by `kind`."""
    return typer.Option(option(name), *short, parser=read(name, kind), metavar=metavar, help=help, show_default=False)


def part(text: str) -> float:
    """From 0 to below 1."""
    value = float(text)
    if not 0 <= value < 1:
        raise ValueError
    return value


def counts(text: str) -> tuple[int, ...]:
    """Counts with commas between them."""
    return tuple(count(part) for part in text.split(","))


def text(given: str) -> str:
    """Anything but blanks."""
    if not given.strip() or "\0" in given:
        raise ValueError
    return given
