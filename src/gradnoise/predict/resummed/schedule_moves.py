"""In how many ways each step of a schedule takes up nodes of a half-built diagram, whatever the nodes are worth.

A state is (nodes placed, rows in use this epoch). Children come before their parents, several nodes may come at one step.
"""

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import NamedTuple

from gradnoise.diagrams.diagram import Diagram
from gradnoise.diagrams.embeddings import cells, falling, grid_of
from gradnoise.diagrams.patterns import row_merges, tied_parts
from gradnoise.spacetime import Spacetime

State = tuple[frozenset[int], frozenset[int]]
EMPTY: State = (frozenset(), frozenset())


class Move(NamedTuple):
    """The nodes placed in a step, the rows they look at, the state after it, and how many cells they can take."""

    nodes: tuple[int, ...]
    rows: frozenset[int]
    target: State
    ways: float


class Run(NamedTuple):
    """One choice of which tied parts share an example: the moves from each state, and what all ways are multiplied by.

    `columns`: places in an epoch that a row can have, where a sum for each is kept ("fixed", several epochs); else 0.
    `period`: steps after which rows may be used again.
    """

    moves: dict[State, tuple[Move, ...]]
    rows: tuple[int, ...]
    factor: float
    columns: int
    period: int


def runs(diagram: Diagram, spacetime: Spacetime) -> Iterator[Run]:
    """The choices for a diagram with its root alone, in the free convention: parts share a row or not.

    Within one epoch a row occurs once, so that a part is placed at one step, in B ways.

    Source: diagrams.md sections 1 and 2.5.
    """
    grid, parts = grid_of(spacetime), tied_parts(diagram)
    apart = {node: row for row, part in enumerate(parts) for node in part}
    batch = float(spacetime.batch_size)
    if spacetime.has_epochs and spacetime.num_steps <= spacetime.steps_per_epoch:
        yield _run(diagram, spacetime, apart, _whole_parts(parts, batch), 1.0, keep=False)
    elif spacetime.sampling == "fixed":
        yield _run(diagram, spacetime, apart, lambda counts, used: 1.0, batch ** len(parts), keep=False)
    else:
        for num_rows, row_of in row_merges(diagram):
            if num_rows <= spacetime.num_examples:
                factor = float(falling(grid.num_examples, num_rows))
                keep = spacetime.sampling == "reshuffle"
                yield _run(diagram, spacetime, row_of, _drawn(spacetime), factor, keep)


Ways = Callable[[dict[int, int], int], float]
"""(row -> nodes at it, rows used before in this epoch) -> mean number of cells, or probability, of finding them there."""


def _whole_parts(parts: list[tuple[int, ...]], batch_size: float) -> Ways:
    def ways(counts: dict[int, int], used: int) -> float:
        return batch_size ** len(counts) if all(count == len(parts[row]) for row, count in counts.items()) else 0.0

    return ways


def _drawn(spacetime: Spacetime) -> Ways:
    grid = grid_of(spacetime)

    def ways(counts: dict[int, int], used: int) -> float:
        if spacetime.sampling == "reshuffle":
            free = grid.num_examples - used
            return float(falling(grid.batch_size, len(counts)) / falling(free, len(counts))) if counts else 1.0
        return float(cells((tuple(sorted(counts.values())),), spacetime.sampling, grid)) if counts else 1.0

    return ways


def _run(diagram: Diagram, spacetime: Spacetime, row_of: dict[int, int], ways: Ways, factor: float, keep: bool) -> Run:
    several = spacetime.has_epochs and spacetime.num_steps > spacetime.steps_per_epoch
    columns = spacetime.steps_per_epoch if several and spacetime.sampling == "fixed" else 0
    period = spacetime.steps_per_epoch if spacetime.has_epochs else 1
    moves = _finishing(_moves(diagram, float(spacetime.batch_size), row_of, ways, keep), diagram.order)
    return Run(moves, tuple(sorted(set(row_of.values()))), factor, columns, period)


def _moves(
    diagram: Diagram, batch_size: float, row_of: dict[int, int], ways: Ways, keep: bool
) -> dict[State, tuple[Move, ...]]:
    """Every state that can be reached, with its moves; `keep`: a row is used once an epoch."""
    found: dict[State, tuple[Move, ...]] = {}
    waiting = [EMPTY]
    while waiting:
        state = waiting.pop()
        if state in found:
            continue
        placed, used = state
        moves = []
        for nodes in _next_nodes(diagram, placed):
            looked = [row_of[node] for node in nodes if node in row_of]
            is_spent = keep and not used.isdisjoint(looked)
            own = 0.0 if is_spent else ways({row: looked.count(row) for row in looked}, len(used))
            if own:
                after = (placed.union(nodes), used.union(looked) if keep else used)
                moves.append(Move(nodes, frozenset(looked), after, own * batch_size ** (len(nodes) - len(looked))))
        found[state] = tuple(moves)
        waiting += [move.target for move in moves]
        waiting.append((placed, frozenset()))
    return found


def _finishing(moves: dict[State, tuple[Move, ...]], order: int) -> dict[State, tuple[Move, ...]]:
    """Only the moves to states from which all nodes can still be placed, perhaps in a later epoch."""
    alive = {state for state in moves if len(state[0]) == order}
    while True:
        more = {
            state
            for state, own in moves.items()
            if state not in alive and ((state[0], frozenset()) in alive or any(move.target in alive for move in own))
        }
        if not more:
            break
        alive |= more
    return {state: tuple(move for move in own if move.target in alive) for state, own in moves.items()}


def _next_nodes(diagram: Diagram, placed: frozenset[int]) -> Iterator[tuple[int, ...]]:
    """Sets of nodes whose children all stand in the past, the empty set first."""
    ready = [node for node in range(diagram.order) if node not in placed and placed.issuperset(diagram.children(node))]
    for size in range(len(ready) + 1):
        yield from combinations(ready, size)
