"""SGD that carries its own first and second order around the deterministic path: what its losses are expected to be.

Beside its weights each replica moves, under the same draws, weights(s) = path + s x + s^2 y: the Taylor expansion of the
update in the strength s of the batch noise zeta(w) = mean gradient of the batch - mean gradient G of the pool,

    path' = path - rate G
    x'    = x - rate (H x + zeta)
    y'    = y - rate (H y + (1/2) J x x + zeta' x)            all at the path; with momentum in (weights, buffer)

and the losses are predicted from x and y: of the mean f over the pool (or test pool) first order f' x and second
(1/2) f'' x x + f' y; of the training set's own mean also what its examples are off the pool's, at the path and along x.
Over training sets and batches the first order has mean zero, and the second is the one-loop part of `predict_path`,
exactly: a control.

Source: loop.md section 12, "as a control variate of simulation".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _tree
from gradnoise._types import Examples, Key, Params
from gradnoise.dynamics.discrete import MomentumStep
from gradnoise.dynamics.momentum import MomentumState
from gradnoise.dynamics.reweighting import mean_gradient
from gradnoise.predict.path.probes import second_order
from gradnoise.problem import Problem, require_pool
from gradnoise.process import Batches, Process

CONTROLLED = ("test_loss", "train_loss", "gap")


class Companions(NamedTuple):
    """The weights of a run with the path and the first and second order beside it: trees like params."""

    weights: Params
    path: Params
    first: Params
    second: Params


class _State(NamedTuple):
    run: MomentumState
    path: MomentumState
    first: MomentumState
    second: MomentumState


@dataclass(frozen=True)
class CompanionStep:
    """One step of `process` and of its companions; equal by value, so that equal processes compile once."""

    process: Process

    def __call__(self, key: Key, state: _State, batches: Batches, learning_rate: Any) -> _State:
        problem, rule = self.process.problem, self.process.step.rule  # type: ignore[attr-defined]
        own = batches._replace(examples=batches.examples["example"], training_set=batches.training_set["example"])
        path, x, y = state.path.params, state.first.params, state.second.params
        pool, batch = _tree.cast(problem.pool, jax.tree.leaves(path)[0].dtype), _tree.take(own.examples, 0)
        mean, bent, twice_bent = _expanded(lambda w: mean_gradient(problem, w, pool), path, x, y)
        drawn, drawn_bent = jax.jvp(lambda w: mean_gradient(problem, w, batch), (path,), (x,))
        first = jax.tree.map(lambda hx, g, mean: hx + g - mean, bent, drawn, mean)
        second = jax.tree.map(lambda hy, hx_drawn, hx: hy + hx_drawn - hx, twice_bent, drawn_bent, bent)

        def moved(state: MomentumState, gradient: Params) -> MomentumState:
            return rule.advance(state, rule.decayed(gradient, state.params), learning_rate)

        run = self.process.step(key, state.run, own, learning_rate)
        return _State(run, moved(state.path, mean), moved(state.first, first), moved(state.second, second))


@lru_cache(maxsize=16)
def with_companions(process: Process) -> Process:
    """The same process whose params are Companions and whose examples carry their row in the pool.

    Raises ValueError for another process than SGD, with injected noise, or without a pool.
    """
    step = process.step
    if not isinstance(step, MomentumStep) or step.full_batch or step.rule.injected_noise:
        told = process.name if not isinstance(step, MomentumStep) or step.full_batch else "injected_noise"
        raise ValueError(
            f'variance_reduction="path" came with {told}, expected sgd without injected noise: only its path is predicted '
            "step by step. Leave it out."
        )
    require_pool(process.problem, 'variance_reduction="path"')

    def init(params: Params) -> _State:
        still = jax.tree.map(jnp.zeros_like, params)
        return _State(*map(process.init, (params, params, still, still)))

    return process._replace(
        problem=_with_rows(process.problem), init=init, step=CompanionStep(process), params=_companions
    )


@lru_cache(maxsize=16)
def path_observables(problem: Problem) -> dict[str, Callable[[Params, Examples], jax.Array]]:
    """Observables of the process with companions: first and second order of test loss, train loss and gap."""

    def observable(name: str, order: int) -> Callable[[Params, Examples], jax.Array]:
        return lambda params, training: _orders(problem, _as_companions(params), training["row"])[name][order]

    return {control_name(name, order): observable(name, order) for name in CONTROLLED for order in (0, 1)}


def control_name(name: str, order: int) -> str:
    """Under which name the first (0) or second (1) order of an observable is recorded."""
    return f"path {name} {order + 1}"


def on_weights(observe: Any) -> Any:
    """The user's observables for the process with companions (what is no mapping is left for `simulate` to refuse)."""
    if not isinstance(observe, Mapping):
        return observe
    return {name: _on_weights(function) if callable(function) else function for name, function in observe.items()}


@lru_cache(maxsize=64)
def _on_weights(function: Callable[[Params, Examples], Any]) -> Callable[[Params, Examples], Any]:
    return lambda params, training: function(_weights(params), training["example"])


def _orders(problem: Problem, at: Companions, rows: jax.Array) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Name -> (first order, second order) of a replica's losses; `rows` (N,): its training set."""
    dtype = jax.tree.leaves(at.path)[0].dtype
    pool = _tree.cast(problem.pool, dtype)
    each = jax.vmap(problem.measured_loss, (None, 0))
    losses, slopes = jax.jvp(lambda w: each(w, pool), (at.path,), (at.first,))
    _, *pooled = _expanded(lambda w: each(w, pool).mean(), at.path, at.first, at.second)
    tied = ((part - part.mean())[rows].mean() for part in (losses, slopes))
    train = tuple(mean + tie for mean, tie in zip(pooled, tied, strict=True))
    test = tuple(pooled)
    if problem.test_pool is not None:
        others = _tree.cast(problem.test_pool, dtype)
        _, *test = _expanded(lambda w: each(w, others).mean(), at.path, at.first, at.second)
    gap = tuple(a - b for a, b in zip(test, train, strict=True))
    return {"test_loss": tuple(test), "train_loss": train, "gap": gap}  # type: ignore[dict-item]


def _expanded(function: Callable[[Any], Any], path: Any, x: Any, y: Any) -> tuple[Any, Any, Any]:
    """function(path + s x + s^2 y): its coefficients of 1, s and s^2."""
    return function(path), *second_order(function, path, x, y)


def _weights(params: Params) -> Params:
    return params.weights if isinstance(params, Companions) else params


def _as_companions(params: Params) -> Companions:
    """Plain weights, as at the start, have no deviation yet."""
    if isinstance(params, Companions):
        return params
    still = jax.tree.map(jnp.zeros_like, params)
    return Companions(params, params, still, still)


def _companions(state: _State) -> Companions:
    return Companions(*(each.params for each in state))


def _with_rows(problem: Problem) -> Problem:
    """The problem for weights with companions and examples {"example", "row"}; rows of a test pool mean nothing."""

    def lifted(function: Any) -> Any:
        return function and (lambda params, example: function(_weights(params), example["example"]))

    def numbered(examples: Examples) -> Examples:
        size = _tree.num_examples(examples)
        return {"example": examples, "row": np.arange(size, dtype=np.int32)}

    return replace(
        problem,
        loss=lifted(problem.loss),
        sample=lambda key, n: numbered(problem.sample(key, n)),
        measured=lifted(problem.measured),
        metrics={name: lifted(function) for name, function in (problem.metrics or {}).items()},
        pool=numbered(problem.pool),
        test_pool=None if problem.test_pool is None else numbered(problem.test_pool),
    )
