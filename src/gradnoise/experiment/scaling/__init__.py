"""How far the batch can grow by linear scaling: a run to equilibrium, its certificate, and what scaled runs show."""

from gradnoise.experiment.scaling.config import ScalingConfig as Config
from gradnoise.experiment.scaling.cost import estimate
from gradnoise.experiment.scaling.judge import judge
from gradnoise.experiment.scaling.run import run

__all__ = ["Config", "estimate", "judge", "run"]
