"""The entries of a table of diagram values: which diagrams, what stands at their nodes, and the trees behind each value."""

from fractions import Fraction

from gradnoise.diagrams.diagram import Diagram
from gradnoise.diagrams.enumerate import enumerate_diagrams
from gradnoise.diagrams.forests import enumerate_forests
from gradnoise.measure import expansion
from gradnoise.measure.branches import SINGLE, Branch
from gradnoise.measure.cumulants import Partition, moment_weights

Entry = tuple[Diagram, str]
"""A diagram and where its root is measured: "test" (over the test pool) or "pool" (with or like the training examples);
"variance": its root is formal, and its two children are the roots of a forest, which measure the test loss."""

PRODUCT, FACTOR, TEST_FACTOR = "product", "factor", "test factor"
"""Kinds of the nodes of a forest's formal root, and of its roots over the sample and over the test pool."""


def entries_through(max_order: int, held_out: bool, variance: bool) -> tuple[Entry, ...]:
    """All entries through `max_order`: untied diagrams, root-tied ones, and with `variance` the forests of two roots.

    >>> [f"{diagram} {root}" for diagram, root in entries_through(1, held_out=True, variance=False)]
    ['(0)() test', '(0)() pool', '(0-1)(01) test', '(0-1)(01) pool', '(01)(01) pool']
    """
    found: dict[Entry, None] = {}
    for order in range(max_order + 1):
        for diagram in enumerate_diagrams(order):
            roots = ("test", "pool") if held_out else ("pool",)
            tied = [(joined, "pool") for joined, _ in diagram.attach_root()]
            found |= dict.fromkeys([*((diagram, root) for root in roots), *tied])
    for order in range(max_order + 1 if variance else 0):
        found |= dict.fromkeys((forest, "variance") for forest in enumerate_forests(order))
    return tuple(found)


def combination(entry: Entry, kinds: tuple[str, ...], num_samples: int | None) -> dict[Branch, float]:
    """Labelled tree -> its weight in the entry's value: unbiased over `num_samples`, or with None over a population."""
    return expansion.combine(_tag_terms(entry, kinds, num_samples), entry[0].parents, kinds)


def influence_combination(entry: Entry, kinds: tuple[str, ...]) -> dict[Branch, float]:
    """Labelled tree with something pinned -> its weight in what one example changes in the entry's plug-in value."""
    diagram, fixed = entry[0], _fixed(kinds)
    terms: dict[expansion.Tags, Fraction] = {}
    for tags, weight in _tag_terms(entry, kinds, None).items():
        for pinned, count in expansion.influence(diagram.parents, tags).items():
            if not any(pinned[node] == SINGLE for node in fixed):
                terms[pinned] = terms.get(pinned, Fraction(0)) + weight * count
    return expansion.combine(terms, diagram.parents, kinds)


def node_kinds(entry: Entry, has_measured: bool, held_out: bool) -> tuple[str, ...]:
    """What function stands at each node, by its name among the sources.

    >>> node_kinds((Diagram.parse("(02-1-3-4)(01-14-23-34)"), "variance"), has_measured=False, held_out=False)
    ('loss', 'factor', 'loss', 'factor', 'product')
    """
    diagram, root = entry
    if root != "variance":
        at_root = "test" if root == "test" else "measured" if has_measured else "loss"
        return ("loss",) * diagram.order + (at_root,)
    factor = TEST_FACTOR if held_out else FACTOR
    inner = tuple(factor if node in diagram.children(diagram.root) else "loss" for node in range(diagram.order))
    return (*inner, PRODUCT)


def _fixed(kinds: tuple[str, ...]) -> frozenset[int]:
    """Nodes that look at no example of the sample."""
    return frozenset(node for node, kind in enumerate(kinds) if kind in ("test", TEST_FACTOR, PRODUCT))


def _tag_terms(entry: Entry, kinds: tuple[str, ...], n: int | None) -> dict[expansion.Tags, Fraction]:
    diagram = entry[0]
    parts: Partition = tuple(sorted(tuple(sorted(part)) for part in diagram.parts))
    terms: dict[expansion.Tags, Fraction] = {}
    for tau, weight in moment_weights(parts, n, _fixed(kinds)).items():
        for tags, count in expansion.centred_moment(diagram.parents, tau).items():
            terms[tags] = terms.get(tags, Fraction(0)) + weight * count
    return {tags: weight for tags, weight in terms.items() if weight}
