"""Where SGD settles: equilibrium, scale invariance, and the limit of the linear scaling rule."""

from gradnoise.stationary.linear_scaling import CriticalBatch, critical_batch
from gradnoise.stationary.scale_invariant import is_scale_invariant

__all__ = ["CriticalBatch", "critical_batch", "is_scale_invariant"]
