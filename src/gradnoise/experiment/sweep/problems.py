"""From a plan to the problems it is about; each is made once in a process, so that compiled functions are found again."""

from functools import lru_cache
from importlib import import_module
from typing import Any

from gradnoise.experiment.sweep.config import DEFAULT_PROBLEM, SweepPlan
from gradnoise.problem import Problem
from gradnoise.testbeds import catalogue


def problem_of(plan: SweepPlan, width: int | None) -> Problem:
    """The plan's problem with hidden layers of `width` (None: as they are).

    Raises ValueError, one sentence, for an unknown name, and for a width where the problem has none.
    """
    if isinstance(plan.problem, Problem):
        if width is not None:
            raise ValueError(
                f"widths came with problem {plan.problem.name!r}, whose network is made already, expected none. Give "
                "problem='module:function' with a parameter width, or leave widths out."
            )
        return plan.problem
    return _made(plan.problem, plan.data, plan.model, width)


@lru_cache(maxsize=32)
def _made(name: str | None, data: str | None, model: str | None, width: int | None) -> Problem:
    options = {} if width is None else {"width": width}
    if data is not None:
        return catalogue.problem_from_data(data, model or "mlp", **options)
    if name is not None and ":" in name:
        return _from_module(name, options)
    return catalogue.problem(name or DEFAULT_PROBLEM, **options)


def _from_module(name: str, options: dict[str, Any]) -> Problem:
    """What module:function names, or gives when called; this runs that module's code."""
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"problem={name!r} cannot be imported ({error}), expected module:function. Check the name."
        ) from error
    if isinstance(found, Problem) and options:
        raise ValueError(
            f"widths came with problem={name!r}, which is no function of a width, expected none. Leave widths out."
        )
    made = found(**options) if callable(found) else found
    if not isinstance(made, Problem):
        raise ValueError(
            f"problem={name!r} gives {type(made).__name__}, expected a Problem. Return gn.from_arrays(...)."
        )
    return made
