"""The loop expansion: gradient descent on the population, and the noise of SGD around it to first and second order."""

from gradnoise.predict.path.attribution import StepAttribution, step_attribution, where_noise_costs
from gradnoise.predict.path.batch_choice import BatchChoice, batch_choice
from gradnoise.predict.path.batch_schedule import BatchSchedule, best_batch_schedule
from gradnoise.predict.path.cost import PathCost, estimate_path
from gradnoise.predict.path.example_attribution import ExampleAttribution, example_attribution
from gradnoise.predict.path.path import predict_path
from gradnoise.predict.path.prediction import Domain, PathCurve, PathPrediction
from gradnoise.predict.path.schedule import ScheduleGradient, schedule_gradient

__all__ = [
    "BatchChoice",
    "BatchSchedule",
    "Domain",
    "ExampleAttribution",
    "PathCost",
    "PathCurve",
    "PathPrediction",
    "ScheduleGradient",
    "StepAttribution",
    "batch_choice",
    "best_batch_schedule",
    "estimate_path",
    "example_attribution",
    "predict_path",
    "schedule_gradient",
    "step_attribution",
    "where_noise_costs",
]
