"""The factor of a diagram's value in losses, gap, displacement and the loss's variance, for any grid and optimizer."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from gradnoise.diagrams.diagram import Diagram
from gradnoise.diagrams.embeddings import Grid, check_diagram, grid_of, num_embeddings
from gradnoise.diagrams.filters import LinearFilter, read_filter
from gradnoise.diagrams.forests import NUM_FORMAL_EDGES, two_roots
from gradnoise.predict.sums import exact_sum, sum_curve
from gradnoise.spacetime import Spacetime

if TYPE_CHECKING:
    import sympy

Rational = int | float | str | Fraction
"""Read exactly: a string as written ("1/3", "0.9"), a float by its shortest decimal."""

Schedule = Callable[[int], Any] | Sequence[Any]
"""Step -> learning rate in units of the base rate: a function, or one number a step."""

TARGETS = ("test", "train", "gap", "displacement", "variance")


def coefficient(
    diagram: Diagram,
    spacetime: Spacetime,
    target: str = "test",
    momentum: Rational = 0,
    nesterov: bool = False,
    dampening: Rational = 0,
    hessian_damping: Rational = 0,
    schedule: Schedule | None = None,
) -> Fraction:
    """The factor of v(D) learning_rate^order(D) in the expected `target` after the last step, exactly.

        test: (-1/B)^d W(D), root alone.   gap = test - train: -(1/N) (-1/B)^d W(D), root tied.   train: test - gap.
        displacement E theta_T - theta_0: as test, root with exactly one child (v(D) with the root cut off).
        variance of the test loss l(theta_T) over training sets and orders: for a forest of two roots, written as the
        diagram whose root has these two as its only children, 2 (-1/B)^d [W(D) - product], d = order(D) - 2.

    W(D) sums, over embeddings of the non-root nodes, the product over edges of the optimizer's factors, and divides by
    the automorphisms of D, the root's tie included: the target is the sum over *distinct* diagrams, each once. (Of
    the parts of one untied diagram that give the same root-tied one, each is counted.) It is 0 for diagrams that the
    target does not see.

    In a forest the root, its two children r1, r2 (the measured loss, at the end of the run) and the edges between them
    are formal: the factor is that of learning_rate^(order(D) - 2). `product`, the mean count of one tree times that of
    the other, is subtracted where no tie joins the trees; so the first term is 2 (N E^2/2)/B^2 G C G.

    `momentum`, `nesterov`, `dampening`: as in torch.optim.SGD (its first step is not dampened; without momentum the
    dampening does nothing). `hessian_damping`: lam of the update theta - (1/learning_rate + lam Hess)^-1 grad.
    `schedule`: learning rate of each step relative to the base rate. For random sampling: the mean over schedules.
    Without momentum and schedule the work does not depend on the grid's size; otherwise it is proportional to the
    steps (times the columns an epoch for each tied part if sampling="fixed").

    Raises ValueError for an unknown target, a negative momentum, nesterov without momentum or with dampening, a
    schedule that is too short, and a sum too long to do exactly (use `coefficient_curve`); TypeError for other types.

    >>> coefficient(Diagram.parse("(01-2)(02-12)"), Spacetime(num_examples=4, batch_size=2, epochs=2))   # N E^2/(2 B^2)
    Fraction(2, 1)
    >>> coefficient(Diagram.parse("(0-1)(01)"), Spacetime(3, 1), momentum="1/2")       # -(1 + 3/2 + 7/4)
    Fraction(-17, 4)
    >>> coefficient(Diagram.parse("(02-1-3-4)(01-14-23-34)"), Spacetime(4, 2, 2), target="variance")     # N E^2/B^2
    Fraction(4, 1)

    Source: diagrams.md section 1 (theorem, gap, displacement, variance), 4.3 (momentum), 4.4 (hessian update).
    """
    check_arguments(diagram, spacetime, target)
    optimizer = read_filter(spacetime.num_steps, momentum, nesterov, dampening, hessian_damping, schedule)
    return exact_coefficient(diagram, spacetime, target, optimizer)


def coefficient_curve(
    diagram: Diagram,
    spacetime: Spacetime,
    target: str = "test",
    momentum: Rational = 0,
    nesterov: bool = False,
    dampening: Rational = 0,
    hessian_damping: Rational = 0,
    schedule: Schedule | None = None,
) -> np.ndarray:
    """`coefficient` after t = 0, 1, ..., num_steps updates, float64 of shape (num_steps + 1,).

    Entry t is that of `spacetime.truncate(t)`; train loss and gap average all N examples at every t. All factors are
    sums of products without cancellation (but for negative damping or rates, and the products that the variance
    subtracts from forests without a joint tie), so the relative error is a few rounding errors a step. Raises as
    `coefficient`, but never for the length of the sum.

    >>> coefficient_curve(Diagram.parse("(0-1)(01)"), Spacetime(3, 1), momentum=0.5)
    array([ 0.  , -1.  , -2.5 , -4.25])

    Source: diagrams.md sections 1, 2.4 (unfinished epochs), 4.3, 4.4.
    """
    check_arguments(diagram, spacetime, target)
    optimizer = read_filter(spacetime.num_steps, momentum, nesterov, dampening, hessian_damping, schedule)
    return float_coefficients(diagram, spacetime, target, optimizer)


def coefficient_formula(diagram: Diagram, target: str = "test") -> "sympy.Expr":
    """`coefficient` of plain SGD as a sympy expression in the symbols N, B, E, factored, for whole epochs.

    Through order 3 it holds for sampling="fixed" and "reshuffle" alike; from order 4 on the two differ and this is the
    formula for "fixed". Symbols are sympy.Symbol("N"), ("B"), ("E"). Raises as `coefficient`.

    >>> coefficient_formula(Diagram.parse("(01-2)(01-12)"))          # C01: N E(E-1)/2 / B^2
    E*N*(E - 1)/(2*B**2)
    >>> coefficient_formula(Diagram.parse("(02-1-3-4)(01-14-23-34)"), "variance")
    E**2*N/B**2

    Source: diagrams.md sections 2 and 2.4.
    """
    import sympy

    check_arguments(diagram, None, target)
    examples, batch, epochs = sympy.symbols("N B E")
    sign = _sign(diagram, target, examples, batch)
    if sign == 0:
        return sympy.Integer(0)
    grid = Grid(examples, batch, examples / batch, epochs, sympy.Integer(0))
    count = _signed_count(diagram, target, "fixed", lambda bare: num_embeddings(bare, "fixed", grid))
    return cast("sympy.Expr", sympy.factor(sign * sympy.sympify(count) / diagram.num_automorphisms))


def exact_coefficient(diagram: Diagram, spacetime: Spacetime, target: str, optimizer: LinearFilter) -> Fraction:
    """`coefficient` for an optimizer that has been read and arguments that have been checked."""
    sign = _sign(diagram, target, Fraction(spacetime.num_examples), Fraction(spacetime.batch_size))
    if sign == 0:
        return Fraction(0)
    count = _signed_count(diagram, target, spacetime.sampling, lambda bare: exact_sum(bare, spacetime, optimizer))
    return sign * Fraction(count) / diagram.num_automorphisms


def float_coefficients(diagram: Diagram, spacetime: Spacetime, target: str, optimizer: LinearFilter) -> np.ndarray:
    """`coefficient_curve` for an optimizer that has been read and arguments that have been checked."""
    sign = _sign(diagram, target, Fraction(spacetime.num_examples), Fraction(spacetime.batch_size))
    if sign == 0:
        return np.zeros(spacetime.num_steps + 1)
    rounded = optimizer.in_floats
    counts = _signed_count(diagram, target, spacetime.sampling, lambda bare: sum_curve(bare, spacetime, rounded))
    curve = np.broadcast_to(np.asarray(counts, dtype=np.float64), spacetime.num_steps + 1)
    return float(sign / diagram.num_automorphisms) * curve + 0.0  # -0.0 becomes 0.0


def power_of_rate(diagram: Diagram, target: str) -> int:
    """The power of the learning rate that a diagram's coefficient stands at."""
    return diagram.order - (NUM_FORMAL_EDGES if target == "variance" else 0)


