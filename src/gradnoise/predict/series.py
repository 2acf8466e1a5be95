"""Expected test loss, train loss and gap of SGD, and the test loss's variance, as power series in the learning rate."""

from typing import Any

import numpy as np
from jaxtyping import Float

from gradnoise import _checks
from gradnoise.diagrams.diagram import Diagram
from gradnoise.diagrams.filters import LinearFilter, read_filter
from gradnoise.estimate import Estimate, linear_combination
from gradnoise.measure import DiagramValues
from gradnoise.measure.diagram_values import require_values
from gradnoise.predict.coefficients import Schedule, exact_coefficient, float_coefficients, power_of_rate
from gradnoise.predict.curve import Curve
from gradnoise.predict.rates import read_rate
from gradnoise.spacetime import Spacetime, require_spacetime

TARGETS = ("test", "train", "gap")
"""The losses; beside them the test loss has a variance."""


def series_coefficients(
    values: DiagramValues,
    spacetime: Spacetime,
    target: str = "test",
    momentum: float = 0.0,
    nesterov: bool = False,
    hessian_damping: float = 0.0,
    dampening: float = 0.0,
    schedule: Schedule | None = None,
) -> Estimate:
    """Coefficients of learning_rate^k, k = 0..max_order, of the expected loss after the whole of `spacetime`.

        E l(theta_T) = sum_D coefficient(D) v(D) learning_rate^order(D)

    `target` is "test", "train", "gap" (test - train), or "variance" (of the test loss over training sets and orders; for
    values measured with `variance=True`). The optimizer's keywords are those of `coefficient`; with a `schedule`, or
    values measured in a `metric`, learning_rate is the base rate that multiplies them. Shape (max_order + 1,), with the
    covariance that comes from that of the values; the counting factors are exact. Units: loss / learning_rate^k (its
    square for the variance).

    >>> import numpy as np
    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float64(0.0), np.array([0.0, 2.0]))
    >>> values = gn.diagram_values(problem, 0.0, max_order=2, variance=True)
    >>> series_coefficients(values, gn.Spacetime(4, 2)).value         # l = 1, G = -1, H = 1, C = 1
    array([ 1. , -2. ,  3.5])
    >>> series_coefficients(values, gn.Spacetime(4, 2), "variance").value              # N E^2/B^2 G C G
    array([0., 0., 1.])

    Raises ValueError for an unknown target, values without what the variance needs, and optimizer settings that
    `coefficient` refuses; TypeError for values or a spacetime of another kind. Source: diagrams.md section 1, theorem.
    """
    check_series(values, spacetime, target)
    optimizer = read_filter(spacetime.num_steps, momentum, nesterov, dampening, hessian_damping, schedule)
    return linear_combination(_weights(values, spacetime, target, optimizer), values.table)


def entry_weights(
    values: DiagramValues,
    spacetime: Spacetime,
    target: str = "test",
    momentum: float = 0.0,
    nesterov: bool = False,
    hessian_damping: float = 0.0,
    dampening: float = 0.0,
    schedule: Schedule | None = None,
) -> np.ndarray:
    """What each entry of `values.table` is multiplied by in each coefficient of the series, (max_order + 1, entries).

    The product with the table's values is `series_coefficients`; raises as it does.
    """
    check_series(values, spacetime, target)
    optimizer = read_filter(spacetime.num_steps, momentum, nesterov, dampening, hessian_damping, schedule)
    return _weights(values, spacetime, target, optimizer)


