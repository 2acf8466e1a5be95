"""Predictions from measured diagram values: counting factors, and series in the learning rate."""

from gradnoise.predict.coefficients import coefficient, coefficient_curve, coefficient_formula
from gradnoise.predict.series import Curve, entry_weights, predict_curve, series_coefficients

__all__ = [
    "Curve",
    "coefficient",
    "coefficient_curve",
    "coefficient_formula",
    "entry_weights",
    "predict_curve",
    "series_coefficients",
]
