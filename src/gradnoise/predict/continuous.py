"""Gradient flow and the Ito SDE of SGD as sums over the same diagrams: times are continuous, so counts become volumes."""

from collections.abc import Callable
from fractions import Fraction
from math import factorial

import numpy as np

from gradnoise import _checks
from gradnoise.diagrams import Diagram
from gradnoise.diagrams.orders import linear_extensions
from gradnoise.estimate import Estimate, linear_combination
from gradnoise.measure import DiagramValues
from gradnoise.measure.diagram_values import require_values


def ode_coefficients(values: DiagramValues, num_steps: int) -> Estimate:
    """Coefficients of learning_rate^k of the test loss of gradient flow after the time learning_rate * num_steps.

        (T^k / k!) (-G . d)^k l = sum over untied diagrams of order k of (-1)^k T^k vol(D) v(D),    T = num_steps

    vol(D) = (linear extensions of the tree)/(k! |Aut D|): the share of times at which every child comes before its
    parent. The flow is that of the population's mean loss (`gradient_flow` with training_set="population"). Shape
    (max_order + 1,), with the covariance that comes from that of the values; units loss / learning_rate^k.

    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float64(0.0), np.array([0.0, 2.0]))
    >>> ode_coefficients(gn.diagram_values(problem, 0.0, max_order=3), 4).value      # 1/2 + exp(-2 eta T)/2
    array([  1.        ,  -4.        ,  16.        , -42.66666667])

    Raises TypeError for other values, ValueError for num_steps below 1.

    Source: diagrams.md 4.1.
    """
    steps = _checks.integer("num_steps", num_steps)
    return _series(values, lambda diagram: ode_coefficient(diagram, steps))


def sde_coefficients(values: DiagramValues, num_steps: int, batch_size: int) -> Estimate:
    """Coefficients of learning_rate^k of the test loss of SGD's Ito SDE after the time learning_rate * num_steps.

        exp(T (eta A + eta^2 D)) l,    A = -G . d,    D = C : dd / (2 batch_size),    T = num_steps

    that is d theta = -grad L ds + (learning_rate C / batch_size)^(1/2) dW, C the covariance of one example's gradient: as
    diagrams, parts of one or two nodes, the two of a pair at one time. It is the SDE on the population (`sde` with
    training_set="population"): no training set is drawn, so nothing of ties between epochs is in it. Shape
    (max_order + 1,), with covariance; units loss / learning_rate^k.

    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float64(0.0), np.array([0.0, 2.0]))
    >>> sde_coefficients(gn.diagram_values(problem, 0.0, max_order=2), 4, batch_size=2).value     # C:H T/(2 B) = 1 more
    array([ 1., -4., 17.])

    Raises TypeError for other values, ValueError for num_steps or batch_size below 1.

    Source: diagrams.md 4.2.
    """
    steps, size = _checks.integer("num_steps", num_steps), _checks.integer("batch_size", batch_size)
    return _series(values, lambda diagram: sde_coefficient(diagram, steps, size))


def ode_coefficient(diagram: Diagram, num_steps: int) -> Fraction:
    """The factor of v(D) learning_rate^order in the flow's test loss: zero for a diagram with a tie.

    >>> ode_coefficient(Diagram.parse("(0-1-2)(02-12)"), 3)       # two children of the root: T^2/2
    Fraction(9, 2)
    """
    if any(len(part) > 1 for part in diagram.parts):
        return Fraction(0)
    return _coefficient(diagram, num_steps, 1)


def sde_coefficient(diagram: Diagram, num_steps: int, batch_size: int) -> Fraction:
    """The factor of v(D) learning_rate^order in the SDE's test loss: zero for a root that is tied, or a part of three.

    >>> sde_coefficient(Diagram.parse("(01-2)(02-12)"), num_steps=4, batch_size=2)      # C:H, T/(2 B)
    Fraction(1, 1)
    """
    if diagram.is_root_tied or any(len(part) > 2 for part in diagram.parts):
        return Fraction(0)
    return _coefficient(diagram, num_steps, batch_size)


def _coefficient(diagram: Diagram, num_steps: int, batch_size: int) -> Fraction:
    """(-1)^d T^P / B^pairs * (orders of the P parts with every child before its parent) / (P! |Aut D|)."""
    parts = [part for part in diagram.parts if part != diagram.root_part]
    place = {node: number for number, part in enumerate(parts) for node in part}
    before = {(place[child], place[parent]) for child, parent in enumerate(diagram.parents) if parent in place}
    orders = linear_extensions(frozenset(range(len(parts))), before)
    pairs = sum(len(part) == 2 for part in parts)
    times = Fraction(num_steps ** len(parts) * orders, factorial(len(parts)) * diagram.num_automorphisms)
    return (-1) ** diagram.order * times / batch_size**pairs


def _series(values: DiagramValues, factor: Callable[[Diagram], Fraction]) -> Estimate:
    require_values(values)
    weights = np.zeros((values.max_order + 1, len(values.entries)))
    for diagram in values.diagrams:
        if not diagram.is_root_tied:
            weights[diagram.order, values.index(diagram, "test")] += float(factor(diagram))
    return linear_combination(weights, values.table)
