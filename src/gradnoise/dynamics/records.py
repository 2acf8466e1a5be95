"""What is recorded of a replica at one step: mean losses and metrics on test and training examples, observables."""

from typing import Any

import jax
import jax.numpy as jnp

from gradnoise import _tree
from gradnoise._types import Examples, Params
from gradnoise.dynamics.replica import Data, Keys, Replica, Setup, training_examples
from gradnoise.problem import Problem


def record(
    setup: Setup, keys: Keys, data: Data, replica: Replica, step: Any, evaluation_block: int
) -> tuple[Replica, dict[str, jax.Array]]:
    """The replica, marked if its losses are not finite, and its numbers by name; NaN from divergence on."""
    params = setup.process.params(replica.state)
    test, train = test_and_training_means(setup, keys, data, replica, params, evaluation_block)
    values = {f"test_{name}": value for name, value in test.items()}
    values |= {f"train_{name}": value for name, value in train.items()}
    values["gap"] = test["loss"] - train["loss"]
    if setup.observe:
        examples = training_examples(data, replica)
        if examples is None:
            examples = _test_draws(setup, keys, replica)
        values |= {name: jnp.asarray(f(params, examples), setup.dtype) for name, f in setup.observe}
    newly = (replica.diverged_at < 0) & ~jnp.isfinite(test["loss"] + train["loss"])
    diverged_at = jnp.where(newly, jnp.int32(step), replica.diverged_at)
    values = {name: jnp.where(diverged_at < 0, value, jnp.nan) for name, value in values.items()}
    return replica._replace(diverged_at=diverged_at), values


def test_and_training_means(
    setup: Setup, keys: Keys, data: Data, replica: Replica, params: Params, block: int
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Mean measured loss and metrics over the test examples and over the training set.

    Where the training set consists of rows of a pool no smaller pass than the pool's is made: its values are looked up
    in the pool's.
    """

    def values(examples: Examples) -> dict[str, jax.Array]:
        return per_example(setup.process.problem, params, examples, block, setup.dtype)

    if data.pool is None:
        test = _means(values(_test_draws(setup, keys, replica)))
        return test, test if replica.own is None else _means(values(replica.own))
    few = replica.members is not None and len(replica.members) < _tree.num_examples(data.pool)
    if data.test_pool is not None and few:
        return _means(values(data.test_pool)), _means(values(training_examples(data, replica)))
    on_pool = values(data.pool)
    train = on_pool if replica.members is None else _tree.take(on_pool, replica.members)
    return _means(on_pool if data.test_pool is None else values(data.test_pool)), _means(train)


def measured_functions(problem: Problem) -> dict[str, Any]:
    """Name -> function of (params, example), the measured loss first."""
    return {"loss": problem.measured_loss, **dict(problem.metrics or {})}


def per_example(problem: Problem, params: Params, examples: Examples, block: int, dtype: Any) -> dict[str, jax.Array]:
    """Name -> values (n,) for measured loss and metrics, `block` examples at a time."""
    functions = measured_functions(problem)

    def one(example: Any) -> dict[str, jax.Array]:
        return {name: jnp.asarray(f(params, example), dtype) for name, f in functions.items()}

    if block >= _tree.num_examples(examples):
        return jax.vmap(one)(examples)
    return jax.lax.map(one, examples, batch_size=block)


def _test_draws(setup: Setup, keys: Keys, replica: Replica) -> Examples:
    key = jax.random.fold_in(keys.test_draws, replica.number)
    return _tree.cast(setup.process.problem.sample(key, setup.num_test_draws), setup.dtype)


def _means(values: dict[str, jax.Array]) -> dict[str, jax.Array]:
    return {name: jnp.mean(value) for name, value in values.items()}
