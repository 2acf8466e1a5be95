"""What more epochs, or another batch size, change in test loss, train loss and gap: differences of series."""

from fractions import Fraction

import numpy as np

from gradnoise import _checks
from gradnoise.diagrams import Diagram
from gradnoise.diagrams.filters import read_exact
from gradnoise.estimate import Estimate, linear_combination
from gradnoise.measure import DiagramValues
from gradnoise.predict.coefficients import coefficient
from gradnoise.predict.series import TARGETS, check_series
from gradnoise.spacetime import Spacetime


def epochs_effect(values: DiagramValues, spacetime: Spacetime, target: str = "test") -> Estimate:
    """SGD with all epochs of `spacetime` at learning_rate / epochs less SGD with one epoch at learning_rate, by order.

        test, order 2:  (N (E-1) / (2 B E)) [GHG + (1/B) D],    D = (1/2) G.d tr C

    The time learning_rate * num_steps is that of one epoch in both. Coefficients of learning_rate^k, shape
    (max_order + 1,), loss / learning_rate^k; the counting is exact, the error that of the values with its covariance.
    With the drafts' M = E/B, from E = B on: N (M-1)/(2M) [GHG + (1/B) D], by `series_difference`.

    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float64(0.0), np.array([0.0, 2.0]))
    >>> values = gn.diagram_values(problem, 0.0, max_order=2)                          # GHG = 1, D = 0
    >>> epochs_effect(values, gn.Spacetime(num_examples=4, batch_size=2, epochs=3)).value    # 4 * 2 / (2 * 2 * 3)
    array([0.        , 0.        , 0.66666667])

    Raises ValueError for a sampling without epochs, an unfinished epoch or an unknown target; TypeError for values or a
    spacetime of another kind.

    Source: diagrams.md 2.6; the public later version omits the GHG part.
    """
    check_series(values, spacetime, target, TARGETS)
    epochs = _whole_epochs(spacetime)
    one = Spacetime(spacetime.num_examples, spacetime.batch_size, 1, spacetime.sampling)
    return series_difference(values, spacetime, one, target, Fraction(1, epochs))


def batch_size_effect(values: DiagramValues, spacetime: Spacetime, batch_size: int, target: str = "test") -> Estimate:
    """SGD at `batch_size` less SGD at the spacetime's, at the same N, learning rate and number of steps, by order.

        test, order 2:  (T/2) (1/B - 1/B') D,    D = (1/2) G.d tr C,    B' = `batch_size`, T steps
        gap,  order 2:  (T/(2N)) (1/B' - 1/B) kappa(g, g, h)

    B' takes E B'/B epochs, which must be whole. B' = N is gradient descent on the training set. Result as in
    `epochs_effect`.

    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: x * w**2 / 2, lambda key: np.float64(1.0), np.array([1.0, 3.0]))
    >>> values = gn.diagram_values(problem, 1.0, max_order=2)                      # G = 2, C = w^2, D = 2
    >>> batch_size_effect(values, gn.Spacetime(4, 1), batch_size=4).value          # gradient descent: 2 (1 - 1/4) 2
    array([0., 0., 3.])

    Raises as `epochs_effect`, and ValueError where B' does not divide N or its epochs are not whole.

    Source: diagrams.md 2.3, 2.6; draft 1, corollary 3, whose factor M (N-1)/(2N) should be M (N-1)/2.
    """
    check_series(values, spacetime, target, TARGETS)
    batch_size = _checks.integer("batch_size", batch_size)
    epochs = Fraction(_whole_epochs(spacetime) * batch_size, spacetime.batch_size)
    if epochs.denominator != 1:
        raise ValueError(
            f"batch_size={batch_size} takes {epochs} epochs for the {spacetime.num_steps} steps of the spacetime, expected "
            f"a whole number. Give the spacetime a multiple of {epochs.denominator} times its epochs."
        )
    other = Spacetime(spacetime.num_examples, batch_size, int(epochs), spacetime.sampling)
    return series_difference(values, other, spacetime, target)


def series_difference(
    values: DiagramValues,
    spacetime: Spacetime,
    other: Spacetime,
    target: str = "test",
    rate_ratio: Fraction | int | str = 1,
) -> Estimate:
    """`target` on `spacetime` at rate_ratio * learning_rate less that on `other` at learning_rate, by order.

        sum_D [rate_ratio^order coefficient(D, spacetime) - coefficient(D, other)] v(D) learning_rate^order

    The factors are subtracted as fractions, so what cancels is zero. Result as in `epochs_effect`.

    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float64(0.0), np.array([0.0, 2.0]))
    >>> values = gn.diagram_values(problem, 0.0, max_order=2)
    >>> series_difference(values, gn.Spacetime(6, 2), gn.Spacetime(6, 3), rate_ratio="2/3").value    # equal times
    array([0.        , 0.        , 0.33333333])

    Raises ValueError for an unknown target or a ratio that is no finite number; TypeError for values or a spacetime of
    another kind.

    Source: diagrams.md section 1, theorem.
    """
    ratio = read_exact("rate_ratio", rate_ratio)
    for one in (spacetime, other):
        check_series(values, one, target, TARGETS)
    weights = np.full((values.max_order + 1, len(values.entries)), Fraction(0), dtype=object)

    def add(diagram: Diagram, root: str, counted_as: str, sign: int) -> None:
        here, there = (coefficient(diagram, one, counted_as) for one in (spacetime, other))
        weights[diagram.order, values.index(diagram, root)] += sign * (ratio**diagram.order * here - there)

    for diagram in values.diagrams:
        if target != "train" and not diagram.is_root_tied:
            add(diagram, "test", "test", 1)
        if target != "test":
            add(diagram, "pool", "train", 1 if target == "train" else -1)
    return linear_combination(weights.astype(float), values.table)


def _whole_epochs(spacetime: Spacetime) -> int:
    if not spacetime.has_epochs or spacetime.remaining_steps:
        raise ValueError(
            f"{spacetime} has no whole epochs, expected them of sampling fixed or reshuffle. Give Spacetime(100, 10, 2), "
            "say, or two spacetimes to series_difference."
        )
    return spacetime.full_epochs
