"""What a model's noise is at one point: diagram values, covariance, spectrum, noise scale, curvature."""

from gradnoise.measure.covariance import NoiseCovariance, noise_covariance
from gradnoise.measure.curvature import HessianExtremes, hessian_extremes
from gradnoise.measure.diagram_values import DiagramValues, diagram_values
from gradnoise.measure.noise_interval import noise_scale_interval
from gradnoise.measure.noise_scale import NoiseScale, noise_scale, noise_scale_from_gradients
from gradnoise.measure.spectrum import NoiseSpectrum, noise_spectrum

__all__ = [
    "DiagramValues",
    "HessianExtremes",
    "NoiseCovariance",
    "NoiseScale",
    "NoiseSpectrum",
    "diagram_values",
    "hessian_extremes",
    "noise_covariance",
    "noise_scale",
    "noise_scale_from_gradients",
    "noise_scale_interval",
    "noise_spectrum",
]
