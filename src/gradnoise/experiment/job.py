"""One problem with its settings made definite, and each stage of the main job on it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from gradnoise import _tree
from gradnoise._types import Params
from gradnoise.dynamics import Simulation, sgd, simulate
from gradnoise.dynamics.train import train
from gradnoise.experiment import tables
from gradnoise.experiment.compare import Comparison, compare
from gradnoise.experiment.config import Config
from gradnoise.experiment.control_variates import control_variates
from gradnoise.experiment.residuals import residual_slope
from gradnoise.measure import DiagramValues, diagram_values
from gradnoise.measure.curvature import hessian_extremes
from gradnoise.measure.noise_scale import noise_scale
from gradnoise.measure.spectrum import noise_spectrum
from gradnoise.predict import Curve, predict_curve, series_coefficients
from gradnoise.problem import Problem, penalized
from gradnoise.results import to_results
from gradnoise.results.store import fingerprint
from gradnoise.spacetime import Spacetime
from gradnoise.stationary.scale_invariant import is_scale_invariant

STAGES = ("measured", "predicted", "simulated", "compared")
TARGETS = ("test", "train", "gap")
RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""The learning rates tried, in units of the main one."""
SERIES_REACH = 0.25
"""The main learning rate where none is given: learning_rate * num_steps * lambda_max / (1 - momentum)."""
BASELINE_REACH = 0.5
"""The baseline's learning rate where none is given, in units of 1 / lambda_max."""
NO_POOL_DRAWS = 1000

Progress = Callable[[str, float | None], None]


