"""The predicted final test loss as a differentiable function of the schedules of learning rate and batch size."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise._types import Key, Params
from gradnoise.estimate import Estimate, exact, from_samples
from gradnoise.predict.path.engines import dense_block, run_dense_on
from gradnoise.predict.path.final import (
    DIFFERENTIABLE,
    Given,
    check_states,
    final_test,
    is_fresh,
    over_probes_of,
    path_test,
    require_fresh,
)
from gradnoise.predict.path.methods import choose_method, read_probes
from gradnoise.predict.path.probes import Motion
from gradnoise.predict.path.setting import Setting, read_setting, walk
from gradnoise.problem import Problem
from gradnoise.spacetime import Spacetime


class ScheduleGradient(NamedTuple):
    """The predicted final test loss and its slopes; see `schedule_gradient`."""

    loss: Estimate
    """The path's loss plus one loop, a scalar."""
    path_loss: float
    """Without noise."""
    learning_rate: Estimate
    """d loss / d rate_t, (num_steps,), loss per unit of rate."""
    batch_size: Estimate | None
    """d loss / d B_t, (num_steps,), loss per example; None where steps share noise."""
    attribution: Estimate | None
    """a_t = B_t (what the noise of step t adds), (num_steps,), loss x examples; None where steps share noise."""


class _Slopes(NamedTuple):
    """By probe: the one-loop part (R,), its slopes in rates and log strengths (R, T)."""

    part: np.ndarray
    rates: np.ndarray
    strengths: np.ndarray


