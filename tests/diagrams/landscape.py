"""The oracle for coefficients: one-weight polynomial losses, every training set and schedule, SGD as a power series."""

import json
from fractions import Fraction
from functools import cache
from itertools import product
from math import factorial, perm, prod
from pathlib import Path
from typing import NamedTuple

from diagrams.brute_force import schedules
from gradnoise.diagrams import Diagram, enumerate_diagrams
from gradnoise.diagrams.orders import growth_strings
from gradnoise.spacetime import Spacetime

Series = tuple[Fraction, ...]
"""Coefficients of learning_rate^0, ^1, ..., all of the same length."""


class Landscape(NamedTuple):
    """l_x(w) for a few x: (probability, coefficients by power), and the starting weight."""

    start: Fraction
    points: tuple[tuple[Fraction, Series], ...]


TABLE = json.loads(Path(__file__).parents[1].joinpath("exact_table.json").read_text())


def landscape(name: str) -> Landscape:
    raw = TABLE["landscapes"][name]
    points = []
    for probability, powers in raw["points"]:
        degree = max(map(int, powers))
        points.append((Fraction(probability), tuple(Fraction(powers.get(str(k), 0)) for k in range(degree + 1))))
    return Landscape(Fraction(raw["theta0"][0]), tuple(points))


# Values of diagrams: joint cumulants over the points of products of derivatives.


def derivative(polynomial: Series, order: int, at: Fraction) -> Fraction:
    return sum((perm(k, order) * c * at ** (k - order) for k, c in enumerate(polynomial) if k >= order), Fraction(0))


@cache
def cumulant(land: Landscape, degrees: tuple[int, ...]) -> Fraction:
    """kappa of the derivatives of these orders, from moments by the partition formula."""
    total = Fraction(0)
    for growth in growth_strings(len(degrees)):
        blocks = [[n for n, label in zip(degrees, growth, strict=True) if label == part] for part in set(growth)]
        moments = [
            sum(p * prod(derivative(f, n, land.start) for n in block) for p, f in land.points) for block in blocks
        ]
        total += (-1) ** (len(blocks) - 1) * factorial(len(blocks) - 1) * prod(moments)
    return total


def value(land: Landscape, diagram: Diagram, root: bool = True) -> Fraction:
    """v(D); with root=False the root is cut off (displacement)."""
    parts = [part for part in diagram.parts if root or part != (diagram.root,)]
    return prod(
        (cumulant(land, tuple(sorted(diagram.degree(node) for node in part))) for part in parts), start=Fraction(1)
    )


@cache
def root_tied(order: int) -> tuple[Diagram, ...]:
    """All diagrams whose root shares a part."""
    return tuple(dict.fromkeys(tied for diagram in enumerate_diagrams(order) for tied, _ in diagram.attach_root()))


# SGD itself, as a power series in the learning rate.


def _times(a: Series, b: Series) -> Series:
    return tuple(sum((a[i] * b[k - i] for i in range(k + 1)), Fraction(0)) for k in range(len(a)))


def _plus(a: Series, b: Series, factor: Fraction | int = 1) -> Series:
    return tuple(x + factor * y for x, y in zip(a, b, strict=True))


def _later(a: Series) -> Series:
    return (Fraction(0), *a[:-1])


def evaluate(polynomial: Series, at: Series, order: int = 0) -> Series:
    result = (Fraction(0),) * len(at)
    for k in range(len(polynomial) - 1, order - 1, -1):
        result = _times(result, at)
        result = (result[0] + perm(k, order) * polynomial[k], *result[1:])
    return result


def run_sgd(batches, start, length, momentum=0, nesterov=False, dampening=0, hessian_damping=0, rates=None) -> Series:
    """theta_T for batches of polynomials, torch.optim.SGD's update; damped: gradient / (1 + damping rate hessian)."""
    theta = (start, *(Fraction(0),) * (length - 1))
    buffer = None
    for step, batch in enumerate(batches):
        rate = rates[step] if rates else 1
        gradient = (Fraction(0),) * length
        hessian = gradient
        for polynomial in batch:
            gradient = _plus(gradient, evaluate(polynomial, theta, 1), Fraction(1, len(batch)))
            hessian = _plus(hessian, evaluate(polynomial, theta, 2), Fraction(1, len(batch)))
        term = gradient
        for _ in range(length if hessian_damping else 0):
            term = _later(_times(term, tuple(-hessian_damping * rate * h for h in hessian)))
            gradient = _plus(gradient, term)
        direction = gradient
        if momentum:
            buffer = gradient if buffer is None else _plus(tuple(momentum * b for b in buffer), gradient, 1 - dampening)
            direction = _plus(gradient, buffer, momentum) if nesterov else buffer
        theta = _plus(theta, _later(direction), -rate)
    return theta


def enumerate_sgd(land: Landscape, spacetime: Spacetime, order: int, **optimizer) -> dict[str, Series]:
    """E test, E train, gap and E displacement over all training sets and schedules."""
    length = order + 1
    total = {name: (Fraction(0),) * length for name in ("test", "train", "displacement")}
    for chosen in product(land.points, repeat=spacetime.num_examples):
        weight = prod(p for p, _ in chosen)
        for share, run in schedules(spacetime):
            batches = [[chosen[row][1] for row in batch] for batch in run]
            theta = run_sgd(batches, land.start, length, **optimizer)
            for p, polynomial in land.points:
                total["test"] = _plus(total["test"], evaluate(polynomial, theta), weight * share * p)
            for _, polynomial in chosen:
                mean = weight * share / spacetime.num_examples
                total["train"] = _plus(total["train"], evaluate(polynomial, theta), mean)
            total["displacement"] = _plus(total["displacement"], (Fraction(0), *theta[1:]), weight * share)
    total["gap"] = _plus(total["test"], total["train"], -1)
    return total
