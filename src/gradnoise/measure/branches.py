"""Labelled trees as nested tuples: what a contraction is made of, before any number is known.

A branch is (kind, tag, children). `kind` names the function at the node ("loss", "measured", "test"; "dot" is the
scalar product of its two children). `tag` says which example the node looks at: MEAN (the sample's mean), SINGLE (one
pinned example, node alone in its part) or an integer block number (all nodes of a block look at the same example).
A node alone with its parent (no children) carries a gradient, and in a block it is centred: g_i - gbar.

Equal branches are equal tuples, so a dictionary keyed by branches shares work between diagrams.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

Branch = tuple[str, Any, tuple]
MEAN = None
SINGLE = -1
PINNED = 0
"""The block number of the block whose example is held fixed; other blocks are numbered 1, 2, ..."""


def rooted_branch(parents: tuple[int, ...], kinds: tuple[str, ...], tags: tuple[Any, ...]) -> Branch:
    """The tree with `parents[u]` the parent of node u (the root is the last node), as a branch at its root."""

    def build(node: int) -> Branch:
        children = [build(u) for u, parent in enumerate(parents) if parent == node]
        return (kinds[node], tags[node], tuple(children))

    return canonical(build(len(parents)))


def canonical(branch: Branch) -> Branch:
    """Children sorted, blocks from 1 on renumbered by first appearance; PINNED, SINGLE and MEAN stay.

    Branches that come out equal are isomorphic (so a lookup never errs); isomorphic ones nearly always come out equal.
    """

    def ordered(node: Branch) -> Branch:
        kind, tag, children = node
        return (kind, tag, tuple(sorted(map(ordered, children), key=lambda c: (_shape(c), repr(c)))))

    names: dict[int, int] = {}

    def number(node: Branch) -> Branch:
        kind, tag, children = node
        name = names.setdefault(tag, len(names) + 1) if isinstance(tag, int) and tag > PINNED else tag
        return (kind, name, tuple(map(number, children)))

    return number(ordered(branch))


def _shape(branch: Branch) -> str:
    """The branch without its block numbers: what sorting may look at before numbers are given out."""
    kind, tag, children = branch
    mark = "b" if isinstance(tag, int) and tag > PINNED else str(tag)
    return f"({kind}{mark}{''.join(sorted(map(_shape, children)))})"


def rename(branch: Branch, names: dict[Any, Any]) -> Branch:
    """The branch with its tags replaced where `names` has them."""
    kind, tag, children = branch
    return (kind, names.get(tag, tag), tuple(rename(child, names) for child in children))


def tags(branch: Branch) -> Counter[int]:
    """How often each block (PINNED, 1, 2, ...) occurs; MEAN and SINGLE are no blocks."""
    _, tag, children = branch
    found = Counter() if tag in (MEAN, SINGLE) else Counter([tag])
    for child in children:
        found += tags(child)
    return found


def has_single(branch: Branch) -> bool:
    """Whether a pinned single node is among the nodes."""
    return branch[1] == SINGLE or any(map(has_single, branch[2]))


def closing_tags(branch: Branch, bound: frozenset[int]) -> list[int]:
    """Blocks not in `bound` that meet for the last time at the branch's own node: the average is taken here."""
    _, own, children = branch
    inside = [set(tags(child)) for child in children]
    return sorted(t for t in set(tags(branch)) - bound if t == own or sum(t in found for found in inside) > 1)


def constants(branch: Branch, deep: bool = False) -> set[Branch]:
    """The largest branches inside `branch` that need no example from outside, and the mean gradients that centre leaves.

    `deep`: also those inside them, and so on.
    """
    total, found = tags(branch), set()

    def visit(node: Branch) -> None:
        kind, tag, children = node
        inner = tags(node)
        if (
            node is not branch
            and not has_single(node)
            and PINNED not in inner
            and all(inner[t] == total[t] for t in inner)
        ):
            found.add(canonical(node))
            return
        if not children and isinstance(tag, int) and tag >= PINNED:
            found.add((kind, MEAN, ()))
        for child in children:
            visit(child)

    visit(branch)
    return found.union(*(constants(c, deep=True) for c in found)) if deep else found


