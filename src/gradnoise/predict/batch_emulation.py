"""A large batch that stands in for a smaller one: SGD on the loss plus a share of the gradients' variance in the batch."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _checks, _tree
from gradnoise._rates import learning_rates, per_leaf
from gradnoise._types import Examples, Key, Params, PyTree
from gradnoise.estimate import Estimate
from gradnoise.measure import hessian_extremes
from gradnoise.measure.gradients import sum_over_chunks
from gradnoise.problem import Loss, Problem, require_problem
from gradnoise.process import Batches, Process
from gradnoise.spacetime import Spacetime

LARGEST_CHUNK = 2**20
"""Numbers (examples times weights) of single examples' gradients that are held at a time."""

LARGEST_TIME = 0.3
"""Up to this learning_rate * num_steps * lambda_max(H) the emulation is near; on digits it is off by all at 0.6."""


class EmulationDomain(NamedTuple):
    """Whether a run is short enough to be emulated: `time` = learning_rate * num_steps * lambda_max(H), without unit."""

    time: Estimate
    bound: float = LARGEST_TIME

    @property
    def inside(self) -> bool:
        """Whether the time is at most the bound."""
        return bool(self.time.value <= self.bound)

    def __str__(self) -> str:
        found = f"learning_rate * num_steps * lambda_max(H) is {self.time.value:.2g} at the start"
        if self.inside:
            return f"inside: {found} (bound {self.bound:g})"
        return (
            f"outside: {found}, expected at most {self.bound:g}. Batch emulation is right to leading order in it: on digits "
            "what it adds is twice too large at 0.6 and has the wrong sign at 3. Take a smaller learning rate or fewer "
            "steps; predict_path compares batch sizes of longer runs"
        )


@dataclass(frozen=True)
class EmulationStep:
    """One update; equal by value, so equal processes share one compiled function."""

    problem: Problem
    batch_size: int
    emulated_batch_size: int

    def __call__(self, key: Key, params: Params, batches: Batches, learning_rate: Any) -> Params:
        _check_batch_size(self.batch_size, batches.spacetime)
        rates = per_leaf(learning_rate, params)
        mean, variance = mean_and_variance_gradient(self.problem.loss, params, _tree.take(batches.examples, 0), rates)
        share = (1 / self.emulated_batch_size - 1 / self.batch_size) / 4
        return jax.tree.map(lambda w, rate, g, v: w - rate * (g + share * v), params, rates, mean, variance)


@dataclass(frozen=True)
class EmulationCaution:
    """Where a run is outside of what batch emulation is for; equal by value, as the step."""

    problem: Problem
    batch_size: int

    def __call__(self, params: Params, spacetime: Spacetime, learning_rate: Any) -> str:
        if not spacetime.has_epochs and self.batch_size < spacetime.num_examples:
            return (
                f'sampling="{spacetime.sampling}" has no epochs, and there the batch size enters the test loss otherwise '
                '(diagrams.md 2.5): the emulation does not hold. Use "fixed" or "reshuffle".'
            )
        if self.problem.pool is None:
            return ""
        domain = emulation_domain(self.problem, params, spacetime, learning_rate)
        return "" if domain.inside else f"{domain}."


def emulate_batch(problem: Problem, batch_size: int, emulated_batch_size: int) -> Process:
    """SGD with batches of `batch_size` whose expected test loss is that of the smaller `emulated_batch_size`.

        theta <- theta - eta grad[ mean l + (eta/4) (1/emulated_batch_size - 1/batch_size) tr C_hat ]
        tr C_hat = (1/(B-1)) sum_i |g_i - gbar|^2 over the current batch: the unbiased covariance of one example's gradient

    At the same N, eta and number of steps T, in whole epochs (sampling "fixed" or "reshuffle") over drawn training sets,
    its mean test loss and mean displacement are those of the smaller batch through order eta^2, where plain SGD is off by
    (T/4) (1/B' - 1/B) G.d tr C (B' the emulated batch size). The gap is not matched at order 2. Per-weight rates E take
    the place of eta: tr(E C_hat).

    Cost: each batch is passed twice, once for gbar, once for the gradients g_i with a hessian-vector product of each,
    about three gradients of the batch in place of one; gradients of single examples are held for 2^20 / P of them.

    **Limit**: eta T lambda_max(H) well below one. `simulate` warns if `emulation_domain` is outside (on a pool; without one
    ask it yourself), or if the sampling has no epochs.

    >>> from gradnoise.problem import from_arrays
    >>> problem = from_arrays(lambda w, x: x * w**2 / 2, lambda key: np.float64(1), np.array([1.0, 3.0]))
    >>> emulate_batch(problem, batch_size=10, emulated_batch_size=2).name
    'emulate_batch'

    Raises ValueError unless 1 <= emulated_batch_size < batch_size, and when it is run on another batch size; TypeError
    if `problem` is no Problem.

    Source: diagrams.md 2.6; Tenka, "A Space-Time Approach to Analyzing SGD", corollary 3, whose factor
    (N-1)/(4N^2) for B = N, B' = 1 should be (N-1)/(4N).
    """
    require_problem(problem)
    batch_size = _checks.integer("batch_size", batch_size, minimum=2)
    emulated = _checks.integer("emulated_batch_size", emulated_batch_size)
    if emulated >= batch_size:
        raise ValueError(
            f"emulated_batch_size={emulated} is not below batch_size={batch_size}: a batch emulates smaller ones. "
            "Give a smaller one, or use sgd."
        )
    settings = (("emulated_batch_size", emulated),)
    step, caution = EmulationStep(problem, batch_size, emulated), EmulationCaution(problem, batch_size)
    return Process("emulate_batch", problem, _itself, step, _itself, settings=settings, caution=caution)


