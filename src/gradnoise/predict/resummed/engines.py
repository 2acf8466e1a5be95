"""Which way a resummed curve is worked out: with tables of all directions, diagram by diagram, or with few directions."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _checks, _tree
from gradnoise._types import Params
from gradnoise.diagrams.diagram import Diagram
from gradnoise.predict.path.landscape import landscape
from gradnoise.predict.resummed.derivatives import DerivativeTensors
from gradnoise.predict.resummed.diagram_curve import diagram_curve, summed_diagrams
from gradnoise.predict.resummed.pair_curve import pair_curve
from gradnoise.predict.resummed.propagator import propagator
from gradnoise.predict.resummed.responses import eigenvector_responses, loss_responses
from gradnoise.predict.resummed.spectrum import spectral_tables
from gradnoise.predict.resummed.tables import Slopes, measure_forces, measure_slopes, measure_tables
from gradnoise.predict.resummed.truncation import truncation_bound
from gradnoise.problem import Problem
from gradnoise.spacetime import Spacetime

MOST_WEIGHTS, MOST_BENT, MOST_DISPLACED = 2000, 1000, 300
"""Up to so many weights all directions are kept: without third derivatives, with those that losses feel, with all."""
MOST_FOR_DIAGRAMS = 12
"""Up to so many weights diagrams are summed one by one: a state may hold P^4 numbers, an example."""
NO_SLOPE = 1e-8
"""A gradient shorter than so many times (tr C)^(1/2) counts as none: diagrams that carry it are left out."""
RANK_DIAGRAMS = {
    "1": Diagram.parse("(0-1)(01)"),
    "V": Diagram.parse("(0-1-2)(02-12)"),
    "V01": Diagram.parse("(01-2)(02-12)"),
    "C": Diagram.parse("(01)(01)"),
}


class Setting(NamedTuple):
    """The checked arguments of `predict_resummed`; `params` in float64."""

    problem: Problem
    params: Params
    spacetime: Spacetime
    learning_rate: float
    momentum: float
    target: str
    excess_power: int


class Summed(NamedTuple):
    """A curve, what bounds its truncation, the curvatures found, and the diagrams summed."""

    curve: np.ndarray
    error: np.ndarray
    eigenvalues: np.ndarray
    diagrams: tuple[Diagram, ...]


def complete_curve(setting: Setting) -> Summed:
    """All directions, all diagrams up to the power; raises ValueError for too many weights."""
    with jax.enable_x64(True):
        start, _ = _tree.flatten(setting.params)
        pool = _tree.cast(setting.problem.pool, jnp.float64)
        test = None if setting.problem.test_pool is None else _tree.cast(setting.problem.test_pool, jnp.float64)
        view = landscape(setting.problem, setting.params, _tree.num_examples(pool))
        slopes = measure_slopes(view, start, pool, test)
        known = _has_slopes(slopes)
        is_tied = setting.target == "gap" and test is None
        bends = setting.target == "displacement" or (known["root_has_slope"] and not is_tied)
        _check_size(setting, len(start), bends)
        diagrams = summed_diagrams(setting.excess_power, setting.target, is_held_out=test is not None, **known)
        power, rest = setting.excess_power, (setting.spacetime, setting.learning_rate, setting.momentum, setting.target)
        if power == 1:
            tables = measure_tables(view, start, pool, test, slopes, bends)
            forces = responses = None
            if bends:
                respond = eigenvector_responses if setting.target == "displacement" else loss_responses
                responses = respond(tables, *rest[:-1])
                forces = measure_forces(view, start, pool, slopes, tables, responses.directions)
            curve, eigenvalues = pair_curve(tables, *rest, forces, responses), tables.eigenvalues
        else:
            tensors = DerivativeTensors(view, start, pool, test)
            hessian = tensors.mean(2)
            edge = propagator(hessian, setting.learning_rate, setting.momentum)
            curve = diagram_curve(diagrams, setting.spacetime, edge, tensors, setting.target)
            eigenvalues = np.linalg.eigvalsh(hessian)
    return Summed(curve, np.zeros(len(curve)), eigenvalues, diagrams)


def limited_curve(setting: Setting, rank: Any) -> Summed:
    """The most curved directions only, the rest as flat; raises ValueError where that is not known how to do."""
    problem, target = setting.problem, setting.target
    size = sum(np.size(leaf) for leaf in jax.tree.leaves(setting.params))
    rank = _checks.integer("rank", rank, maximum=size)
    if problem.measured is not None or problem.test_pool is not None:
        raise ValueError(
            f"rank={rank} resolves losses measured over the pool only, and problem {problem.name!r} measures another "
            "function or other examples. Leave rank out, or measure the loss itself."
        )
    if target == "displacement" or setting.excess_power != 1:
        raise ValueError(
            f"rank={rank} came with target={target!r} and excess_power={setting.excess_power}, expected test, train or gap "
            "and 1. Leave rank out for others."
        )
    tables, left = spectral_tables(problem, setting.params, rank)
    rest = setting.spacetime, setting.learning_rate, setting.momentum, target
    names = {"test": ("1", "V", "V01"), "gap": ("C",), "train": ("1", "V", "V01", "C")}[target]
    diagrams = tuple(RANK_DIAGRAMS[name] for name in names)
    return Summed(pair_curve(tables, *rest), truncation_bound(left, *rest), tables.eigenvalues[:-1], diagrams)


def _has_slopes(slopes: Slopes) -> dict[str, bool]:
    """Whether the mean gradients of loss and measured function are more than rounding, beside the noise."""
    least = NO_SLOPE * np.sqrt(np.square(slopes.noise).sum() / len(slopes.rows))
    roots = slopes.pool_slope, slopes.test_slope
    return {
        "has_slope": bool(np.linalg.norm(slopes.rows.mean(axis=0)) > least),
        "root_has_slope": any(bool(np.linalg.norm(slope) > least) for slope in roots),
    }


def _check_size(setting: Setting, num_weights: int, bends: bool) -> None:
    if setting.excess_power == 1:
        most = MOST_DISPLACED if setting.target == "displacement" else MOST_BENT if bends else MOST_WEIGHTS
        what = "with third derivatives" if bends else "in all directions"
    else:
        most, what = MOST_FOR_DIAGRAMS, f"for excess_power={setting.excess_power}"
    if num_weights > most:
        raise ValueError(
            f"params hold {num_weights} weights, expected at most {most} {what}. Give rank=100, say, with excess_power=1 "
            "and a loss measured as it is, or take a smaller model."
        )
