"""The states that a half-built embedding can be in between two updates, and the moves between them.

A state says, for each node, whether it has been placed and where its gradient is now: in the momentum buffer, in the
weights, or taken up by its parent. One update is a linear map on the states; `weighted` runs it step by step.
"""

from collections.abc import Iterator
from functools import cache
from itertools import combinations
from typing import NamedTuple

from gradnoise.diagrams.diagram import Diagram

ABSENT, BUFFER, WEIGHTS, TAKEN, FRESH = range(5)
"""A node not placed; its gradient in the momentum buffer; in the weights; used by its parent; placed in this step."""

Status = tuple[int, ...]


class Move(NamedTuple):
    """A way from state `source` to state `target` in a step: rows looked at, powers of Update's factors."""

    source: int
    target: int
    num_untied: int
    rows: tuple[tuple[int, int], ...]
    used: int
    powers: tuple[int, ...]


class Transfer(NamedTuple):
    """All moves of a diagram; states 0 (nothing placed) and on. `final`: all placed and in the weights.

    `reset[s]`: state s at the start of an epoch, when every row may be looked at again.
    """

    moves: tuple[Move, ...]
    final: frozenset[int]
    reset: tuple[int, ...]


@cache
def transfer(
    diagram: Diagram, rows: tuple[tuple[int, int], ...], buffered: bool, damped: bool, has_memory: bool
) -> Transfer:
    """The states that can be reached and the moves between them; `has_memory`: a row is used once an epoch."""
    row_of = dict(rows)
    start: tuple[Status, frozenset[int]] = ((ABSENT,) * diagram.order, frozenset())
    number, queue, moves = {start: 0}, [start], []
    for status, used in queue:
        known = (status, frozenset())
        if known not in number:
            number[known] = len(number)
            queue.append(known)
        for nodes in _placements(diagram, status, damped):
            looked = [row_of[node] for node in nodes if node in row_of]
            if has_memory and used.intersection(looked):
                continue
            counts = tuple(sorted((row, looked.count(row)) for row in set(looked)))
            memory = used.union(looked) if has_memory else used
            for target, powers in _outcomes(diagram, status, nodes, buffered):
                if (target, memory) not in number:
                    number[target, memory] = len(number)
                    queue.append((target, memory))
                here, there = number[status, used], number[target, memory]
                moves.append(Move(here, there, len(nodes) - len(looked), counts, len(used), powers))
    wanted = tuple(WEIGHTS if parent == diagram.root else TAKEN for parent in diagram.parents)
    final = frozenset(index for (status, _), index in number.items() if status == wanted)
    return Transfer(tuple(moves), final, tuple(number[status, frozenset()] for status, _ in number))


def _placements(diagram: Diagram, status: Status, damped: bool) -> Iterator[tuple[int, ...]]:
    """Sets of nodes that may be placed now: their children act already, or one of them is placed along (`damped`)."""
    absent = [node for node in range(diagram.order) if status[node] == ABSENT]
    for size in range(len(absent) + 1):
        for chosen in combinations(absent, size):
            waiting = [[child for child in diagram.children(node) if status[child] != WEIGHTS] for node in chosen]
            if all(not own or (damped and len(own) == 1 and own[0] in chosen) for own in waiting):
                yield chosen


def _outcomes(
    diagram: Diagram, status: Status, placed: tuple[int, ...], buffered: bool
) -> Iterator[tuple[Status, tuple[int, ...]]]:
    """The states after placing nodes and updating the weights, with the powers of Update's factors."""
    now = [FRESH if node in placed else own for node, own in enumerate(status)]
    inside = sum(diagram.parents[node] in placed for node in placed)
    for node in range(diagram.order):
        if diagram.parents[node] in placed:
            now[node] = TAKEN
    found: list[tuple[Status, tuple[int, ...]]] = [((), (0, 0, 0, 0, inside))]
    for own in now:
        ways = {BUFFER: [(BUFFER, 0), (WEIGHTS, 1)], FRESH: [(BUFFER, 2), (WEIGHTS, 3)]}.get(own, [(own, None)])
        if not buffered:
            ways = [way for way in ways if way[0] != BUFFER]
        found = [((*states, new), _raised(powers, which)) for states, powers in found for new, which in ways]
    yield from found


def _raised(powers: tuple[int, ...], which: int | None) -> tuple[int, ...]:
    return powers if which is None else tuple(power + (index == which) for index, power in enumerate(powers))
