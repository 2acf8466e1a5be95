"""Tensors of the landscape cubic1 at its start, in one weight and rational numbers, by their definitions."""

from fractions import Fraction
from math import prod

from diagrams.landscape import Landscape, derivative, enumerate_sgd, landscape
from gradnoise.spacetime import Spacetime

LAND = landscape("cubic1")
AT_A_MINIMUM = Landscape(
    Fraction(0),
    (
        (Fraction(1, 3), (Fraction(0), Fraction(2), Fraction(1, 2), Fraction(1, 3))),
        (Fraction(2, 3), (Fraction(0), Fraction(-1), Fraction(3, 2), Fraction(-1, 2))),
    ),
)
"""Two kinds of examples whose mean gradient vanishes at the start."""


def mean(*degrees):
    """E of the product of derivatives of these orders at the start: a raw moment."""
    return sum(p * prod(derivative(f, k, LAND.start) for k in degrees) for p, f in LAND.points)


G, H, J = mean(1), mean(2), mean(3)
C, GHG = mean(1, 1) - G**2, G * H * G
OWN = mean(1, 2) * G - GHG
"""kappa(g, h) G = (1/2) G.grad tr C."""
S = mean(1, 1, 1) - 3 * mean(1, 1) * G + 2 * G**3


def raw_value(diagram):
    """The product over parts of the raw moment of the part's derivatives."""
    return prod((mean(*(diagram.degree(node) for node in part)) for part in diagram.parts), start=Fraction(1))


def sgd(num_examples, batch_size, epochs=1, order=2):
    """Test loss, train loss, gap and displacement of SGD in a fixed order, enumerated, by power of the rate."""
    return enumerate_sgd(LAND, Spacetime(num_examples, batch_size, epochs), order)
