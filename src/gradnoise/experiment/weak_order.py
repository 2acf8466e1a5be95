"""Does the SDE describe SGD for one observable? SVAG at growing l beside SGD, with the size of what the test can see."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from gradnoise import _checks, dynamics
from gradnoise._types import Key, Params
from gradnoise.dynamics import Simulation, sde, svag
from gradnoise.dynamics.prepare import Observe
from gradnoise.estimate import from_samples
from gradnoise.experiment.same_run import facts, same_rates
from gradnoise.experiment.simultaneous import rounding_size, simultaneous_band
from gradnoise.experiment.weak_fit import fit_approach
from gradnoise.experiment.weak_record import WeakOrder
from gradnoise.problem import Problem, require_problem
from gradnoise.process import Process
from gradnoise.spacetime import Spacetime

L_VALUES = (1, 2, 4, 8, 16)
SHARED = ("problem_name", "spacetime", "num_replicas", "training_set", "setting", "dtype")


def weak_order(
    problem: Problem,
    params: Params,
    spacetime: Spacetime,
    learning_rate: Any,
    l_values: Sequence[int] = L_VALUES,
    observable: str = "test_loss",
    *,
    num_replicas: int,
    key: Key,
    observe: Observe | None = None,
    reference: Process | str | None = None,
    every: int = 1,
    training_set: str = "drawn",
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    level: float = 0.95,
    dtype: str = "float32",
    memory: int | str | None = None,
) -> WeakOrder:
    """Mean of `observable` under SVAG(l) for each l, along effective steps, and whether any l differs from SGD (l = 1).

        E g(x_k; l) = E g(X_{k eta}) + C(k)/l + O(1/l^2),      X the SDE, l = 1 SGD, max over k: the weak error

    If the SDE describes SGD the means do not change with l; if they change, it does not, for this observable, at this
    learning rate and batch size. `observable` is "test_loss", "train_loss", "gap", "test_..." or "train_..." of a metric,
    or a name in `observe`. `reference` is a process that stands for the SDE: "sde" for `sde` with 4 times as
    many substeps as the largest l (a pass over the training set each; its own error, of order 1/substeps, is not in the
    error bars), or one of yours.

    All runs have the same key: replica r has the same training set at every l, and shares some batches. Differences are
    taken replica by replica, so their errors are right whatever is shared, and what training sets do to all l alike
    drops out; independent runs would count it twice. With training_set="given" or "population" there is little to share.

    The band is simultaneous over steps and l at `level` (`simultaneous_band`). Errors are over replicas. Arguments
    else as in `simulate`; settle several observables from the same runs with `weak_order_of`.

    >>> import jax, numpy as np
    >>> import gradnoise as gn
    >>> problem = gn.testbeds.linear_gradients()
    >>> grid = gn.Spacetime(4, 1, sampling="with_replacement", num_steps=10)
    >>> found = weak_order(problem, np.float32(1.5), grid, 0.4, (1, 2, 4), num_replicas=2000, key=jax.random.key(0),
    ...     training_set="population", every=5)
    >>> found.holds, found.means.value.shape
    ('differs', (3, 3))

    Raises ValueError for l_values that are not at least three growing whole numbers from 1, an observable that is not
    recorded, fewer than 8 replicas, level outside (0, 1), a sampling that gives SVAG no independent batches ("fixed",
    "reshuffle"), and if a replica diverged; TypeError or ValueError for what `simulate` refuses.

    Source: Li, Malladi, Arora, "On the Validity of Modeling SGD with Stochastic Differential Equations", section 4;
    docs/theory/weak_order.md.
    """
    require_problem(problem)
    l_values = _check_l_values(l_values)
    num_replicas = _checks.integer("num_replicas", num_replicas, minimum=8)
    level = _checks.number("level", level, above=0, below=1)
    names = ("loss", *(problem.metrics or {}))
    _checks.one_of(
        "observable", observable, [f"{p}_{n}" for n in names for p in ("test", "train")] + ["gap", *(observe or {})]
    )
    if isinstance(reference, str):
        _checks.one_of("reference", reference, ("sde",))
        reference = sde(problem, num_substeps=4 * l_values[-1], momentum=momentum, weight_decay=weight_decay)
    if reference is not None and not isinstance(reference, Process):
        raise TypeError(f"reference is {type(reference).__name__}, expected a Process. Give gn.sde(problem), say.")

    def run(process: Process) -> Simulation:
        return dynamics.simulate(
            process, params, spacetime, learning_rate, num_replicas, key, observe, every, training_set, dtype=dtype,
            memory=memory,
        )  # fmt: skip

    # the largest l first: what cannot run is refused at once
    runs = {l: run(svag(problem, l, momentum, weight_decay=weight_decay)) for l in reversed(l_values)}
    return weak_order_of(runs, observable, None if reference is None else run(reference), level)


def weak_order_of(
    simulations: Mapping[int, Simulation],
    observable: str = "test_loss",
    reference: Simulation | None = None,
    level: float = 0.95,
) -> WeakOrder:
    """What `weak_order` says, from runs of SVAG(l) by l, and of a reference: one set of runs, many observables.

    The runs should have one key. Other keys are no error, and make the error bars larger: rows are then independent.

    Raises ValueError if the runs differ in anything but the process, for fewer than 8 replicas, the l that `weak_order`
    refuses, SVAG on halves of one draw, and if a replica diverged; TypeError for other kinds, KeyError if `observable`
    was not recorded.
    """
    l_values = _check_l_values(sorted(simulations))
    level = _checks.number("level", level, above=0, below=1)
    ordered = [simulations[l] for l in l_values] + ([] if reference is None else [reference])
    for l, simulation in zip((*l_values, None), ordered, strict=False):
        _require_same_runs(ordered[0], simulation, l)
        simulation.mean(observable)
    names = tuple(f"SVAG({l})" for l in l_values[1:]) + (() if reference is None else (_name(reference),))
    _checks.integer("num_replicas", ordered[0].num_replicas, minimum=8)
    samples = np.stack([np.asarray(runs.observables[observable], dtype=float) for runs in ordered], axis=1)
    effects = samples[:, 1:] - samples[:, :1]
    fit = fit_approach(samples, [1 / l for l in l_values] + [0.0] * (reference is not None))
    return WeakOrder(
        observable=observable,
        l_values=l_values,
        steps=ordered[0].steps,
        means=from_samples(samples),
        compared=names,
        effects=from_samples(effects),
        successive=from_samples(np.diff(samples, axis=1)),
        band=simultaneous_band(effects.reshape(len(effects), -1), level),
        level=level,
        limit=fit.limit,
        coefficient=fit.coefficient,
        slope=fit.slope,
        slope_step=int(ordered[0].steps[fit.at]),
        rounding=rounding_size(ordered[0].dtype, samples) + float(np.finfo(float).tiny),
    )


def _check_l_values(l_values: Sequence[int]) -> tuple[int, ...]:
    found = tuple(_checks.integer("l_values", l) for l in l_values)
    if len(found) < 3 or found[0] != 1 or any(b <= a for a, b in pairwise(found)):
        raise ValueError(
            f"l_values={found} does not do, expected at least three growing numbers from 1, which is SGD. Use (1, 2, 4, 8)."
        )
    return found


def _require_same_runs(first: Simulation, other: Simulation, l: int | None) -> None:
    if not isinstance(other, Simulation):
        raise TypeError(f"simulations holds a {type(other).__name__}, expected what simulate gives.")
    if l is not None and (other.process_name, other.process.num_substeps) != ("svag", l):
        raise ValueError(
            f"simulations[{l}] is of {other.process_name} with {other.process.num_substeps} substeps. "
            f"Give the runs of svag(problem, {l})."
        )
    if ("batches", "split") in other.process.settings:
        raise ValueError(
            'batches="split" changes the size of the noise with l, and with it the limit. Simulate SVAG with independent '
            "batches."
        )
    settings = dict(first.process.settings)
    others = {**dict.fromkeys(settings), **dict(other.process.settings)}
    for name, value in {**settings, **facts(first, *SHARED)}.items():
        came = others[name] if name in settings else getattr(other, name)
        if came != value:
            raise ValueError(f"{name} differs between the simulations: {value} and {came}. Give all of them the same.")
    if not np.array_equal(first.steps, other.steps):
        raise ValueError("steps differ between the simulations. Record all of them with the same `every`.")
    if not same_rates(first.learning_rate, other.learning_rate, first.spacetime.num_steps):
        raise ValueError("learning_rate differs between the simulations. Give all of them the same.")


def _name(reference: Simulation) -> str:
    return f"{reference.process_name}, {reference.process.num_substeps} substeps"
