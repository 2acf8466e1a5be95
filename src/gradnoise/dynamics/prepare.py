"""From the arguments of a simulation to arrays and static set-up, with every check before anything runs."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from gradnoise import _checks, _tree
from gradnoise._rates import Rates, learning_rates
from gradnoise._types import Examples, Key, Params
from gradnoise.dynamics.plan import Shapes
from gradnoise.dynamics.records import measured_functions
from gradnoise.dynamics.replica import Data, Keys, Setup
from gradnoise.dynamics.runner import Inputs
from gradnoise.problem import Problem, probe_problem
from gradnoise.process import Process
from gradnoise.spacetime import Spacetime, require_spacetime

TRAINING_SETS = ("drawn", "given", "distinct", "population")
DTYPES = ("float32", "float64")
DEFAULT_TEST_DRAWS = 1000

Observe = Mapping[str, Callable[[Params, Examples], Any]]


def make_setup(
    process: Process,
    spacetime: Spacetime,
    training_set: str,
    observe: Observe | None,
    dtype: str,
    num_test_draws: int | None,
    start: Callable[[Key], Params] | None = None,
) -> Setup:
    """The static part, checked; the problem's arrays are not looked at beyond their lengths."""
    if not isinstance(process, Process):
        raise TypeError(f"process is {type(process).__name__}, expected a Process. Give gn.sgd(problem), say.")
    require_spacetime(spacetime)
    _checks.one_of("training_set", training_set, TRAINING_SETS)
    _checks.one_of("dtype", dtype, DTYPES)
    _check_training_set(process, spacetime, training_set)
    draws = DEFAULT_TEST_DRAWS if num_test_draws is None else _checks.integer("num_test_draws", num_test_draws)
    if num_test_draws is not None and process.problem.pool is not None:
        raise ValueError(
            f"num_test_draws={num_test_draws} came with problem {process.problem.name!r}, whose test loss is the exact "
            "mean over a finite pool. Leave it out."
        )
    return Setup(process, spacetime, training_set, _check_observe(process.problem, observe), dtype, draws, start)


def own_starts(params: Any) -> Callable[[Key], Params] | None:
    """`params` if it is a function of a key, from which each replica draws its own start; a tree of weights may be
    callable, too."""
    return params if callable(params) and jax.tree_util.all_leaves([params]) else None


def make_inputs(setup: Setup, params: Params, learning_rate: Any, key: Any, largest_scale: float = 1.0) -> Inputs:
    """The shared arrays in the set-up's dtype; call it inside `jax.enable_x64(dtype == "float64")`.

    `largest_scale`: of the replicas' factors of the learning rate.
    """
    problem, key = setup.process.problem, _checks.random_key("key", key)
    keys = Keys(*jax.random.split(key, 4))
    if setup.start is not None:
        keys = keys._replace(starts=jax.random.fold_in(key, len(keys)))
        params = setup.start(jax.random.fold_in(keys.starts, 0))
    _checks.floating_tree("params", params)
    weights = _tree.cast(params, setup.dtype)
    data = Data(
        *(None if pool is None else _tree.cast(pool, setup.dtype) for pool in (problem.pool, problem.test_pool))
    )
    rates = learning_rates(learning_rate, weights, setup.spacetime.num_steps, setup.dtype)
    _check_decay(setup.process, rates, largest_scale)
    return Inputs(keys, data, weights, rates)


def probe(setup: Setup, inputs: Inputs) -> None:
    """Raise if loss, measured, metrics or observables cannot be studied; done once for each set-up and shapes."""
    _probe_once(setup, Shapes.of(inputs), _Unhashed(inputs))


