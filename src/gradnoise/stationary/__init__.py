"""Where SGD settles: stationary densities and currents, equilibrium, scale invariance, the limit of linear scaling."""

from gradnoise.stationary.averages import StationaryAverages, stationary_averages
from gradnoise.stationary.closeness import Closeness, c_closeness, linear_scaling_invariance
from gradnoise.stationary.equilibrium import EquilibriumIdentity, equilibrium_identity
from gradnoise.stationary.fokker_planck import (
    FokkerPlanckEvolution,
    FokkerPlanckSolution,
    evolve_fokker_planck,
    solve_fokker_planck,
)
from gradnoise.stationary.linear import LinearDecomposition, circulation, entropy_production, linear_decomposition
from gradnoise.stationary.linear_scaling import CriticalBatch, critical_batch
from gradnoise.stationary.scale_invariant import (
    gradient_along_weights,
    is_scale_invariant,
    scale_invariant_groups,
)
from gradnoise.stationary.scaling_theorems import (
    TheoremVerdict,
    scaled_run_must_differ,
    scaling_up_must_fail,
    sde_must_differ,
)

__all__ = [
    "Closeness",
    "CriticalBatch",
    "EquilibriumIdentity",
    "FokkerPlanckEvolution",
    "FokkerPlanckSolution",
    "LinearDecomposition",
    "StationaryAverages",
    "TheoremVerdict",
    "c_closeness",
    "circulation",
    "critical_batch",
    "entropy_production",
    "equilibrium_identity",
    "evolve_fokker_planck",
    "gradient_along_weights",
    "is_scale_invariant",
    "linear_decomposition",
    "linear_scaling_invariance",
    "scale_invariant_groups",
    "scaled_run_must_differ",
    "scaling_up_must_fail",
    "sde_must_differ",
    "solve_fokker_planck",
    "stationary_averages",
]
