"""Theory beside simulation: comparison, residuals, and the main job that fills a report."""

from gradnoise.experiment.compare import Comparison, compare
from gradnoise.experiment.control_variates import control_variates
from gradnoise.experiment.residuals import Slope, residual_slope
from gradnoise.experiment.simulate import simulate

__all__ = ["Comparison", "Slope", "compare", "control_variates", "residual_slope", "simulate"]