class _Unhashed:
    """Arrays that ride along into a cached check without being part of what it is cached by."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Unhashed)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=64)
def _probe_once(setup: Setup, shapes: Shapes, given: _Unhashed) -> None:
    problem, inputs = setup.process.problem, given.inputs
    given.inputs = None  # type: ignore[assignment]
    examples = inputs.data.pool
    if examples is None:
        examples = _tree.cast(problem.sample(inputs.keys.test_draws, 2), setup.dtype)
    probe_problem(problem, inputs.params, examples, dtype=np.dtype(setup.dtype))
    one = _tree.take(examples, 0)
    for name, function in measured_functions(problem).items():
        _check_scalar(f"metrics[{name!r}]", jax.eval_shape(function, inputs.params, one))
    for name, function in setup.observe:
        _check_scalar(f"observe[{name!r}]", jax.eval_shape(function, inputs.params, _observed_shapes(setup, examples)))


def _observed_shapes(setup: Setup, examples: Examples) -> Examples:
    size = setup.spacetime.num_examples
    if setup.training_set == "population":
        pool = setup.process.problem.num_pool
        size = setup.num_test_draws if pool is None else pool
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype), examples)


def _check_scalar(name: str, result: Any) -> None:
    if getattr(result, "shape", None) != ():
        came = f"shape {result.shape}" if hasattr(result, "shape") else f"a {type(result).__name__}"
        raise ValueError(f"{name} gives {came}, expected a scalar. Reduce its result to one number.")


def _check_training_set(process: Process, spacetime: Spacetime, training_set: str) -> None:
    problem, batches = process.problem, process.num_substeps * process.batches_per_substep
    if training_set == "given" and problem.num_pool != spacetime.num_examples:
        came = "no pool" if problem.num_pool is None else f"a pool of {problem.num_pool}"
        raise ValueError(
            f'training_set="given" trains on the pool itself, and num_examples={spacetime.num_examples} came with '
            f'{came}. Give the spacetime num_examples equal to the pool\'s size, or leave training_set="drawn".'
        )
    if training_set == "distinct" and not spacetime.num_examples <= (problem.num_pool or 0):
        came = "no pool" if problem.num_pool is None else f"a pool of {problem.num_pool}"
        raise ValueError(
            f'training_set="distinct" takes distinct examples of the pool, and num_examples={spacetime.num_examples} came '
            f'with {came}. Give the spacetime at most as many as the pool holds, or leave training_set="drawn".'
        )
    if training_set == "population" and problem.num_pool is None and batches == 0:
        raise ValueError(
            f'training_set="population" with {process.name} needs the population\'s exact gradient, and problem '
            f"{problem.name!r} has no pool. Build it with from_arrays, or use sgd."
        )
    if batches > 1 and spacetime.has_epochs and training_set != "population":
        raise ValueError(
            f'sampling="{spacetime.sampling}" uses each example once an epoch, and {process.name} takes {batches} '
            'independent batches a step. Use sampling="subset" or "with_replacement" in the spacetime.'
        )


def _check_decay(process: Process, rates: Rates, largest_scale: float) -> None:
    """Raise where a whole step's decay, weights * (1 - learning_rate * weight_decay), is no decay; a flow has no steps."""
    settings = dict(process.settings)
    decay = 0.0 if settings.get("noise") == "none" else settings.get("weight_decay", 0.0)
    rate = max(float(np.max(leaf)) for leaf in jax.tree.leaves(rates.base)) * float(np.max(rates.factors))
    rate *= largest_scale
    if decay * rate >= 2:
        raise ValueError(
            f"weight_decay={decay:g} times learning_rate={rate:g} is {decay * rate:.4g}, expected below 2: from there on a "
            "whole step turns the weights around and shrinks them no more. Give a smaller weight_decay or learning_rate."
        )


def _check_observe(problem: Problem, observe: Any) -> tuple[tuple[str, Callable[[Params, Examples], Any]], ...]:
    if observe is None:
        return ()
    if not isinstance(observe, Mapping):
        raise TypeError(
            f"observe is {type(observe).__name__}, expected a mapping of names to f(params, training_examples)."
        )
    taken = {"gap", *(f"{side}_{name}" for side in ("test", "train") for name in measured_functions(problem))}
    for name, function in observe.items():
        if not isinstance(name, str) or not callable(function):
            raise TypeError(
                f"observe[{name!r}] is {type(function).__name__}, expected a name and f(params, training_examples)."
            )
        if name in taken:
            raise ValueError(f"observe[{name!r}] has the name of something always recorded. Give it another name.")
    return tuple(sorted(observe.items()))
