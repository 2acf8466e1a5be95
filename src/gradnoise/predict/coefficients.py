"""The factor of a diagram's value in test loss, train loss, gap and mean displacement, for any grid and optimizer."""

from collections import deque
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from gradnoise.diagrams.diagram import Diagram
from gradnoise.diagrams.embeddings import Grid, check_diagram, grid_of, num_embeddings
from gradnoise.diagrams.filters import LinearFilter, read_filter
from gradnoise.diagrams.weighted import num_operations, weighted_embeddings
from gradnoise.spacetime import Spacetime

if TYPE_CHECKING:
    import sympy

Rational = int | float | str | Fraction
"""Read exactly: a string as written ("1/3", "0.9"), a float by its shortest decimal."""

Schedule = Callable[[int], Any] | Sequence[Any]
"""Step -> learning rate in units of the base rate: a function, or one number a step."""

TARGETS = ("test", "train", "gap", "displacement")
MAX_EXACT_OPERATIONS = 10**8
"""Beyond this many multiplications of long integers (some minutes) `coefficient` refuses."""


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

    W(D) sums, over embeddings of the non-root nodes, the product over edges of the optimizer's factors, and divides by
    the automorphisms of D, the root's tie included: the target is the sum over *distinct* diagrams, each once. (Of
    the parts of one untied diagram that give the same root-tied one, each is counted.) It is 0 for diagrams that the
    target does not see.

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

    Source: diagrams.md section 1 (theorem, gap, displacement), 4.3 (momentum), 4.4 (hessian update).
    """
    _check(diagram, spacetime, target)
    optimizer = read_filter(spacetime.num_steps, momentum, nesterov, dampening, hessian_damping, schedule)
    grid = grid_of(spacetime)
    sign = _sign(diagram, target, grid.num_examples, grid.batch_size)
    if sign == 0:
        return Fraction(0)
    bare = diagram.detach_root()
    if optimizer.is_plain:
        count = num_embeddings(bare, spacetime.sampling, grid, optimizer.hessian_damping)
    else:
        count = _exact_sum(bare, spacetime, optimizer)
    return sign * Fraction(count) / diagram.num_automorphisms


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
    sums of products without cancellation (but for negative damping or rates), so the relative error is a few rounding
    errors a step. Raises as `coefficient`, but never for the length of the sum.

    >>> coefficient_curve(Diagram.parse("(0-1)(01)"), Spacetime(3, 1), momentum=0.5)
    array([ 0.  , -1.  , -2.5 , -4.25])

    Source: diagrams.md sections 1, 2.4 (unfinished epochs), 4.3, 4.4.
    """
    _check(diagram, spacetime, target)
    optimizer = read_filter(spacetime.num_steps, momentum, nesterov, dampening, hessian_damping, schedule)
    sign = _sign(diagram, target, Fraction(spacetime.num_examples), Fraction(spacetime.batch_size))
    if sign == 0:
        return np.zeros(spacetime.num_steps + 1)
    bare, optimizer = diagram.detach_root(), _in_floats(optimizer)
    if optimizer.is_plain:
        counts = num_embeddings(bare, spacetime.sampling, _all_grids(spacetime), optimizer.hessian_damping)
    else:
        counts = [total for total, _ in weighted_embeddings(bare, spacetime, optimizer, np.ones)]
    curve = np.broadcast_to(np.asarray(counts, dtype=np.float64), spacetime.num_steps + 1)
    return float(sign / diagram.num_automorphisms) * curve + 0.0  # -0.0 becomes 0.0


def coefficient_formula(diagram: Diagram, target: str = "test") -> "sympy.Expr":
    """`coefficient` of plain SGD as a sympy expression in the symbols N, B, E, factored, for whole epochs.

    Through order 3 it holds for sampling="fixed" and "reshuffle" alike; from order 4 on the two differ and this is the
    formula for "fixed". Symbols are sympy.Symbol("N"), ("B"), ("E"). Raises as `coefficient`.

    >>> coefficient_formula(Diagram.parse("(01-2)(01-12)"))          # C01: N E(E-1)/2 / B^2
    E*N*(E - 1)/(2*B**2)

    Source: diagrams.md sections 2 and 2.4.
    """
    import sympy

    _check(diagram, None, target)
    examples, batch, epochs = sympy.symbols("N B E")
    sign = _sign(diagram, target, examples, batch)
    if sign == 0:
        return sympy.Integer(0)
    grid = Grid(examples, batch, examples / batch, epochs, sympy.Integer(0))
    count = num_embeddings(diagram.detach_root(), "fixed", grid)
    return cast("sympy.Expr", sympy.factor(sign * sympy.sympify(count) / diagram.num_automorphisms))


def _sign(diagram: Diagram, target: str, num_examples: Any, batch_size: Any) -> Any:
    """What multiplies W(D): (-1/B)^d or +-(1/N)(-1/B)^d, or 0 for a diagram that the target does not see."""
    power = (-1 / batch_size) ** diagram.order
    if diagram.is_root_tied:
        return {"gap": -power / num_examples, "train": power / num_examples}.get(target, 0)
    if target == "displacement":
        return power if len(diagram.children(diagram.root)) == 1 else 0
    return 0 if target == "gap" else power


def _exact_sum(diagram: Diagram, spacetime: Spacetime, optimizer: LinearFilter) -> Fraction:
    operations = num_operations(diagram, spacetime, optimizer)
    if operations > MAX_EXACT_OPERATIONS:
        raise ValueError(
            f"num_steps={spacetime.num_steps} of {str(diagram)!r} with momentum or a schedule takes {operations:.0e} "
            f"exact multiplications, expected at most {MAX_EXACT_OPERATIONS:.0e}. Use coefficient_curve, in floats."
        )
    ((total, scale),) = deque(weighted_embeddings(diagram, spacetime, optimizer, _exact_ones), maxlen=1)
    return Fraction(total, scale)


def _exact_ones(shape: tuple[int, ...]) -> np.ndarray:
    return np.ones(shape, dtype=object)


def _all_grids(spacetime: Spacetime) -> Grid:
    """The grids after t = 0..T updates, as one grid whose epochs are arrays."""
    steps = np.arange(spacetime.num_steps + 1.0)
    examples, batch = float(spacetime.num_examples), float(spacetime.batch_size)
    if not spacetime.has_epochs:
        return Grid(examples, batch, 1.0, steps, 0.0)
    columns = float(spacetime.steps_per_epoch)
    return Grid(examples, batch, columns, steps // columns, steps % columns)


def _in_floats(optimizer: LinearFilter) -> LinearFilter:
    return LinearFilter(
        float(optimizer.momentum),
        optimizer.nesterov,
        float(optimizer.dampening),
        float(optimizer.hessian_damping),
        None if optimizer.rates is None else tuple(map(float, optimizer.rates)),
    )


def _check(diagram: Any, spacetime: Any, target: Any) -> None:
    check_diagram(diagram)
    if spacetime is not None:
        grid_of(spacetime)
    if target not in TARGETS:
        raise ValueError(f"target={target!r} is unknown. Use one of {', '.join(map(repr, TARGETS))}.")
