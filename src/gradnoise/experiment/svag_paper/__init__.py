"""The experiments of Li, Malladi and Arora's paper on SGD and its SDE, by name."""

from gradnoise.experiment.svag_paper.configuration import Configuration, Setting
from gradnoise.experiment.svag_paper.configurations import CONFIGURATIONS
from gradnoise.experiment.svag_paper.run import run_configuration

__all__ = ["CONFIGURATIONS", "Configuration", "Setting", "run_configuration"]
