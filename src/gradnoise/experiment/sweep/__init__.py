"""Runs of SGD over a grid of settings, several seeds each, in a store that survives being killed."""

from gradnoise.experiment.sweep.advise import advise
from gradnoise.experiment.sweep.config import SweepPlan, read_plan
from gradnoise.experiment.sweep.cost import estimate
from gradnoise.experiment.sweep.judge import judge
from gradnoise.experiment.sweep.run import sweep

__all__ = ["SweepPlan", "advise", "estimate", "judge", "read_plan", "sweep"]
