"""Which steps the noise costs: the one-loop coefficient as a sum over the steps of one epoch."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise._types import Examples, Key, Params
from gradnoise.estimate import Estimate, exact, from_samples
from gradnoise.measure.derivatives import directional
from gradnoise.predict.path.dense import linearized, mean_hessian
from gradnoise.predict.path.engines import dense_block
from gradnoise.predict.path.final import DIFFERENTIABLE, Given, final_test, over_probes_of, require_fresh
from gradnoise.predict.path.landscape import Landscape, tested
from gradnoise.predict.path.methods import choose_method, read_probes
from gradnoise.predict.path.probes import Motion
from gradnoise.predict.path.setting import Setting, read_setting, walk
from gradnoise.predict.path.update import Update
from gradnoise.problem import Problem
from gradnoise.spacetime import Spacetime


@dataclass(frozen=True, eq=False, repr=False)
class StepAttribution(Estimate):
    """What the noise of each step adds to the final test loss, times the batch size of that step, (num_steps,).

    `total`: their sum with its own error, the one-loop coefficient; `path_loss`: the final test loss without noise.
    `samples` (R, num_steps): each probe's own; one row, exact, for the dense form. str() says where the cost comes from.
    """

    batch_size: int = 1
    path_loss: float = 0.0
    samples: Any = None

    @property
    def total(self) -> Estimate:
        """The one-loop coefficient of final test loss, loss x examples."""
        sums = np.asarray(self.samples).sum(1)
        return from_samples(sums) if len(sums) > 1 else exact(sums[0], self.num_samples)

    def __repr__(self) -> str:
        return f"StepAttribution({len(np.atleast_1d(self.value))} steps, total={self.total!r})"

    def __str__(self) -> str:
        return where_noise_costs(self)


def step_attribution(
    problem: Problem,
    params: Params,
    spacetime: Spacetime,
    learning_rate: Any,
    momentum: float = 0.0,
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
) -> StepAttribution:
    """How much of the one-loop coefficient L1 of the final test loss comes from the noise of each step of one epoch.

        L1 = sum_t a_t,      a_t = (rate_t^2 / 2) C_t : Lambda_{t+1},      test = l(path_T) + sum_t a_t / B_t
        Lambda_t = K_t Lambda_{t+1} K_t - rate_t J_t . lambda_{t+1},      lambda_t = K_t lambda_{t+1}

    backwards from lambda_T = G_T, Lambda_T = H_T; with momentum the same in (weights, buffer). a_t, in loss x examples,
    serves any batch size B_t of its step. It may be negative: noise there lowers the loss.

    Arguments as in `predict_path`. method: "dense" (exact; the default up to 1000 weights; matrices P x P) or "probes":
    reverse mode through the strength of each step's noise; a probe's a_t hold half of its cross terms with other steps,
    whose mean is zero, and sum to its L1. `stderr` is that over probes. The same key gives `predict_path`'s probes.

    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: 0.0, np.array([0.0, 2.0]))
    >>> steps = step_attribution(problem, np.float64(0.0), gn.Spacetime(6, 2), learning_rate=0.5)
    >>> steps.value, steps.total.value                               # rate^2 / 2 (1 - rate)^(2 (T - 1 - t))
    (array([0.0078125, 0.03125  , 0.125    ]), np.float64(0.1640625))

    Raises ValueError where steps share noise (more than one epoch, say), where the path diverges, and as `predict_path`;
    MemoryError where the dense form does not fit.

    Source: loop.md section 12, adjoint.
    """
    with jax.enable_x64(True):
        setting = read_setting(
            problem, params, spacetime, learning_rate, training_set, momentum, nesterov, dampening, weight_decay,
            hessian_damping,
        )  # fmt: skip
        require_fresh(setting, "step_attribution")
        method = choose_method(method, setting, DIFFERENTIABLE)
        count = read_probes(num_probes, key, needed=method == "probes")
        path = walk(setting)
        if method == "dense":
            samples = np.asarray(run_adjoint_on(setting, path, dense_block(setting, memory)).mean(1))[None]
        else:
            samples = _by_probes(setting, count, key, memory, progress)
        end = setting.motion.landscape.mean_measured(path[-1], tested(setting.pool, setting.test))
    found = from_samples(samples) if method == "probes" else exact(samples[0], setting.num_pool)
    return StepAttribution(
        found.value, found.stderr, found.num_samples, batch_size=spacetime.batch_size, path_loss=float(end),
        samples=samples,
    )  # fmt: skip


def where_noise_costs(attribution: StepAttribution) -> str:
    """Which part of training the cost of the noise comes from, in words.

    >>> steps = np.array([[0.0, 1.0, 1.0, 5.0, 5.0, 0.0]])
    >>> print(where_noise_costs(StepAttribution(steps[0], 0 * steps[0], 9, batch_size=4, path_loss=1.0, samples=steps)))
    The noise adds 12 / batch size to the final test loss: 3 to 1 at batch size 4.
    Half of it comes from steps 4 to 5 of 6; the thirds of training give 8%, 50% and 42%.
    """
    steps, total = np.atleast_1d(np.asarray(attribution.value)), attribution.total
    size, path = attribution.batch_size, attribution.path_loss
    if abs(total.value) <= 2 * total.stderr or not np.any(steps):
        told = f"{total.value:.3g} +- {total.stderr:.1g}"
        return f"The noise changes the final test loss by {told} / batch size: not told from zero."
    verb, place = ("adds", "to") if total.value > 0 else ("takes", "from")
    error = f" +- {total.stderr:.1g}" if total.stderr else ""
    amount = abs(float(total.value))
    lines = [
        f"The noise {verb} {amount:.3g}{error} / batch size {place} the final test loss: {amount / size:.3g} "
        f"{place} {path:.5g} at batch size {size}."
    ]
    part = np.clip(steps * np.sign(total.value), 0, None)
    first, last = _shortest_window(part, 0.5)
    thirds = [piece.sum() / part.sum() for piece in np.array_split(part, 3)]
    lines.append(
        f"Half of it comes from {_steps(first, last)} of {len(steps)}; the thirds of training give "
        f"{thirds[0]:.0%}, {thirds[1]:.0%} and {thirds[2]:.0%}."
    )
    against = -np.clip(steps * np.sign(total.value), None, 0)
    if against.sum() > 0.01 * part.sum():
        first, last = _shortest_window(against, 0.9)
        lines.append(
            f"Noise also acts the other way, by {against.sum() / size:.3g}, mostly in {_steps(first, last)} "
            "(the shares above are of what remains without it)."
        )
    return "\n".join(lines)


def run_adjoint_on(setting: Setting, path: jax.Array, block: int) -> jax.Array:
    """`run_adjoint` for a setting and its path (T+1, P)."""
    return run_adjoint(
        setting.motion.landscape, setting.motion.update, block, path, setting.rates, setting.pool, setting.test
    )


@partial(jax.jit, static_argnames=("landscape", "update", "block"))
def run_adjoint(
    landscape: Landscape, update: Update, block: int, path: jax.Array, rates: jax.Array, pool: Examples, test: Examples
) -> jax.Array:
    """(1/2) xi_i b^T Lambda_{t+1} b xi_i, xi_i = g_i - G: what example i's own noise at step t adds, (T, n).

    Their mean over examples is a_t. Backwards with M and b of `linearized`: lambda <- M^T lambda,
    Lambda <- M^T Lambda M + J.(b^T lambda) in the block of the weights.
    """
    end, size = path[-1], path.shape[1]
    measured_on = tested(pool, test)
    slope = jax.grad(lambda w: landscape.mean_measured(w, measured_on))(end)
    bend = mean_hessian(landscape, landscape.measured, block, end, measured_on, None)
    rest = (update.num_slots - 1) * size

    def body(carry: Any, inputs: Any) -> tuple[Any, jax.Array]:
        slope, bend = carry
        step, weights, rate = inputs
        gradient = partial(landscape.mean_gradient, examples=pool)
        rows = landscape.row_gradients(weights, pool)
        hessian = mean_hessian(landscape, landscape.loss, block, weights, pool, None)
        linear, push = linearized(update, hessian, rate, step == 0)
        kicks = (rows - rows.mean(0)) @ push.T
        own = jnp.sum((kicks @ bend) * kicks, axis=1) / 2
        pull = push.T @ slope
        product = lambda v: directional(gradient, weights, [v, pull])  # noqa: E731
        third = jax.lax.map(product, jnp.eye(size), batch_size=min(block, size))
        return (linear.T @ slope, linear.T @ bend @ linear + jnp.pad(third, (0, rest))), own

    last = jnp.pad(slope, (0, rest)), jnp.pad(bend, (0, rest))
    _, own = jax.lax.scan(body, last, (jnp.arange(len(rates)), path[:-1], rates), reverse=True)
    return own


def _by_probes(setting: Setting, count: int, key: Key, memory: int | str | None, progress: Any) -> np.ndarray:
    """(R, T): half the slope of each probe's L1 in the logarithm of each step's strength; L1 is of degree two in them."""

    return over_probes_of(setting, _probe_steps, jnp.ones(setting.spacetime.num_steps), count, key, memory, progress)


def _probe_steps(motion: Motion, given: Given, rows: jax.Array) -> jax.Array:
    def coefficient(strengths: jax.Array) -> jax.Array:
        return final_test(motion, *given[:4], rows, strengths[None])[1][0]

    return given.strengths * jax.grad(coefficient)(given.strengths) / 2


def _shortest_window(part: np.ndarray, share: float) -> tuple[int, int]:
    """The fewest consecutive steps that hold `share` of the sum: first and last, counted from 0."""
    sums = np.concatenate([[0.0], np.cumsum(part)])
    ends = np.searchsorted(sums, sums[:-1] + share * sums[-1] * (1 - 1e-12))  # the window is [first, end)
    windows = [(end - first, sums[first] - sums[end], first) for first, end in enumerate(ends) if end < len(sums)]
    length, _, first = min(windows)
    return int(first), int(first + length - 1)


def _steps(first: int, last: int) -> str:
    return f"step {first + 1}" if first == last else f"steps {first + 1} to {last + 1}"
