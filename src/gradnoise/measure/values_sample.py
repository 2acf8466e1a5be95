"""Through which order, over how many examples, in how many groups values are measured: arguments, checked together."""

from typing import Any, NamedTuple

from gradnoise import _checks, _tree
from gradnoise.diagrams.enumerate import number_of_diagrams
from gradnoise.problem import Problem, require_pool

METHODS = ("population", "unbiased")

MAX_ORDER = 6
"""Beyond it the contractions are so many that listing them takes longer than anyone waits."""


class Sample(NamedTuple):
    """The checked arguments of `diagram_values` that say over how many examples it runs, in how many groups."""

    max_order: int
    num_examples: int
    num_groups: int | None


def read_sample(
    problem: Problem, caller: str, max_order: Any, method: Any, num_draws: Any, num_groups: Any, variance: bool
) -> Sample:
    """Check them together; raises ValueError or TypeError in a sentence.

    "unbiased" needs an example for each part of a diagram: max_order + 1, one more for the two roots of a variance.
    """
    order = read_order(max_order)
    _checks.one_of("method", method, METHODS)
    least = max(2, order + 1 + bool(variance))
    if num_groups is not None:
        num_groups = read_groups(num_groups, num_draws, method, least)
    if method == "population" and num_draws is not None:
        raise ValueError(
            f'num_draws={num_draws} has no meaning for method="population", which uses the whole pool. '
            'Leave it out, or give method="unbiased".'
        )
    if num_draws is not None:
        return Sample(order, _checks.integer("num_draws", num_draws, minimum=least), num_groups)
    without = " without num_draws" if method == "unbiased" else ""
    n = _tree.num_examples(require_pool(problem, f'{caller}(method="{method}"){without}'))
    if method == "unbiased" and n < least:
        raise ValueError(
            f'method="unbiased" needs {least} distinct examples here, one for each part of a diagram, and the pool has '
            f"{n}. Give more examples or a smaller max_order."
        )
    return Sample(order, n, num_groups)


def read_order(max_order: int) -> int:
    """`max_order` from 0 to MAX_ORDER; the error says how many diagrams it asked for."""
    order = _checks.integer("max_order", max_order, minimum=0)
    if order > MAX_ORDER:
        raise ValueError(
            f"max_order={order} asks for the values of more than {number_of_diagrams(min(order, 12)):,} diagrams, expected "
            f"at most {MAX_ORDER} ({number_of_diagrams(MAX_ORDER):,} diagrams). Give 3 or 4, or take predict_path."
        )
    return order


def read_groups(num_groups: int, num_draws: int | None, method: str, least: int) -> int:
    """`num_groups` of equal size from `num_draws`, at least 2, each of at least `least` examples."""
    num_groups = _checks.integer("num_groups", num_groups, minimum=2)
    if method != "unbiased" or num_draws is None:
        raise ValueError(
            f'num_groups={num_groups} cuts independent draws into groups, expected method="unbiased" and num_draws. Give '
            f"num_draws={30 * num_groups}, say."
        )
    if num_draws % num_groups or num_draws // num_groups < least:
        raise ValueError(
            f"num_draws={num_draws} in num_groups={num_groups} gives no equal groups of at least {least} distinct examples. "
            f"Give num_draws={num_groups * max(30, least)}, say."
        )
    return num_groups
