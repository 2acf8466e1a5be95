"""Problems to try things on: landscapes with closed forms (the tests' oracles) and stock models on real data."""

from gradnoise.testbeds.catalogue import (
    CATALOGUE,
    digits_logistic,
    digits_mlp,
    digits_normalized_mlp,
    problem,
    problem_from_data,
)
from gradnoise.testbeds.landscapes import double_well, gauss
from gradnoise.testbeds.linear_gradients import linear_gradients
from gradnoise.testbeds.linear_losses import linear_losses
from gradnoise.testbeds.polynomial import polynomial_landscape
from gradnoise.testbeds.quadratic import mean_estimation
from gradnoise.testbeds.scale_invariant_toys import angle_toy, angle_toy_squared_norm, rayleigh_toy
from gradnoise.testbeds.valleys import helix, helix_ring, ring_engine

__all__ = [
    "CATALOGUE",
    "angle_toy",
    "angle_toy_squared_norm",
    "digits_logistic",
    "digits_mlp",
    "digits_normalized_mlp",
    "double_well",
    "gauss",
    "helix",
    "helix_ring",
    "linear_gradients",
    "linear_losses",
    "mean_estimation",
    "polynomial_landscape",
    "problem",
    "problem_from_data",
    "rayleigh_toy",
    "ring_engine",
]
