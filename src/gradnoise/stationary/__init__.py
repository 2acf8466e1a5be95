"""Where SGD settles: stationary densities and currents, equilibrium, scale invariance, the limit of linear scaling."""

from gradnoise.stationary.averages import StationaryAverages, stationary_averages
from gradnoise.stationary.circulation_from_data import area_rate, circulating_part, lag_covariance_slope
from gradnoise.stationary.closeness import Closeness, c_closeness, linear_scaling_invariance
from gradnoise.stationary.curl import BoltzmannExponents, CurlTest, boltzmann_exponents, measure_curl
from gradnoise.stationary.equilibrium import EquilibriumIdentity, equilibrium_identity
from gradnoise.stationary.fluctuation_dissipation import (
    Balance,
    FluctuationDissipation,
    direction_identity,
    loss_identity,
    norm_identity,
)
from gradnoise.stationary.fokker_planck import (
    FokkerPlanckEvolution,
    FokkerPlanckSolution,
    evolve_fokker_planck,
    solve_fokker_planck,
)
from gradnoise.stationary.force_balance import ForceBalance, force_balance
from gradnoise.stationary.free_energy import FreeEnergy, free_energy, loss_excess
from gradnoise.stationary.heavy_ball import HeavyBallVariance, heavy_ball_variance, momentum_increment_covariance
from gradnoise.stationary.likely_points import TemperatureTable, against_temperature, mode_shift
from gradnoise.stationary.linear import LinearDecomposition, circulation, entropy_production, linear_decomposition
from gradnoise.stationary.linear_scaling import CriticalBatch, critical_batch
from gradnoise.stationary.linearize import Linearization, linearize
from gradnoise.stationary.local_entropy import LocalEntropy, local_entropy, quadratic_local_entropy
from gradnoise.stationary.local_entropy_gradient import LangevinGradient, local_entropy_gradient
from gradnoise.stationary.mean_shift import mean_shift
from gradnoise.stationary.minimum import Minimum, find_minimum
from gradnoise.stationary.potential import DivergenceTest, PotentialFields, entropy_production_rate, potential_fields
from gradnoise.stationary.potential_drift import PotentialDrift, drift_with_potential
from gradnoise.stationary.return_map import ReturnMap, circular_period, return_map
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
from gradnoise.stationary.wasserstein_flow import density_quantiles, jko_step

__all__ = [
    "Balance",
    "BoltzmannExponents",
    "Closeness",
    "CriticalBatch",
    "CurlTest",
    "DivergenceTest",
    "EquilibriumIdentity",
    "FluctuationDissipation",
    "FokkerPlanckEvolution",
    "FokkerPlanckSolution",
    "ForceBalance",
    "FreeEnergy",
    "HeavyBallVariance",
    "LangevinGradient",
    "LinearDecomposition",
    "Linearization",
    "LocalEntropy",
    "Minimum",
    "PotentialDrift",
    "PotentialFields",
    "ReturnMap",
    "StationaryAverages",
    "TemperatureTable",
    "TheoremVerdict",
    "against_temperature",
    "area_rate",
    "boltzmann_exponents",
    "c_closeness",
    "circular_period",
    "circulating_part",
    "circulation",
    "critical_batch",
    "density_quantiles",
    "direction_identity",
    "drift_with_potential",
    "entropy_production",
    "entropy_production_rate",
    "equilibrium_identity",
    "evolve_fokker_planck",
    "find_minimum",
    "force_balance",
    "free_energy",
    "gradient_along_weights",
    "heavy_ball_variance",
    "is_scale_invariant",
    "jko_step",
    "lag_covariance_slope",
    "linear_decomposition",
    "linear_scaling_invariance",
    "linearize",
    "local_entropy",
    "local_entropy_gradient",
    "loss_excess",
    "loss_identity",
    "mean_shift",
    "measure_curl",
    "mode_shift",
    "momentum_increment_covariance",
    "norm_identity",
    "potential_fields",
    "quadratic_local_entropy",
    "return_map",
    "scale_invariant_groups",
    "scaled_run_must_differ",
    "scaling_up_must_fail",
    "sde_must_differ",
    "solve_fokker_planck",
    "stationary_averages",
]
