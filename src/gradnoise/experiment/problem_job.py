"""What every job on one problem shares: keys, a start, where its runs are kept, and a fingerprint of it all."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar

import jax
import numpy as np

from gradnoise import _tree
from gradnoise._types import Params
from gradnoise.dynamics import sgd
from gradnoise.experiment.settings import ConstantRateSettings, Settings
from gradnoise.problem import Problem, require_pool
from gradnoise.process import Process
from gradnoise.results.checkpoint import CheckpointFolder
from gradnoise.results.store import Stages, fingerprint

Progress = Callable[[str, float | None], None]
"""progress(what is being done, share of it or None)"""


def silent(stage: str, share: float | None) -> None:
    """The progress that nobody hears."""


S = TypeVar("S", bound=Settings)
C = TypeVar("C", bound=ConstantRateSettings)


@dataclass
class ProblemJob(Generic[S]):
    """One problem and its settings; what several parts need is computed once.

    `keys`: what the seed is split into, the first for the start, the second for examples that a fingerprint tries.
    """

    problem: Problem
    config: S
    kept: Stages | None = field(default=None, kw_only=True)

    keys: ClassVar[tuple[str, ...]] = ("params", "examples")

    def checkpoint(self, name: str) -> CheckpointFolder | None:
        """Where the simulation `name` keeps its runs, so that a killed one goes on and no stage repeats another's."""
        return None if self.kept is None else self.kept.checkpoint(name)

    @cached_property
    def key(self) -> dict[str, Any]:
        return dict(zip(self.keys, jax.random.split(jax.random.key(self.config.seed), len(self.keys)), strict=True))

    @cached_property
    def params(self) -> Params:
        return self.problem.init(self.key[self.keys[0]])

    @property
    def num_parameters(self) -> int:
        return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(self.params))

    @property
    def mark(self) -> str:
        """A fingerprint of all that results depend on: settings but for `memory`, data, start, functions as traced there.

        Traced in double precision: in single, examples may or may not be cast, by what the process did before.
        """
        problem, params, key = self.problem, self.params, self.key[self.keys[1]]
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
        settings = json.loads(self.config.model_dump_json(exclude={"memory"}))
        return fingerprint({"problem": problem.name, **traced, **settings}, arrays)


@dataclass
class ConstantRateJob(ProblemJob[C], Generic[C]):
    """A job whose runs are SGD with weight decay at one learning rate, on the pool or on examples drawn from it."""

    command: ClassVar[str] = ""
    progress: Progress = silent

    @cached_property
    def num_pool(self) -> int:
        return _tree.num_examples(require_pool(self.problem, self.command))

    @property
    def training_set(self) -> str:
        """Every run trains on the pool, unless each draws `num_examples` of it."""
        return "given" if self.config.num_examples is None else "drawn"

    def process(self) -> Process:
        return sgd(self.problem, weight_decay=self.config.weight_decay)

    def attributes(self, num_steps: int) -> dict[str, Any]:
        """The root attributes of its results tree."""
        config = self.config
        return {
            "problem": self.problem.name, "setting": self.problem.setting_for(self.training_set),
            "num_pool": self.num_pool, "num_parameters": self.num_parameters,
            "num_examples": config.num_examples or self.num_pool, "batch_size": config.batch_size,
            "num_steps": num_steps, "sampling": config.sampling, "weight_decay": config.weight_decay,
            "learning_rate": config.learning_rate, "seed": config.seed,
        }  # fmt: skip
