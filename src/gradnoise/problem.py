"""What is studied: a loss for one example, and where the examples come from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _checks, _tree
from gradnoise._types import Examples, Key, Params

Loss = Callable[[Params, Any], Any]


@dataclass(frozen=True, eq=False)
class Problem:
    """A per-example loss and a population of examples.

    `loss(params, example) -> scalar`, `sample(key, n) -> examples` with a leading axis n, `init(key) -> params`.
    Per example, never per batch: mean, covariance and all higher moments of the gradient follow from it. `measured`
    is the function whose mean is reported as test and train loss (default: the loss itself; leave a weight-decay
    penalty out of it, say). `metrics` are further functions of (params, example) that `simulate` records and nothing
    predicts. For a finite pool as the population use `from_arrays`.

    >>> import jax
    >>> mean = Problem(lambda w, x: (w - x) ** 2 / 2, lambda key, n: jax.random.normal(key, (n,)), lambda key: 0.5)
    >>> mean.setting, mean.pool is None
    ('population', True)

    Raises TypeError if a function is not callable.
    """

    loss: Loss
    sample: Callable[[Key, int], Examples]
    init: Callable[[Key], Params]
    name: str = "problem"
    measured: Loss | None = None
    metrics: Mapping[str, Loss] | None = None
    pool: Examples = field(default=None, repr=False, kw_only=True)
    test_pool: Examples = field(default=None, repr=False, kw_only=True)
    weight_decay: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        functions = {"loss": self.loss, "sample": self.sample, "init": self.init, **dict(self.metrics or {})}
        if self.measured is not None:
            functions["measured"] = self.measured
        for name, function in functions.items():
            if not callable(function):
                raise TypeError(
                    f"{name} is {type(function).__name__}, expected a function. Give loss(params, example), say."
                )

    @property
    def measured_loss(self) -> Loss:
        """`measured`, or the loss where none was given."""
        return self.loss if self.measured is None else self.measured

    @property
    def setting(self) -> str:
        """ "population": test is the mean over where training examples come from; "held out": over `test_pool`."""
        return "population" if self.test_pool is None else "held out"

    def setting_for(self, training_set: str) -> str:
        """What test loss means in runs on this `training_set`: "this training set" where all train on the pool."""
        return "this training set" if training_set == "given" else self.setting

    @property
    def num_pool(self) -> int | None:
        """How many examples the pool holds; None without a pool."""
        return None if self.pool is None else _tree.num_examples(self.pool)


def from_arrays(
    loss: Loss,
    init: Callable[[Key], Params],
    pool: Examples,
    name: str = "problem",
    measured: Loss | None = None,
    test_pool: Examples = None,
    metrics: Mapping[str, Loss] | None = None,
) -> Problem:
    """A problem whose population is a finite pool: draws are i.i.d. with replacement, so the pool's mean is the test loss.

    `pool` and `test_pool` are pytrees of arrays that share a leading axis of examples. With a `test_pool` the setting
    is "held out": training draws from the pool, test loss is the mean of `measured` over the test pool.

    >>> import numpy as np
    >>> pool = {"x": np.eye(3), "y": np.ones(3)}
    >>> problem = from_arrays(lambda w, e: (w @ e["x"] - e["y"]) ** 2, lambda key: np.zeros(3), pool)
    >>> problem.num_pool
    3

    Raises ValueError if the pool is empty, ragged or holds NaN or infinity; TypeError if it holds no numbers.
    """
    size = _checks.stacked_examples("pool", pool)
    held_out = None
    if test_pool is not None:
        _checks.stacked_examples("test_pool", test_pool)
        if jax.tree.structure(test_pool) != jax.tree.structure(pool):
            raise ValueError("test_pool has another structure than pool. Give both the same keys in the same nesting.")
        held_out = jax.tree.map(np.asarray, test_pool)
    arrays = jax.tree.map(np.asarray, pool)

    def sample(key: Key, n: int) -> Examples:
        return _tree.take(arrays, jax.random.randint(key, (n,), 0, size))

    return Problem(loss, sample, init, name, measured, metrics, pool=arrays, test_pool=held_out)


def penalized(problem: Problem, weight_decay: float) -> Problem:
    """The problem whose loss has weight_decay/2 |params|^2 added, `measured` without it: what coupled decay descends.

    >>> import numpy as np
    >>> plain = from_arrays(lambda w, x: w * x, lambda key: np.float64(1.0), np.ones(2))
    >>> float(penalized(plain, 0.5).loss(2.0, 1.0))
    3.0
    """
    weight_decay = _checks.number("weight_decay", weight_decay, minimum=0)
    if weight_decay == 0:
        return problem

    def loss(params: Params, example: Any) -> Any:
        squares = [jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(params)]
        return problem.loss(params, example) + weight_decay / 2 * sum(squares)

    return replace(problem, loss=loss, measured=problem.measured_loss, weight_decay=problem.weight_decay + weight_decay)


def require_problem(problem: object) -> None:
    """Raise TypeError unless `problem` is a Problem."""
    if not isinstance(problem, Problem):
        told = type(problem).__name__
        raise TypeError(f"problem is a {told}, expected a Problem. Build one with Problem or from_arrays.")


def require_pool(problem: Problem, caller: str) -> Examples:
    """The problem's pool; a ValueError that names `caller` where there is none."""
    if problem.pool is None:
        raise ValueError(
            f"{caller} needs a finite pool, and problem {problem.name!r} has none. Build it with from_arrays, "
            "or give num_draws where the function takes it."
        )
    return problem.pool


