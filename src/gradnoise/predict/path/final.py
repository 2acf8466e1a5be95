"""The predicted test loss after the last step as a pure function of rates and noise strengths, one value a probe.

Only the end is measured and every step is recomputed on the way back, so that reverse mode keeps one state a step.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _checks, _memory
from gradnoise._liveness import working_bytes
from gradnoise._types import Examples, Key
from gradnoise.predict.path.chunks import RESERVE, Progress, chunk_numbers, over_devices, plan_chunks
from gradnoise.predict.path.landscape import tested
from gradnoise.predict.path.noise_weights import noise_weights, num_classes
from gradnoise.predict.path.probes import Motion, noisy_step, second_order
from gradnoise.predict.path.sampling import draw_probes
from gradnoise.predict.path.setting import Setting

DIFFERENTIABLE = ("dense", "probes")
"""Methods that have a derivative."""


def final_test(
    motion: Motion, start: jax.Array, rates: jax.Array, pool: Examples, test: Examples, rows: jax.Array,
    kicks: jax.Array,
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    """Mean test loss on the path's end, and the s^2 coefficients (K,) of one probe of K patterns.

    `rows`, `kicks` (K, T): the example whose noise acts at each step, and how strongly; `test` None: over the pool.
    """
    state = motion.update.start(start)
    zeros = jnp.zeros((len(rows), *state.shape))

    @jax.checkpoint
    def body(carry: Any, inputs: Any) -> tuple[Any, None]:
        path, first, second = carry
        step, rate, step_rows, strengths = inputs

        def one(x: jax.Array, y: jax.Array, row: jax.Array, strength: jax.Array) -> tuple[jax.Array, jax.Array]:
            def moved(point: tuple[jax.Array, jax.Array]) -> jax.Array:
                return noisy_step(motion, point[0], pool, rate, step == 0, [(row, point[1])])

            return second_order(moved, (path, jnp.zeros(())), (x, strength), (y, jnp.zeros(())))

        moved_path = noisy_step(motion, path, pool, rate, step == 0, [])
        return (moved_path, *jax.vmap(one)(first, second, step_rows, strengths)), None

    inputs = jnp.arange(len(rates)), rates, rows.T, kicks.T
    (path, first, second), _ = jax.lax.scan(body, (state, zeros, zeros), inputs)
    mean = lambda w: motion.landscape.mean_measured(w, tested(pool, test))  # noqa: E731
    _, coefficients = jax.vmap(lambda x, y: second_order(mean, path[0], x, y))(first[:, 0], second[:, 0])
    return mean(path[0]), coefficients


def path_test(motion: Motion, start: jax.Array, rates: jax.Array, pool: Examples, test: Examples) -> jax.Array:
    """Mean test loss on the path's end."""

    @jax.checkpoint
    def body(path: jax.Array, inputs: Any) -> tuple[jax.Array, None]:
        step, rate = inputs
        return noisy_step(motion, path, pool, rate, step == 0, []), None

    path, _ = jax.lax.scan(body, motion.update.start(start), (jnp.arange(len(rates)), rates))
    return motion.landscape.mean_measured(path[0], tested(pool, test))


class Given(NamedTuple):
    """What all probes share: arrays, traced. `strengths` (T,): of each step's noise; `weights` (K,): of the patterns."""

    start: jax.Array
    rates: jax.Array
    pool: Examples
    test: Examples
    strengths: jax.Array
    weights: jax.Array


Function = Callable[[Motion, Given, jax.Array], Any]
"""function(motion, given, rows (K, T)) of one probe; a function of a module, so that it compiles once."""


def over_probes_of(
    setting: Setting, function: Function, strengths: jax.Array, num_probes: int, key: Key, memory: int | str | None,
    progress: Progress,
) -> Any:  # fmt: skip
    """`function` of every probe, stacked (R, ...): the probes that `predict_path` draws from this key.

    In chunks of probes and of examples within `memory`.
    """
    own = jax.random.fold_in(_checks.random_key("key", key), 0)
    chosen = setting.spacetime, setting.kinds, setting.num_pool, setting.is_drawn, own
    weights = jnp.asarray(setting.pattern_weights)
    given = Given(setting.start, setting.rates, setting.pool, setting.test, strengths, weights)
    leaves, structure = jax.tree.flatten(given)
    shapes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)

    def bytes_of(count: int, chunk: int) -> int:
        rows = count, len(setting.kinds), setting.spacetime.num_steps
        return _bytes(function, _chunked(setting, chunk), structure, shapes, rows)

    width, chunk = plan_chunks(setting, num_probes, bytes_of, memory)
    motion, pieces = _chunked(setting, chunk), []
    for numbers in chunk_numbers(num_probes, width, progress):
        rows = over_devices(draw_probes(*chosen, numbers, num_probes).rows)
        pieces.append(jax.tree.map(np.asarray, _over(function, motion, given, rows)))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:num_probes], *pieces)


def _chunked(setting: Setting, chunk: int) -> Motion:
    return setting.motion._replace(landscape=setting.with_chunk(chunk))


@partial(jax.jit, static_argnums=(0, 1))
def _over(function: Function, motion: Motion, given: Given, rows: jax.Array) -> Any:
    return jax.vmap(lambda row: function(motion, given, row))(rows)


@lru_cache(maxsize=64)
def _bytes(function: Function, motion: Motion, structure: Any, shapes: tuple, rows: tuple[int, ...]) -> int:
    """What a chunk of probes works on, from shapes alone: a search for schedules asks often."""
    given = structure.unflatten([jax.ShapeDtypeStruct(*shape) for shape in shapes])
    return working_bytes(partial(_over, function, motion), given, jax.ShapeDtypeStruct(rows, jnp.int64))


def check_states(setting: Setting, memory: int | str | None) -> None:
    """MemoryError where reverse mode through the dense form, which keeps the matrices of every step, does not fit."""
    size = setting.num_weights * setting.motion.update.num_slots
    carried = sum(num_classes(kind, setting.spacetime) for kind in setting.kinds if kind == "column")
    carried += sum(kind in ("epoch", "same") for kind in setting.kinds) + setting.is_drawn
    needed = 8 * (setting.spacetime.num_steps + 8) * size * (len(setting.kinds) * size + carried * setting.num_pool)
    room = _memory.room(memory, RESERVE)
    if needed > room:
        raise MemoryError(
            f"memory: the dense form keeps {setting.spacetime.num_steps} states of {setting.num_weights} weights on the way "
            f"back, about {_memory.format_memory(needed)}, expected at most {_memory.format_memory(max(room, 0))}. Use "
            'method="probes" where there is one, or allow more memory.'
        )


def is_fresh(setting: Setting) -> bool:
    """Whether every step has noise of its own with weight 1/B, so that one loop is a sum over steps."""
    weights = noise_weights(setting.spacetime, setting.training_set, setting.num_pool)
    return weights == {"fresh": Fraction(1, setting.spacetime.batch_size)}


def require_fresh(setting: Setting, caller: str) -> None:
    """Raise ValueError unless every step has noise of its own."""
    if is_fresh(setting):
        return
    own = setting.spacetime
    raise ValueError(
        f'{caller}: steps share noise with sampling="{own.sampling}", epochs={own.epochs} and '
        f'training_set="{setting.training_set}", so the loss is no sum over steps. Use one epoch of '
        'sampling="fixed" with training_set="drawn", or training_set="population".'
    )
