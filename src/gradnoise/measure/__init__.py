"""What a model's noise is at one point: diagram values, covariance, spectrum, noise scale, curvature."""

from gradnoise.measure.diagram_values import DiagramValues, diagram_values

__all__ = ["DiagramValues", "diagram_values"]
