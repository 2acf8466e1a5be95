"""Averages over training sets: train loss, test loss, the gap between them, and how they depend on the temperature."""

from gradnoise.averaging.averages import GapParts, gap_bound, gap_parts, mean_pairwise_kl, training_loss_variance
from gradnoise.averaging.choice import CheapestCell, IntervalAfter, cheapest_cell, interval_after
from gradnoise.averaging.collapse import Collapse, collapse_in_temperature, momentum_excess
from gradnoise.averaging.cross_losses import cross_losses
from gradnoise.averaging.delta import delta_covariance, delta_gap, loss_in_wells, shifted_loss
from gradnoise.averaging.effective_potential import EffectivePotential, effective_potential
from gradnoise.averaging.ensemble import TrainingEnsemble, training_ensemble
from gradnoise.averaging.gap import generalization_gap
from gradnoise.averaging.gap_fit import GapFit, fit_gap, gap_curve
from gradnoise.averaging.halving import cells_to_continue
from gradnoise.averaging.log_normal import GapApproximation, density_variance, log_normal_bound, log_normal_gap
from gradnoise.averaging.models import (
    GridModel,
    MeanEstimationLosses,
    gaussian_mean,
    logistic_model,
    mean_estimation_losses,
)
from gradnoise.averaging.moments import ExponentMoments, averaging_log_weights, exponent_moments
from gradnoise.averaging.optimum import FittedOptimum, fit_optimum
from gradnoise.averaging.overlap import Overlap, gap_without_overlap, overlap_factor, overlap_share, split_gap_from_pool
from gradnoise.averaging.potential_moments import (
    PotentialMoments,
    approximate_loss_slope,
    potential_moments,
    temperature_slope,
)
from gradnoise.averaging.predicted_optimum import PredictedOptimum, predicted_optimum
from gradnoise.averaging.sampled_sets import over_sampled_sets
from gradnoise.averaging.spread import LossSpread, evenly_spaced_epochs, loss_spread
from gradnoise.averaging.steady_state import Convergence, SpikeTrim, converged, steady_median, trim_spikes
from gradnoise.averaging.temperature import equivalent_steps, momentum_temperature, scaled_epochs
from gradnoise.averaging.trends import Trend, gap_trend, optimum_trend, train_loss_trend

__all__ = [
    "CheapestCell",
    "Collapse",
    "Convergence",
    "EffectivePotential",
    "ExponentMoments",
    "FittedOptimum",
    "GapApproximation",
    "GapFit",
    "GapParts",
    "GridModel",
    "IntervalAfter",
    "LossSpread",
    "MeanEstimationLosses",
    "Overlap",
    "PotentialMoments",
    "PredictedOptimum",
    "SpikeTrim",
    "TrainingEnsemble",
    "Trend",
    "approximate_loss_slope",
    "averaging_log_weights",
    "cells_to_continue",
    "cheapest_cell",
    "collapse_in_temperature",
    "converged",
    "cross_losses",
    "delta_covariance",
    "delta_gap",
    "density_variance",
    "effective_potential",
    "equivalent_steps",
    "evenly_spaced_epochs",
    "exponent_moments",
    "fit_gap",
    "fit_optimum",
    "gap_bound",
    "gap_curve",
    "gap_parts",
    "gap_trend",
    "gap_without_overlap",
    "gaussian_mean",
    "generalization_gap",
    "interval_after",
    "log_normal_bound",
    "log_normal_gap",
    "logistic_model",
    "loss_in_wells",
    "loss_spread",
    "mean_estimation_losses",
    "mean_pairwise_kl",
    "momentum_excess",
    "momentum_temperature",
    "optimum_trend",
    "over_sampled_sets",
    "overlap_factor",
    "overlap_share",
    "potential_moments",
    "predicted_optimum",
    "scaled_epochs",
    "shifted_loss",
    "split_gap_from_pool",
    "steady_median",
    "temperature_slope",
    "train_loss_trend",
    "training_ensemble",
    "training_loss_variance",
    "trim_spikes",
]
