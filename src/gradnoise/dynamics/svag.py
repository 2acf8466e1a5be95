"""SVAG(l): steps l times finer with the same drift and diffusion, from SGD (l = 1) to its diffusion limit (large l)."""

from dataclasses import dataclass
from typing import Any

import jax

from gradnoise import _checks, _tree
from gradnoise._types import Key
from gradnoise.dynamics.halves import distinct_halves, require_halves
from gradnoise.dynamics.momentum import MomentumRule, MomentumState, current_params
from gradnoise.dynamics.reweighting import mean_gradient
from gradnoise.problem import Problem, require_problem
from gradnoise.process import Batches, Process

BATCHES = ("independent", "split")


@dataclass(frozen=True)
class SvagStep:
    """One substep; equal by value, so equal processes share one compiled function."""

    problem: Problem
    l: int
    rule: MomentumRule
    split: bool = False

    def __call__(self, key: Key, state: MomentumState, batches: Batches, learning_rate: Any) -> MomentumState:
        if self.split:
            size = _tree.num_examples(batches.training_set)
            require_halves(batches.spacetime, size)
            key, drawn = jax.random.split(key)
            rows = distinct_halves(drawn, size, batches.spacetime.batch_size)
            batches = batches._replace(examples=_tree.take(batches.training_set, rows))
        return self.move(key, state, batches, learning_rate)

    def move(self, key: Key, state: MomentumState, batches: Batches, learning_rate: Any) -> MomentumState:
        """The substep for given batches."""
        if self.l == 1:
            gradient = mean_gradient(self.problem, state.params, _tree.take(batches.examples, 0))
        else:
            first, second = svag_weights(self.l)
            pair = jax.vmap(lambda batch: mean_gradient(self.problem, state.params, batch))(batches.examples)
            gradient = jax.tree.map(lambda g: first * g[0] + second * g[1], pair)
        gradient = self.rule.regularized(key, gradient, state.params, batches.spacetime.batch_size, self.l)
        return self.rule.advance(state, gradient, learning_rate, self.l)


def svag(
    problem: Problem,
    l: int,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    injected_noise: float = 0.0,
    batches: str = "independent",
) -> Process:
    """SVAG(l): l substeps a step, each with two independent batches whose difference amplifies the noise by l.

        theta <- theta - (learning_rate / l) [ c1 grad L_1 + c2 grad L_2 + weight_decay * theta ]
        c1 = (1 + sqrt(2l - 1)) / 2,   c2 = (1 - sqrt(2l - 1)) / 2

    L_1, L_2: mean losses of two independent batches of the spacetime's batch size B. As c1 + c2 = 1 and c1^2 + c2^2 = l,
    l substeps have together the drift and, to leading order in the learning rate, the covariance learning_rate^2 Sigma
    of one SGD step; the third cumulant falls as 1/l. l = 1 is `sgd`, number for number; l to infinity is `sde`.

    With momentum the same is done to the whole state s = (theta, v), v the buffer: s <- s + (update(s) - s) / l with
    `sgd`'s update for the gradient c1 grad L_1 + c2 grad L_2. The momentum is that of a whole step. (Keeping it fixed
    in each substep instead converges to the limit of SGD without momentum at learning_rate / (1 - momentum).)

    Steps, learning rates and schedules are SGD's: one effective step is the time learning_rate and uses 2 l B examples.
    The two batches are drawn apart: for l > 1 the spacetime's sampling is "subset" or "with_replacement". `injected_noise`
    as in `sgd`; the limit keeps its covariance.

    batches="split" takes two halves of one draw of 2B distinct examples instead, as implementations do whose loader gives
    batches of 2B. The noise then grows with l: a step of l substeps has covariance learning_rate^2 (S2/B)(l - B/N)/l, by
    which l changes more than the shape. Each substep draws afresh, uniformly, whatever the sampling; a shuffling loader's
    halves in addition depend on those of the other steps of the epoch, which is not simulated. Its draws come from the
    noise key: they are not those of another process with an equal key.

    >>> import numpy as np
    >>> from gradnoise.problem import from_arrays
    >>> problem = from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float32(0), np.array([-1.0, 1.0]))
    >>> process = svag(problem, l=4)
    >>> process.num_substeps, process.batches_per_substep
    (4, 2)

    Raises TypeError if `problem` is no Problem or l no integer, ValueError for l below 1, unknown `batches`, and for
    `sgd`'s settings what `sgd` raises. `simulate` raises ValueError for l > 1 with sampling "fixed" or "reshuffle"; with
    batches="split" for sampling "with_replacement", a population, and 2B above N instead.

    Source: Li, Malladi, Arora, "On the Validity of Modeling SGD with Stochastic Differential Equations", section 4;
    momentum: docs/theory/processes.md.
    """
    require_problem(problem)
    l = _checks.integer("l", l)
    rule = MomentumRule(momentum, nesterov, 0.0, weight_decay, injected_noise)
    split = _checks.one_of("batches", batches, BATCHES) == "split"
    settings = (*rule.settings, ("l", l)) if l > 1 else rule.settings
    if split:
        settings = (*settings, ("batches", "split"))
    count = 0 if split else 1 if l == 1 else 2
    return Process("svag", problem, rule.start, SvagStep(problem, l, rule, split), current_params, l, count, settings)


def svag_weights(l: int) -> tuple[float, float]:
    """c1 and c2, with c1 + c2 = 1 and c1^2 + c2^2 = l.

    >>> svag_weights(5)
    (2.0, -1.0)

    Source: Li, Malladi, Arora, section 4.
    """
    root = (2 * l - 1) ** 0.5
    return (1 + root) / 2, (1 - root) / 2
