"""W(D) times the automorphisms, weighed by an optimizer: exact at the end of a run, or in floats after every step."""

from collections import deque
from fractions import Fraction
from typing import Any

import numpy as np

from gradnoise.diagrams.diagram import Diagram
from gradnoise.diagrams.embeddings import Grid, grid_of, num_embeddings
from gradnoise.diagrams.filters import LinearFilter
from gradnoise.diagrams.weighted import num_operations, weighted_embeddings
from gradnoise.spacetime import Spacetime

MAX_EXACT_OPERATIONS = 10**8
"""Beyond this many multiplications of long integers (some minutes) `exact_sum` refuses."""


def exact_sum(diagram: Diagram, spacetime: Spacetime, optimizer: LinearFilter) -> Fraction:
    """The sum over all embeddings of the product of the optimizer's factors on the edges.

    Raises ValueError for a sum with memory or a schedule that takes more than MAX_EXACT_OPERATIONS.

    >>> exact_sum(Diagram.parse("(0-1)(01)"), Spacetime(3, 1), LinearFilter(momentum=Fraction(1, 2)))
    Fraction(17, 4)
    """
    if optimizer.is_plain:
        return Fraction(num_embeddings(diagram, spacetime.sampling, grid_of(spacetime), optimizer.hessian_damping))
    operations = num_operations(diagram, spacetime, optimizer)
    if operations > MAX_EXACT_OPERATIONS:
        raise ValueError(
            f"num_steps={spacetime.num_steps} of {str(diagram)!r} with momentum or a schedule takes {operations:.0e} "
            f"exact multiplications, expected at most {MAX_EXACT_OPERATIONS:.0e}. Use coefficient_curve, in floats."
        )
    ((total, scale),) = deque(weighted_embeddings(diagram, spacetime, optimizer, _exact_ones), maxlen=1)
    return Fraction(total, scale)


def sum_curve(diagram: Diagram, spacetime: Spacetime, optimizer: LinearFilter) -> Any:
    """The same after t = 0, 1, ..., num_steps updates in float64; a number where it is the same after each."""
    if optimizer.is_plain:
        return num_embeddings(diagram, spacetime.sampling, _all_grids(spacetime), optimizer.hessian_damping)
    return np.array([float(total) for total, _ in weighted_embeddings(diagram, spacetime, optimizer, np.ones)])


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
