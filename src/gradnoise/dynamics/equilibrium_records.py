"""What a run must record for its equilibrium to be seen: R = |x|^2, G = |grad L|^2 and N = tr Sigma of one batch."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from gradnoise import _checks, _tree
from gradnoise._signal_noise import SignalNoise, batch_noise, example_squares, split, squared_norm, squares
from gradnoise._types import Examples, Key, Params
from gradnoise.dynamics.batches import subset, with_replacement
from gradnoise.dynamics.prepare import TRAINING_SETS
from gradnoise.problem import Loss, Problem, require_problem
from gradnoise.spacetime import Spacetime, require_spacetime

RECORDS = ("squared_norm", "gradient_norm_squared", "batch_noise_trace", "batch_gradient_norm_squared")
"""R, G, N and E |g_B|^2 = G + N."""

CHUNK = 64
"""Examples whose gradients are held at a time."""


@dataclass(frozen=True)
class EquilibriumRecord:
    """One number of a run, f(params, training_examples); equal by value, so equal records compile once."""

    quantity: str
    loss: Loss
    groups: tuple[str, ...] | None
    batch_size: int
    replacement: bool
    num_batches: int | None
    seed: int

    def __call__(self, params: Params, examples: Examples) -> jax.Array:
        chosen, rebuild = _chosen_leaves(params, self.groups)
        if self.quantity == "squared_norm":
            return squared_norm(chosen)

        def loss(leaves: list[jax.Array], example: Any) -> Any:
            return self.loss(rebuild(leaves), example)

        found = self._exact(loss, chosen, examples) if self.num_batches is None else self._drawn(loss, chosen, examples)
        values = {"gradient_norm_squared": found.signal, "batch_noise_trace": found.noise}
        return values.get(self.quantity, found.signal + found.noise)

    def _exact(self, loss: Loss, leaves: list[jax.Array], examples: Examples) -> SignalNoise:
        square, signal = example_squares(jax.grad(loss), leaves, examples, CHUNK)
        size = _tree.num_examples(examples)
        return SignalNoise(signal, batch_noise(square - signal, size, self.batch_size, self.replacement))

    def _drawn(self, loss: Loss, leaves: list[jax.Array], examples: Examples) -> SignalNoise:
        assert self.num_batches is not None
        draw = with_replacement if self.replacement else subset
        keys = jax.random.split(_key_of(self.seed, leaves), self.num_batches)

        def gradient(key: Key) -> Any:
            batch = _tree.take(examples, draw(key, _tree.num_examples(examples), self.batch_size))
            return jax.grad(lambda at: jnp.mean(jax.vmap(loss, (None, 0))(at, batch)))(leaves)

        return split(*squares(jax.lax.map(gradient, keys)), self.num_batches)


def equilibrium_records(
    problem: Problem,
    spacetime: Spacetime,
    groups: Mapping[str, bool] | Iterable[str] | None = None,
    num_batches: int | None = None,
    *,
    training_set: str = "drawn",
    loss: Loss | None = None,
    seed: int = 0,
) -> dict[str, Callable[[Params, Examples], Any]]:
    """Name -> function for `simulate(observe=...)`: what the equilibrium identities ask of a run at one step.

        squared_norm                  R = |x|^2
        gradient_norm_squared         G = |grad L|^2
        batch_noise_trace             N = tr Sigma of ONE batch, D/B or (S2/B)(1 - B/N_examples)
        batch_gradient_norm_squared   G + N, the mean of |g_B|^2

    L is the mean over the replica's training set of `loss`, by default `problem.measured_loss`: the data loss, without
    weight decay. Sigma is that of the spacetime's batch size B and sampling; `training_set` is what `simulate` is told
    ("population": batches with replacement). `groups` restricts all four to some parameter groups: names as in
    `noise_scale(...).groups`, or what `scale_invariant_groups` returns (those that are true).

    Without `num_batches` the whole training set is gone through, exactly. With m = `num_batches` >= 2 independent
    batches are drawn at each record and G, N are unbiased estimates (G may be negative): average over time before any
    ratio. As observables get no key, the batches follow from `seed` and the bits of the weights.

    >>> import numpy as np
    >>> from gradnoise.problem import from_arrays
    >>> problem = from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float32(0), np.array([1.0, 3.0]))
    >>> records = equilibrium_records(problem, Spacetime(2, 1, sampling="with_replacement"))
    >>> {name: float(f(jnp.float32(0), jnp.array([1.0, 3.0]))) for name, f in records.items()}["batch_noise_trace"]
    1.0

    Raises TypeError or ValueError for a problem, spacetime or training_set that is none, fewer than 2 batches, and
    groups that are not there or empty (the latter when it is called).

    Source: Li, Malladi, Arora 2021, section 5; docs/theory/equilibrium.md.
    """
    require_problem(problem)
    require_spacetime(spacetime)
    _checks.one_of("training_set", training_set, TRAINING_SETS)
    names = _group_names(groups)
    count = None if num_batches is None else _checks.integer("num_batches", num_batches, 2)
    replacement = spacetime.sampling == "with_replacement" or training_set == "population"
    data_loss = problem.measured_loss if loss is None else loss
    shared = (data_loss, names, spacetime.batch_size, replacement, count, _checks.integer("seed", seed, 0))
    return {quantity: EquilibriumRecord(quantity, *shared) for quantity in RECORDS}


def _group_names(groups: Mapping[str, bool] | Iterable[str] | None) -> tuple[str, ...] | None:
    if groups is None:
        return None
    chosen = [name for name, kept in groups.items() if kept] if isinstance(groups, Mapping) else list(groups)
    if isinstance(groups, str) or not all(isinstance(name, str) for name in chosen):
        raise TypeError(f"groups={groups!r} is no collection of names. Give a list of parameter groups.")
    if not chosen:
        raise ValueError("groups names no parameter group, expected at least one. Leave it out for all weights.")
    return tuple(sorted(chosen))


def _chosen_leaves(params: Params, groups: tuple[str, ...] | None) -> tuple[list[jax.Array], Callable[[list], Params]]:
    """The leaves of the groups, and the function that puts others in their place."""
    leaves, structure = jax.tree.flatten(params)
    names = list(_tree.group_slices(params))
    for name in groups or ():
        _checks.one_of("groups", name, names)
    places = [i for i, name in enumerate(names) if groups is None or name in groups]

    def rebuild(chosen: list[jax.Array]) -> Params:
        whole = list(leaves)
        for place, leaf in zip(places, chosen, strict=True):
            whole[place] = leaf
        return structure.unflatten(whole)

    return [leaves[place] for place in places], rebuild


def _key_of(seed: int, leaves: list[jax.Array]) -> Key:
    """A key that changes whenever a bit of the weights does, nearly always."""
    bits = [jax.lax.bitcast_convert_type(leaf, jnp.uint32).reshape(-1) for leaf in leaves]
    mixed = [jnp.sum(part * (2 * jnp.arange(part.size, dtype=jnp.uint32) + 1), dtype=jnp.uint32) for part in bits]
    key = jax.random.key(seed)
    for number in mixed:
        key = jax.random.fold_in(key, number)
    return key
