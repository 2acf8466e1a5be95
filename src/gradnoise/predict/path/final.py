"""The predicted test loss after the last step as a pure function of rates and noise strengths, one value a probe.

Only the end is measured and every step is recomputed on the way back, so that reverse mode keeps one state a step.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _checks
from gradnoise._liveness import working_bytes
from gradnoise._types import Examples, Key
from gradnoise.predict.path.engines import Progress, _fit, _numbers, _shard
from gradnoise.predict.path.noise_weights import noise_weights
from gradnoise.predict.path.path import DENSE_LIMIT, NUM_PROBES
from gradnoise.predict.path.probes import Motion, noisy_step, second_order
from gradnoise.predict.path.sampling import draw_probes
from gradnoise.predict.path.setting import Setting

METHODS = ("dense", "probes")


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
    mean = lambda w: motion.landscape.mean_measured(w, pool if test is None else test)  # noqa: E731
    _, coefficients = jax.vmap(lambda x, y: second_order(mean, path[0], x, y))(first[:, 0], second[:, 0])
    return mean(path[0]), coefficients


def over_probes_of(
    setting: Setting, function: Callable[..., Any], num_probes: int, key: Key, memory: int | str | None,
    progress: Progress,
) -> Any:  # fmt: skip
    """function(motion, rows, kicks) of every probe, stacked (R, ...): the probes that `predict_path` draws from this key.

    `rows`, `kicks` (K, T) as in `final_test`; chunks of probes and of examples within `memory`.
    """
    own = jax.random.fold_in(_checks.random_key("key", key), 0)
    chosen = setting.spacetime, setting.kinds, setting.num_pool, setting.is_drawn, own

    def run(chunk: int, rows: jax.Array) -> Any:
        motion = setting.motion._replace(landscape=setting.with_chunk(chunk))
        return jax.vmap(lambda row: function(motion, row, jnp.ones(row.shape)))(rows)

    def bytes_of(count: int, chunk: int) -> int:
        return working_bytes(lambda rows: run(chunk, rows), draw_probes(*chosen, np.arange(count), count).rows)

    width, chunk = _fit(setting, num_probes, bytes_of, memory)
    compiled = jax.jit(lambda rows: run(chunk, rows))
    pieces = []
    for numbers in _numbers(num_probes, width, progress):
        draws = draw_probes(*chosen, numbers, num_probes)
        pieces.append(jax.tree.map(np.asarray, compiled(_shard(draws.rows))))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:num_probes], *pieces)


def pattern_weights(setting: Setting) -> np.ndarray:
    """The weight of each of the setting's patterns in the one-loop part, (K,)."""
    weights = noise_weights(setting.spacetime, setting.training_set, setting.num_pool)
    return np.array([float(weights.get(kind, 0)) for kind in setting.kinds])


def read_method(method: str | None, setting: Setting, num_probes: int | None, key: Any) -> tuple[str, int]:
    """ "dense" or "probes" (the default above 1000 weights, or with hessian damping), and how many probes."""
    damped = bool(setting.motion.hessian_damping)
    if method is None:
        method = "dense" if setting.num_weights <= DENSE_LIMIT and not damped else "probes"
    _checks.one_of("method", method, METHODS)
    if method == "dense" and damped:
        raise ValueError(
            f'hessian_damping={setting.motion.hessian_damping:g} is not in the dense form. Use method="probes".'
        )
    if method == "probes":
        if key is None:
            raise ValueError(
                "key is missing, expected a random key: probes draw examples. Give jax.random.key(0), say."
            )
        _checks.random_key("key", key)
    return method, NUM_PROBES if num_probes is None else _checks.integer("num_probes", num_probes, minimum=2)


def is_fresh(setting: Setting) -> bool:
    """Whether every step has noise of its own, so that one loop is a sum over steps."""
    return setting.kinds == ("fresh",)


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
