"""Diagram values v(D) of a model: products of joint cumulants of its derivatives, contracted along the tree."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _checks, _memory, _tree
from gradnoise._types import Examples, Key, Params
from gradnoise.diagrams.diagram import Diagram
from gradnoise.diagrams.enumerate import enumerate_diagrams
from gradnoise.estimate import Estimate
from gradnoise.measure import expansion
from gradnoise.measure.branches import Branch
from gradnoise.measure.contractions import Contractor, Source
from gradnoise.measure.cumulants import Partition, moment_weights
from gradnoise.problem import Problem, probe_problem, require_pool, require_problem
from gradnoise.smoothness import kinks

METHODS = ("population", "unbiased")
Entry = tuple[Diagram, str]
"""A diagram and where its root is measured: "test" (over the test pool) or "pool" (with or like the training examples)."""


@dataclass(frozen=True, eq=False)
class DiagramValues(Mapping[Diagram, Estimate]):
    """Diagram -> value v(D), in units of loss * (1 / learning rate)^order.

    Holds every diagram up to `max_order` with the root alone (test loss), with the root joined to each of its parts
    (train loss and gap), and the order-0 diagram, the loss itself. `table` lists all entries with their joint
    covariance; `values.covariance` is that of `values.diagrams`, in their order. Where the loss has `kinks`, orders
    from 2 on are numbers without a licence: `licensed_order` is then 1.
    """

    entries: tuple[Entry, ...]
    table: Estimate
    max_order: int
    method: str
    setting: str
    problem_name: str
    num_parameters: int
    kinks: tuple[str, ...]
    weight_decay: float = 0.0

    def __getitem__(self, diagram: Diagram) -> Estimate:
        if not isinstance(diagram, Diagram):
            raise TypeError(f"diagram={diagram!r} is not a Diagram. Give Diagram.parse({str(diagram)!r}), say.")
        return self.table[self._index(diagram)]

    def __iter__(self) -> Iterator[Diagram]:
        return iter(self.diagrams)

    def __len__(self) -> int:
        return len(self.diagrams)

    def __repr__(self) -> str:
        return (
            f"DiagramValues({self.problem_name}, {len(self)} diagrams to order {self.max_order}, {self.method}, "
            f"{self.setting}, {self.table.num_samples} examples)"
        )

    @property
    def diagrams(self) -> tuple[Diagram, ...]:
        """All diagrams, by order."""
        return tuple(dict.fromkeys(diagram for diagram, _ in self.entries))

    @property
    def covariance(self) -> np.ndarray:
        """The covariance matrix of the values of `diagrams`; zeros for method "population"."""
        index = [self._index(diagram) for diagram in self.diagrams]
        return np.asarray(self.table.covariance)[np.ix_(index, index)]

    @property
    def licensed_order(self) -> int:
        """The largest order whose values mean what the theory says: 1 where the loss has kinks."""
        return min(self.max_order, 1) if self.kinks else self.max_order

    def index(self, diagram: Diagram, root: str) -> int:
        """The place in `table` of a diagram whose root is measured over the "test" pool, or the training "pool"."""
        entry = (diagram, root)
        return self.entries.index(entry if entry in self.entries else (diagram, "pool"))

    def _index(self, diagram: Diagram) -> int:
        try:
            return self.index(diagram, "test")
        except ValueError:
            raise KeyError(
                f"{diagram} is not among the diagrams to order {self.max_order}. Measure with a larger max_order."
            ) from None


def diagram_values(
    problem: Problem,
    params: Params,
    max_order: int = 3,
    method: str = "population",
    num_draws: int | None = None,
    key: Key | None = None,
    *,
    memory: int | str | None = None,
    progress: Callable[[float], None] | None = None,
) -> DiagramValues:
    """All diagram values through `max_order` at `params`, in float64.

    A node of degree k carries the k-th derivative of the loss (the root: of `measured`); tied nodes share a joint
    cumulant. method "population": the pool is the population, cumulants with divisor n, errors zero by definition.
    "unbiased": U-statistics over distinct draws (polykays) from `num_draws` examples (None, on a pool: the pool's own
    examples as a sample of an unknown population); `stderr` and `covariance` by the influence of each example
    (infinitesimal jackknife), to leading order in 1/n; where a value's leading term vanishes, as G.G does at a minimum,
    they are too large (about twice the variance). In the held-out setting the test pool is taken as it is.

    Cost: about n^2 directional derivatives of one example from order 2 on. `memory` bounds the peak of the process
    (bytes or text; default "2GiB"); `progress` hears the share of each loop done.

    >>> import numpy as np
    >>> from gradnoise import Diagram, from_arrays
    >>> pool = np.array([-1.0, 1.0])
    >>> problem = from_arrays(lambda w, x: w**2 + x * w, lambda key: np.float64(0.0), pool)
    >>> values = diagram_values(problem, 0.5, max_order=2)
    >>> values[Diagram.parse("(01-2)(02-12)")]                     # C:H = 1 * 2
    Estimate(2 +- 0, num_samples=2)

    Raises ValueError for an unknown method, without a pool where one is needed, for num_draws below max_order + 1, and
    for a loss that cannot be studied (see `problem.probe_problem`); MemoryError if one example does not fit.

    Source: diagrams.md sections 1, 2 and 6.
    """
    require_problem(problem)
    max_order = _checks.integer("max_order", max_order, minimum=0)
    _checks.one_of("method", method, METHODS)
    if memory is not None:
        _memory.parse_memory(memory)
    with jax.enable_x64(True):
        examples = _sample(problem, method, num_draws, key, max_order)
        probe_problem(problem, params, examples)
        theta, sources = _flat_sources(problem, params, examples)
        contractor = Contractor(theta, sources, memory, progress or (lambda share: None))
        return _measure(problem, params, contractor, max_order, method)


def _sample(problem: Problem, method: str, num_draws: int | None, key: Key | None, max_order: int) -> Examples:
    if method == "population":
        if num_draws is not None:
            raise ValueError(
                f'num_draws={num_draws} has no meaning for method="population", which uses the whole pool. '
                'Leave it out, or give method="unbiased".'
            )
        return require_pool(problem, 'diagram_values(method="population")')
    if num_draws is None:
        examples = require_pool(problem, "diagram_values without num_draws")
    else:
        num_draws = _checks.integer("num_draws", num_draws, minimum=max(2, max_order + 1))
        examples = problem.sample(_checks.random_key("key", key), num_draws)
    n = _tree.num_examples(examples)
    if n < max(2, max_order + 1):
        raise ValueError(
            f'method="unbiased" through order {max_order} needs {max(2, max_order + 1)} distinct examples, the pool '
            f"has {n}. Give more examples or a smaller max_order."
        )
    return examples


def _flat_sources(problem: Problem, params: Params, examples: Examples) -> tuple[jax.Array, dict[str, Source]]:
    params = _tree.cast(params, jnp.float64)
    theta, _ = _tree.flatten(params)
    leaves, structure = jax.tree.flatten(params)
    shapes = tuple(leaf.shape for leaf in leaves)
    cast = _tree.cast(examples, jnp.float64)
    sources = {"loss": Source(flat_function(problem.loss, structure, shapes), cast)}
    measured = flat_function(problem.measured_loss, structure, shapes)
    if problem.measured is not None:
        sources["measured"] = Source(measured, cast)
    if problem.test_pool is not None:
        sources["test"] = Source(measured, _tree.cast(problem.test_pool, jnp.float64))
    return theta, sources


@lru_cache(maxsize=128)
def flat_function(function: Callable, structure: Any, shapes: tuple[tuple[int, ...], ...]) -> Callable:
    """`function(params, example)` as a function of the flat weights; cached, so that compiled code is found again."""
    sizes = [int(np.prod(shape)) for shape in shapes]
    stops = np.cumsum(sizes)

    def flat(theta: jax.Array, example: Any) -> jax.Array:
        leaves = [
            theta[stop - size : stop].reshape(shape) for stop, size, shape in zip(stops, sizes, shapes, strict=True)
        ]
        return function(jax.tree.unflatten(structure, leaves), example)

    return flat


def _entries(max_order: int, held_out: bool) -> Iterator[Entry]:
    for order in range(max_order + 1):
        for diagram in enumerate_diagrams(order):
            if held_out:
                yield diagram, "test"
            yield diagram, "pool"
            for tied, _ in diagram.attach_root():
                yield tied, "pool"


def _kinds(diagram: Diagram, root: str, problem: Problem) -> tuple[str, ...]:
    at_root = "test" if root == "test" else "loss" if problem.measured is None else "measured"
    return ("loss",) * diagram.order + (at_root,)


def _measure(problem: Problem, params: Params, contractor: Contractor, max_order: int, method: str) -> DiagramValues:
    entries = tuple(dict.fromkeys(_entries(max_order, problem.test_pool is not None)))
    n = contractor.size
    exact = method == "population"
    combinations = [_raw_combination(entry, problem, None if exact else n) for entry in entries]
    means = contractor.mean({tree for combination in combinations for tree in combination})
    values = np.array([sum(weight * means[tree] for tree, weight in c.items()) for c in combinations])
    covariance = np.zeros((len(entries), len(entries)))
    if not exact:
        changes = _influences(entries, problem, contractor)
        covariance = changes @ changes.T / (n * (n - 1))
    table = Estimate(values, np.sqrt(np.diag(covariance)), n, covariance)
    found = kinks(replace(problem, pool=contractor.sources["loss"].examples), params)
    size = contractor.theta.size
    return DiagramValues(
        entries, table, max_order, method, problem.setting, problem.name, size, found, problem.weight_decay
    )


def _tag_terms(entry: Entry, n: int | None) -> dict[expansion.Tags, Fraction]:
    diagram, root = entry
    parts: Partition = tuple(sorted(tuple(sorted(part)) for part in diagram.parts))
    fixed = frozenset({diagram.root}) if root == "test" else frozenset()
    terms: dict[expansion.Tags, Fraction] = {}
    for tau, weight in moment_weights(parts, n, fixed).items():
        for tags, count in expansion.centred_moment(diagram.parents, tau).items():
            terms[tags] = terms.get(tags, Fraction(0)) + weight * count
    return {tags: weight for tags, weight in terms.items() if weight}


def _raw_combination(entry: Entry, problem: Problem, n: int | None) -> dict[Branch, float]:
    return expansion.combine(_tag_terms(entry, n), entry[0].parents, _kinds(*entry, problem))


def _influences(entries: tuple[Entry, ...], problem: Problem, contractor: Contractor) -> np.ndarray:
    """What each example changes in each value, (entries, n), centred; of the plug-in value, the leading order in 1/n."""
    combinations = []
    for entry in entries:
        diagram, kinds = entry[0], _kinds(*entry, problem)
        terms: dict[expansion.Tags, Fraction] = {}
        for tags, weight in _tag_terms(entry, None).items():
            for pinned, count in expansion.influence(diagram.parents, tags).items():
                if not (kinds[-1] == "test" and pinned[-1] == expansion.SINGLE):
                    terms[pinned] = terms.get(pinned, Fraction(0)) + weight * count
        combinations.append(expansion.combine(terms, diagram.parents, kinds))
    values = contractor.per_example({tree for c in combinations for tree in c})
    zero = np.zeros(contractor.size)
    changes = np.stack([sum((weight * values[tree] for tree, weight in c.items()), zero) for c in combinations])
    return changes - changes.mean(axis=1, keepdims=True)
