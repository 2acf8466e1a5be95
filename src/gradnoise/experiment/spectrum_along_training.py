"""The noise spectrum of a network along its training: whether D depends on the weights, and how uneven it is."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr

from gradnoise import _checks, _tree
from gradnoise._types import Examples, Key, Params
from gradnoise.dynamics import sgd
from gradnoise.dynamics.train import train
from gradnoise.measure import NoiseSpectrum, noise_covariance, noise_spectrum
from gradnoise.measure.architecture import architecture_score
from gradnoise.measure.spectrum_distance import spectrum_distance, subspace_overlap
from gradnoise.problem import Loss, Problem, require_pool, require_problem

FRACTIONS = (0.2, 0.4, 1.0)
ESTIMATES = ("trace", "mean", "spread", "participation_ratio", "stable_rank")


def spectrum_along_training(
    problem: Problem,
    params: Params,
    num_steps: int,
    batch_size: int,
    learning_rate: float,
    key: Key,
    *,
    fractions: Sequence[float] = FRACTIONS,
    num_directions: int = 10,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    memory: int | str | None = None,
) -> xr.Dataset:
    """Train a network by SGD, batches with replacement, and measure the spectrum of D after these fractions of the steps.

    Variables by `checkpoint` (the fraction): `eigenvalue` (min(n, P) of them; from Lanczos, beyond 2000 examples or
    weights, 50), `trace mean spread participation_ratio stable_rank` with `_se` (numerical: 0 where exact),
    `rank` and `rank_float32` at the thresholds largest eigenvalue * P * eps, `rank_fraction`, `variance`,
    `normalized_variance`, `train_loss` and what metrics the problem has, and by pair of checkpoints `distance` (decades)
    and `overlap` of the leading `num_directions` eigenvectors, with `overlap_random` and `overlap_random_spread` of random
    subspaces. One run, one seed: how the numbers vary between seeds is not among the errors. Say it in words with
    `spectrum_sentences`.

    >>> import gradnoise as gn
    >>> pool = np.random.default_rng(0).normal(size=(6, 2))
    >>> problem = gn.from_arrays(lambda w, x: (x @ w) ** 2, lambda key: np.ones(2), pool)
    >>> found = spectrum_along_training(problem, np.ones(2), 10, 2, 0.1, jax.random.key(1))
    >>> dict(found.sizes), found["step"].values.tolist(), found["rank"].values.tolist()
    ({'checkpoint': 3, 'eigen': 2, 'other': 3}, [2, 4, 10], [2, 2, 2])

    Raises ValueError without a pool, for fractions that do not grow within (0, 1] or fall on one step, and where the
    weights stop being finite.

    Source: Chaudhari and Soatto 2018, section 4, figures 1 and 2; docs/theory/spectra.md.
    """
    require_problem(problem)
    require_pool(problem, "spectrum_along_training")
    steps = checkpoint_steps(num_steps, fractions)
    directions = _checks.integer("num_directions", num_directions)
    process, key = sgd(problem, momentum=momentum, weight_decay=weight_decay), _checks.random_key("key", key)
    # the batches of a shorter run are the first of a longer one with the same key
    points = [train(process, params, step, batch_size, learning_rate, key) for step in steps]
    found = [_measured(problem, point, directions, memory) for point in points]
    attributes = {
        "problem": problem.name,
        "num_parameters": found[0].spectrum.num_parameters,
        "num_examples": found[0].spectrum.num_examples,
        "method": found[0].spectrum.method,
        "which": found[0].spectrum.which,
        "num_steps": int(num_steps),
        "batch_size": int(batch_size),
        "learning_rate": float(learning_rate),
        "momentum": float(momentum),
        "weight_decay": float(weight_decay),
        "num_directions": found[0].vectors.shape[1],
    }
    return xr.Dataset(_by_checkpoint(found) | _by_pair(found), _labels(fractions, steps), attributes)


def checkpoint_steps(num_steps: int, fractions: Sequence[float]) -> list[int]:
    """The steps nearest to these fractions of the run.

    >>> checkpoint_steps(500, (0.2, 0.4, 1.0))
    [100, 200, 500]
    """
    num_steps = _checks.integer("num_steps", num_steps)
    shares = [_checks.number("fractions", share, above=0) for share in fractions]
    steps = [round(share * num_steps) for share in shares]
    if not steps or steps[0] < 1 or steps[-1] > num_steps or any(b <= a for a, b in pairwise(steps)):
        raise ValueError(
            f"fractions={tuple(shares)} of num_steps={num_steps} give the steps {steps}, expected growing ones up to "
            "num_steps. Use (0.2, 0.4, 1.0), say."
        )
    return steps


class _Checkpoint(NamedTuple):
    spectrum: NoiseSpectrum
    vectors: np.ndarray
    means: dict[str, float]


def _measured(problem: Problem, params: Params, directions: int, memory: int | str | None) -> _Checkpoint:
    spectrum = noise_spectrum(problem, params, memory=memory)
    most = min(spectrum.num_examples - 2, spectrum.num_parameters)
    _, vectors = noise_covariance(problem, params, memory=memory).eigsh(max(1, min(directions, most)))
    functions = {"train_loss": problem.measured_loss, **dict(problem.metrics or {})}
    pool, point = _tree.cast(problem.pool, np.float32), _tree.cast(params, np.float32)
    means = {name: float(_mean(function, point, pool)) for name, function in functions.items()}
    return _Checkpoint(spectrum, vectors, means)


@partial(jax.jit, static_argnums=0)
def _mean(function: Loss, params: Params, pool: Examples) -> jax.Array:
    return jax.vmap(function, (None, 0))(params, pool).mean()


def _by_checkpoint(found: list[_Checkpoint]) -> dict[str, Any]:
    spectra = [each.spectrum for each in found]
    kept = min(spectra[0].num_examples, *(len(each.eigenvalues) for each in spectra))
    variables: dict[str, Any] = {
        "eigenvalue": (("checkpoint", "eigen"), np.array([each.eigenvalues[:kept] for each in spectra]))
    }
    for name in ESTIMATES:
        values = [getattr(each, name) for each in spectra]
        variables[name] = ("checkpoint", [float(value.value) for value in values])
        variables[f"{name}_se"] = ("checkpoint", [float(value.stderr) for value in values])
    scores, rough = ([architecture_score(each, dtype) for each in spectra] for dtype in ("float64", "float32"))
    variables["rank"] = ("checkpoint", [each.rank for each in scores])
    variables["rank_float32"] = ("checkpoint", [each.rank for each in rough])
    variables["rank_fraction"] = ("checkpoint", [each.rank_fraction for each in scores])
    for name in ("variance", "normalized_variance"):
        variables[name] = ("checkpoint", [float(getattr(each, name).value) for each in scores])
        variables[f"{name}_se"] = ("checkpoint", [float(getattr(each, name).stderr) for each in scores])
    return variables | {name: ("checkpoint", [each.means[name] for each in found]) for name in found[0].means}


def _by_pair(found: list[_Checkpoint]) -> dict[str, Any]:
    pairs = [[(a, b) for b in found] for a in found]
    overlaps = [[subspace_overlap(a.vectors, b.vectors) for a, b in row] for row in pairs]
    distances = [[spectrum_distance(a.spectrum, b.spectrum) for a, b in row] for row in pairs]
    return {
        "distance": (("checkpoint", "other"), np.array(distances)),
        "overlap": (("checkpoint", "other"), np.array([[each.value for each in row] for row in overlaps])),
        "overlap_random": ((), overlaps[0][0].random_mean),
        "overlap_random_spread": ((), overlaps[0][0].random_spread),
    }


def _labels(fractions: Sequence[float], steps: list[int]) -> dict[str, Any]:
    shares = [float(share) for share in fractions]
    return {"checkpoint": shares, "other": shares, "step": ("checkpoint", steps)}
