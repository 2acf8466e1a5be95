"""Predictions: counting factors, series in the learning rate, and whole curves around the deterministic path."""

from gradnoise.predict.coefficients import coefficient, coefficient_curve, coefficient_formula
from gradnoise.predict.path import BatchChoice, Domain, PathCurve, PathPrediction, batch_choice, predict_path
from gradnoise.predict.series import Curve, entry_weights, predict_curve, series_coefficients

__all__ = [
    "BatchChoice",
    "Curve",
    "Domain",
    "PathCurve",
    "PathPrediction",
    "batch_choice",
    "coefficient",
    "coefficient_curve",
    "coefficient_formula",
    "entry_weights",
    "predict_curve",
    "predict_path",
    "series_coefficients",
]
