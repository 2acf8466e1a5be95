"""One problem with its settings made definite, and each stage of the main job on it."""

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
from gradnoise.experiment.control_variates import control_variates
from gradnoise.experiment.path import whole_run
from gradnoise.experiment.problem_job import Progress
from gradnoise.experiment.residuals import Slope, residual_slope
from gradnoise.experiment.setup import NO_POOL_DRAWS, Setup
from gradnoise.measure import DiagramValues, diagram_values
from gradnoise.measure.curvature import hessian_extremes
from gradnoise.measure.noise_scale import noise_scale
from gradnoise.measure.spectrum import noise_spectrum
from gradnoise.predict import Curve, predict_curve, series_coefficients
from gradnoise.results import to_results
from gradnoise.stationary.scale_invariant import is_scale_invariant

STAGES = ("measured", "predicted", "simulated", "compared", "path")
TARGETS = ("test", "train", "gap")
SLOPE_RATES = 4


@dataclass
class Job(Setup):
    """One problem and its settings; what several stages need is computed once."""

    progress: Progress

    def do(self, stage: str) -> xr.Dataset:
        """The group `stage` of the results tree."""
        return {name: getattr(self, name) for name in STAGES}[stage]()

    def check_decay(self) -> None:
        """Raise, before long work, where weight decay times the largest rate tried is none: `simulate` would."""
        decay = self.config.weight_decay
        if decay and decay * self.rates[-1] >= 2:
            raise ValueError(
                f"weight_decay={decay:g} times {self.rates[-1]:g}, the largest rate tried beside learning_rate="
                f"{self.learning_rate:g}, is {decay * self.rates[-1]:.4g}, expected below 2. Give a smaller one of the two."
            )

    @cached_property
    def values(self) -> DiagramValues:
        def hear(share: float) -> None:
            self.progress("diagram values", share)

        method = "population" if self.problem.pool is not None else "unbiased"
        order = self.config.max_order
        return diagram_values(self.penalized, self.params, order, method, **self.draws("values"), progress=hear)

    def measured(self) -> xr.Dataset:
        """Diagram values at the start; noise, spectrum, curvature at both ends of a baseline run of plain SGD.

        The noise scale takes the pool's examples as a sample of an unknown population, for its interval's sake.
        """
        config, problem = self.config, self.problem
        values = self.values
        self.progress("baseline run", None)
        process = sgd(problem, momentum=config.momentum, weight_decay=config.weight_decay)
        end = train(
            process, self.params, config.baseline_steps, config.batch_size, self.baseline_rate, self.key["baseline"]
        )
        noise, spectra, hessians, losses = [], [], [], []
        for k, point in enumerate((self.params, end)):
            self.progress("noise scale, spectrum, curvature", k / 2)
            noise.append(noise_scale(problem, point, config.batch_size, method="unbiased", **self.draws("noise")))
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
                    every=self.every, dtype="float64", memory=config.memory, checkpoint=self.checkpoint(f"simulated-{k}"),
                    progress=lambda done, total, k=k: self.progress("simulation", (k + done / total) / len(self.rates)),
                )
            )  # fmt: skip
        return runs

    def _replica_key(self, k: int) -> Any:
        return jax.random.fold_in(self.key["replicas"], k)

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
                    dtype="float64", memory=self.config.memory, checkpoint=self.checkpoint(f"controls-{k}"),
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
        """Differences, verdicts, and residual slopes from the four smallest learning rates (unknown with fewer)."""
        slopes = {}
        for target in TARGETS:
            own = [c for c in self.comparisons if c.target == target][:SLOPE_RATES]
            unknown = [Slope(np.nan, -np.inf, np.inf, order + 1) for order in range(self.config.max_order + 1)]
            slopes[target] = (
                [residual_slope(own, s.expected - 1) for s in unknown] if len(own) == SLOPE_RATES else unknown
            )
        return tables.compared_table(self.comparisons, slopes)

    def path(self) -> xr.Dataset:
        """A whole training run for five batch sizes, predicted around one path and simulated."""
        return whole_run(self, self.progress)
