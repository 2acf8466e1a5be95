"""One diagram's resummed curve: its embeddings step by step, as the training runs, with tensors instead of numbers.

A state holds an array with an axis for each open edge (a deviation on its way to a parent that is not placed yet), one
over the examples for each part that is placed in part (a cumulant is a mean over examples of centred tensors), and, for
an order that repeats, one for the column of each row. A step advances every open edge; a node that is placed takes up the
axes of its children and opens its own.
"""

from typing import NamedTuple

import numpy as np

from gradnoise.diagrams.diagram import Diagram
from gradnoise.predict.resummed.derivatives import DerivativeTensors
from gradnoise.predict.resummed.propagator import Propagator
from gradnoise.predict.resummed.schedule_moves import EMPTY, Move, Run, State, runs
from gradnoise.spacetime import Spacetime

Label = tuple[str, int]
"""What an axis is: ("edge", node), ("example", part) or ("column", row)."""


class Labelled(NamedTuple):
    """An array and a label for each axis."""

    array: np.ndarray
    labels: tuple[Label, ...]


def embedding_sum(
    diagram: Diagram, spacetime: Spacetime, edge: Propagator, tensors: DerivativeTensors, root: np.ndarray | None
) -> np.ndarray:
    """(1/|Aut|) B^-d sum over embeddings of the diagram with resummed edges, after every step.

    `root`: the tensor of the mean at the root, (T + 1,) comes out; for a tied root its deviations, examples first; None
    cuts a root of one child off, (T + 1, P) comes out. Parts hold up to three nodes, root included. The gap's -1/N is not
    included.

    Source: diagrams.md section 1 (theorem) and section 3 (rule).
    """
    walk = _Walk(diagram, edge, tensors, root)
    if not all(np.any(node.array) for node in walk.nodes.values()):
        return np.zeros((spacetime.num_steps + 1, *(() if root is not None else (tensors.num_weights,))))
    total = sum(run.factor * walk.curve(run, spacetime.num_steps) for run in runs(diagram.detach_root(), spacetime))
    return np.asarray(total) / (float(spacetime.batch_size) ** diagram.order * diagram.num_automorphisms)


