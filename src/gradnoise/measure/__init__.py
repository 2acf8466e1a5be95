"""What a model's noise is at one point: diagram values, covariance, spectrum, noise scale, curvature."""

from gradnoise.measure.architecture import ArchitectureScore, architecture_score, spectral_temperature, temperature_rule
from gradnoise.measure.batch_gradients import (
    SignalNoise,
    correct_for_disjoint_batches,
    signal_noise_from_batches,
    signal_noise_from_disjoint_batches,
    signal_noise_from_two_sizes,
    signal_noise_of_examples,
)
from gradnoise.measure.circulation import lag_covariance
from gradnoise.measure.covariance import NoiseCovariance, noise_covariance
from gradnoise.measure.cumulant_scaling import CumulantScaling, cumulant_scaling
from gradnoise.measure.curvature import HessianExtremes, hessian_extremes
from gradnoise.measure.diagram_values import DiagramValues, diagram_values
from gradnoise.measure.gaussianity import Gaussianity, gaussianity
from gradnoise.measure.irreversibility import Irreversibility, irreversibility_test
from gradnoise.measure.metric import noise_scale_in_metric
from gradnoise.measure.noise_interval import noise_scale_interval
from gradnoise.measure.noise_scale import NoiseScale, noise_scale, noise_scale_from_gradients
from gradnoise.measure.spectrum import NoiseSpectrum, noise_spectrum
from gradnoise.measure.spectrum_distance import SubspaceOverlap, spectrum_distance, subspace_overlap
from gradnoise.measure.tails import TailIndex, tail_index
from gradnoise.measure.trajectory import (
    IncrementSpectrum,
    WeightAutocorrelation,
    increment_spectrum,
    normalized_gradient_norm,
    weight_autocorrelation,
)
from gradnoise.measure.trajectory_nulls import (
    autoregression_autocorrelation,
    autoregression_band,
    autoregression_increment_power,
    random_walk_autocorrelation,
    white_noise_band,
)
from gradnoise.measure.values_cost import ValuesCost, estimate_values

__all__ = [
    "ArchitectureScore",
    "CumulantScaling",
    "DiagramValues",
    "Gaussianity",
    "HessianExtremes",
    "IncrementSpectrum",
    "Irreversibility",
    "NoiseCovariance",
    "NoiseScale",
    "NoiseSpectrum",
    "SignalNoise",
    "SubspaceOverlap",
    "TailIndex",
    "ValuesCost",
    "WeightAutocorrelation",
    "architecture_score",
    "autoregression_autocorrelation",
    "autoregression_band",
    "autoregression_increment_power",
    "correct_for_disjoint_batches",
    "cumulant_scaling",
    "diagram_values",
    "estimate_values",
    "gaussianity",
    "hessian_extremes",
    "increment_spectrum",
    "irreversibility_test",
    "lag_covariance",
    "noise_covariance",
    "noise_scale",
    "noise_scale_from_gradients",
    "noise_scale_in_metric",
    "noise_scale_interval",
    "noise_spectrum",
    "normalized_gradient_norm",
    "random_walk_autocorrelation",
    "signal_noise_from_batches",
    "signal_noise_from_disjoint_batches",
    "signal_noise_from_two_sizes",
    "signal_noise_of_examples",
    "spectral_temperature",
    "spectrum_distance",
    "subspace_overlap",
    "tail_index",
    "temperature_rule",
    "weight_autocorrelation",
    "white_noise_band",
]
