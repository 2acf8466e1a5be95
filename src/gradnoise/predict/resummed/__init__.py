"""Predictions summed to all orders in the curvature: for long runs near a minimum."""

from gradnoise.predict.resummed.curve import ResummedCurve
from gradnoise.predict.resummed.drift import Drift, predict_drift
from gradnoise.predict.resummed.linkless import linkless_diagrams
from gradnoise.predict.resummed.resummed import predict_resummed

__all__ = ["Drift", "ResummedCurve", "linkless_diagrams", "predict_drift", "predict_resummed"]
