"""Prediction beside simulation: difference, error of both sides, size of the last included order, and a verdict."""

import numpy as np

from gradnoise.dynamics import Simulation
from gradnoise.estimate import Estimate, from_samples
from gradnoise.experiment.comparison import Comparison, Expansion, judge
from gradnoise.experiment.observables import OBSERVABLES, mean_of
from gradnoise.experiment.same_run import facts, require_same, require_same_path, require_same_series
from gradnoise.experiment.simultaneous import rounding_size
from gradnoise.predict import Curve, PathCurve, PathPrediction


def compare(
    prediction: Curve | PathCurve | Simulation,
    simulation: Simulation,
    paired: bool = False,
    controls: Simulation | None = None,
) -> Comparison:
    """Compare a predicted curve, or another process, with a simulation, step by step.

    The simulation's mean over replicas is aligned with the prediction by step. `prediction` is the curve of a series
    (`predict_curve`; columns are powers of the learning rate), the curve of a path (`predict_path(...).curve(target)`,
    target "test", "train" or "gap"; columns are loops: 0 the path alone, 1 and 2), or another Simulation of the same steps.
    With `paired=True` two simulations share training sets and batches (same key), and the error is that of the differences
    replica by replica, otherwise they are taken as independent. `controls` is a simulation of the same replicas that
    recorded `control_variates`, whose expectation is zero by construction: the mean is adjusted by them without bias, its
    error shrinks. A simulation with `variance_reduction="path"` brings its own.

    A path's curve is judged inside its domain alone: at steps from `curve.domain.end` on the comparison holds NaN, and they
    do not enter the verdict. A difference is excused as truncation up to twice the next loop, the largest so far on the
    way, or, where that was not predicted, up to the last one: num_loops=2 makes the judgement on one loop sharp. With kinks
    in the loss all but the path alone is "not licensed".

    >>> import jax, numpy as np
    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float64(0.0), np.array([0.0, 2.0]))
    >>> spacetime = gn.Spacetime(4, 2)
    >>> curve = gn.predict_curve(gn.diagram_values(problem, 0.0), spacetime, learning_rate=0.01)
    >>> runs = gn.simulate(gn.sgd(problem), np.float32(0), spacetime, 0.01, 2000, jax.random.key(0))
    >>> gn.compare(curve, runs).verdicts
    ('truncation', 'agrees', 'statistical', 'statistical')
    >>> path = gn.predict_path(problem, np.float64(0), spacetime, learning_rate=0.01)
    >>> gn.compare(path.curve("gap"), runs).verdict
    'statistical'

    Raises TypeError for other kinds; ValueError if problem, spacetime, learning rate, optimizer, training sets or setting
    differ, for a curve of a displacement or variance, if a replica diverged, or if a control's mean is not zero within 5
    standard errors.
    """
    if not isinstance(simulation, Simulation):
        raise TypeError(f"simulation is {type(simulation).__name__}, expected the result of simulate.")
    if isinstance(prediction, Simulation):
        return _compare_processes(prediction, simulation, paired, controls)
    if isinstance(prediction, PathPrediction):
        raise TypeError('prediction is a PathPrediction, expected one curve of it. Give prediction.curve("test"), say.')
    if not isinstance(prediction, (Curve, PathCurve)):
        raise TypeError(
            f"prediction is {type(prediction).__name__}, expected that of predict_curve, a curve of predict_path, or a "
            "Simulation."
        )
    if paired:
        raise ValueError(
            "paired=True needs two simulations that share their draws, and prediction is a curve. Leave it out."
        )
    if simulation.num_replicas < 2:
        raise ValueError("num_replicas=1 gives no error, expected at least 2. Simulate more replicas.")
    if prediction.target not in OBSERVABLES:
        raise ValueError(
            f'target="{prediction.target}" is not recorded by simulate, expected one of {", ".join(OBSERVABLES)}. Observe '
            "it with simulate(observe=...), and compare by hand."
        )
    if isinstance(prediction, PathCurve):
        table, expansion = _loops(prediction, simulation)
    else:
        table, expansion = _series(prediction, simulation)
    simulated = mean_of(simulation, prediction.target, controls)
    stderr = np.hypot(np.asarray(simulated.stderr)[:, None], table.stderr)
    return judge(
        prediction.target, prediction.learning_rate, simulation.steps, simulated, np.asarray(table.value), stderr,
        expansion, rounding_size(simulation.dtype, simulation.observables["test_loss"]),
    )  # fmt: skip


def _series(prediction: Curve, simulation: Simulation) -> tuple[Estimate, Expansion]:
    """Excused: the last included term, or twice the first left out, where it is known."""
    require_same_series(prediction, simulation)
    table = Estimate(prediction.value, prediction.stderr, prediction.num_samples)[simulation.steps]
    terms = np.abs(np.diff(np.asarray(prediction.value), axis=1, prepend=0.0))[simulation.steps]
    left_out = np.concatenate([2 * terms[:, 1:], np.zeros((len(terms), 1))], axis=1)
    included = np.concatenate([np.zeros((len(terms), 1)), terms[:, 1:]], axis=1)
    return table, Expansion("learning rate", terms, np.maximum(included, left_out), np.ones(terms.shape, bool))


def _loops(prediction: PathCurve, simulation: Simulation) -> tuple[Estimate, Expansion]:
    """Excused: twice the next loop where it is known, else the last one, the largest up to that step."""
    require_same_path(prediction, simulation)
    assert prediction.partial_sums is not None
    assert prediction.domain is not None
    sums, steps = prediction.partial_sums, simulation.steps
    terms = np.abs(np.diff(np.asarray(sums.value), axis=1, prepend=0.0))
    following = np.concatenate([2 * terms[:, 1:], terms[:, -1:]], axis=1)
    licensed = prediction.domain.inside[steps, None] & (np.arange(terms.shape[1]) <= prediction.licensed_loops)
    excused = np.maximum.accumulate(following, axis=0)[steps]
    return sums[steps], Expansion("noise", terms[steps], excused, licensed)


def _compare_processes(first: Simulation, second: Simulation, paired: bool, controls: Simulation | None) -> Comparison:
    if controls is not None:
        raise ValueError("controls sharpen a mean beside a curve, and prediction is a simulation. Leave them out.")
    require_same(facts(first, "problem_name", "setting"), facts(second, "problem_name", "setting"))
    if not np.array_equal(first.steps, second.steps):
        raise ValueError("steps differ: prediction and simulation recorded others. Use the same spacetime and every.")
    if paired and first.num_replicas != second.num_replicas:
        raise ValueError(
            f"paired=True needs equally many replicas, got {first.num_replicas} and {second.num_replicas}."
        )
    simulated, other = second.mean("test_loss"), first.mean("test_loss")
    stderr = np.hypot(simulated.stderr, other.stderr)
    if paired:  # the losses as they are: what they share goes away in the difference
        a, b = (np.asarray(runs.observables["test_loss"], dtype=float) for runs in (first, second))
        simulated, other, stderr = from_samples(b), from_samples(a), from_samples(b - a).stderr
    predicted, errors = np.asarray(other.value)[:, None], np.asarray(stderr)[:, None]
    nothing = np.zeros_like(predicted)
    unknown = Expansion("", nothing, nothing, np.ones(predicted.shape, bool))
    return judge(
        "test",
        second.learning_rate,
        second.steps,
        simulated,
        predicted,
        errors,
        unknown,
        rounding_size(second.dtype, second.observables["test_loss"]),
    )
