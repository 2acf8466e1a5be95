"""Processes of discrete steps, and the simulation of any process."""

from gradnoise.dynamics.discrete import gradient_descent, sgd
from gradnoise.dynamics.simulate import simulate
from gradnoise.dynamics.simulation import Simulation

__all__ = ["Simulation", "gradient_descent", "sgd", "simulate"]