def emulation_domain(
    problem: Problem,
    params: Params,
    spacetime: Spacetime,
    learning_rate: Any,
    *,
    num_draws: int | None = None,
    key: Key | None = None,
) -> EmulationDomain:
    """learning_rate * num_steps * lambda_max(H) at `params`, and whether batch emulation holds for so long a run.

    The learning rate is one number, one a step (their sum is taken) or one a weight (the largest is taken). The error
    is that of `hessian_extremes`: numerical on the pool, of sampling with `num_draws` and `key`.

    >>> from gradnoise.problem import from_arrays
    >>> problem = from_arrays(lambda w, x: x * w**2 / 2, lambda key: np.float64(1), np.array([1.0, 3.0]))
    >>> print(emulation_domain(problem, np.float64(1), Spacetime(10, 5), learning_rate=0.05))
    inside: learning_rate * num_steps * lambda_max(H) is 0.2 at the start (bound 0.3)

    Raises what `hessian_extremes` and `simulate` raise for wrong arguments. Source: loop.md, "Batch emulation along the
    path".
    """
    require_problem(problem)
    with jax.enable_x64(True):
        rates = learning_rates(learning_rate, params, spacetime.num_steps, float)
        base, factors = jax.tree.map(np.asarray, rates)
    time = max(float(np.max(leaf)) for leaf in jax.tree.leaves(base)) * float(factors[: spacetime.num_steps].sum())
    curvature = hessian_extremes(problem, params, num_draws=num_draws, key=key).largest
    return EmulationDomain(Estimate(time * curvature.value, time * curvature.stderr, curvature.num_samples))


def mean_and_variance_gradient(loss: Loss, params: Params, examples: Examples, rates: PyTree) -> tuple[PyTree, PyTree]:
    """gbar and the gradient of tr(E C_hat) = (1/(B-1)) sum_i (g_i - gbar).E(g_i - gbar), trees like params.

        d tr(E C_hat) = (2/(B-1)) sum_i h_i E (g_i - gbar)

    gbar may be held fixed in it, for sum_i (g_i - gbar) = 0. `rates` is the diagonal of E as a tree like params.

    >>> loss = lambda w, x: x * w**2 / 2                        # g_i = x_i w, so tr C_hat = 2 w^2
    >>> mean, variance = mean_and_variance_gradient(loss, 3.0, jnp.array([1.0, 3.0]), 1.0)
    >>> float(mean), float(variance)
    (6.0, 12.0)
    """
    size = _tree.num_examples(examples)
    mean = jax.grad(lambda at: jnp.mean(jax.vmap(loss, (None, 0))(at, examples)))(params)

    def distance(at: Params, example: Any) -> Any:
        gradient = jax.grad(loss)(at, example)
        return sum(jax.tree.leaves(jax.tree.map(lambda e, g, m: jnp.sum(e * (g - m) ** 2), rates, gradient, mean)))

    def part(block: Examples, fresh: jax.Array) -> PyTree:
        return jax.grad(lambda at: jnp.where(fresh, jax.vmap(distance, (None, 0))(at, block), 0).sum())(params)

    weights = sum(leaf.size for leaf in jax.tree.leaves(mean))
    total = sum_over_chunks(part, examples, max(1, LARGEST_CHUNK // weights))
    return mean, jax.tree.map(lambda leaf: leaf / (size - 1), total)


def _itself(params: Params) -> Params:
    return params


def _check_batch_size(batch_size: int, spacetime: Spacetime) -> None:
    if spacetime.batch_size != batch_size:
        raise ValueError(
            f"batch_size={batch_size} of emulate_batch is not the spacetime's, which is {spacetime.batch_size}. "
            "Give both the same."
        )