def schedule_gradient(
    problem: Problem,
    params: Params,
    spacetime: Spacetime,
    learning_rate: Any,
    momentum: float = 0.0,
    batch_sizes: Any = None,
    method: str | None = None,
    num_probes: int | None = None,
    training_set: str = "drawn",
    key: Key | None = None,
    *,
    nesterov: bool = False,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    hessian_damping: float = 0.0,
    memory: int | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ScheduleGradient:
    """The predicted final test loss, and its gradient in the learning rate and the batch size of every step.

        loss = l(path_T) + sum_t a_t / B_t,      d loss / d B_t = -a_t / B_t^2,      a_t as in `step_attribution`

    by reverse mode through the path and one loop. `batch_sizes` (num_steps,): B_t, whole or not, instead of the
    spacetime's; the sum over steps needs noise of its own in every step (one epoch, or training_set="population").
    Otherwise the rates' gradient stands, for the spacetime's batch size, and the batch sizes' is None: there the noise of
    two steps is one example's, and the loss is not linear in 1/B_t. With per-parameter rates: all rates of a step raised
    together. Other arguments as in `predict_path`; dense (exact), or probes with errors over probes; the same key gives
    the same probes, so that a descent may hold them fixed (then ask other probes what was gained).

    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: 0.0, np.array([0.0, 2.0]))
    >>> found = schedule_gradient(problem, np.float64(0.0), gn.Spacetime(6, 2), learning_rate=0.5)
    >>> found.loss.value, found.learning_rate.value                 # .5 + (1/2)(1/64 + L1), L1 = .328 / 2
    (np.float64(0.58984375), array([-0.015625,  0.015625,  0.140625]))
    >>> found.batch_size.value                                      # -a_t / 4
    array([-0.00195312, -0.0078125 , -0.03125   ])

    Raises ValueError for batch sizes of their own where steps share noise or below 1, where the path diverges, and as
    `predict_path`; MemoryError where the dense form's states of all steps do not fit.

    Source: loop.md section 12, adjoint; the rates' gradient is its derivative.
    """
    with jax.enable_x64(True):
        setting = read_setting(
            problem, params, spacetime, learning_rate, training_set, momentum, nesterov, dampening, weight_decay,
            hessian_damping,
        )  # fmt: skip
        method = choose_method(method, setting, DIFFERENTIABLE)
        count = read_probes(num_probes, key, needed=method == "probes")
        sizes = _read_batch_sizes(batch_sizes, setting)
        walk(setting)
        strengths = jnp.sqrt(spacetime.batch_size / sizes)
        if method == "dense":
            value, slope, slopes = _dense(setting, strengths, memory)
        else:
            value, slope, slopes = _by_probes(setting, strengths, count, key, memory, progress)
    part, rates, noise = (
        from_samples(each) if method == "probes" else exact(each[0], setting.num_pool) for each in slopes
    )
    loss = Estimate(value + part.value, part.stderr, part.num_samples)
    raised = Estimate(slope + rates.value, rates.stderr, rates.num_samples)
    if not is_fresh(setting):
        return ScheduleGradient(loss, value, raised, None, None)
    batch = Estimate(-noise.value / sizes, noise.stderr / sizes, noise.num_samples)
    attribution = Estimate(noise.value * sizes, noise.stderr * sizes, noise.num_samples)
    return ScheduleGradient(loss, value, raised, batch, attribution)


def _read_batch_sizes(batch_sizes: Any, setting: Setting) -> np.ndarray:
    """(T,), the spacetime's unless given."""
    num_steps = setting.spacetime.num_steps
    if batch_sizes is None:
        return np.full(num_steps, float(setting.spacetime.batch_size))
    require_fresh(setting, "batch_sizes")
    sizes = np.asarray(batch_sizes, dtype=float)
    if sizes.shape != (num_steps,):
        raise ValueError(f"batch_sizes has shape {sizes.shape}, expected ({num_steps},). Give one size a step.")
    if not np.all(np.isfinite(sizes) & (sizes >= 1)):
        bad = sizes[~(np.isfinite(sizes) & (sizes >= 1))][0]
        raise ValueError(f"batch_sizes holds {bad:g}, expected numbers of at least 1. Give examples a step.")
    return sizes


def _dense(setting: Setting, strengths: jax.Array, memory: int | str | None) -> tuple[float, np.ndarray, _Slopes]:
    """The path's loss and its slopes in the rates, and those of one loop; both from one forward pass."""
    block, weights = dense_block(setting, memory), setting.pattern_weights
    check_states(setting, memory)

    def parts(rates: jax.Array, strengths: jax.Array) -> tuple[jax.Array, jax.Array]:
        record = run_dense_on(setting, rates, block, None, strengths)
        return record.path_test[-1], record.test[-1] @ weights

    values, back = jax.vjp(
        parts, setting.rates, strengths
    )  # each piece compiles once: run_dense is a function of a module
    (path, _), (noise, scale) = (back((jnp.float64(a), jnp.float64(b))) for a, b in ((1, 0), (0, 1)))
    value, part, path, noise, scale = map(np.asarray, (*values, _by_step(path), _by_step(noise), strengths * scale / 2))
    return float(value), path, _Slopes(part[None], noise[None], scale[None])


def _by_probes(
    setting: Setting, strengths: jax.Array, count: int, key: Key, memory: int | str | None, progress: Any
) -> tuple[float, np.ndarray, _Slopes]:
    value, path = _path_slope(setting.motion, setting.start, setting.rates, setting.pool, setting.test)
    slopes = _Slopes(*over_probes_of(setting, _probe_slopes, strengths, count, key, memory, progress))
    return float(value), np.asarray(_by_step(path)), slopes


@partial(jax.jit, static_argnums=0)
def _path_slope(motion: Motion, *given: Any) -> tuple[jax.Array, jax.Array]:
    return jax.value_and_grad(path_test, argnums=2)(motion, *given)


def _probe_slopes(motion: Motion, given: Given, rows: jax.Array) -> tuple[jax.Array, ...]:
    start, _, pool, test, _, weights = given

    def part(rates: jax.Array, strengths: jax.Array) -> jax.Array:
        return final_test(motion, start, rates, pool, test, rows, jnp.ones(rows.shape) * strengths)[1] @ weights

    value, (rates, scale) = jax.value_and_grad(part, (0, 1))(given.rates, given.strengths)
    return value, _by_step(rates), given.strengths * scale / 2


def _by_step(slope: jax.Array) -> jax.Array:
    """(T,) from (T,) or (T, P)."""
    return slope if slope.ndim == 1 else slope.sum(1)
