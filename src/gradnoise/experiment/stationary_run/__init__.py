"""Is a run of SGD stationary, is it an equilibrium, and what is its noise like? One run of several replicas, judged."""

from gradnoise.experiment.stationary_run.config import StationaryConfig as Config
from gradnoise.experiment.stationary_run.cost import estimate
from gradnoise.experiment.stationary_run.run import run

__all__ = ["Config", "estimate", "run"]
