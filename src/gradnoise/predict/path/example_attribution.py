"""Which examples the final test loss hangs on: what leaving one out changes, and what its noise costs."""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise._liveness import working_bytes
from gradnoise._types import Params
from gradnoise.estimate import Estimate, exact
from gradnoise.predict.path.attribution import run_adjoint_on
from gradnoise.predict.path.chunks import chunk_numbers, over_devices, plan_chunks
from gradnoise.predict.path.engines import MAX_ROW_PROBES, dense_block, run_dense_on
from gradnoise.predict.path.final import check_states, final_test
from gradnoise.predict.path.probes import Motion
from gradnoise.predict.path.sampling import every_row
from gradnoise.predict.path.setting import Setting, read_setting, walk
from gradnoise.problem import Problem
from gradnoise.spacetime import Spacetime


class ExampleAttribution(NamedTuple):
    """By pool example, (n,), all in units of the loss; see `example_attribution`."""

    path: Estimate
    """What leaving the example out adds to the path's final test loss."""
    one_loop: Estimate
    """What leaving it out adds to the one-loop part."""
    total: Estimate
    """Both: positive where the example helps."""
    own_one_loop: Estimate
    """What the example's own noise adds to the loss, were all examples like it: the mean over examples is the part."""
    path_loss: float
    one_loop_part: float

    def __str__(self) -> str:
        total, own = np.asarray(self.total.value), np.asarray(self.own_one_loop.value)
        helps, harms, noisy = int(total.argmax()), int(total.argmin()), int(np.abs(own).argmax())
        return (
            f"Predicted final test loss {self.path_loss + self.one_loop_part:.5g}, {self.one_loop_part:.3g} of it noise. "
            f"Left out, example {helps} changes it by {total[helps]:+.3g} and example {harms} by {total[harms]:+.3g}, the "
            f"most either way. The noise of example {noisy} counts most: {own[noisy]:+.3g}, against {own.mean():+.3g} on "
            "average."
        )


def example_attribution(
    problem: Problem,
    params: Params,
    spacetime: Spacetime,
    learning_rate: Any,
    momentum: float = 0.0,
    training_set: str = "drawn",
    *,
    nesterov: bool = False,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    memory: int | str | None = None,
) -> ExampleAttribution:
    """What each pool example does to the predicted final test loss l(path_T) + one loop: left out, and by its own noise.

        left out:   (mean_j F_j - F_i) / (n - 1),      F_j = d loss / d share of example j, all shares 1/n

    to first order in 1/n, by reverse mode through the dense form: the share of example i goes to the others, path and
    noise follow, the run keeps its steps and its noise weights (N and B), and test loss is measured as before, over the
    whole pool or over test_pool. With training_set="given" a set of N - 1 has other noise weights too: the same change for
    all examples, of order 1/N of the noise part, which is not here. What is left out is O(1/n^2).

        own:        sum over patterns and classes of weight (1/2) d^2 f_i / ds^2

    is the summand of the mean over examples in the one-loop part: f_i the final test loss with example i's noise alone
    switched on, s its strength (loop.md 12, row-jet form); by the adjoint where steps have noise of their own. Arguments as
    in `predict_path`; everything is exact, errors are zero.

    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: 0.0, np.array([-3.0, 1.0, 1.0, 1.0]))
    >>> found = example_attribution(problem, np.float64(1.0), gn.Spacetime(8, 2), learning_rate=0.5)
    >>> found.total.value.round(3), found.own_one_loop.value.round(3)     # w_T = 1/16; the outlier makes the noise
    (array([-0.107,  0.036,  0.036,  0.036]), array([0.747, 0.083, 0.083, 0.083]))

    Raises ValueError where the path diverges and as `predict_path`; MemoryError where the states of all steps do not fit
    (dense: up to about a thousand weights).

    Source: loop.md section 12; the derivative in a share is the influence function of the run, not of its minimum.
    """
    with jax.enable_x64(True):
        setting = read_setting(
            problem, params, spacetime, learning_rate, training_set, momentum, nesterov, dampening, weight_decay, 0.0
        )
        if setting.test is None:
            setting = replace(setting, test=setting.pool)  # measured over all, whatever the shares are
        if setting.num_pool < 2:
            raise ValueError("example_attribution leaves one example out, and the pool holds one. Give at least two.")
        path = walk(setting)
        check_states(setting, memory)
        block = dense_block(setting, memory)
        values, slopes = _slopes(setting, block)
        own = _own(setting, path, block, memory)
    count = setting.num_pool
    left_out = [exact((slope.mean() - slope) / (count - 1), count) for slope in slopes]
    total = exact(left_out[0].value + left_out[1].value, count)
    return ExampleAttribution(left_out[0], left_out[1], total, exact(own, count), *values)


def _slopes(setting: Setting, block: int) -> tuple[tuple[float, float], list[np.ndarray]]:
    """Path loss and one-loop part, and their derivatives in the shares, (n,) each."""
    weights = setting.pattern_weights

    def parts(shares: jax.Array) -> tuple[jax.Array, jax.Array]:
        record = run_dense_on(setting, setting.rates, block, shares)
        return record.path_test[-1], record.test[-1] @ weights

    (path, part), back = jax.vjp(parts, jnp.full(setting.num_pool, 1 / setting.num_pool))
    pulled = [back((jnp.float64(a), jnp.float64(b)))[0] for a, b in ((1, 0), (0, 1))]
    return (float(path), float(part)), [np.asarray(each) for each in pulled]


def _own(setting: Setting, path: jax.Array, block: int, memory: int | str | None) -> np.ndarray:
    """(n,): own contributions, weighted over the patterns."""
    total = np.zeros(setting.num_pool)
    for kind, weight in zip(setting.kinds, setting.pattern_weights, strict=True):
        if kind == "fresh":
            total += weight * np.asarray(run_adjoint_on(setting, path, block).sum(0))
        else:
            total += weight * _rows(setting, kind, memory)
    return total


def _rows(setting: Setting, kind: str, memory: int | str | None) -> np.ndarray:
    """(n,): the sum over the classes of one pattern of each example's s^2 coefficient."""
    draws = every_row(setting.spacetime, kind, setting.num_pool)
    count = len(draws.rows)
    if count > MAX_ROW_PROBES:
        raise ValueError(
            f"example_attribution runs {count} rows here, expected at most {MAX_ROW_PROBES}. Use one epoch, or "
            "a smaller pool."
        )
    given = setting.start, setting.rates, setting.pool, setting.test

    def run(chunk: int, rows: jax.Array, kicks: jax.Array) -> jax.Array:
        motion = setting.motion._replace(landscape=setting.with_chunk(chunk))
        return _row_values(motion, *given, rows, kicks)

    def bytes_of(size: int, chunk: int) -> int:
        return working_bytes(partial(run, chunk), draws.rows[:size], draws.kicks[:size])

    width, chunk = plan_chunks(setting, count, bytes_of, memory)
    pieces = []
    for numbers in chunk_numbers(count, width, None):
        place = np.minimum(numbers, count - 1)
        pieces.append(np.asarray(run(chunk, *over_devices((draws.rows[place], draws.kicks[place])))))
    return np.concatenate(pieces)[:count].reshape(-1, setting.num_pool).sum(0)


@partial(jax.jit, static_argnums=0)
def _row_values(motion: Motion, start: Any, rates: Any, pool: Any, test: Any, rows: Any, kicks: Any) -> jax.Array:
    return jax.vmap(lambda row, kick: final_test(motion, start, rates, pool, test, row, kick)[1][0])(rows, kicks)
