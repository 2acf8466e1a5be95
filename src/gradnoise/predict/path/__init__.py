"""The loop expansion: gradient descent on the population, and the noise of SGD around it to first and second order."""

from gradnoise.predict.path.batch_choice import BatchChoice, batch_choice
from gradnoise.predict.path.path import predict_path
from gradnoise.predict.path.prediction import Domain, PathCurve, PathPrediction

__all__ = ["BatchChoice", "Domain", "PathCurve", "PathPrediction", "batch_choice", "predict_path"]
