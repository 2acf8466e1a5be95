"""What a model's noise is at one point: diagram values, covariance, spectrum, noise scale, curvature."""

from gradnoise.measure.batch_gradients import (
    SignalNoise,
    correct_for_disjoint_batches,
    signal_noise_from_batches,
    signal_noise_from_disjoint_batches,
    signal_noise_from_two_sizes,
    signal_noise_of_examples,
)
from gradnoise.measure.covariance import NoiseCovariance, noise_covariance
from gradnoise.measure.cumulant_scaling import CumulantScaling, cumulant_scaling
from gradnoise.measure.curvature import HessianExtremes, hessian_extremes
from gradnoise.measure.diagram_values import DiagramValues, diagram_values
from gradnoise.measure.gaussianity import Gaussianity, gaussianity
from gradnoise.measure.metric import noise_scale_in_metric
from gradnoise.measure.noise_interval import noise_scale_interval
from gradnoise.measure.noise_scale import NoiseScale, noise_scale, noise_scale_from_gradients
from gradnoise.measure.spectrum import NoiseSpectrum, noise_spectrum
from gradnoise.measure.tails import TailIndex, tail_index

__all__ = [
    "CumulantScaling",
    "DiagramValues",
    "Gaussianity",
    "HessianExtremes",
    "NoiseCovariance",
    "NoiseScale",
    "NoiseSpectrum",
    "SignalNoise",
    "TailIndex",
    "correct_for_disjoint_batches",
    "cumulant_scaling",
    "diagram_values",
    "gaussianity",
    "hessian_extremes",
    "noise_covariance",
    "noise_scale",
    "noise_scale_from_gradients",
    "noise_scale_in_metric",
    "noise_scale_interval",
    "noise_spectrum",
    "signal_noise_from_batches",
    "signal_noise_from_disjoint_batches",
    "signal_noise_from_two_sizes",
    "signal_noise_of_examples",
    "tail_index",
]
