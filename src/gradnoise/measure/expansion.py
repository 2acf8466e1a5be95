"""From diagrams to the labelled trees whose contractions are measured, and what one example changes in them.

A tree with one tag a node stands for R(tags): blocks are averages over one example, MEAN nodes are means, and only
nodes of degree one (gradients) are centred in their block, since centring a gradient is free. All else follows from
R by exact integer combinations.
"""

from collections import Counter
from collections.abc import Mapping
from itertools import chain, combinations
from typing import Any

from gradnoise.measure import branches
from gradnoise.measure.branches import MEAN, PINNED, SINGLE, Branch
from gradnoise.measure.cumulants import Partition

Tags = tuple[Any, ...]
"""One tag a node: MEAN or a block number from 1 on."""


def degrees(parents: tuple[int, ...]) -> list[int]:
    """Edges at each node; the root is the last node."""
    root = len(parents)
    return [(u != root) + parents.count(u) for u in range(root + 1)]


def centred_moment(parents: tuple[int, ...], tau: Partition) -> Counter[Tags]:
    """The moment M(tau), every node of a block centred, as a combination of R: prod (f - mean) multiplied out.

    >>> centred_moment((1, 2), ((0,), (1, 2)))                  # chain 0 > 1 > 2, nodes 1 and 2 tied
    Counter({(None, 2, 2): 1})
    """
    degree = degrees(parents)
    blocks = [block for block in tau if len(block) > 1]
    inner = [u for block in blocks for u in block if degree[u] > 1]
    result: Counter[Tags] = Counter()
    for means in chain.from_iterable(combinations(inner, k) for k in range(len(inner) + 1)):
        tags = _tags(degree, [tuple(u for u in block if u not in means) for block in blocks])
        if tags is not None:
            result[tags] += (-1) ** len(means)
    return Counter({tags: count for tags, count in result.items() if count})


def influence(parents: tuple[int, ...], tags: Tags) -> dict[Tags, int]:
    """What one example i adds to R(tags), up to a constant: tags with something pinned -> weight.

    The derivative of R in the weight of example i: each block (PINNED) and each mean node (SINGLE) at example i, less
    the shift of the mean that centres a gradient of a block.
    """
    degree = degrees(parents)
    result: Counter[Tags] = Counter()
    numbers = sorted({t for t in tags if t is not MEAN})
    for number in numbers:
        result[tuple(PINNED if t == number else t for t in tags)] += 1
    for u, tag in enumerate(tags):
        if tag is MEAN:
            result[_replace(tags, u, SINGLE)] += 1
        elif degree[u] == 1:
            rest = [w for w, other in enumerate(tags) if other == tag and w != u]
            if len(rest) > 1:
                result[_replace(tags, u, SINGLE)] -= 1
            elif degree[rest[0]] > 1:
                result[_replace(_replace(tags, u, SINGLE), rest[0], MEAN)] -= 1
    return dict(result)


def labelled_tree(parents: tuple[int, ...], kinds: tuple[str, ...], tags: Tags) -> Branch:
    """The tree as a branch at a root chosen by content, so that equal contractions are equal keys."""
    return branches.unrooted(branches.rooted_branch(parents, kinds, tags))


def combine(terms: Mapping[Tags, Any], parents: tuple[int, ...], kinds: tuple[str, ...]) -> dict[Branch, float]:
    """The same combination by labelled tree, in floats."""
    result: dict[Branch, float] = {}
    for tags, weight in terms.items():
        tree = labelled_tree(parents, kinds, tags)
        result[tree] = result.get(tree, 0.0) + float(weight)
    return result


def _tags(degree: list[int], blocks: list[tuple[int, ...]]) -> Tags | None:
    """Tags of what is left of the blocks; None where a centred gradient is left alone (its average is zero)."""
    tags: list[Any] = [MEAN] * len(degree)
    for block in blocks:
        if len(block) == 1 and degree[block[0]] == 1:
            return None
        for u in block if len(block) > 1 else ():
            tags[u] = 1 + min(block)
    return tuple(tags)


def _replace(tags: Tags, node: int, tag: Any) -> Tags:
    return (*tags[:node], tag, *tags[node + 1 :])
