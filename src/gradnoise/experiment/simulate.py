"""Simulation as people call it: `dynamics.simulate`, with the path of `predict_path` as a control where asked."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from gradnoise import _checks, _tree, dynamics
from gradnoise._types import Key, Params
from gradnoise.dynamics import Simulation
from gradnoise.dynamics.checkpoint import Checkpoint
from gradnoise.dynamics.controls import Controls
from gradnoise.dynamics.prepare import Observe
from gradnoise.estimate import Estimate
from gradnoise.experiment.path_controls import CONTROLLED, control_name, on_weights, path_observables, with_companions
from gradnoise.experiment.same_run import Run, require_same_path
from gradnoise.predict import PathCurve, PathPrediction, predict_path
from gradnoise.predict.path.methods import DENSE_LIMIT
from gradnoise.problem import Problem
from gradnoise.process import Process
from gradnoise.results.checkpoint import CheckpointFolder
from gradnoise.spacetime import Spacetime

FALSE_ALARM = 1e-9
"""How rarely controls with the right expectation are refused."""
CURVES = {"test_loss": "test", "train_loss": "train", "gap": "gap"}


def simulate(
    process: Process,
    params: Params,
    spacetime: Spacetime,
    learning_rate: Any,
    num_replicas: int,
    key: Key,
    observe: Observe | None = None,
    every: int = 1,
    training_set: str = "drawn",
    *,
    dtype: str = "float32",
    memory: int | str | None = None,
    num_test_draws: int | None = None,
    variance_reduction: str | PathPrediction | None = None,
    progress: Callable[[int, int], None] | None = None,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
) -> Simulation:
    """Runs of `process` from `params`, independent in training set, batches and noise; see `Simulation` for the result.

    One effective step is the time `learning_rate`: a number, a tree like params (per-parameter rates), a function of
    the effective step, or an array (num_steps,); it is traced, so a sweep over learning rates compiles once. Recorded
    are the steps 0, every, 2*every, ..., num_steps: `observables[name]` has shape (replica, record).

    `training_set`: "drawn": each replica draws its N examples i.i.d. from the population (with replacement from a
    pool). "given": every replica trains on the pool, N is its size; a fixed order is drawn for each replica.
    "distinct": each replica draws N distinct examples of the pool, every set with the same chance, in a uniform order.
    "population": every batch is a fresh i.i.d. draw (N = infinity), and train loss is the mean over the pool.

    Test loss is the mean of `measured` over `test_pool`, or else over the pool; without a pool over `num_test_draws`
    fresh draws (default 1000) of each replica, the same at every step: unbiased, its error is part of the error over
    replicas. `observe` maps names to f(params, training_examples) -> scalar; the same function objects compile once.

    The numbers of replica r depend on `key` and r alone, beyond rounding: not on num_replicas, `memory` (peak of the
    process, in bytes or as "2GiB", its default) or the number of devices. Two processes given the same key see the same
    training sets and batches. `dtype` "float64" is an option. `progress(done, total)` is called after each record.

    `checkpoint`: a folder (or `CheckpointFolder(folder, seconds)`) in which this run keeps finished chunks of replicas
    and, every 10 seconds, the state of the one in progress. The same call with the same folder goes on from there and
    gives the numbers of an undisturbed run bit for bit, on the same versions and kind of machine, however often it was
    killed; of a finished run it gives the result at once. A folder of another run is refused: other arguments, data, key
    or loss. Remove it when it is no longer needed.

    `variance_reduction="path"`: the same answer with smaller errors, for `sgd` on a finite pool. Each replica carries its
    own first and second order x, y around the deterministic path under its own draws; `Simulation.mean` of test_loss,
    train_loss and gap is then that of

        loss - c_1 (first order) - c_2 (second order - its mean),      the mean exactly, by `predict_path(method="dense")`

    with c fitted on the other half of the replicas: unbiased whatever the expansion is worth, at any noise. (Other
    observables and `observables[...]` stay as they are; one loop is subtracted and added, never assumed.) A PathPrediction
    in place of "path" is taken as it is: one serves all batch sizes of the same columns an epoch, and that of "probes",
    for more than 1000 weights, adds its own error. A replica whose x or y overflows counts as diverged.

    It costs 4 mean gradients of the pool's n examples and 3 of B a step, against one of B: worth it where B is not much
    smaller than n, and at small noise. Softmax regression on 256 digits, rate 0.5, 100 steps, 400 runs; standard errors
    of the test loss (examples/path_control_variate.py):

        B     plain     x alone   x and y   gradients   seconds
        10    5.1e-4    4.7e-4    1.9e-4    x 105       x 31       simulate 7 times as many runs instead
        40    1.3e-4    9.6e-5    2.1e-5    x 29        x 6        even
        160   4.7e-5    2.4e-5    3.0e-6    x 9         x 5        stands for 240 times as many runs

    >>> import jax, numpy as np
    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 4, lambda key: np.float32(0), np.array([-1.0, 1.0]))
    >>> run = lambda **options: gn.simulate(
    ...     gn.sgd(problem), np.float32(1), gn.Spacetime(40, 20), 0.01, 1000, jax.random.key(0), **options)
    >>> runs = run()
    >>> runs.observables["test_loss"].shape
    (1000, 3)
    >>> sharper = run(variance_reduction="path").mean("test_loss")
    >>> bool(sharper.stderr[-1] < runs.mean("test_loss").stderr[-1] / 10)
    True

    Raises TypeError or ValueError, in one sentence that names the argument, before anything runs (variance_reduction: for
    other processes, injected noise, no pool, too many weights, the prediction of another run). A replica that diverges is
    kept as NaN from its step on, and `Simulation.mean` then refuses. OSError if the checkpoint cannot be written.

    Source: loop.md section 12, as a control variate.
    """
    options: dict[str, Any] = {"every": every, "training_set": training_set, "dtype": dtype, "memory": memory}
    if isinstance(checkpoint, (str, bytes, os.PathLike)):
        checkpoint = CheckpointFolder(checkpoint)  # type: ignore[arg-type]
    options |= {"num_test_draws": num_test_draws, "progress": progress, "checkpoint": checkpoint}
    if variance_reduction is None or not isinstance(process, Process) or not isinstance(spacetime, Spacetime):
        return dynamics.simulate(process, params, spacetime, learning_rate, num_replicas, key, observe, **options)
    carrying = with_companions(process)
    setting = process.problem.setting_for(training_set)
    run = Run(process.problem.name, process, spacetime, learning_rate, training_set, setting)
    prediction = _read_prediction(variance_reduction, run, params, memory)
    found = on_weights(observe)
    if isinstance(found, dict) or found is None:
        found = {**(found or {}), **path_observables(process.problem)}
    runs = dynamics.simulate(carrying, params, spacetime, learning_rate, num_replicas, key, found, **options)
    added = path_observables(process.problem)
    own = {name: values for name, values in runs.observables.items() if name not in added}
    return replace(
        runs,
        process=process,
        observables=own,
        controls={name: _controls(name, prediction, runs) for name in CONTROLLED},
    )


def _read_prediction(given: Any, run: Run, params: Params, memory: int | str | None) -> PathPrediction:
    """The prediction whose one loop is the controls' expectation, made or checked."""
    problem, rule = run.process.problem, run.process.step.rule  # type: ignore[attr-defined]
    if not isinstance(given, PathPrediction):
        _checks.one_of("variance_reduction", given, ("path",))
        num_weights = sum(int(np.size(leaf)) for leaf in jax.tree.leaves(params))
        if num_weights > DENSE_LIMIT:
            raise ValueError(
                f'variance_reduction="path" works out the expectation with matrices {num_weights} x {num_weights}, expected '
                f'at most {DENSE_LIMIT} weights. Give it: variance_reduction=gn.predict_path(..., method="probes", '
                "num_probes=1000, key=key), whose error is then added."
            )
        return predict_path(
            problem, params, run.spacetime, run.learning_rate, rule.momentum, method="dense",
            training_set=run.training_set, nesterov=rule.nesterov, dampening=rule.dampening,
            weight_decay=rule.weight_decay, memory=memory,
        )  # fmt: skip
    require_same_path(_curve(given, "test", run.spacetime), run)
    start = _test_loss(problem, params)
    if not np.isclose(start, given.path_test[0], rtol=1e-6, atol=0):
        raise ValueError(
            f"variance_reduction: its path starts at a test loss of {given.path_test[0]:.6g}, and params has {start:.6g}. "
            "Predict the path from these params, for this problem."
        )
    return given


