"""One run of a process whose weights are wanted, not its losses: the baseline from whose ends the noise is measured."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _checks, _tree
from gradnoise._types import Examples, Key, Params
from gradnoise.process import Batches, Process
from gradnoise.spacetime import Spacetime

SEGMENT = 100


def train(process: Process, params: Params, num_steps: int, batch_size: int, learning_rate: float, key: Key) -> Params:
    """The weights after `num_steps` effective steps of `process`, each batch fresh from the population (float32).

    Steps run in compiled segments of 100; the weights are checked between them.

    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float32(0), np.array([1.0, 1.0]))
    >>> round(float(train(gn.sgd(problem), np.float32(0), 50, 2, 0.5, jax.random.key(0))), 6)
    1.0

    Raises ValueError, naming the step, if the weights stop being finite.
    """
    state = train_state(process, params, num_steps, batch_size, learning_rate, key)
    return jax.tree.map(np.asarray, process.params(state))


def train_state(
    process: Process, params: Params, num_steps: int, batch_size: int, learning_rate: float, key: Key
) -> Any:
    """The whole state, as `train`: what an adaptive optimizer has learned beside the weights."""
    num_steps = _checks.integer("num_steps", num_steps)
    batch_size = _checks.integer("batch_size", batch_size)
    rate = jnp.float32(_checks.number("learning_rate", learning_rate, above=0))
    pool = _tree.cast(process.problem.pool, jnp.float32)
    state = process.init(_tree.cast(params, jnp.float32))
    keys = _checks.random_key("key", key)
    for start in range(0, num_steps, SEGMENT):
        count = min(SEGMENT, num_steps - start)
        state = _segment(process, batch_size, SEGMENT, count, state, pool, rate, jax.random.fold_in(keys, start))
        if not all(np.all(np.isfinite(leaf)) for leaf in map(np.asarray, jax.tree.leaves(process.params(state)))):
            raise ValueError(
                f"learning_rate={float(rate):g}: the weights stopped being finite between steps {start} and "
                f"{start + count}. Give a smaller learning rate."
            )
    return state


@partial(jax.jit, static_argnums=(0, 1, 2))
def _segment(
    process: Process, batch_size: int, length: int, count: Any, state: Any, pool: Examples, rate: Any, key: Key
) -> Any:
    """The state after the first `count` of `length` steps."""
    shape = (process.num_substeps, process.batches_per_substep, batch_size)
    spacetime = Spacetime(batch_size, batch_size, sampling="with_replacement", num_steps=1)

    def draw(key: Key) -> Examples:
        if process.problem.pool is not None:
            return _tree.take(pool, jax.random.randint(key, shape, 0, _tree.num_examples(pool)))
        flat = process.problem.sample(key, int(np.prod(shape)))
        return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), flat)

    def one_step(state: Any, key: Key) -> Any:
        examples = draw(key)
        for substep in range(process.num_substeps):
            batch = _tree.take(examples, substep)
            state = process.step(jax.random.fold_in(key, substep), state, Batches(batch, pool, spacetime), rate)
        return state

    steps = jnp.arange(length)
    return jax.lax.fori_loop(0, count, lambda i, state: one_step(state, jax.random.fold_in(key, steps[i])), state)
