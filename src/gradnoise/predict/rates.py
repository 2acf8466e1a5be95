"""A learning rate as the series takes it: one base rate times the metric in which the values were measured."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from gradnoise import _checks

SAME_DIRECTION = 1e-6
"""Relative difference below which two trees of rates are multiples of each other: single precision."""


class Rate(NamedTuple):
    """`base` multiplies the metric and the schedule; `simulated` is the learning rate that `simulate` takes for the run.

    It is None for per-parameter rates on a schedule, which no simulation takes.
    """

    base: float
    simulated: Any


def read_rate(learning_rate: Any, metric: Any, num_steps: int, rates: Sequence[Any] | None) -> Rate:
    """The base rate behind one number, or behind a tree of rates that is a multiple of `metric` (None: of ones).

    `rates` are the schedule's, relative to the base rate. Raises ValueError or TypeError, naming learning_rate, for a
    negative or infinite rate, and for a tree that is no such multiple.

    >>> read_rate({"a": 0.2, "b": 0.4}, {"a": 1.0, "b": 2.0}, num_steps=10, rates=None).base
    0.2
    """
    is_array = jax.tree.structure(learning_rate) == jax.tree.structure(0)
    if is_array and np.ndim(learning_rate) == 0 and not callable(learning_rate):
        base = _checks.number("learning_rate", learning_rate, minimum=0)
        simulated = base if metric is None else jax.tree.map(lambda leaf: base * np.asarray(leaf), metric)
    else:
        base, simulated = _multiple(learning_rate, metric), learning_rate
    if rates is not None:
        steps = base * np.array([float(rate) for rate in rates[:num_steps]])
        simulated = steps if metric is None else None
    return Rate(base, simulated)


def _multiple(learning_rate: Any, metric: Any) -> float:
    """The number c with learning_rate = c * metric in every leaf."""
    rates = [_leaf(leaf) for leaf in jax.tree.leaves(learning_rate)]
    metric = jax.tree.map(lambda leaf: 1.0, learning_rate) if metric is None else metric
    if jax.tree.structure(metric) != jax.tree.structure(learning_rate):
        raise ValueError(
            "learning_rate has another structure than the metric in which the values were measured. Give a multiple of that "
            "metric, or one number."
        )
    units = [np.asarray(leaf, dtype=float) for leaf in jax.tree.leaves(metric)]
    base = max(map(np.max, rates), default=0.0) / max(map(np.max, units), default=1.0)
    if not all(_is_multiple(rate, unit, base) for rate, unit in zip(rates, units, strict=True)):
        raise ValueError(
            "learning_rate is a tree that is no multiple of the metric in which the values were measured. Measure them "
            "with diagram_values(..., metric=learning_rate); rates by step go into schedule, relative to the base rate."
        )
    return float(base)


def _is_multiple(rate: np.ndarray, unit: np.ndarray, base: float) -> bool:
    fits = rate.shape == unit.shape or () in (rate.shape, unit.shape)
    return fits and np.allclose(rate, base * unit, rtol=SAME_DIRECTION, atol=0)


def _leaf(leaf: Any) -> np.ndarray:
    try:
        rate = np.asarray(leaf, dtype=float)
    except (TypeError, ValueError):
        rate = None
    if rate is None or isinstance(leaf, (bool, str)):
        raise TypeError(
            f"learning_rate={leaf!r} is not a number. Give one number or a tree of numbers like params; a function of the "
            "step goes into schedule, relative to the base rate."
        )
    if not np.all(np.isfinite(rate) & (rate >= 0)):
        raise ValueError("learning_rate holds a number that is negative or not finite, expected at least 0. Mend it.")
    return rate
