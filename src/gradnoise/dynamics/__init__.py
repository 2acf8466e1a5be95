"""Processes, from SGD to its limits, and the simulation of any process."""

from gradnoise.dynamics.checkpoint import Checkpoint
from gradnoise.dynamics.discrete import gradient_descent, sgd
from gradnoise.dynamics.entropy_sgd import entropy_sgd
from gradnoise.dynamics.equilibrium_records import equilibrium_records
from gradnoise.dynamics.fluctuation_records import fluctuation_records
from gradnoise.dynamics.gradient_flow import gradient_flow
from gradnoise.dynamics.hessian_sgd import hessian_sgd
from gradnoise.dynamics.levy import levy
from gradnoise.dynamics.noisy_gd import noisy_gd
from gradnoise.dynamics.optimizer import optimizer
from gradnoise.dynamics.sde import sde
from gradnoise.dynamics.simulate import simulate
from gradnoise.dynamics.simulation import Simulation
from gradnoise.dynamics.svag import svag

__all__ = [
    "Checkpoint",
    "Simulation",
    "entropy_sgd",
    "equilibrium_records",
    "fluctuation_records",
    "gradient_descent",
    "gradient_flow",
    "hessian_sgd",
    "levy",
    "noisy_gd",
    "optimizer",
    "sde",
    "sgd",
    "simulate",
    "svag",
]
