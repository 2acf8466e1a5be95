"""The oracle for several weights: polynomial losses, every training set and order, SGD as a power series; no diagrams."""

from fractions import Fraction
from itertools import product
from math import prod

from diagrams.brute_force import schedules
from diagrams.landscape import Series, _later, _plus, _times
from gradnoise.spacetime import Spacetime

Polynomial = dict[tuple[int, ...], Fraction]
"""Powers of the weights -> coefficient."""


def read_points(points) -> list[tuple[Fraction, Polynomial]]:
    """The points of a `polynomial_landscape`, exact."""
    return [
        (Fraction(p), {tuple(map(int, k.split(","))): Fraction(c) for k, c in terms.items()}) for p, terms in points
    ]


def derivative(polynomial: Polynomial, weight: int) -> Polynomial:
    lowered = {}
    for powers, c in polynomial.items():
        if powers[weight]:
            lowered[(*powers[:weight], powers[weight] - 1, *powers[weight + 1 :])] = c * powers[weight]
    return lowered


def evaluate(polynomial: Polynomial, theta: list[Series]) -> Series:
    length = len(theta[0])
    total = (Fraction(0),) * length
    for powers, c in polynomial.items():
        term = (c, *(Fraction(0),) * (length - 1))
        for power, weight in zip(powers, theta, strict=True):
            for _ in range(power):
                term = _times(term, weight)
        total = _plus(total, term)
    return total


def run_sgd(batches, start, length, factors, rates, momentum, weight_decay) -> list[Series]:
    """theta_T; step t moves weight k by learning_rate * rates[t] * factors[k] along the heavy ball, decay coupled."""
    zero = (Fraction(0),) * length
    theta = [(w, *zero[1:]) for w in start]
    buffers = [zero] * len(start)
    for rate, batch in zip(rates, batches, strict=True):
        gradients = []
        for weight in range(len(start)):
            mean = tuple(weight_decay * x for x in theta[weight])
            for polynomial in batch:
                mean = _plus(mean, evaluate(derivative(polynomial, weight), theta), Fraction(1, len(batch)))
            gradients.append(mean)
        buffers = [_plus(g, b, momentum) for g, b in zip(gradients, buffers, strict=True)]
        theta = [_plus(w, _later(b), -rate * f) for w, b, f in zip(theta, buffers, factors, strict=True)]
    return theta


def enumerate_runs(
    points: list[tuple[Fraction, Polynomial]], start, spacetime: Spacetime, order: int,
    factors=None, rates=None, momentum=Fraction(0), weight_decay=Fraction(0),
) -> dict[str, Series]:  # fmt: skip
    """E test, gap and the variance of the test loss, over all training sets and orders."""
    length = order + 1
    zero = (Fraction(0),) * length
    total = {name: zero for name in ("test", "train", "square")}
    factors, rates = factors or [1] * len(start), rates or [1] * spacetime.num_steps
    for chosen in product(points, repeat=spacetime.num_examples):
        for share, run in schedules(spacetime):
            weight = share * prod(p for p, _ in chosen)
            theta = run_sgd(
                [[chosen[row][1] for row in batch] for batch in run],
                start,
                length,
                factors,
                rates,
                momentum,
                weight_decay,
            )
            test = zero
            for p, polynomial in points:
                test = _plus(test, evaluate(polynomial, theta), p)
            total["test"] = _plus(total["test"], test, weight)
            total["square"] = _plus(total["square"], _times(test, test), weight)
            for _, polynomial in chosen:
                total["train"] = _plus(total["train"], evaluate(polynomial, theta), weight / spacetime.num_examples)
    return {
        "test": total["test"],
        "gap": _plus(total["test"], total["train"], -1),
        "variance": _plus(total["square"], _times(total["test"], total["test"]), -1),
    }
