"""Diagram: a rooted tree with tied nodes, the index of one term of the expansion in the learning rate."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gradnoise.diagrams.notation import check_tree, format_diagram, parse_diagram
from gradnoise.diagrams.symmetry import Parts, canonical_form, children_of


@dataclass(frozen=True, repr=False)
class Diagram:
    """A rooted tree with d edges and a partition of its nodes ("ties"), up to isomorphism.

    Nodes are 0..d, the root d; `parents[u] > u` is the parent of node u < d. `parts` are sorted tuples, sorted by
    their smallest node. A node of degree k carries the k-th derivative of one example's loss; nodes in one part look
    at the same example. The root is the measured function; it shares a part only in train loss and gap.

    Canonical at birth: two diagrams are equal, and hash alike, if and only if they are isomorphic. The nodes are
    numbered afresh, so ask the diagram, not the input, for its nodes. At most 9 edges, for the written form has one
    digit a node. Raises ValueError for what is no such tree or no partition of its nodes.

    >>> Diagram.parse("(0-12)(12-02)") == Diagram.parse("(1-02)(02-12)")
    True
    >>> Diagram(parents=(2, 2), parts=((0, 1), (2,)))
    Diagram.parse('(01-2)(02-12)')

    Source: diagrams.md section 1.
    """

    parents: tuple[int, ...]
    parts: Parts
    num_automorphisms: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        _check(self.parents, self.parts)
        parents, parts, num_automorphisms = canonical_form(self.parents, self.parts)
        object.__setattr__(self, "parents", parents)
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "num_automorphisms", num_automorphisms)

    @classmethod
    def parse(cls, text: str) -> "Diagram":
        """The diagram written as parts, then edges child-parent, one digit a node, the root last.

        Raises ValueError, with what is wrong, for text that is no rooted tree with a partition of its nodes.

        >>> Diagram.parse("(0-12-3)(03-12-23)").order
        3
        """
        return cls(*parse_diagram(text))

    def __str__(self) -> str:
        return format_diagram(self.parents, self.parts)

    def __repr__(self) -> str:
        return f"Diagram.parse({str(self)!r})"

    @property
    def order(self) -> int:
        """d, the number of edges: the power of the learning rate."""
        return len(self.parents)

    @property
    def root(self) -> int:
        """The root's number, d."""
        return len(self.parents)

    @property
    def root_part(self) -> tuple[int, ...]:
        """The part that holds the root."""
        return next(part for part in self.parts if self.root in part)

    @property
    def is_root_tied(self) -> bool:
        """Whether the root shares its part: a term of train loss and gap, not of test loss."""
        return len(self.root_part) > 1

    @property
    def links(self) -> tuple[int, ...]:
        """Non-root untied nodes with exactly one child, which resummation removes (diagrams.md section 3)."""
        alone = (part[0] for part in self.parts if len(part) == 1)
        return tuple(node for node in alone if node != self.root and len(self.children(node)) == 1)

    def children(self, node: int) -> tuple[int, ...]:
        """The children of `node`, in increasing order."""
        return tuple(children_of(self.parents)[node])

    def degree(self, node: int) -> int:
        """Children and parent: the order of the derivative at `node`."""
        return len(self.children(node)) + (node != self.root)

    def part_of(self, node: int) -> tuple[int, ...]:
        """The part that holds `node`."""
        return next(part for part in self.parts if node in part)

    def detach_root(self) -> "Diagram":
        """The diagram with its root made a part of its own.

        >>> Diagram.parse("(01)(01)").detach_root()
        Diagram.parse('(0-1)(01)')
        """
        others = [tuple(node for node in part if node != self.root) for part in self.parts]
        return Diagram(self.parents, tuple(sorted([*filter(None, others), (self.root,)])))

    def attach_root(self) -> Iterator[tuple["Diagram", int]]:
        """The diagrams with the root joined to one of the other parts, each with the number of parts that give it.

        The sum over parts p of v(D+p) in train loss and gap is the sum of multiplicity times value. Raises ValueError
        if the root is tied already.

        >>> list(Diagram.parse("(0-1-2)(02-12)").attach_root())
        [(Diagram.parse('(02-1)(02-12)'), 2)]
        """
        if self.is_root_tied:
            raise ValueError(f"the root of {str(self)!r} is tied already, expected alone. Use detach_root() first.")
        others = [part for part in self.parts if part != (self.root,)]
        joined = Counter(
            Diagram(self.parents, tuple((*part, self.root) if part == chosen else part for part in others))
            for chosen in others
        )
        yield from joined.items()

    def draw(self, style: str = "text") -> str:
        """The diagram as "text", "svg" or "tikz", the root at the right, ties marked."""
        from gradnoise.diagrams.draw import draw_diagram

        return draw_diagram(self, style)

    def _repr_svg_(self) -> str:
        return self.draw("svg")


def _check(parents: Sequence[int], parts: Sequence[Sequence[int]]) -> None:
    root = len(parents)
    if root > 9:
        raise ValueError(f"a diagram with {root} edges has no written form, expected at most 9 edges.")
    if any(not isinstance(p, int) or not 0 <= p <= root or p == node for node, p in enumerate(parents)):
        raise ValueError(
            f"parents={parents!r} is no tree: expected each of {root} nodes to have one of 0..{root} as parent."
        )
    check_tree(parents, f"parents={parents!r}")
    if sorted(node for part in parts for node in part) != list(range(root + 1)) or not all(parts):
        raise ValueError(f"parts={parts!r} is no partition of the nodes 0..{root}. Put each node into one part.")
