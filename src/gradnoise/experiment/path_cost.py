"""What the whole run of the main job will take, stated before it runs."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _tree
from gradnoise.dynamics import sgd
from gradnoise.dynamics.cost import estimate_simulation
from gradnoise.experiment.path import Plan, make_plan, stated_cost, why_absent
from gradnoise.experiment.setup import Setup
from gradnoise.problem import require_pool

COMPILING = 10.0
"""Seconds that compiling the prediction takes, about."""
REPEATS = 5


def whole_run_cost(setup: Setup) -> tuple[str, float, int]:
    """A sentence, seconds, and bytes of the stage "path".

    Gradient equivalents times the measured time of a gradient over the pool, probes spread over the devices; the
    simulation at the middle batch size is timed, the others taken as alike. 0 where there is no whole run.
    """
    reason = why_absent(setup)
    if reason is not None:
        return f"no whole training run: {reason}", 0.0, 0
    plan = make_plan(setup)
    cost = stated_cost(setup, plan)
    devices = len(jax.devices()) if plan.method == "probes" else 1
    seconds = COMPILING + cost.gradient_equivalents * _gradient_seconds(setup) / devices
    if plan.num_replicas:
        seconds += len(plan.batch_sizes) * _simulation_seconds(setup, plan)
    batch = plan.spacetime.batch_size
    alike = "about as accurate there" if plan.method == "probes" else "for comparison"
    told = (
        f"whole run of {plan.spacetime.num_steps} steps at learning rate {plan.learning_rate:g}, batch sizes "
        f"{', '.join(map(str, plan.batch_sizes))}: the prediction takes about {cost.gradient_equivalents:,.0f} gradients "
        f"over the pool, {cost.num_runs} plain runs at batch size {batch}, {alike}, "
        f"{cost.simulation_equivalents:,.0f}"
    )
    return told, seconds, cost.bytes


def _gradient_seconds(setup: Setup) -> float:
    """One compiled gradient of the mean loss over the pool, in double precision."""
    pool = require_pool(setup.problem, "the whole run")
    with jax.enable_x64(True):
        params, examples = _tree.cast(setup.params, jnp.float64), _tree.cast(pool, jnp.float64)
        loss: Any = lambda w, x: jnp.mean(jax.vmap(setup.penalized.loss, (None, 0))(w, x))  # noqa: E731
        gradient = jax.jit(jax.grad(loss))
        times = []
        for _ in range(REPEATS + 1):
            start = time.perf_counter()
            jax.block_until_ready(gradient(params, examples))
            times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))


def _simulation_seconds(setup: Setup, plan: Plan) -> float:
    config, batch = setup.config, plan.batch_sizes[len(plan.batch_sizes) // 2]
    process = sgd(setup.problem, momentum=config.momentum, weight_decay=config.weight_decay)
    return estimate_simulation(
        process, setup.params, plan.resized(batch), plan.num_replicas, plan.every, memory=config.memory
    ).seconds