class _Walk:
    """What the nodes of a diagram are worth, and how a run takes them up."""

    def __init__(self, diagram: Diagram, edge: Propagator, tensors: DerivativeTensors, root: np.ndarray | None) -> None:
        self.diagram, self.edge = diagram, edge
        self.parts = {number: set(part) for number, part in enumerate(diagram.parts) if len(part) > 1}
        self.part_of = {node: number for number, part in self.parts.items() for node in part}
        self.weights = np.eye(edge.push.shape[1], len(edge.advance))
        self.nodes = {node: self._node(node, tensors) for node in range(diagram.order)}
        self.root = None if root is None else self._root(root)

    def curve(self, run: Run, num_steps: int) -> np.ndarray:
        """The sum over embeddings within the first t steps, t = 0, 1, ..."""
        labels = tuple(("column", row) for row in run.rows if run.columns)
        states = {EMPTY: Labelled(np.ones((run.columns,) * len(labels)), labels)}
        found = [self._final(states)]
        for step in range(num_steps):
            if step % run.period == 0:
                states = _forget_rows(states)
            states = self._moved(states, run, step % run.period)
            found.append(self._final(states))
        return np.array(found)

    def _moved(self, states: dict[State, Labelled], run: Run, column: int) -> dict[State, Labelled]:
        after: dict[State, Labelled] = {}
        for state, value in states.items():
            for move in run.moves[state]:
                _add(after, move.target, self._placed(value, state[0] | set(move.nodes), move, column))
        return after

    def _placed(self, value: Labelled, placed: frozenset[int], move: Move, column: int) -> Labelled:
        taken = {child for node in move.nodes for child in self.diagram.children(node)}
        value = Labelled(value.array * move.ways, value.labels)
        for kind, number in value.labels:
            if kind == "column" and number in move.rows:
                value = _only(value, (kind, number), column)
            elif kind == "edge":
                value = _along(value, (kind, number), self.weights if number in taken else self.edge.advance)
        for node in move.nodes:
            value = _contracted(value, self.nodes[node])
        open_parts = [number for kind, number in value.labels if kind == "example"]
        return _averaged(value, [("example", number) for number in open_parts if self.parts[number] <= placed])

    def _node(self, node: int, tensors: DerivativeTensors) -> Labelled:
        """The node's tensor, its own axis pushed: examples if tied, children, own."""
        own = tuple(("edge", each) for each in (*self.diagram.children(node), node))
        if node in self.part_of:
            return Labelled(tensors.noise(len(own)) @ self.edge.push.T, (("example", self.part_of[node]), *own))
        return Labelled(tensors.mean(len(own)) @ self.edge.push.T, own)

    def _root(self, root: np.ndarray) -> Labelled:
        labels = tuple(("edge", child) for child in self.diagram.children(self.diagram.root))
        tied = self.part_of.get(self.diagram.root)
        return Labelled(root, labels if tied is None else (("example", tied), *labels))

    def _final(self, states: dict[State, Labelled]) -> np.ndarray:
        """All nodes placed, the root's children read and contracted with it, columns summed, the tied part averaged."""
        total = np.zeros(self.edge.push.shape[1] if self.root is None else ())
        for (placed, _), value in states.items():
            if len(placed) == self.diagram.order:
                for label in [label for label in value.labels if label[0] == "edge"]:
                    value = _along(value, label, self.weights)
                if self.root is not None:
                    value = _contracted(value, self.root)
                value = _averaged(value, [label for label in value.labels if label[0] == "example"])
                columns = tuple(axis for axis, label in enumerate(value.labels) if label[0] == "column")
                total = total + value.array.sum(axis=columns)
        return total


def _forget_rows(states: dict[State, Labelled]) -> dict[State, Labelled]:
    after: dict[State, Labelled] = {}
    for (placed, _), value in states.items():
        _add(after, (placed, frozenset()), value)
    return after


def _add(states: dict[State, Labelled], state: State, value: Labelled) -> None:
    there = states.get(state)
    if there is not None:
        order = [value.labels.index(label) for label in there.labels]
        value = Labelled(there.array + value.array.transpose(order), there.labels)
    states[state] = value


def _contracted(value: Labelled, factor: Labelled) -> Labelled:
    """The product, summed over the edges that both have; an example axis that both have stays."""
    number = {label: place for place, label in enumerate(dict.fromkeys((*value.labels, *factor.labels)))}
    both = set(value.labels) & set(factor.labels)
    kept = tuple(label for label in number if label not in both or label[0] == "example")
    numbers = lambda labels: [number[label] for label in labels]  # noqa: E731
    operands = value.array, numbers(value.labels), factor.array, numbers(factor.labels), numbers(kept)
    return Labelled(np.einsum(*operands), kept)  # pyright: ignore[reportArgumentType, reportCallIssue]


def _along(value: Labelled, label: Label, matrix: np.ndarray) -> Labelled:
    """The matrix applied to one axis."""
    axis, last = value.labels.index(label), len(value.labels)
    axes = list(range(last))
    after = [last if each == axis else each for each in axes]
    return Labelled(np.einsum(value.array, axes, matrix, [last, axis], after), value.labels)  # pyright: ignore


def _only(value: Labelled, label: Label, place: int) -> Labelled:
    """Zero but at one place of an axis."""
    axis = value.labels.index(label)
    here = np.arange(value.array.shape[axis]) == place
    return Labelled(value.array * here.reshape(-1, *[1] * (value.array.ndim - axis - 1)), value.labels)


def _averaged(value: Labelled, labels: list[Label]) -> Labelled:
    if not labels:
        return value
    axes = tuple(value.labels.index(label) for label in labels)
    return Labelled(value.array.mean(axis=axes), tuple(label for label in value.labels if label not in labels))
