"""Problems to try things on: landscapes with closed forms (the tests' oracles) and stock models on real data."""

from gradnoise.testbeds.augmentation import augmented
from gradnoise.testbeds.catalogue import (
    CATALOGUE,
    digits_logistic,
    digits_mlp,
    digits_normalized_mlp,
    problem,
    problem_from_data,
)
from gradnoise.testbeds.data import Data
from gradnoise.testbeds.datasets import load_data
from gradnoise.testbeds.landscapes import double_well, gauss
from gradnoise.testbeds.linear_gradients import linear_gradients
from gradnoise.testbeds.linear_losses import linear_losses
from gradnoise.testbeds.polynomial import polynomial_landscape
from gradnoise.testbeds.quadratic import mean_estimation
from gradnoise.testbeds.scale_invariant_toys import angle_toy, angle_toy_squared_norm, rayleigh_toy
from gradnoise.testbeds.splitting import disjoint_sets, random_sampling, split
from gradnoise.testbeds.valleys import helix, helix_ring, ring_engine

__all__ = [
    "CATALOGUE",
    "Data",
    "angle_toy",
    "angle_toy_squared_norm",
    "augmented",
    "digits_logistic",
    "digits_mlp",
    "digits_normalized_mlp",
    "disjoint_sets",
    "double_well",
    "gauss",
    "helix",
    "helix_ring",
    "linear_gradients",
    "linear_losses",
    "load_data",
    "mean_estimation",
    "polynomial_landscape",
    "problem",
    "problem_from_data",
    "random_sampling",
    "rayleigh_toy",
    "ring_engine",
    "split",
]