def probe_problem(problem: Problem, params: Params, examples: Examples, dtype: Any = jnp.float64) -> None:
    """Raise one clear sentence if loss or measured cannot be studied at `params`.

    Found: params or losses that are not finite, a result that is not a scalar, a loss that is random (two calls on the
    same example differ: dropout left on), a loss that leaves `dtype`. Runs the loss twice on one example without
    compiling it, and once on all of `examples`. Call it inside `jax.enable_x64(True)` when `dtype` is float64.
    """
    from gradnoise.smoothness import narrowings

    require_problem(problem)
    _checks.floating_tree("params", params)
    params, examples = _tree.cast(params, dtype), _tree.cast(examples, dtype)
    one = _tree.take(examples, 0)
    functions = {"loss": problem.loss, "measured": problem.measured_loss}
    for name, function in functions.items():
        _probe_result(name, function, params, one, dtype)
    narrow = narrowings(replace(problem, pool=examples), params, dtype)
    if narrow:
        raise TypeError(
            f"loss or measured drops to {', '.join(narrow)} on the way to its {jnp.dtype(dtype)} result and loses digits. "
            "Remove the cast inside it (astype, or arrays of fixed dtype)."
        )
    for name, function in functions.items():
        values = np.asarray(jax.vmap(function, in_axes=(None, 0))(params, examples))
        if not np.all(np.isfinite(values)):
            bad = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ValueError(
                f"{name} is {values[bad]} at params on example {bad}, expected finite values. "
                "Start elsewhere, or mend the loss or the example."
            )


def _probe_result(name: str, function: Loss, params: Params, example: Any, dtype: Any) -> None:
    result = jax.eval_shape(function, params, example)
    if not hasattr(result, "shape") or result.shape != ():
        came = f"shape {result.shape}" if hasattr(result, "shape") else f"a {type(result).__name__}"
        raise ValueError(
            f"{name} gives {came} for one example, expected a scalar. Write it for ONE example (no batch "
            "axis) and reduce its result to one number."
        )
    if result.dtype != dtype:
        raise TypeError(
            f"{name} gives {result.dtype} for {jnp.dtype(dtype)} params, expected {jnp.dtype(dtype)}. Remove "
            "the cast inside it (astype, or arrays of fixed dtype)."
        )
    first, second = function(params, example), function(params, example)
    if not (first == second or (jnp.isnan(first) and jnp.isnan(second))):
        raise ValueError(
            f"{name} is random: two calls on the same example gave {first:.6g} and {second:.6g}. Switch dropout "
            "and the like off, or make the noise part of the example."
        )
