"""Whether a prediction and a simulation are of the same run: problem, grid, learning rate, optimizer, training sets."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from gradnoise.dynamics import Simulation
from gradnoise.predict import Curve, PathCurve
from gradnoise.process import Process
from gradnoise.spacetime import Spacetime

SAME_RATE = 1e-6
"""Relative difference below which two learning rates are the same: single precision."""


class Run(NamedTuple):
    """What a simulation will be of, before it is run; the names are those of Simulation."""

    problem_name: str
    process: Process
    spacetime: Spacetime
    learning_rate: Any
    training_set: str
    setting: str


def require_same_series(prediction: Curve, simulation: Simulation) -> None:
    """Raise ValueError, naming what differs, unless the series predicts this simulation; learning rates as in a path's."""
    if prediction.learning_rate is None:
        raise ValueError(
            "The prediction has rates of its own for each parameter and a schedule, which no simulation takes together. "
            "Predict with one of the two."
        )
    _require_same_grid(prediction, simulation)
    _require_same_rates(prediction, simulation)
    if simulation.training_set != "drawn":
        raise ValueError(
            f'training_set={simulation.training_set!r} was simulated, expected "drawn": the series averages over training '
            'sets. Simulate with training_set="drawn".'
        )


def require_same_path(prediction: PathCurve, simulation: Simulation | Run) -> None:
    """Raise ValueError, naming what differs, unless the path's curve predicts this simulation.

    Learning rates may be numbers, trees, functions of the step or arrays (num_steps,): the rates themselves are compared.
    """
    require_same(facts(prediction, "training_set"), facts(simulation, "training_set"))
    _require_same_grid(prediction, simulation)
    _require_same_rates(prediction, simulation)


def _require_same_rates(prediction: Curve | PathCurve, simulation: Simulation | Run) -> None:
    if not same_rates(prediction.learning_rate, simulation.learning_rate, simulation.spacetime.num_steps):
        raise ValueError(
            f"learning_rate differs: the prediction has {prediction.learning_rate}, the simulation "
            f"{simulation.learning_rate}. Compare the two for the same learning_rate."
        )


def same_rates(first: Any, second: Any, num_steps: int) -> bool:
    """Whether two learning rates (number, tree, function of the step, array) are the same at every step.

    >>> same_rates(0.1, lambda step: 0.1, num_steps=5), same_rates(0.1, np.linspace(0.1, 0.05, 5), num_steps=5)
    (True, False)
    """
    one, other = (_at_steps(rates, num_steps) for rates in (first, second))
    if _is_number(other):
        one, other = other, one
    if _is_number(one):
        return all(np.allclose(leaf, one, rtol=SAME_RATE, atol=0) for leaf in jax.tree.leaves(other))
    if jax.tree.structure(one) != jax.tree.structure(other):
        return False
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(
        (np.shape(a) == np.shape(b) or () in (np.shape(a), np.shape(b))) and np.allclose(a, b, rtol=SAME_RATE, atol=0)
        for a, b in pairs
    )


def _is_number(rates: Any) -> bool:
    return jax.tree.structure(rates) == jax.tree.structure(0) and np.ndim(rates) == 0


def _at_steps(rates: Any, num_steps: int) -> Any:
    return np.array([rates(step) for step in range(num_steps)], dtype=float) if callable(rates) else rates


def _require_same_grid(prediction: Curve | PathCurve, simulation: Simulation | Run) -> None:
    names = ("problem_name", "spacetime", "setting")
    require_same(facts(prediction, *names), facts(simulation, *names))
    predicted, simulated = dict(prediction.settings), dict(simulation.process.settings if simulation.process else ())
    if simulated:
        simulated["weight_decay"] = simulated.get("weight_decay", 0.0) + simulation.process.problem.weight_decay
        names = tuple({**predicted, **simulated})
        require_same(*({name: told.get(name, 0) for name in names} for told in (predicted, simulated)))


def facts(of: Any, *names: str) -> dict[str, Any]:
    """Name -> attribute."""
    return {name: getattr(of, name) for name in names}


def require_same(predicted: Mapping[str, Any], simulated: Mapping[str, Any]) -> None:
    """Raise ValueError for the first name whose values differ."""
    for name, value in predicted.items():
        if value != simulated[name]:
            raise ValueError(
                f"{name} differs: the prediction has {value}, the simulation {simulated[name]}. "
                f"Compare the two for the same {name}."
            )
