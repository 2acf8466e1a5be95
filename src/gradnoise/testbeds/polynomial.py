"""Any polynomial loss on a finite population: what exact enumeration can check."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import lcm
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _checks
from gradnoise._types import Examples, Key, Params
from gradnoise.problem import Problem, from_arrays

Rational: TypeAlias = str | int | float | Fraction
Point: TypeAlias = tuple[Rational, Mapping[str, Rational]] | Sequence[Any]

MAX_POOL = 100_000


def polynomial_landscape(points: Sequence[Point], theta0: Sequence[Rational], name: str = "polynomial") -> Problem:
    """The population of `points`, each a probability and the coefficients of its loss by powers of the weights.

        l_x(theta) = sum over powers (p_1, ..., p_d) of coefficient_x(p) * theta_1^{p_1} ... theta_d^{p_d}

    Powers are written "3" for one weight, "2,1" for two. Probabilities and coefficients are rational: strings like
    "1/3", ints, Fractions, or floats read by their shortest decimal. The pool repeats each point to the common
    denominator, so it is the population exactly; examples are vectors of coefficients.

    >>> problem = polynomial_landscape([("1/3", {"1": "2", "2": "1/2"}), ("2/3", {"0": 1, "1": -1})], theta0=["1/2"])
    >>> problem.num_pool, problem.loss(problem.init(None), problem.pool[0]).item()
    (3, 1.125)

    Raises ValueError for probabilities that are negative or do not sum to one, for malformed powers or numbers, and
    for a common denominator above 100000.
    """
    start = np.array([float(_rational("theta0", value)) for value in theta0])
    probabilities, monomials, table = _parse(points, num_weights=len(start))
    size = lcm(*(p.denominator for p in probabilities))
    if size > MAX_POOL:
        raise ValueError(f"points: their common denominator is {size}, expected at most {MAX_POOL}. Round them.")
    pool = np.repeat(table, [int(p * size) for p in probabilities], axis=0)

    def init(key: Key) -> Params:
        return start.copy()

    def loss(theta: Params, coefficients: Examples) -> Any:
        weights = jnp.asarray(theta)
        return coefficients @ jnp.stack([_monomial(weights, powers) for powers in monomials])

    return from_arrays(loss, init, pool, name)


def _monomial(theta: jax.Array, powers: Sequence[int]) -> jax.Array:
    product = jnp.ones_like(theta[0])
    for i, power in enumerate(powers):
        if power:
            product = product * theta[i] ** power
    return product


def _parse(points: Sequence[Point], num_weights: int) -> tuple[list[Fraction], list[tuple[int, ...]], np.ndarray]:
    """Probabilities, the monomials that occur (in order), and the coefficients (point, monomial)."""
    if not num_weights:
        raise ValueError("theta0 is empty, expected one number a weight. Give the start, ['1/2'], say.")
    try:
        pairs = [(_rational("probability", p), dict(coefficients)) for p, coefficients in points]
    except (TypeError, ValueError) as error:
        raise ValueError(f"points: {error} Give each as ('1/3', {{'2': 1}}), say.") from None
    if not pairs or any(p < 0 for p, _ in pairs) or sum(p for p, _ in pairs) != 1:
        told = ", ".join(str(p) for p, _ in pairs) or "none"
        raise ValueError(f"points: the probabilities are {told}, expected positive ones that sum to 1. Mend them.")
    monomials = sorted({_powers(text, num_weights) for _, coefficients in pairs for text in coefficients})
    if not monomials:
        raise ValueError("points: no coefficient is given, expected {powers: coefficient}. Give ('1', {'2': 1}), say.")
    table = np.zeros((len(pairs), len(monomials)))
    for row, (_, coefficients) in enumerate(pairs):
        for text, value in coefficients.items():
            table[row, monomials.index(_powers(text, num_weights))] += float(_rational("coefficient", value))
    return [p for p, _ in pairs], monomials, table


def _powers(text: str, num_weights: int) -> tuple[int, ...]:
    parts = str(text).split(",")
    if len(parts) != num_weights or not all(part.strip().isdecimal() for part in parts):
        raise ValueError(
            f"points: powers {text!r} do not do, expected {num_weights} whole numbers joined by commas, one a weight."
        )
    return tuple(_checks.integer("powers", int(part), minimum=0) for part in parts)


def _rational(name: str, value: Rational) -> Fraction:
    try:
        return Fraction(repr(float(value)) if isinstance(value, (float, np.floating)) else value)
    except (ValueError, TypeError, OverflowError, ZeroDivisionError):
        raise ValueError(f"{name}={value!r} is not a rational number, expected '1/3', 2 or 0.5, say.") from None
