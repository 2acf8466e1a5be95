"""The Fokker-Planck equation on a grid: stationary density, current, and evolution in time."""

from gradnoise.stationary.fokker_planck.evolve import FokkerPlanckEvolution, evolve_fokker_planck
from gradnoise.stationary.fokker_planck.solve import FokkerPlanckSolution, solve_fokker_planck

__all__ = ["FokkerPlanckEvolution", "FokkerPlanckSolution", "evolve_fokker_planck", "solve_fokker_planck"]
