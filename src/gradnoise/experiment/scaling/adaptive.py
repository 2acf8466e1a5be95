"""What can be said of Adam: the noise in its own metric, and the square-root rule by name; no certificate."""

import math
from typing import Any

import jax
import numpy as np
import optax
import xarray as xr

from gradnoise._types import Params
from gradnoise.dynamics.optimizer import optimizer
from gradnoise.dynamics.train import train_state
from gradnoise.measure.metric import noise_scale_in_metric
from gradnoise.measure.noise_interval import noise_scale_interval
from gradnoise.measure.noise_scale import noise_scale

DECAY, EPSILON = 0.999, 1e-8
"""Adam's second moment, and what keeps its root from zero: optax's and PyTorch's defaults."""
RULE = (
    "For Adam the rule of thumb is the square-root one: multiply the learning rate by sqrt(kappa) when the batch grows "
    "kappa-fold (Malladi et al. 2022). It is named here, not checked."
)


def adam_metric(state: Any, epsilon: float = EPSILON) -> Params:
    """1/(sqrt(v) + epsilon) of optax's Adam state, v its bias-corrected second moment; a tree like the weights."""
    correction = 1 - DECAY ** int(state.count)
    return jax.tree.map(lambda nu: 1 / (np.sqrt(np.asarray(nu, dtype=float) / correction) + epsilon), state.nu)


def adaptive_table(job: Any) -> xr.Dataset:
    """The noise scale at the end of a run of Adam, plain and in its metric, with 95 % intervals."""
    config = job.config
    job.progress("Adam", None)
    process = optimizer(job.problem, optax.scale_by_adam(b2=DECAY, eps=EPSILON), config.weight_decay, "adam")
    state = train_state(
        process, job.params, config.grid.num_steps, config.batch_size, config.learning_rate, job.key["train"]
    )
    params = jax.tree.map(np.asarray, process.params(state))
    options: dict[str, Any] = {"method": "unbiased", "memory": config.memory}
    job.progress("noise in Adam's metric", None)
    found = {
        "metric_noise_scale": noise_scale_in_metric(
            job.problem, params, adam_metric(state.inner), config.batch_size, **options
        ),
        "simple_noise_scale": noise_scale(job.problem, params, config.batch_size, **options),
    }
    table = {}
    for name, scale in found.items():
        low, high = noise_scale_interval(scale)
        value = scale.simple_noise_scale
        error = float(value.stderr) if math.isfinite(value.stderr) else math.nan
        ends = {"": float(value.value), "_se": error, "_low": low, "_high": high}
        table |= {f"{name}{end}": number for end, number in ends.items()}
    return xr.Dataset(table, attrs={"optimizer": "adam", "rule": RULE})
