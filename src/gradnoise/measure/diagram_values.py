"""Diagram values v(D) of a model: products of joint cumulants of its derivatives, contracted along the tree."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import jax
import numpy as np

from gradnoise import _checks, _memory
from gradnoise._types import Key, Params
from gradnoise.diagrams.diagram import Diagram
from gradnoise.estimate import Estimate
from gradnoise.measure.contractions import Contractor
from gradnoise.measure.entries import Entry, entries_through, node_kinds
from gradnoise.measure.sources import flat_sources, read_metric
from gradnoise.measure.values_cost import warn_of_cost, work
from gradnoise.measure.values_sample import read_sample
from gradnoise.measure.values_table import measure_table
from gradnoise.problem import Problem, probe_problem, require_problem
from gradnoise.smoothness import kinks


@dataclass(frozen=True, eq=False)
class DiagramValues(Mapping[Diagram, Estimate]):
    """Diagram -> value v(D), in units of loss * (1 / learning rate)^order.

    Holds every diagram up to `max_order` with the root alone (test loss), with the root joined to each of its parts
    (train loss and gap), and the order-0 diagram, the loss itself. `table` lists all entries with their joint
    covariance; `values.covariance` is that of `values.diagrams`, in their order. Where the loss has `kinks`, orders
    from 2 on are numbers without a licence: `licensed_order` is then 1.

    With `has_variance` the table also holds the `forests` of two roots, written as in `coefficient`: a forest's value
    is `table[index(forest, "variance")]`; as a diagram of its own it would be two orders higher. With a `metric`, a tree
    like params, edges contract with this inverse metric, and learning_rate is what multiplies it.
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
    has_variance: bool = False
    metric: Params | None = None

    def __getitem__(self, diagram: Diagram) -> Estimate:
        if not isinstance(diagram, Diagram):
            raise TypeError(f"diagram={diagram!r} is not a Diagram. Give Diagram.parse({str(diagram)!r}), say.")
        return self.table[self.index(diagram, "test")]

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
        """All diagrams, by order; no forests."""
        return tuple(dict.fromkeys(diagram for diagram, root in self.entries if root != "variance"))

    @property
    def forests(self) -> tuple[Diagram, ...]:
        """All forests of two roots, by order, each written as one diagram."""
        return tuple(diagram for diagram, root in self.entries if root == "variance")

    @property
    def covariance(self) -> np.ndarray:
        """The covariance matrix of the values of `diagrams`; zeros for method "population"."""
        index = [self.index(diagram, "test") for diagram in self.diagrams]
        return np.asarray(self.table.covariance)[np.ix_(index, index)]

    @property
    def licensed_order(self) -> int:
        """The largest order whose values mean what the theory says: 1 where the loss has kinks."""
        return min(self.max_order, 1) if self.kinks else self.max_order

    def index(self, diagram: Diagram, root: str) -> int:
        """The place in `table` of a diagram whose root is measured over the "test" pool, or the training "pool".

        "variance": of the forest that the diagram writes. Raises KeyError for what was not measured.
        """
        place = self._places.get((diagram, root))
        if place is None and root != "variance":
            place = self._places.get((diagram, "pool"))
        if place is None and root == "variance":
            raise KeyError(
                f"{diagram} is not among the forests to order {self.max_order}. Measure with variance=True, or a larger "
                "max_order."
            )
        if place is None:
            raise KeyError(
                f"{diagram} is not among the diagrams to order {self.max_order}. Measure with a larger max_order."
            )
        return place

    @cached_property
    def _places(self) -> dict[Entry, int]:
        return {entry: place for place, entry in enumerate(self.entries)}


def require_values(values: object) -> None:
    """Raise TypeError unless `values` are DiagramValues."""
    if not isinstance(values, DiagramValues):
        raise TypeError(f"values is {type(values).__name__}, expected DiagramValues. Measure them with diagram_values.")


def diagram_values(
    problem: Problem,
    params: Params,
    max_order: int = 3,
    method: str = "population",
    num_draws: int | None = None,
    key: Key | None = None,
    *,
    num_groups: int | None = None,
    variance: bool = False,
    metric: Params | None = None,
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

    `num_groups`: the draws are cut into so many equal groups; the values are the means of the groups' own unbiased ones,
    with errors from their spread. They are somewhat less sharp (an example meets those of its group alone), and the cost
    is that of the groups, so that order 4 or 5 is in reach: about 30 examples a group, 40 groups.

    `variance`: also the forests of two roots that the variance of the test loss needs (from order 2 on; one more distinct
    example is needed). `metric`: a tree like params, one rate of at least 0 a weight or a leaf; edges contract with it as
    an inverse metric, so that the values are those of per-parameter learning rates in proportion to it.

    Cost: about n^2 directional derivatives of one example from order 2 on, n^3 at order 4, a power more with the errors of
    "unbiased" without groups: `estimate_values` says what it will be, and a warning where it is much. `memory` bounds the
    peak of the process (bytes or text; default "2GiB"); `progress` hears the share of each loop (or of the groups) done.

    >>> import numpy as np
    >>> from gradnoise import Diagram, from_arrays
    >>> pool = np.array([-1.0, 1.0])
    >>> problem = from_arrays(lambda w, x: w**2 + x * w, lambda key: np.float64(0.0), pool)
    >>> values = diagram_values(problem, 0.5, max_order=2)
    >>> values[Diagram.parse("(01-2)(02-12)")]                     # C:H = 1 * 2
    Estimate(2 +- 0, num_samples=2)

    Raises ValueError for an unknown method, without a pool where one is needed, for num_draws below max_order + 1 (2 with
    `variance`) or not in equal groups, for max_order above 6, for a metric that is none, and for a loss that cannot be
    studied (see `problem.probe_problem`); MemoryError if one example does not fit.

    Source: diagrams.md sections 1, 2 and 6.
    """
    require_problem(problem)
    sample = read_sample(problem, "diagram_values", max_order, method, num_draws, num_groups, variance)
    max_order, num_groups = sample.max_order, sample.num_groups
    if memory is not None:
        _memory.parse_memory(memory)
    with jax.enable_x64(True):
        is_drawn = num_draws is not None
        examples = problem.sample(_checks.random_key("key", key), sample.num_examples) if is_drawn else problem.pool
        probe_problem(problem, params, examples)
        metric = None if metric is None else read_metric(metric, params)
        theta, sources = flat_sources(problem, params, examples, metric, variance)
        held_out = problem.test_pool is not None
        entries = entries_through(max_order, held_out, variance)
        kinds = [node_kinds(entry, problem.measured is not None, held_out) for entry in entries]
        warn_of_cost(work(entries, kinds, sample.num_examples, method, num_groups), max_order)
        contractor = Contractor(theta, sources, memory, progress or (lambda share: None))
        table = measure_table(entries, kinds, contractor, method, num_groups)
        found = kinks(replace(problem, pool=sources["loss"].examples), params)
    return DiagramValues(
        entries, table, max_order, method, problem.setting, problem.name, theta.size - bool(variance), found,
        problem.weight_decay, bool(variance), metric,
    )  # fmt: skip