def _sign(diagram: Diagram, target: str, num_examples: Any, batch_size: Any) -> Any:
    """What multiplies the count: (-1/B)^d, +-(1/N)(-1/B)^d, 2 (-1/B)^(d-2), or 0 where the target sees nothing."""
    power = (-1 / batch_size) ** power_of_rate(diagram, target)
    if target == "variance":
        return 0 if two_roots(diagram) is None else 2 * power
    if diagram.is_root_tied:
        return {"gap": -power / num_examples, "train": power / num_examples}.get(target, 0)
    if target == "displacement":
        return power if len(diagram.children(diagram.root)) == 1 else 0
    return 0 if target == "gap" else power


def _signed_count(diagram: Diagram, target: str, sampling: str, count: Callable[[Diagram], Any]) -> Any:
    """Embeddings of the diagram; of a forest, less the product of its two trees' where they are independent.

    With one order for all the difference is zero: each tree's count is a number, not a mean over orders.
    """
    forest = two_roots(diagram) if target == "variance" else None
    if forest is None:
        return count(diagram.detach_root())
    if forest.apart is None:
        return count(forest.together)
    return 0 if sampling == "fixed" else count(forest.together) - prod(map(count, forest.apart))


def check_arguments(diagram: Any, spacetime: Any, target: Any) -> None:
    """Raise TypeError or ValueError unless these are a diagram, a spacetime (or None) and a known target."""
    check_diagram(diagram)
    if spacetime is not None:
        grid_of(spacetime)
    if target not in TARGETS:
        raise ValueError(f"target={target!r} is unknown. Use one of {', '.join(map(repr, TARGETS))}.")
