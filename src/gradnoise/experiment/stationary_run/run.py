"""The run behind the answer: SGD with what the fluctuation-dissipation identities ask for, and its noise spectrum."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from gradnoise._types import Params
from gradnoise.bootstrap import time_average
from gradnoise.dynamics import Simulation, simulate
from gradnoise.dynamics.fluctuation_records import fluctuation_records
from gradnoise.dynamics.train import train
from gradnoise.experiment.problem_job import ConstantRateJob, Progress, silent
from gradnoise.experiment.spectrum_along_training import spectrum_along_training
from gradnoise.experiment.spectrum_words import spectrum_sentences
from gradnoise.experiment.stationary_run.config import StationaryConfig
from gradnoise.measure.covariance import noise_covariance
from gradnoise.measure.irreversibility import irreversibility_test
from gradnoise.problem import Problem, require_problem
from gradnoise.results import build_tree, provenance
from gradnoise.results.store import Stages
from gradnoise.stationary.fluctuation_dissipation import FluctuationDissipation, loss_identity, norm_identity

IDENTITIES = ("norm", "loss")
FORMS = ("discrete", "continuous")
LEVEL = 1 - 0.05 / 3
"""Of each of three tests of stationarity, two identities and the drift, so that all three together alarm falsely at 5 %."""


@dataclass
class StationaryJob(ConstantRateJob[StationaryConfig]):
    """One problem and its settings; what the parts share."""

    keys = ("params", "examples", "runs", "train")
    command = "stationary"

    @cached_property
    def settled(self) -> Params:
        """The weights of one more run after the burn-in: a point near which the others stay."""
        config = self.config
        self.progress("burn-in", None)
        return train(
            self.process(),
            self.params,
            max(config.burn_in, 1),
            config.batch_size,
            config.learning_rate,
            self.key["train"],
        )

    def observe(self) -> dict[str, Any]:
        """Records for both identities, and the position along the strongest directions of the noise."""
        config = self.config
        size = min(config.num_components, self.num_parameters)
        _, directions = noise_covariance(self.problem, self.settled, memory=config.memory).eigsh(size)
        records = fluctuation_records(
            self.problem, config.spacetime(self.num_pool), weight_decay=config.weight_decay, origin=self.settled,
            directions=np.asarray(directions).T, num_probes=config.num_probes, training_set=self.training_set,
            seed=config.seed,
        )  # fmt: skip
        wanted = (
            "position_force", "force_squared", "noise_trace", "gradient_force", "curvature_noise", "force_curvature",
        )  # fmt: skip
        return {name: records[name] for name in (*wanted, *(f"position_{k}" for k in range(size)))}

    def simulated(self) -> Simulation:
        config = self.config
        return simulate(
            self.process(), self.params, config.spacetime(self.num_pool), config.learning_rate, config.num_replicas,
            self.key["runs"], self.observe(), config.every, self.training_set, memory=config.memory,
            progress=lambda done, total: self.progress("simulation", done / total),
            checkpoint=self.checkpoint("stationary"),
        )  # fmt: skip

    def spectrum(self) -> xr.Dataset:
        """The noise spectrum at 20, 40 and 100 % of a run."""
        config = self.config
        self.progress("noise spectrum along training", None)
        return spectrum_along_training(
            self.problem, self.params, config.whole_steps, config.batch_size, config.learning_rate, self.key["train"],
            weight_decay=config.weight_decay, memory=config.memory,
        )  # fmt: skip


def run(
    problem: Problem,
    config: StationaryConfig,
    *,
    store: str | Path | None = None,
    progress: Progress | None = None,
) -> xr.DataTree:
    """Run SGD, and judge whether it is stationary, whether it is an equilibrium, and what its noise is like.

    Gives a results tree with the group "stationary" (docs/architecture.md). `store`: a folder in which the runs are
    kept, from which a killed call goes on to the same numbers. Raises ValueError for a problem without a pool, batches
    larger than the training set, replicas that diverge, and what the engines raise.
    """
    require_problem(problem)
    job = StationaryJob(problem, config, progress or silent)
    config.spacetime(job.num_pool)
    job.kept = None if store is None else Stages(Path(store), job.mark)
    runs = job.simulated()
    runs.mean("train_loss")  # refuses replicas that diverged
    spectrum = job.spectrum()
    table = judge(runs, config).merge(_spectrum_table(spectrum), combine_attrs="no_conflicts")
    table = table.assign_attrs(_facts(job), spectrum=" ".join(spectrum_sentences(spectrum)))
    return build_tree({"stationary": table}, {**provenance(), **job.attributes(config.whole_steps)})


def judge(runs: Simulation, config: StationaryConfig) -> xr.Dataset:
    """Identities, drift of the loss, and the test of time reversal, over the records after the burn-in."""
    series = {name: np.asarray(values, dtype=float) for name, values in runs.observables.items()}
    rate, size, window = config.learning_rate, config.batch_size, (config.burn_in, config.whole_steps)
    options = {"window": window, "every": config.every, "level": LEVEL}
    found = {
        "norm": norm_identity(
            series["position_force"], series["noise_trace"], series["force_squared"], rate, size, **options
        ),
        "loss": loss_identity(
            series["gradient_force"], series["curvature_noise"], series["force_curvature"], rate, size, **options
        ),
    }
    kept = {name: values[:, config.burn_in // config.every :] for name, values in series.items()}
    places = np.stack([kept[name] for name in kept if name.startswith("position_") and name[-1].isdigit()], axis=-1)
    p_value, conclusion = _reversal(places, config)
    half = kept["train_loss"].shape[1] // 2
    ends = [time_average(part) for part in (kept["train_loss"][:, :half], kept["train_loss"][:, half:])]
    table = xr.Dataset(
        {
            "train_loss": (("replica", "record"), series["train_loss"]),
            "test_loss": (("replica", "record"), series["test_loss"]),
            "drift": float(ends[1].value - ends[0].value),
            "drift_se": float(np.hypot(ends[0].stderr, ends[1].stderr)),
            "reversal_p": p_value,
        },
        {"step": ("record", runs.steps)},
        {"reversal": conclusion},
    )
    return table.merge(_identity_table(found), combine_attrs="no_conflicts")


def _reversal(places: np.ndarray, config: StationaryConfig) -> tuple[float, str]:
    """p value and conclusion of the test of time reversal."""
    moving = np.linalg.matrix_rank((places - places.mean(axis=(0, 1))).reshape(-1, places.shape[-1]), rtol=1e-6)
    if moving < 2:
        return np.nan, "one direction has nowhere to circulate"
    found = irreversibility_test(places, min(config.num_components, int(moving)), seed=config.seed)
    return found.p_value, found.conclusion


def _identity_table(found: dict[str, FluctuationDissipation]) -> xr.Dataset:
    """Ratio of the two sides by identity and form, with intervals; conclusions as attributes."""
    rows = np.full((len(IDENTITIES), len(FORMS), 3), np.nan)
    told = {}
    for i, name in enumerate(IDENTITIES):
        for j, form in enumerate(FORMS):
            balance = getattr(found[name], form)
            rows[i, j] = balance.ratio.estimate.value, balance.ratio.low, balance.ratio.high
            told[f"{name}_{form}"] = balance.conclusion
    dims = ("identity", "form")
    table = {f"identity_ratio{end}": (dims, rows[..., k]) for k, end in enumerate(("", "_low", "_high"))}
    return xr.Dataset(table, {"identity": list(IDENTITIES), "form": list(FORMS)}, told)


def _spectrum_table(spectrum: xr.Dataset) -> xr.Dataset:
    """The eigenvalues and their summaries by checkpoint, in the names of the results tree."""
    kept = spectrum[["eigenvalue", "rank", "participation_ratio", "stable_rank", "distance", "overlap"]]
    labels = [f"{float(share):.0%}" for share in spectrum["checkpoint"].values]
    table = kept.assign_coords(checkpoint=labels, other=labels)
    return table.drop_vars("step", errors="ignore").drop_attrs()


def _facts(job: StationaryJob) -> dict[str, Any]:
    config = job.config
    return {
        "learning_rate": config.learning_rate, "batch_size": config.batch_size, "weight_decay": config.weight_decay,
        "temperature": config.learning_rate / config.batch_size, "num_steps": config.whole_steps,
        "burn_in": config.burn_in, "every": config.every, "num_replicas": config.num_replicas,
        "num_components": config.num_components, "sampling": config.sampling, "training_set": job.training_set,
    }  # fmt: skip