def independent_branches(branch: Branch, tag: int, bound: frozenset[int]) -> Iterator[Branch]:
    """The largest branches inside `branch` without the block `tag` and without a block that closes further up."""
    total = tags(branch)

    def below(node: Branch) -> Iterator[Branch]:
        for child in node[2]:
            inner = tags(child)
            if tag not in inner and all(t in bound or inner[t] == total[t] for t in inner):
                yield child
            else:
                yield from below(child)

    return below(branch)


def edges(branch: Branch) -> Iterator[tuple[Branch, Branch]]:
    """For every edge of the tree the two branches that it joins."""

    def below(node: Branch, above: Branch) -> Iterator[tuple[Branch, Branch]]:
        yield node, above
        kind, tag, children = node
        for k, child in enumerate(children):
            yield from below(child, (kind, tag, (*children[:k], *children[k + 1 :], above)))

    kind, tag, children = branch
    for k, child in enumerate(children):
        yield from below(child, (kind, tag, children[:k] + children[k + 1 :]))


def rootings(branch: Branch) -> Iterator[Branch]:
    """The same tree rooted at every one of its nodes."""
    yield branch
    for (kind, tag, children), above in edges(branch):
        yield (kind, tag, (*children, above))


def unrooted(branch: Branch) -> Branch:
    """One rooting chosen by content alone: a value does not depend on which node is called the root."""
    return min(map(canonical, rootings(branch)), key=repr)


def pin_first_block(branch: Branch) -> Branch:
    """The tree with its first block pinned: the mean over the pinned example is the tree's value. Unchanged without one."""
    found = tags(branch)
    return unrooted(rename(branch, {min(found): PINNED})) if found else branch


def pinned_forms(branch: Branch) -> Iterator[Branch]:
    """All ways to close the tree example by example of what is pinned: at an edge (a "dot") or at a node."""
    pinned, single = PINNED in tags(branch), has_single(branch)
    for rooted in rootings(branch):
        _, tag, children = rooted
        at_block = tag == PINNED and len(children) > 1
        if at_block or (single and tag == SINGLE) or not (pinned or single):
            yield canonical(rooted)
    for below, above in edges(branch):
        if pinned and PINNED in tags(below) and PINNED in tags(above):
            yield canonical(("dot", MEAN, (below, above)))


def cheapest_form(tree: Branch, num_examples: int) -> Branch:
    """The pinned form of the tree that costs least, one and the same for equal trees."""
    return min(pinned_forms(tree), key=lambda form: (cost(form, num_examples), repr(form)))


def cost(plan: Branch, num_examples: int) -> float:
    """Rough work of one example of the plan's loop, in losses; a shared message counts once, a constant nothing.

    A message of k vectors counts 10 * 2^k losses (reverse mode writes a vector of P numbers), a scalar derivative 2^k,
    and 15 times as much along a vector that differs from pair to pair of examples (no matrix product serves many pairs).
    The factors are rough ratios of times measured on a small network.
    """
    seen: set[tuple[Branch, frozenset[int]]] = set()

    def visit(node: Branch, bound: frozenset[int], scalar: bool) -> float:
        here = bound.intersection(tags(node))
        if not scalar and (not here or (node, here) in seen):
            return 0.0
        seen.add((node, here))
        closing = closing_tags(node, bound)
        if closing:
            return visit(node, bound | {closing[0]}, scalar)
        kind, tag, children = node
        own = 0 if kind == "dot" else (1 if scalar else 10) * 2 ** len(children)
        own *= 15 ** sum(len(bound.intersection(tags(child))) > 1 for child in children)
        loops = len(here - {PINNED}) + (tag in (MEAN, SINGLE) and kind != "dot")
        return own * num_examples**loops + sum(visit(child, bound, False) for child in children)

    return visit(plan, frozenset({PINNED}), True)
