"""The second loop of a path's prediction, fitted to a simulation at one batch size."""

from dataclasses import replace

from gradnoise.dynamics import Simulation
from gradnoise.experiment.observables import OBSERVABLES, mean_of
from gradnoise.experiment.same_run import require_same_path
from gradnoise.predict import PathPrediction
from gradnoise.predict.path.second_loop import FittedLoop


def fit_two_loops(
    prediction: PathPrediction, simulation: Simulation, controls: Simulation | None = None
) -> PathPrediction:
    """The prediction with a second loop whose coefficients are read off a simulation at one batch size.

        test: c2 = B^2 (simulated - one loop),      gap: g2 = N B (simulated - one loop),      at every recorded step

    `curve(target, batch_size)` of the result then has the terms c2/B^2 and g2/(N B) for all batch sizes of as many steps
    an epoch, with the errors of both sides: those of the simulation, and those of the one-loop coefficients, which enter by
    what B and the asked batch size do not share. Between records the residual is interpolated. The result says that it is
    fitted: `.fitted`, `.second_test_coefficient`, `.second_gap_coefficient`; a second loop by pairs of probes is replaced.

    What the third and higher loops add at B is taken for c2: relative to it they are of order L1/(B loss), so B should be
    well inside the domain, while a large B costs runs: the error of c2 is B^2 times that of the mean. Smaller
    errors for as many runs: simulate with variance_reduction="path", or give `controls` as to `compare`.

    >>> import jax, numpy as np
    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: np.cosh(1) * (w - x) ** 2 / 2, lambda key: 0.0, np.array([0.0, 2.0]))
    >>> path = gn.predict_path(problem, np.float64(0.0), gn.Spacetime(16, 4), learning_rate=0.1)
    >>> runs = gn.simulate(gn.sgd(problem), np.float64(0.0), gn.Spacetime(16, 4), 0.1, 500, jax.random.key(0))
    >>> fitted = fit_two_loops(path, runs)
    >>> fitted.num_loops, bool(abs(fitted.second_test_coefficient.value[-1]) < 4 * fitted.second_test_coefficient.stderr[-1])
    (2, True)

    Raises TypeError for other kinds; ValueError if problem, grid, learning rate, optimizer or training sets differ, for
    another number of steps an epoch, where one loop at the simulated batch size is outside its domain, for a training set
    of distinct examples (its second loop does not scale as 1/B^2), and if a replica diverged.

    Source: loop.md section 12.1, two loops from one run batch.
    """
    if not isinstance(prediction, PathPrediction):
        raise TypeError(f"prediction is {type(prediction).__name__}, expected that of predict_path.")
    if not isinstance(simulation, Simulation):
        raise TypeError(f"simulation is {type(simulation).__name__}, expected the result of simulate.")
    if prediction.training_set == "distinct":
        raise ValueError(
            'training_set="distinct" has a second loop that does not scale as 1/B^2 (the pool is finite). Predict and '
            'simulate with training_set="drawn".'
        )
    own, simulated = prediction.spacetime, simulation.spacetime
    if own.num_steps != simulated.num_steps:
        raise ValueError(
            f"num_steps differs: the prediction has {own.num_steps}, the simulation {simulated.num_steps}. Fit at as many."
        )
    one_loop = replace(prediction, num_loops=1, fitted=None, samples=replace(prediction.samples, pairs=None))
    curve = one_loop.curve("test", simulated.batch_size, simulated.num_examples)
    require_same_path(curve, simulation)
    if curve.domain is not None and curve.domain.end is not None:
        raise ValueError(
            f"batch_size={simulated.batch_size} is outside the expansion: noise passes {curve.domain.bound:g} of the loss "
            f"at step {curve.domain.end}, and higher loops would be taken for the second. Simulate a larger batch."
        )
    means = {target: mean_of(simulation, target, controls) for target in OBSERVABLES}
    fitted = FittedLoop(simulated, simulation.num_replicas, simulation.steps, **means)
    return replace(one_loop, num_loops=2, fitted=fitted)