def _test_loss(problem: Problem, params: Params) -> float:
    with jax.enable_x64(True):
        examples = problem.pool if problem.test_pool is None else problem.test_pool
        weights, examples = _tree.cast((params, examples), jnp.float64)
        return float(jnp.mean(jax.vmap(problem.measured_loss, (None, 0))(weights, examples)))


def _curve(prediction: PathPrediction, target: str, spacetime: Spacetime) -> PathCurve:
    return prediction.curve(target, spacetime.batch_size, spacetime.num_examples)


def _controls(name: str, prediction: PathPrediction, runs: Simulation) -> Controls:
    """First order, of mean zero, and second, of the one-loop mean; refused if their means are others."""
    sums = _curve(prediction, CURVES[name], runs.spacetime).partial_sums
    assert sums is not None
    loop, zero = (np.asarray(sums.value)[:, 1] - np.asarray(sums.value)[:, 0])[runs.steps], np.zeros(len(runs.steps))
    mean = np.stack([zero, loop], axis=-1)
    error = np.stack([zero, np.asarray(sums.stderr)[runs.steps, 1]], axis=-1)
    samples = np.stack([runs.observables[control_name(name, order)] for order in (0, 1)], axis=-1).astype(float)
    if runs.num_replicas > 1 and not np.any(runs.diverged_at >= 0):
        own = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
        reach = stats.t.isf(FALSE_ALARM, len(samples) - 1) * np.hypot(own, error)
        rounding = 1e3 * np.finfo(runs.dtype).eps * np.abs(runs.observables["test_loss"]).max()
        if np.any(np.abs(samples.mean(axis=0) - mean) > reach + rounding):
            raise ValueError(
                f"variance_reduction: the predicted mean of what stands beside {name} is not that of the runs. Give the "
                "path of the same problem, start and optimizer."
            )
    return Controls(samples, Estimate(mean, error, sums.num_samples))