@dataclass
class Job:
    """One problem and its settings; what several stages need is computed once."""

    problem: Problem
    config: Config
    progress: Progress

    def do(self, stage: str) -> xr.Dataset:
        """The group `stage` of the results tree."""
        return {
            "measured": self.measured,
            "predicted": self.predicted,
            "simulated": self.simulated,
            "compared": self.compared,
        }[stage]()

    # What is asked, made definite.

    @cached_property
    def key(self) -> dict[str, Any]:
        names = ("params", "values", "noise", "baseline", "replicas")
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
        return _two_digits(SERIES_REACH / scale)

    @cached_property
    def baseline_rate(self) -> float:
        return self.config.learning_rate or _two_digits(
            BASELINE_REACH * (1 - self.config.momentum) / max(self.curvature, 1e-12)
        )

    @cached_property
    def penalized(self) -> Problem:
        return penalized(self.problem, self.config.weight_decay)

    @property
    def rates(self) -> list[float]:
        return [_two_digits(self.learning_rate * factor, 4) for factor in RATES]

    def draws(self, meaning: str) -> dict[str, Any]:
        """Arguments of a measurement: the pool is the population; without one, draws."""
        if self.problem.pool is not None:
            return {"memory": self.config.memory}
        return {"num_draws": NO_POOL_DRAWS, "key": self.key[meaning], "memory": self.config.memory}

    @property
    def mark(self) -> str:
        params = {f"params{k}": np.asarray(leaf) for k, leaf in enumerate(jax.tree.leaves(self.params))}
        pool = {f"pool{k}": np.asarray(leaf) for k, leaf in enumerate(jax.tree.leaves(self.problem.pool))}
        test = {f"test{k}": np.asarray(leaf) for k, leaf in enumerate(jax.tree.leaves(self.problem.test_pool))}
        return fingerprint(
            {"problem": self.problem.name, **json.loads(self.config.model_dump_json())}, params | pool | test
        )

    @property
    def attributes(self) -> dict[str, Any]:
        spacetime = self.spacetime
        return {
            "problem": self.problem.name,
            "setting": self.problem.setting,
            "num_pool": self.problem.num_pool,
            "num_parameters": sum(int(np.size(leaf)) for leaf in jax.tree.leaves(self.params)),
            "kinks": self.values.kinks if "values" in self.__dict__ else None,
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

    # Stages.

    @cached_property
    def values(self) -> DiagramValues:
        def hear(share: float) -> None:
            self.progress("diagram values", share)

        method = "population" if self.problem.pool is not None else "unbiased"
        order = self.config.max_order
        return diagram_values(self.penalized, self.params, order, method, **self.draws("values"), progress=hear)

    def measured(self) -> xr.Dataset:
        """Diagram values at the start; noise, spectrum, curvature at both ends of a baseline run of plain SGD."""
        config, problem = self.config, self.problem
        values = self.values
        self.progress("baseline run", None)
        process = sgd(problem, momentum=config.momentum, weight_decay=config.weight_decay)
        end = train(
            process, self.params, config.baseline_steps, config.batch_size, self.baseline_rate, self.key["baseline"]
        )
        noise, spectra, hessians, losses = [], [], [], []
        num_draws = problem.num_pool or NO_POOL_DRAWS
        for k, point in enumerate((self.params, end)):
            self.progress("noise scale, spectrum, curvature", k / 2)
            noise.append(
                noise_scale(
                    problem, point, config.batch_size, max(num_draws, 3), self.key["noise"], memory=config.memory
                )
            )
            spectra.append(noise_spectrum(problem, point, **self.draws("noise")))
            hessians.append(hessian_extremes(problem, point, **self.draws("noise")))
            losses.append(self._test_loss(point))
        table = tables.measured_table(values, noise, spectra, hessians, losses, (0, config.baseline_steps))
        return table.assign_attrs(
            baseline_batch_size=config.batch_size,
            baseline_learning_rate=self.baseline_rate,
            baseline_steps=config.baseline_steps,
            scale_invariant=is_scale_invariant(problem, self.params),
        )

    def _test_loss(self, point: Params) -> float:
        problem = self.problem
        with jax.enable_x64(True):
            examples = problem.test_pool if problem.test_pool is not None else problem.pool
            if examples is None:
                examples = problem.sample(self.key["noise"], NO_POOL_DRAWS)
            examples, weights = _tree.cast(examples, jnp.float64), _tree.cast(point, jnp.float64)
            return float(jnp.mean(jax.jit(jax.vmap(problem.measured_loss, (None, 0)))(weights, examples)))

    def _curve(self, target: str, rate: float) -> Curve:
        return predict_curve(self.values, self.spacetime, rate, target, momentum=self.config.momentum)

    def predicted(self) -> xr.Dataset:
        """Curves for every target and learning rate, and the coefficients behind them."""
        curves = [self._curve(target, rate) for target in TARGETS for rate in self.rates]
        series = {
            t: series_coefficients(self.values, self.spacetime, t, momentum=self.config.momentum) for t in TARGETS
        }
        return tables.predicted_table(self.values, curves, series, self.config.momentum)

    @cached_property
    def runs(self) -> list[Simulation]:
        """SGD at every learning rate, each with its own replicas."""
        config = self.config
        process = sgd(self.problem, momentum=config.momentum, weight_decay=config.weight_decay)
        runs = []
        for k, rate in enumerate(self.rates):
            runs.append(
                simulate(
                    process, self.params, self.spacetime, rate, config.num_replicas, self._replica_key(k),
                    every=self.every, dtype="float64", memory=config.memory,
                    progress=lambda done, total, k=k: self.progress("simulation", (k + done / total) / len(self.rates)),
                )
            )  # fmt: skip
        return runs

    def _replica_key(self, k: int) -> Any:
        return jax.random.fold_in(self.key["replicas"], k)

    @property
    def every(self) -> int:
        """Steps between records: about 8 records."""
        steps = self.spacetime.num_steps
        return min((d for d in range(1, steps + 1) if steps % d == 0), key=lambda d: abs(steps / d - 8))

    @cached_property
    def controls(self) -> list[Simulation | None]:
        """Control variates of the same replicas; None without a pool."""
        if self.problem.pool is None:
            return [None] * len(self.rates)
        observe = control_variates(self.penalized, self.params)
        process, start = sgd(self.problem), self.spacetime.truncate(0)
        controls: list[Simulation | None] = []
        for k, rate in enumerate(self.rates):
            self.progress("control variates", k / len(self.rates))
            controls.append(
                simulate(
                    process, self.params, start, rate, self.config.num_replicas, self._replica_key(k), observe,
                    dtype="float64", memory=self.config.memory,
                )
            )  # fmt: skip
        return controls

    def simulated(self) -> xr.Dataset:
        """Means over replicas at every learning rate, with their errors."""
        pieces = [to_results(run) for run in self.runs]
        table = xr.combine_by_coords([p for p in pieces if isinstance(p, xr.Dataset)], combine_attrs="drop_conflicts")
        assert isinstance(table, xr.Dataset)
        return table

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Every target at every learning rate at which no replica diverged."""
        found = []
        for run_, controls, rate in zip(self.runs, self.controls, self.rates, strict=True):
            if not np.any(run_.diverged_at >= 0):
                found += [compare(self._curve(target, rate), run_, controls=controls) for target in TARGETS]
        if not found:
            raise ValueError(
                f"learning_rate={self.learning_rate:g}: replicas diverged at every learning rate tried, down to "
                f"{self.rates[0]:g}. Give a smaller learning_rate."
            )
        return found

    def compared(self) -> xr.Dataset:
        """Differences, verdicts and residual slopes. The slopes use the learning rates inside the series' domain."""
        slopes = {}
        for target in TARGETS:
            own = [c for c in self.comparisons if c.target == target]
            slopes[target] = [residual_slope(own[:4], order) for order in range(self.config.max_order + 1)]
        return tables.compared_table(self.comparisons, slopes)


def _two_digits(value: float, digits: int = 2) -> float:
    return float(f"{value:.{digits}g}")
