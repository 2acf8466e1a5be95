"""The series sorted by number of parts, and at a fixed time: what is left of SGD when its steps are refined."""

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import numpy as np

from gradnoise import _checks
from gradnoise.diagrams import Diagram
from gradnoise.estimate import Estimate, linear_combination
from gradnoise.measure import DiagramValues
from gradnoise.measure.diagram_values import require_values
from gradnoise.predict.coefficients import coefficient
from gradnoise.predict.continuous import ode_coefficient, sde_coefficient
from gradnoise.spacetime import Spacetime

PROCESSES = ("sgd", "sde", "ode")


def series_by_parts(values: DiagramValues, spacetime: Spacetime) -> Estimate:
    """The test loss of SGD by order d and by number of parts P, the root's included: entry [d, P - 1].

    The sum over P is `series_coefficients`. At a fixed time learning_rate * T and number of epochs a term of P parts goes
    as learning_rate^(d + 1 - P): as steps are refined, on more examples, the untied diagrams, P = d + 1, are left, with
    the factors of gradient flow. Shape (max_order + 1, max_order + 1); errors those of the values, covariance of the
    flattened table.

    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float64(0.0), np.array([0.0, 2.0]))
    >>> series_by_parts(gn.diagram_values(problem, 0.0, max_order=2), gn.Spacetime(4, 1)).value   # l, G.G, C:H, GHG
    array([[ 1.,  0.,  0.], [ 0., -4.,  0.], [ 0.,  2., 14.]])

    Raises TypeError for other values or another spacetime. Source: draft 1, Table 1; diagrams.md sections 1, 2.
    """
    size = _size(values)

    def place(diagram: Diagram) -> dict[int, Fraction]:
        return {len(diagram.parts) - 1: coefficient(diagram, spacetime)}

    return _table(values, place, size)


def fixed_time_coefficients(values: DiagramValues, batch_size: int, process: str = "sgd") -> Estimate:
    """The test loss by powers of time and learning rate: entry [d, k] multiplies time^(d - k) learning_rate^k.

        E l(theta_T) = sum_{d, k} c[d, k] time^(d - k) learning_rate^k,     time = learning_rate T,   k <= d

    for fresh examples at each update (one epoch), B = batch_size. Column 0 is gradient flow, for every process.
    Column 1 is what a step of finite size does first: for "sde" the noise, for "sgd" the noise and the discretization,
    which the drift of l + (learning_rate/4)|grad l|^2 gives the SDE too. Their difference starts in that column with
    -(1/2) time GHG. Shape (max_order + 1, max_order + 1), errors those of the values.

    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float64(0.0), np.array([0.0, 2.0]))
    >>> values = gn.diagram_values(problem, 0.0, max_order=2)
    >>> fixed_time_coefficients(values, 1).value[2]         # time^2 GHG, time rate (C:H - GHG)/2
    array([1., 0., 0.])
    >>> fixed_time_coefficients(values, 1, "sde").value[2]
    array([1. , 0.5, 0. ])

    Raises TypeError for other values, ValueError for a batch size below 1 or an unknown process.

    Source: diagrams.md 4.1, 4.2; Li, Tai and E 2017 (stochastic modified equations).
    """
    columns, size = _size(values), _checks.integer("batch_size", batch_size)
    _checks.one_of("process", process, PROCESSES)

    def place(diagram: Diagram) -> dict[int, Fraction]:
        powers = _powers_of_steps(diagram, size, process)
        return {diagram.order - power: factor for power, factor in enumerate(powers)}

    return _table(values, place, columns)


def _powers_of_steps(diagram: Diagram, batch_size: int, process: str) -> list[Fraction]:
    """The factor of a diagram, a polynomial in T of degree at most its order, by its values at T = 0, ..., order: Newton."""
    factor = {
        "sgd": lambda steps: coefficient(diagram, Spacetime(steps * batch_size, batch_size)),
        "sde": lambda steps: sde_coefficient(diagram, steps, batch_size),
        "ode": lambda steps: ode_coefficient(diagram, steps),
    }[process]
    values = [Fraction(diagram.order == 0), *map(factor, range(1, diagram.order + 1))]
    powers, binomial = [Fraction(0)] * len(values), [Fraction(1)]  # binomial: T over j, by powers of T
    for j in range(len(powers)):
        for power, share in enumerate(binomial):
            powers[power] += values[0] * share
        values = [after - before for before, after in pairwise(values)]
        binomial = [(a - j * b) / (j + 1) for a, b in zip([Fraction(0), *binomial], [*binomial, 0], strict=True)]
    return powers


def _table(values: DiagramValues, place: Callable[[Diagram], dict[int, Fraction]], size: int) -> Estimate:
    weights = np.zeros((size, size, len(values.entries)))
    for diagram in values.diagrams:
        if not diagram.is_root_tied:
            for column, factor in place(diagram).items():
                weights[diagram.order, column, values.index(diagram, "test")] += float(factor)
    flat = linear_combination(weights.reshape(size * size, -1), values.table)
    shape = (size, size)
    return Estimate(flat.value.reshape(shape), flat.stderr.reshape(shape), flat.num_samples, flat.covariance)


def _size(values: DiagramValues) -> int:
    require_values(values)
    return values.max_order + 1
