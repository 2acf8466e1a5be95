"""What diagram values will cost, before any is measured: contractions, passes, seconds and memory."""

import time
import warnings
from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gradnoise import _memory, _tree
from gradnoise._types import Params
from gradnoise.measure import branches
from gradnoise.measure.branches import Branch
from gradnoise.measure.contractions import CHUNK, Source, outer_tag
from gradnoise.measure.derivatives import mean_message
from gradnoise.measure.entries import Entry, combination, entries_through, influence_combination, node_kinds
from gradnoise.measure.sources import flat_sources
from gradnoise.measure.values_sample import read_sample
from gradnoise.problem import Problem, probe_problem, require_problem

MANY_GRADIENTS = 10**10
"""Gradients of one example (some twenty minutes for a linear model of a few hundred weights) beyond which one is warned."""

LOSSES_A_GRADIENT = 10
"""The unit of `branches.cost` is one loss; a message without a vector, a gradient, counts ten."""

COMPILE_SECONDS = 1.0
"""One compiled loop on one core, roughly; kept by the persistent compilation cache where that is on."""

SPEEDUP = 4
"""How much less a pass of a loop takes than the gradient of one example that is timed: vectors share a pass."""


class ValuesCost(NamedTuple):
    """What `diagram_values` will do: `num_values` entries from `num_contractions` labelled trees in `num_loops` compiled
    loops; `gradients` of one example; `seconds` here, compilation included; `memory` in bytes of the messages at once."""

    num_values: int
    num_contractions: int
    num_loops: int
    gradients: float
    seconds: float
    memory: int


class Work(NamedTuple):
    """The forms in which contractions are computed over `num_examples`, and how often the whole is repeated."""

    plans: frozenset[Branch]
    constants: frozenset[Branch]
    num_examples: int
    repeats: int

    @property
    def losses(self) -> float:
        """Evaluations of one example's loss, about."""
        n = self.num_examples
        times = {plan: 1 if outer_tag(plan) is None else n for plan in self.plans}
        own = sum(times[plan] * branches.cost(plan, n) for plan in self.plans)
        return self.repeats * (own + n * LOSSES_A_GRADIENT * len(self.constants))

    @property
    def num_loops(self) -> int:
        """Loops to compile: two shared ones, one for each constant, one for each plan in which two examples meet."""
        return 2 + len(self.constants) + sum(len(branches.tags(plan)) > 1 for plan in self.plans)


def estimate_values(
    problem: Problem,
    params: Params,
    max_order: int = 3,
    method: str = "population",
    num_draws: int | None = None,
    num_groups: int | None = None,
    *,
    variance: bool = False,
) -> ValuesCost:
    """What `diagram_values` with these arguments will cost; only one mean gradient is run, to time it.

    The count of gradients comes from the loops themselves: n^2 from order 2 on, where the mean is differentiated along
    each example's gradient, n^3 from order 4 on, where two examples meet at the mean, and with the errors of "unbiased"
    without groups one power more. `seconds` holds to a factor of about three; `memory` is that of the messages, which
    `diagram_values` lowers to its own bound by smaller chunks.

    >>> import gradnoise as gn
    >>> problem = gn.testbeds.problem("digits-logistic", num_pool=200)
    >>> cost = estimate_values(problem, problem.init(jax.random.key(0)), max_order=3)
    >>> cost.num_values, cost.num_contractions, f"{cost.gradients:.1e}"
    (60, 25, '1.1e+06')

    Raises what `diagram_values` raises for these arguments. Source: ours; the factors were measured on small models.
    """
    require_problem(problem)
    sample = read_sample(problem, "estimate_values", max_order, method, num_draws, num_groups, variance)
    max_order, n, groups = sample.max_order, sample.num_examples, sample.num_groups
    held_out, has_measured = problem.test_pool is not None, problem.measured is not None
    entries = entries_through(max_order, held_out, variance)
    kinds = [node_kinds(entry, has_measured, held_out) for entry in entries]
    done = work(entries, kinds, n, method, groups)
    with jax.enable_x64(True):
        examples = problem.sample(jax.random.key(0), 64) if problem.pool is None else problem.pool
        probe_problem(problem, params, examples)
        theta, sources = flat_sources(problem, params, examples)
        one = _gradient_seconds(theta, sources["loss"])
    gradients = done.losses / LOSSES_A_GRADIENT
    seconds = COMPILE_SECONDS * done.num_loops + gradients * one / SPEEDUP
    return ValuesCost(len(entries), len(done.plans), done.num_loops, gradients, seconds, _bytes(done, theta.size))


def work(
    entries: Iterable[Entry], kinds: Iterable[tuple[str, ...]], num_examples: int, method: str, num_groups: int | None
) -> Work:
    """The contractions of `diagram_values`: for "unbiased" without groups those of each example's influence too."""
    size = num_examples // (num_groups or 1)
    pairs, n = list(zip(entries, kinds, strict=True)), None if method == "population" else size
    trees = {branches.pin_first_block(tree) for entry, own in pairs for tree in combination(entry, own, n)}
    if method == "unbiased" and num_groups is None:
        trees |= {tree for entry, own in pairs for tree in influence_combination(entry, own)}
    plans = frozenset(branches.cheapest_form(tree, size) for tree in trees)
    constants = frozenset(c for plan in plans for c in branches.constants(plan, deep=True))
    return Work(plans, constants, size, num_groups or 1)


def warn_of_cost(done: Work, max_order: int) -> None:
    """Warn, naming the way out, of more than MANY_GRADIENTS."""
    gradients = done.losses / LOSSES_A_GRADIENT
    if gradients > MANY_GRADIENTS:
        warnings.warn(
            f"diagram_values through max_order={max_order} over {done.num_examples} examples takes about {gradients:.1e} "
            'gradients of one example (estimate_values says how long that is). method="unbiased" with num_draws=1200 and '
            "num_groups=40 gives the same values with errors in much less.",
            stacklevel=3,
        )


def _gradient_seconds(theta: jax.Array, source: Source) -> float:
    """Time of one example's share of the mean gradient."""
    n = min(_tree.num_examples(source.examples), 1024)
    examples = _tree.take(source.examples, jnp.arange(n))
    took = []
    for _ in range(3):
        start = time.perf_counter()
        mean_message(source.function, CHUNK, theta, examples, []).block_until_ready()
        took.append(time.perf_counter() - start)
    return min(took) / n


def _bytes(done: Work, num_weights: int) -> int:
    """Constants, and the messages of a chunk of examples or pairs in the loop that holds most; within the default room."""
    sizes = {plan: _num_messages(plan) for plan in done.plans}
    pairs = max((sizes[plan] * (CHUNK // 2) ** 2 for plan in sizes if len(branches.tags(plan)) > 1), default=0)
    shared = CHUNK * sum(sizes[plan] for plan in sizes if len(branches.tags(plan)) <= 1)
    return min(8 * num_weights * (len(done.constants) + max(pairs, shared)), _memory.room(None))


def _num_messages(plan: Branch) -> int:
    return 1 + sum(map(_num_messages, plan[2]))
