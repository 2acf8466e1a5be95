"""Predictions: counting factors, series in the learning rate, and whole curves around the deterministic path."""

from gradnoise.predict.coefficients import coefficient, coefficient_curve, coefficient_formula
from gradnoise.predict.continuous import ode_coefficients, sde_coefficients
from gradnoise.predict.path import (
    BatchChoice,
    BatchSchedule,
    Domain,
    ExampleAttribution,
    PathCurve,
    PathPrediction,
    ScheduleGradient,
    StepAttribution,
    batch_choice,
    best_batch_schedule,
    estimate_path,
    example_attribution,
    predict_path,
    schedule_gradient,
    step_attribution,
    where_noise_costs,
)
from gradnoise.predict.series import Curve, entry_weights, predict_curve, series_coefficients

__all__ = [
    "BatchChoice",
    "BatchSchedule",
    "Curve",
    "Domain",
    "ExampleAttribution",
    "PathCurve",
    "PathPrediction",
    "ScheduleGradient",
    "StepAttribution",
    "batch_choice",
    "best_batch_schedule",
    "coefficient",
    "coefficient_curve",
    "coefficient_formula",
    "entry_weights",
    "estimate_path",
    "example_attribution",
    "ode_coefficients",
    "predict_curve",
    "predict_path",
    "schedule_gradient",
    "sde_coefficients",
    "series_coefficients",
    "step_attribution",
    "where_noise_costs",
]
