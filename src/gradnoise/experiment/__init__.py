"""Theory beside simulation: comparison, residuals, and the main job that fills a report."""

from gradnoise.experiment.compare import Comparison, compare
from gradnoise.experiment.control_variates import control_variates
from gradnoise.experiment.residuals import Slope, residual_slope
from gradnoise.experiment.simulate import simulate
from gradnoise.experiment.two_loops import fit_two_loops

__all__ = ["Comparison", "Slope", "compare", "control_variates", "fit_two_loops", "residual_slope", "simulate"]
