"""A process: how the weights move in one step. Engines return processes, only `dynamics.simulate` runs them."""

from collections.abc import Callable
from typing import Any, NamedTuple

from gradnoise._types import Examples, Key, Params
from gradnoise.problem import Problem
from gradnoise.spacetime import Spacetime


class Batches(NamedTuple):
    """What one substep may look at.

    `examples`: leaves (batches_per_substep, batch_size, ...). `training_set`: the replica's own N examples, leaves
    (N, ...). `spacetime`: the sampling pattern, static; where the training set is the population it is shown as sampling
    with_replacement.
    """

    examples: Examples
    training_set: Examples
    spacetime: Spacetime


class Process(NamedTuple):
    """`init(params) -> state`, `step(key, state, batches, learning_rate) -> state`, `params(state) -> params`.

    `step` is one substep: `num_substeps` of them make one effective step, the time `learning_rate`, each with
    `batches_per_substep` fresh batches of the spacetime's batch size (0: the process reads only the training set).
    `learning_rate` is that of the effective step: a process divides by its own number of substeps. All three
    functions are pure and work under `jax.jit` and `jax.vmap`. `settings` names the options that a prediction must share
    (momentum, say), so that `compare` can tell when it does not. `caution(params, spacetime, learning_rate)`, if any, says
    in a sentence where a run is outside of what the process is for, or nothing; whoever runs it passes that on.
    """

    name: str
    problem: Problem
    init: Callable[[Params], Any]
    step: Callable[[Key, Any, Batches, Any], Any]
    params: Callable[[Any], Params]
    num_substeps: int = 1
    batches_per_substep: int = 1
    settings: tuple[tuple[str, Any], ...] = ()
    caution: Callable[[Params, Spacetime, Any], str] | None = None
