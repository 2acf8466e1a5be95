"""Whole training curves: the mean of SGD around the deterministic path, for every batch size at once."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gradnoise import _checks
from gradnoise._types import Key, Params
from gradnoise.predict.path.engines import dense_samples, exact_samples, pair_samples, probe_samples, require_pairs
from gradnoise.predict.path.methods import choose_method, read_probes
from gradnoise.predict.path.prediction import PathPrediction
from gradnoise.predict.path.setting import read_setting, walk
from gradnoise.problem import Problem
from gradnoise.spacetime import Spacetime


def predict_path(
    problem: Problem,
    params: Params,
    spacetime: Spacetime,
    learning_rate: Any,
    momentum: float = 0.0,
    num_loops: int = 1,
    method: str | None = None,
    num_probes: int | None = None,
    training_set: str = "drawn",
    key: Key | None = None,
    *,
    nesterov: bool = False,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    hessian_damping: float = 0.0,
    max_relative_error: float | None = None,
    keep_displacement: bool | None = None,
    memory: int | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PathPrediction:
    """Mean test loss, train loss and gap of SGD after every step, from one path of gradient descent and its noise.

        E test = l(path_T) + L1 / B + L2 / B^2 + ...,      E gap = g1 / N + g2 / (N B) + ...

    The path is exact for any learning rate and number of steps; the expansion is in the noise (loops). One prediction
    serves every batch size with the same steps an epoch: `PathPrediction.curve`. `learning_rate`: a number, a tree like
    params, a function of the step or (num_steps,). Optimizer settings as in `sgd`; `hessian_damping` as in `coefficient`.

    method: "dense" (exact; matrices P x P; the default up to 1000 weights), "probes" (`num_probes` random probes, 100
    by default, with standard errors; nothing P x P but for hessian_damping; needs a `key`) or "rows" (exact on tiny
    problems: every example in every class of steps). `num_loops=2` adds L2 and g2 by pairs of probes ("drawn", with
    epochs) and needs a `key` too.

    training_set: "drawn" (N draws with replacement from the pool), "given" (N is the pool), "distinct" (N distinct examples
    of the pool), "population" (N = infinity). `max_relative_error`: refuse a final L1 or g1 known worse than that.
    `keep_displacement`: keep mean weights at every step (default: but for probes). `memory` bounds what probes and dense
    matrices work on; `progress(done, total)` hears of finished probes, with two loops twice.

    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: 0.0, np.array([0.0, 2.0]))
    >>> path = predict_path(problem, np.float64(0.0), gn.Spacetime(4, 2), learning_rate=0.1)
    >>> path.curve("test").value, path.curve("test", batch_size=1).value[-1]
    (array([1.      , 0.9075  , 0.832575]), np.float64(0.8371))

    Raises ValueError where the path diverges (naming the step), for a probe error above the asked one (saying how many
    are needed), for settings that do not go together, and without a pool; TypeError for other types; MemoryError where
    matrices do not fit. Kinks in the loss are said in `.kinks`: the path stands, the curvature along it is not licensed.

    Source: loop.md section 12; docs/theory/loop.md.
    """
    num_loops = _checks.integer("num_loops", num_loops, maximum=2)
    if max_relative_error is not None:
        max_relative_error = _checks.number("max_relative_error", max_relative_error, above=0)
    with jax.enable_x64(True):
        setting = read_setting(
            problem, params, spacetime, learning_rate, training_set, momentum, nesterov, dampening, weight_decay,
            hessian_damping,
        )  # fmt: skip
        method = choose_method(method, setting)
        if num_loops == 2:
            require_pairs(setting)
        wanted = read_probes(num_probes, key, needed=method == "probes" or num_loops == 2)
        path = walk(setting)
        keep = method != "probes" if keep_displacement is None else bool(keep_displacement)
        if method == "dense":
            means, samples = dense_samples(setting, memory)
        elif method == "rows":
            means, samples = exact_samples(setting)
        else:
            means, samples = probe_samples(setting, wanted, key, keep, memory, progress)
        if num_loops == 2:
            samples = pair_samples(setting, samples, wanted, key, memory, progress)
        weights = np.asarray(path) if keep else None
    prediction = PathPrediction(
        spacetime, learning_rate, training_set, problem.setting_for(training_set),
        problem.name, setting.settings, method, setting.num_pool, num_loops, setting.kinks, setting.kinds,
        *means, samples, weights,
    )  # fmt: skip
    if max_relative_error is not None:
        _check_errors(prediction, max_relative_error, wanted)
    return prediction


def _check_errors(prediction: PathPrediction, allowed: float, num_probes: int) -> None:
    for name, coefficient in {
        "test_coefficient": prediction.test_coefficient,
        "gap_coefficient": prediction.gap_coefficient,
    }.items():
        value, error = abs(coefficient.value[-1]), coefficient.stderr[-1]
        if error > allowed * value:
            enough = int(num_probes * (error / (allowed * value)) ** 2) + 1 if error < value else "many more"
            raise ValueError(
                f"num_probes={num_probes} give the last {name} to {error / value if value else np.inf:.1%}, expected "
                f"{allowed:.1%}. Use about {enough} probes, or allow a larger max_relative_error."
            )
