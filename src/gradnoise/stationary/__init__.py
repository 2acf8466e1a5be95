"""Where SGD settles: stationary densities and currents, equilibrium, scale invariance, the limit of linear scaling."""

from gradnoise.stationary.fokker_planck import (
    FokkerPlanckEvolution,
    FokkerPlanckSolution,
    evolve_fokker_planck,
    solve_fokker_planck,
)
from gradnoise.stationary.linear import LinearDecomposition, circulation, entropy_production, linear_decomposition
from gradnoise.stationary.linear_scaling import CriticalBatch, critical_batch
from gradnoise.stationary.scale_invariant import is_scale_invariant

__all__ = [
    "CriticalBatch",
    "FokkerPlanckEvolution",
    "FokkerPlanckSolution",
    "LinearDecomposition",
    "circulation",
    "critical_batch",
    "entropy_production",
    "evolve_fokker_planck",
    "is_scale_invariant",
    "linear_decomposition",
    "solve_fokker_planck",
]