def predict_curve(
    values: DiagramValues,
    spacetime: Spacetime,
    learning_rate: Any,
    target: str = "test",
    momentum: float = 0.0,
    nesterov: bool = False,
    hessian_damping: float = 0.0,
    dampening: float = 0.0,
    schedule: Schedule | None = None,
) -> Curve:
    """The predicted loss at every step of a run, by order: the series of the spacetime cut after t updates.

    Train loss and gap still average all N training examples. Shape (num_steps + 1, max_order + 1). The series is a
    prediction for small learning_rate * num_steps * curvature (below about 1); `compare` says where it stops.

    `learning_rate` is one number (for values measured in a `metric`: what multiplies the metric), or a tree like params,
    a multiple of that metric: per-parameter rates. Step t has the rate learning_rate * schedule(t).

    >>> import numpy as np
    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float64(0.0), np.array([0.0, 2.0]))
    >>> values = gn.diagram_values(problem, 0.0, max_order=2)
    >>> predict_curve(values, gn.Spacetime(4, 2), learning_rate=0.1).value[-1]
    array([1.   , 0.8  , 0.835])
    >>> halved = predict_curve(values, gn.Spacetime(4, 2), learning_rate=0.1, schedule=lambda step: 1 / (1 + step))
    >>> halved.value[-1]
    array([1.      , 0.85    , 0.869375])

    Raises as `series_coefficients`, and for a learning rate that is neither one finite number of at least 0 nor a
    multiple of the metric in which the values were measured.
    """
    check_series(values, spacetime, target)
    optimizer = read_filter(spacetime.num_steps, momentum, nesterov, dampening, hessian_damping, schedule)
    rate = read_rate(learning_rate, values.metric, spacetime.num_steps, optimizer.rates)
    weights = weights_by_step(values, spacetime, target, optimizer)
    weights *= (rate.base ** np.arange(values.max_order + 1))[:, None]
    partial_sums = np.cumsum(weights, axis=1)
    variance = np.einsum(
        "tki,ij,tkj->tk", partial_sums, np.asarray(values.table.covariance), partial_sums, optimize=True
    )
    return Curve(
        partial_sums @ values.table.value,
        np.sqrt(np.clip(variance, 0, None)),
        values.table.num_samples,
        target=target,
        learning_rate=rate.simulated,
        spacetime=spacetime,
        licensed_order=values.licensed_order,
        setting=values.setting,
        problem_name=values.problem_name,
        settings=_settings(optimizer, values),
    )


def weights_by_step(
    values: DiagramValues, spacetime: Spacetime, target: str, optimizer: LinearFilter
) -> Float[np.ndarray, "steps orders entries"]:
    """`entry_weights` after t = 0, 1, ..., num_steps updates, in floats, for an optimizer that has been read."""
    weights = np.zeros((spacetime.num_steps + 1, values.max_order + 1, len(values.entries)))
    for place, diagram, counted_as, sign in _terms(values, target):
        factor = float_coefficients(diagram, spacetime, counted_as, optimizer)
        weights[:, power_of_rate(diagram, counted_as), place] += sign * factor
    return weights


def _settings(optimizer: LinearFilter, values: DiagramValues) -> tuple[tuple[str, Any], ...]:
    """The optimizer's settings under the names that processes give theirs; the dampening only where there is any."""
    dampening = {"dampening": float(optimizer.dampening)} if optimizer.dampening else {}
    return tuple(
        {
            "momentum": float(optimizer.momentum),
            "nesterov": optimizer.nesterov,
            "hessian_damping": float(optimizer.hessian_damping),
            **dampening,
            "weight_decay": values.weight_decay,
        }.items()
    )


def _weights(values: DiagramValues, spacetime: Spacetime, target: str, optimizer: LinearFilter) -> np.ndarray:
    weights = np.zeros((values.max_order + 1, len(values.entries)))
    for place, diagram, counted_as, sign in _terms(values, target):
        factor = exact_coefficient(diagram, spacetime, counted_as, optimizer)
        weights[power_of_rate(diagram, counted_as), place] += sign * float(factor)
    return weights


def _terms(values: DiagramValues, target: str) -> list[tuple[int, Diagram, str, int]]:
    """(place in the table, diagram, target it is counted as, sign) of every term of the series.

    Held out, test and train measure their root over different examples, so the gap has a term for each:
    gap = test over the test pool - test over the training pool + the root-tied sum; train = test over pool - that sum.
    """
    if target == "variance":
        return [(values.index(forest, "variance"), forest, "variance", 1) for forest in values.forests]
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


def check_series(values: Any, spacetime: Any, target: Any, targets: tuple[str, ...] = (*TARGETS, "variance")) -> None:
    """Raise TypeError or ValueError unless these are values, a spacetime and one of `targets` that the values hold."""
    require_values(values)
    require_spacetime(spacetime)
    _checks.one_of("target", target, targets)
    if target == "variance" and not values.has_variance:
        raise ValueError(
            'target="variance" needs the values of forests of two roots, which values does not hold. Measure them with '
            "diagram_values(..., variance=True)."
        )
