"""Predictions: counting factors, series in the learning rate, and whole curves around the deterministic path."""

from gradnoise.predict.batch_emulation import EmulationDomain, emulate_batch, emulation_domain
from gradnoise.predict.coefficients import coefficient, coefficient_curve, coefficient_formula
from gradnoise.predict.continuous import ode_coefficients, sde_coefficients
from gradnoise.predict.curve_fit import CurveFit, extended_curve, fit_curve
from gradnoise.predict.differences import Factors, ProcessDifferences, process_differences, process_factors
from gradnoise.predict.epochs import batch_size_effect, epochs_effect, series_difference
from gradnoise.predict.fixed_time import fixed_time_coefficients, series_by_parts
from gradnoise.predict.model_selection import Agreement, Outlook, agreement, outlook
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
from gradnoise.predict.resummed import Drift, ResummedCurve, predict_drift, predict_resummed
from gradnoise.predict.series import Curve, entry_weights, predict_curve, series_coefficients
from gradnoise.predict.takeuchi import takeuchi_term
from gradnoise.predict.tune_weight_decay import TunedWeightDecay, tune_weight_decay

__all__ = [
    "Agreement",
    "BatchChoice",
    "BatchSchedule",
    "Curve",
    "CurveFit",
    "Domain",
    "Drift",
    "EmulationDomain",
    "ExampleAttribution",
    "Factors",
    "Outlook",
    "PathCurve",
    "PathPrediction",
    "ProcessDifferences",
    "ResummedCurve",
    "ScheduleGradient",
    "StepAttribution",
    "TunedWeightDecay",
    "agreement",
    "batch_choice",
    "batch_size_effect",
    "best_batch_schedule",
    "coefficient",
    "coefficient_curve",
    "coefficient_formula",
    "emulate_batch",
    "emulation_domain",
    "entry_weights",
    "epochs_effect",
    "estimate_path",
    "example_attribution",
    "extended_curve",
    "fit_curve",
    "fixed_time_coefficients",
    "ode_coefficients",
    "outlook",
    "predict_curve",
    "predict_drift",
    "predict_path",
    "predict_resummed",
    "process_differences",
    "process_factors",
    "schedule_gradient",
    "sde_coefficients",
    "series_by_parts",
    "series_coefficients",
    "series_difference",
    "step_attribution",
    "takeuchi_term",
    "tune_weight_decay",
    "where_noise_costs",
]
