"""SGD less gradient flow, SGD less its SDE: diagram by diagram, and as series whose causes are told apart."""

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from gradnoise import _checks
from gradnoise.diagrams import Diagram, enumerate_diagrams
from gradnoise.diagrams.embeddings import grid_of
from gradnoise.estimate import Estimate, linear_combination
from gradnoise.measure import DiagramValues
from gradnoise.measure.diagram_values import require_values
from gradnoise.predict.coefficients import coefficient
from gradnoise.predict.continuous import ode_coefficient, sde_coefficient
from gradnoise.spacetime import Spacetime


class Factors(NamedTuple):
    """What v(D) learning_rate^order is multiplied by in the test loss of four processes, T updates of B examples each.

    `sgd` on the grid; `one_epoch`, SGD on T B fresh examples; the `sde` and the `ode` (gradient flow) on the population.
    """

    diagram: Diagram
    sgd: Fraction
    one_epoch: Fraction
    sde: Fraction
    ode: Fraction

    @property
    def is_non_gaussian(self) -> bool:
        """Whether a part has three nodes or more: a third or higher cumulant, which no SDE has."""
        return any(len(part) > 2 for part in self.diagram.parts)

    @property
    def between_epochs(self) -> Fraction:
        """sgd - one_epoch: embeddings that use an example again (in a later update, or drawn twice), missed by the SDE."""
        return self.sgd - self.one_epoch


class ProcessDifferences(NamedTuple):
    """Series of differences between processes: each an Estimate of shape (max_order + 1,), loss / learning_rate^k.

        sgd_minus_sde = between_epochs + non_gaussian + finite_steps
        sgd_minus_ode = sgd_minus_sde + sde_minus_ode

    `non_gaussian`: the terms with a part of three nodes or more. Of the others, `between_epochs`: what the later epochs
    add to SGD on fresh examples (C01, more of V01, ...); `finite_steps`: SGD on fresh examples less the SDE.
    """

    sgd_minus_ode: Estimate
    sgd_minus_sde: Estimate
    sde_minus_ode: Estimate
    between_epochs: Estimate
    non_gaussian: Estimate
    finite_steps: Estimate


def process_factors(max_order: int, spacetime: Spacetime) -> tuple[Factors, ...]:
    """The factors of all diagrams of test loss through `max_order` (0 to 6) in SGD, the SDE and gradient flow.

    >>> for row in process_factors(2, Spacetime(num_examples=4, batch_size=2, epochs=3))[2:]:
    ...     print(row.diagram, *map(str, row[1:]))
    (0-1-2)(01-12) 15 15 18 18
    (01-2)(01-12) 3 0 0 0
    (0-1-2)(02-12) 18 18 18 18
    (01-2)(02-12) 9/2 3/2 3/2 0

    Raises ValueError for an order out of range, TypeError for another spacetime.

    Source: diagrams.md 4.1, 4.2.
    """
    orders = range(_checks.integer("max_order", max_order, minimum=0, maximum=6) + 1)
    return tuple(_factors(diagram, spacetime) for order in orders for diagram in enumerate_diagrams(order))


def process_differences(values: DiagramValues, spacetime: Spacetime) -> ProcessDifferences:
    """Test loss of SGD less gradient flow, SGD less SDE, and the causes, by power of the learning rate.

    All at the time learning_rate * num_steps, exactly at each order (no limit of small steps). For one epoch and B = 1

        order 2:  SGD - ODE = (T/2)(C:H - GHG)        SGD - SDE = -(T/2) GHG, finite steps alone
        order 3:  SGD - SDE = finite_steps + non_gaussian,         non_gaussian = -(T/6) S:J

    Errors are those of the measured values, with their covariance; the factors are exact. Plain SGD: momentum has
    another continuous limit.

    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float64(0.0), np.array([0.0, 2.0]))
    >>> found = process_differences(gn.diagram_values(problem, 0.0, max_order=2), gn.Spacetime(4, 1))
    >>> found.sgd_minus_sde.value, found.sgd_minus_ode.value         # G = -1, H = 1, C = 1, T = 4
    (array([ 0.,  0., -2.]), array([0., 0., 0.]))

    Raises TypeError for other values or another spacetime.

    Source: diagrams.md 4.1, 4.2; docs/theory/errata_diagrams.md.
    """
    require_values(values)
    rows = [_factors(diagram, spacetime) for diagram in values.diagrams if not diagram.is_root_tied]

    def series(factor: Callable[[Factors], Fraction | int]) -> Estimate:
        weights = np.zeros((values.max_order + 1, len(values.entries)))
        for row in rows:
            weights[row.diagram.order, values.index(row.diagram, "test")] = float(factor(row))
        return linear_combination(weights, values.table)

    return ProcessDifferences(
        sgd_minus_ode=series(lambda row: row.sgd - row.ode),
        sgd_minus_sde=series(lambda row: row.sgd - row.sde),
        sde_minus_ode=series(lambda row: row.sde - row.ode),
        between_epochs=series(lambda row: 0 if row.is_non_gaussian else row.between_epochs),
        non_gaussian=series(lambda row: row.sgd if row.is_non_gaussian else 0),
        finite_steps=series(lambda row: 0 if row.is_non_gaussian else row.one_epoch - row.sde),
    )


def _factors(diagram: Diagram, spacetime: Spacetime) -> Factors:
    grid_of(spacetime)
    steps, size = spacetime.num_steps, spacetime.batch_size
    return Factors(
        diagram,
        coefficient(diagram, spacetime),
        coefficient(diagram, Spacetime(steps * size, size)),
        sde_coefficient(diagram, steps, size),
        ode_coefficient(diagram, steps),
    )
