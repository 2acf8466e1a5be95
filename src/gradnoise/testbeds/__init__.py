"""Problems to try things on: landscapes with closed forms (the tests' oracles) and stock models on real data."""

from gradnoise.testbeds.catalogue import CATALOGUE, digits_logistic, digits_mlp, problem, problem_from_data
from gradnoise.testbeds.landscapes import double_well, gauss
from gradnoise.testbeds.polynomial import polynomial_landscape
from gradnoise.testbeds.quadratic import mean_estimation
from gradnoise.testbeds.valleys import helix, helix_ring, ring_engine

__all__ = [
    "CATALOGUE",
    "digits_logistic",
    "digits_mlp",
    "double_well",
    "gauss",
    "helix",
    "helix_ring",
    "mean_estimation",
    "polynomial_landscape",
    "problem",
    "problem_from_data",
    "ring_engine",
]
