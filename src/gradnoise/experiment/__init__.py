"""Theory beside simulation: comparison, residuals, and the main job that fills a report."""

from gradnoise.experiment.compare import Comparison, compare
from gradnoise.experiment.control_variates import control_variates
from gradnoise.experiment.error_decomposition import ErrorDecomposition, decompose_error
from gradnoise.experiment.residuals import Slope, residual_slope
from gradnoise.experiment.simulate import simulate
from gradnoise.experiment.spectrum_along_training import spectrum_along_training
from gradnoise.experiment.spectrum_words import spectrum_sentences
from gradnoise.experiment.two_loops import fit_two_loops
from gradnoise.experiment.weak_order import weak_order, weak_order_of
from gradnoise.experiment.weak_record import WeakOrder

__all__ = [
    "Comparison",
    "ErrorDecomposition",
    "Slope",
    "WeakOrder",
    "compare",
    "control_variates",
    "decompose_error",
    "fit_two_loops",
    "residual_slope",
    "simulate",
    "spectrum_along_training",
    "spectrum_sentences",
    "weak_order",
    "weak_order_of",
]
