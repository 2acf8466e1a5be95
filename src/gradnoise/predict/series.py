"""Expected test loss, train loss and gap of SGD as power series in the learning rate."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gradnoise import _checks
from gradnoise.estimate import Estimate, linear_combination
from gradnoise.measure import DiagramValues
from gradnoise.predict.coefficients import coefficient, coefficient_curve
from gradnoise.spacetime import Spacetime

TARGETS = ("test", "train", "gap")


@dataclass(frozen=True, eq=False, repr=False)
class Curve(Estimate):
    """Predicted loss: `value` and `stderr` of shape (num_steps + 1, max_order + 1), partial sums by order, step 0 first.

    Row t is the prediction after t updates, column k the sum of the terms through learning_rate^k. Columns beyond
    `licensed_order` (a loss with kinks) are numbers without a licence. `settings` are the optimizer's.
    """

    target: str = "test"
    learning_rate: float = 0.0
    spacetime: Spacetime | None = None
    licensed_order: int = 0
    setting: str = "population"
    problem_name: str = "problem"
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def max_order(self) -> int:
        """The highest power of the learning rate in the last column."""
        return np.shape(self.value)[1] - 1

    def __repr__(self) -> str:
        steps, orders = np.shape(self.value)
        return f"Curve({self.target} loss of {self.problem_name}, steps 0..{steps - 1}, orders 0..{orders - 1})"


def series_coefficients(
    values: DiagramValues,
    spacetime: Spacetime,
    target: str = "test",
    momentum: float = 0.0,
    nesterov: bool = False,
    hessian_damping: float = 0.0,
) -> Estimate:
    """Coefficients of learning_rate^k, k = 0..max_order, of the expected loss after the whole of `spacetime`.

        E l(theta_T) = sum_D coefficient(D) v(D) learning_rate^order(D)

    `target` is "test", "train" or "gap" (test - train). Shape (max_order + 1,), with the covariance that comes from
    that of the values; the counting factors are exact. Units: loss / learning_rate^k.

    >>> import numpy as np
    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float64(0.0), np.array([0.0, 2.0]))
    >>> values = gn.diagram_values(problem, 0.0, max_order=2)
    >>> series_coefficients(values, gn.Spacetime(4, 2)).value         # l = 1, G = -1, H = 1, C = 1
    array([ 1. , -2. ,  3.5])

    Raises ValueError for an unknown target and for optimizer settings that `coefficient` refuses; TypeError for
    values or a spacetime of another kind. Source: diagrams.md section 1, theorem.
    """
    weights = entry_weights(values, spacetime, target, momentum, nesterov, hessian_damping)
    return linear_combination(weights, values.table)


def entry_weights(
    values: DiagramValues,
    spacetime: Spacetime,
    target: str = "test",
    momentum: float = 0.0,
    nesterov: bool = False,
    hessian_damping: float = 0.0,
) -> np.ndarray:
    """What each entry of `values.table` is multiplied by in each coefficient of the series, (max_order + 1, entries).

    The product with the table's values is `series_coefficients`; raises as it does.
    """
    _check(values, spacetime, target)
    options = {"momentum": momentum, "nesterov": nesterov, "hessian_damping": hessian_damping}
    weights = np.zeros((values.max_order + 1, len(values.entries)))
    for place, diagram, counted_as, sign in _terms(values, target):
        weights[diagram.order, place] += sign * float(coefficient(diagram, spacetime, counted_as, **options))
    return weights


def predict_curve(
    values: DiagramValues,
    spacetime: Spacetime,
    learning_rate: float,
    target: str = "test",
    momentum: float = 0.0,
    nesterov: bool = False,
    hessian_damping: float = 0.0,
) -> Curve:
    """The predicted loss at every step of a run, by order: the series of the spacetime cut after t updates.

    Train loss and gap still average all N training examples. Shape (num_steps + 1, max_order + 1). The series is a
    prediction for small learning_rate * num_steps * curvature (below about 1); `compare` says where it stops.

    >>> import numpy as np
    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float64(0.0), np.array([0.0, 2.0]))
    >>> values = gn.diagram_values(problem, 0.0, max_order=2)
    >>> predict_curve(values, gn.Spacetime(4, 2), learning_rate=0.1).value[-1]
    array([1.   , 0.8  , 0.835])

    Raises as `series_coefficients`, and for a learning rate that is not one finite number of at least 0 (schedules and
    per-parameter rates are simulated, not predicted, so far).
    """
    _check(values, spacetime, target)
    rate = _checks.number("learning_rate", learning_rate, minimum=0)
    options = {"momentum": momentum, "nesterov": nesterov, "hessian_damping": hessian_damping}
    weights = np.zeros((spacetime.num_steps + 1, values.max_order + 1, len(values.entries)))
    for place, diagram, counted_as, sign in _terms(values, target):
        factor = coefficient_curve(diagram, spacetime, counted_as, **options)
        weights[:, diagram.order, place] += sign * factor * rate**diagram.order
    partial_sums = np.cumsum(weights, axis=1)
    variance = np.einsum(
        "tki,ij,tkj->tk", partial_sums, np.asarray(values.table.covariance), partial_sums, optimize=True
    )
    return Curve(
        partial_sums @ values.table.value,
        np.sqrt(np.clip(variance, 0, None)),
        values.table.num_samples,
        target=target,
        learning_rate=rate,
        spacetime=spacetime,
        licensed_order=values.licensed_order,
        setting=values.setting,
        problem_name=values.problem_name,
        settings=(*options.items(), ("weight_decay", values.weight_decay)),
    )


def _terms(values: DiagramValues, target: str) -> list[tuple[int, Any, str, int]]:
    """(place in the table, diagram, target it is counted as, sign) of every term of the series.

    Held out, test and train measure their root over different examples, so the gap has a term for each:
    gap = test over the test pool - test over the training pool + the root-tied sum; train = test over pool - that sum.
    """
    terms = []
    for diagram in values.diagrams:
        if diagram.is_root_tied:
            if target != "test":
                terms.append((values.index(diagram, "pool"), diagram, "gap", 1 if target == "gap" else -1))
        else:
            on_test, on_pool = values.index(diagram, "test"), values.index(diagram, "pool")
            if target == "test":
                terms.append((on_test, diagram, "test", 1))
            elif target == "train":
                terms.append((on_pool, diagram, "test", 1))
            elif on_test != on_pool:
                terms += [(on_test, diagram, "test", 1), (on_pool, diagram, "test", -1)]
    return terms


def _check(values: DiagramValues, spacetime: Spacetime, target: str) -> None:
    if not isinstance(values, DiagramValues):
        raise TypeError(f"values is {type(values).__name__}, expected DiagramValues. Measure them with diagram_values.")
    if not isinstance(spacetime, Spacetime):
        raise TypeError(f"spacetime is {type(spacetime).__name__}, expected Spacetime. Give Spacetime(100, 10), say.")
    _checks.one_of("target", target, TARGETS)
