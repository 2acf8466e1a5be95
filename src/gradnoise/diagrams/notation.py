"""The written form of a diagram, "(01-2)(02-12)": parts of the nodes, then edges child-parent."""

import re
from collections.abc import Sequence

from gradnoise.diagrams.symmetry import Parts

_EXAMPLE = 'Write parts, then edges child-parent, such as "(01-2)(02-12)".'


def format_diagram(parents: Sequence[int], parts: Parts) -> str:
    """Parts separated by "-", then edges child-parent separated by "-".

    >>> format_diagram((2, 2), ((0, 1), (2,)))
    '(01-2)(02-12)'
    """
    told_parts = "-".join("".join(map(str, part)) for part in parts)
    told_edges = "-".join(f"{child}{parent}" for child, parent in enumerate(parents))
    return f"({told_parts})({told_edges})"


def parse_diagram(text: str) -> tuple[tuple[int, ...], Parts]:
    """(parents, parts) of a written diagram; ValueError, in one sentence, if it is none.

    >>> parse_diagram("(0-1-2)(01-12)")
    ((1, 2), ((0,), (1,), (2,)))
    """
    if not isinstance(text, str):
        raise TypeError(f"a diagram is written as a string, and {text!r} is of type {type(text).__name__}. {_EXAMPLE}")
    brackets = re.fullmatch(r"\s*\(([^()]*)\)\s*\(([^()]*)\)\s*", text)
    if brackets is None:
        raise ValueError(f"{text!r} is not two brackets, parts and edges. {_EXAMPLE}")
    parts = _read_parts(text, brackets[1])
    return _read_edges(text, brackets[2], sum(map(len, parts))), parts


def _read_parts(text: str, inside: str) -> Parts:
    words = inside.split("-")
    for word in words:
        if not re.fullmatch(r"[0-9]+", word):
            raise ValueError(f"{text!r}: part {word!r} is not a run of digits, one a node. {_EXAMPLE}")
    nodes = [int(digit) for word in words for digit in word]
    for node in nodes:
        if nodes.count(node) > 1:
            raise ValueError(f"{text!r}: node {node} is listed twice. Put each node into one part.")
    missing = sorted(set(range(max(nodes))) - set(nodes))
    if missing:
        raise ValueError(
            f"{text!r}: node {missing[0]} is missing. Put each of the nodes 0..{max(nodes)} into one part."
        )
    return tuple(sorted(tuple(sorted(map(int, word))) for word in words))


def _read_edges(text: str, inside: str, num_nodes: int) -> tuple[int, ...]:
    root, parent_of = num_nodes - 1, dict[int, int]()
    for word in inside.split("-") if inside else []:
        if not re.fullmatch(r"[0-9]{2}", word):
            raise ValueError(f"{text!r}: edge {word!r} is not two digits, child and parent. {_EXAMPLE}")
        child, parent = map(int, word)
        if max(child, parent) > root:
            raise ValueError(f"{text!r}: edge {word} names node {max(child, parent)}, and no part has it. {_EXAMPLE}")
        if child == root:
            raise ValueError(f"{text!r}: edge {word} makes the root {root} a child. Number the root last.")
        if child in parent_of:
            raise ValueError(f"{text!r}: node {child} has two parents. Give each node but the root one edge.")
        parent_of[child] = parent
    for node in range(root):
        if node not in parent_of:
            raise ValueError(f"{text!r}: node {node} has no edge to a parent. Give each node but the root {root} one.")
    check_tree(tuple(parent_of[node] for node in range(root)), repr(text))
    return tuple(parent_of[node] for node in range(root))


def check_tree(parents: Sequence[int], name: str) -> None:
    """Raise ValueError unless every node reaches the root, the last node, along `parents`."""
    root = len(parents)
    for start in range(root):
        node = start
        for _ in range(root):
            node = parents[node] if node != root else root
        if node != root:
            raise ValueError(
                f"{name}: the edges run in a circle from node {start}. Let all edges lead to the root {root}."
            )
