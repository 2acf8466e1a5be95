"""What a run is asked to do, made definite: start, grid, learning rates, keys, and a fingerprint of it all."""

import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import numpy as np
from pydantic import BaseModel

from gradnoise import _tree
from gradnoise._types import Key, Params
from gradnoise.experiment.config import Config
from gradnoise.measure.curvature import hessian_extremes
from gradnoise.problem import Problem, penalized
from gradnoise.results.checkpoint import CheckpointFolder
from gradnoise.results.store import Stages, fingerprint
from gradnoise.smoothness import kinks
from gradnoise.spacetime import Spacetime

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""The learning rates tried, in units of the main one."""
SERIES_REACH = 0.25
"""The main learning rate where none is given: learning_rate * num_steps * lambda_max / (1 - momentum)."""
BASELINE_REACH = 0.5
"""The baseline's learning rate where none is given, in units of 1 / lambda_max."""
NO_POOL_DRAWS = 1000


@dataclass
class Setup:
    """One problem and its settings, with everything that was left open chosen."""

    problem: Problem
    config: Config
    kept: Stages | None = field(default=None, kw_only=True)

    def checkpoint(self, name: str) -> CheckpointFolder | None:
        """Where the simulation `name` keeps its runs, so that a killed one goes on and no stage repeats another's."""
        return None if self.kept is None else self.kept.checkpoint(name)

    @cached_property
    def key(self) -> dict[str, Any]:
        names = ("params", "values", "noise", "baseline", "replicas", "path")
        return dict(zip(names, jax.random.split(jax.random.key(self.config.seed), len(names)), strict=True))

    @cached_property
    def params(self) -> Params:
        return self.problem.init(self.key["params"])

    @cached_property
    def spacetime(self) -> Spacetime:
        return self.config.spacetime(self.problem.num_pool)

    @cached_property
    def curvature(self) -> float:
        """lambda_max of the training loss (penalty included) at the start."""
        return float(hessian_extremes(self.penalized, self.params, **self.draws("noise")).largest.value)

    @cached_property
    def learning_rate(self) -> float:
        if self.config.learning_rate is not None:
            return self.config.learning_rate
        scale = max(self.curvature, 1e-12) * self.spacetime.num_steps / (1 - self.config.momentum)
        return two_digits(SERIES_REACH / scale)

    @cached_property
    def baseline_rate(self) -> float:
        return self.config.learning_rate or two_digits(
            BASELINE_REACH * (1 - self.config.momentum) / max(self.curvature, 1e-12)
        )

    @cached_property
    def penalized(self) -> Problem:
        return penalized(self.problem, self.config.weight_decay)

    @property
    def rates(self) -> list[float]:
        return [two_digits(self.learning_rate * factor, 4) for factor in RATES]

    def draws(self, meaning: str) -> dict[str, Any]:
        """Arguments of a measurement: the pool is the population; without one, draws."""
        if self.problem.pool is not None:
            return {"memory": self.config.memory}
        return {"num_draws": NO_POOL_DRAWS, "key": self.key[meaning], "memory": self.config.memory}

    @property
    def mark(self) -> str:
        """A fingerprint of all that the results depend on: settings, data, start, and the functions as traced there."""
        return mark_of(self.problem, self.params, self.key["values"], self.config)

    @property
    def attributes(self) -> dict[str, Any]:
        spacetime = self.spacetime
        return {
            "problem": self.problem.name,
            "setting": self.problem.setting,
            "num_pool": self.problem.num_pool,
            "num_parameters": sum(int(np.size(leaf)) for leaf in jax.tree.leaves(self.params)),
            "kinks": kinks(self.penalized, self.params),
            "num_examples": spacetime.num_examples,
            "batch_size": spacetime.batch_size,
            "epochs": float(spacetime.epochs),
            "num_steps": spacetime.num_steps,
            "sampling": spacetime.sampling,
            "momentum": self.config.momentum,
            "weight_decay": self.config.weight_decay,
            "learning_rate": self.learning_rate,
            "seed": self.config.seed,
        }

    @property
    def every(self) -> int:
        """Steps between records: about 8 records."""
        steps = self.spacetime.num_steps
        return min((d for d in range(1, steps + 1) if steps % d == 0), key=lambda d: abs(steps / d - 8))


def mark_of(problem: Problem, params: Params, key: Key, config: BaseModel) -> str:
    """A fingerprint of a problem, a start, and settings; `memory` does not count. `key` draws examples to try.

    Traced in double precision: in single, examples may or may not be cast, by what the process did before.
    """
    with jax.enable_x64(True):
        trees = {"params": params, "pool": problem.pool, "test_pool": problem.test_pool}
        arrays = {
            f"{name}{k}": np.asarray(leaf)
            for name, tree in trees.items()
            for k, leaf in enumerate(jax.tree.leaves(tree))
        }
        examples = problem.sample(key, 16)
        functions = {"loss": problem.loss, "measured": problem.measured_loss, **dict(problem.metrics or {})}
        traced = {}
        for name, function in functions.items():
            text = str(jax.make_jaxpr(function)(params, _tree.take(examples, 0)))
            traced[name] = re.sub(r"0x[0-9a-f]+", "", text)  # addresses differ from process to process
            arrays[f"{name} on examples"] = np.asarray(jax.vmap(function, (None, 0))(params, examples))
    settings = json.loads(config.model_dump_json(exclude={"memory"}))
    return fingerprint({"problem": problem.name, **traced, **settings}, arrays)


def two_digits(value: float, digits: int = 2) -> float:
    """`value` in `digits` significant digits."""
    return float(f"{value:.{digits}g}")
