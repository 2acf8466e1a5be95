"""The main job: measure a problem, predict SGD on it, simulate SGD, compare; one results tree."""

from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from gradnoise import _checks
from gradnoise.experiment.config import Config
from gradnoise.experiment.cost import Estimation, estimate
from gradnoise.experiment.job import STAGES, Job
from gradnoise.experiment.problem_job import Progress, silent
from gradnoise.problem import Problem
from gradnoise.results import build_tree, provenance
from gradnoise.results.store import Stages

__all__ = ["STAGES", "Config", "Estimation", "estimate", "run"]


def run(
    problem: Problem,
    config: Config,
    *,
    stages: Sequence[str] = STAGES,
    store: str | Path | None = None,
    progress: Progress | None = None,
) -> xr.DataTree:
    """Do the asked stages of the main job (and those they need) and give back one results tree.

    `store`: a folder in which finished stages are kept, and the runs of unfinished ones; a later run with the same
    problem, settings and version takes them from there and goes on. `progress(message, share)` hears what is done.
    Raises what the engines raise, before long work where it can be known.
    """
    for stage in stages:
        _checks.one_of("stages", stage, STAGES)
    job = Job(problem, config, progress or silent)
    if {"simulated", "compared"}.intersection(stages):
        job.check_decay()
    kept = job.kept = Stages(Path(store), job.mark) if store is not None else None
    groups = {}
    for stage in STAGES:
        if stage in stages:
            found = kept.get(stage) if kept else None
            groups[stage] = job.do(stage) if found is None else found
            if kept and found is None:
                kept.put(stage, groups[stage])
    return build_tree(groups, {**provenance(), **job.attributes})
