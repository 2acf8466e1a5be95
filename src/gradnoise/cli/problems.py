"""From `--problem` or `--data` to a Problem."""

import importlib
import sys
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

from gradnoise.cli.expected import WrongUse

if TYPE_CHECKING:
    from gradnoise.problem import Problem

DEFAULT = "digits-mlp"


class Source(NamedTuple):
    """Which problem was asked for: a name or module:function, or a data file with a stock model."""

    problem: str | None
    data: str | None
    model: str | None
    hidden: int | None

    def __str__(self) -> str:
        """The option that chose the problem."""
        return f"--data={self.data!r}" if self.data is not None else f"--problem={self.problem or DEFAULT!r}"

    def check(self) -> None:
        """Raise for options that exclude each other."""
        if self.problem is not None and self.data is not None:
            raise WrongUse(
                f"--data={self.data!r} came beside --problem={self.problem!r}, expected one of the two. Leave one out."
            )
        if self.data is None:
            for name, value in {"--model": self.model, "--hidden": self.hidden}.items():
                if value is not None:
                    raise WrongUse(f"{name}={value!r} came without --data, expected with it. Give --data PATH.")
        if self.hidden is not None and self.model not in (None, "mlp"):
            raise WrongUse(
                f"--hidden={self.hidden} came with --model={self.model!r}, expected with the mlp alone. Leave it out."
            )

    def load(self) -> "Problem":
        """The problem itself; runs the user's code for module:function."""
        from gradnoise.testbeds import catalogue

        if self.data is not None:
            options = {} if self.hidden is None else {"width": self.hidden}
            try:
                return catalogue.problem_from_data(self.data, self.model or "mlp", **options)
            except ModuleNotFoundError as missing:
                raise WrongUse(f"{self}: {missing}") from missing
        name = self.problem or DEFAULT
        if ":" in name:
            return from_module(name)
        if name not in catalogue.CATALOGUE:
            near = get_close_matches(name, catalogue.CATALOGUE, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else "See --help."
            raise WrongUse(
                f"--problem={name!r} is unknown, expected one of {', '.join(catalogue.CATALOGUE)}, or module:function "
                f"of your own. {hint}"
            )
        return catalogue.problem(name)


def from_module(name: str) -> "Problem":
    """The Problem that `module:function` names or returns; the current folder comes first on the path."""
    from gradnoise.problem import Problem

    told, (module_name, _, attribute) = f"--problem={name!r}", name.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), attribute)):
        raise WrongUse(f"{told} is no module:function, expected two Python names. Give mymodule:problem, say.")
    if "" not in sys.path:
        sys.path.insert(0, "")
    module = _imported(told, module_name)
    if not hasattr(module, attribute):
        names = [known for known in vars(module) if not known.startswith("_")]
        near = get_close_matches(attribute, names, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else "Check the name."
        raise WrongUse(f"{told}: module {module_name!r} has no {attribute!r}, expected a function in it. {hint}")
    found = getattr(module, attribute)
    if callable(found) and not isinstance(found, Problem):
        found = _called(told, attribute, found)
    if not isinstance(found, Problem):
        raise WrongUse(
            f"{told} gives {_kind(found)}, expected a gradnoise Problem. Return gn.Problem(...) or gn.from_arrays(...)."
        )
    return found


def _imported(told: str, name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise WrongUse(
                f"{told}: there is no module {error.name!r}, expected one in the current folder or installed. Check "
                "the name, or go to its folder."
            ) from error
        raise _failed(told, f"importing {name}", error) from error
    except (Exception, SystemExit) as error:
        raise _failed(told, f"importing {name}", error) from error


def _called(told: str, name: str, function: Any) -> Any:
    try:
        return function()
    except (Exception, SystemExit) as error:
        raise _failed(told, f"{name}()", error) from error


def _failed(told: str, what: str, error: BaseException) -> WrongUse:
    return WrongUse(
        f"{told}: {what} raised {type(error).__name__}: {error}; expected code that runs without arguments and returns "
        "a Problem. Mend it; --debug shows the traceback."
    )


def _kind(found: Any) -> str:
    return "None" if found is None else f"an object of type {type(found).__name__}"
