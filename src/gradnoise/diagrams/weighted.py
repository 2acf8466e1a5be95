"""Weighted sums over embeddings, step by step: for momentum, dampening and learning-rate schedules.

The sum runs over the steps as the training does, with one number for each state of `transfer`. All weights are sums
of products of the optimizer's own factors: exact in integers, stable in floats.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from math import lcm, prod
from typing import Any

from gradnoise.diagrams.diagram import Diagram
from gradnoise.diagrams.embeddings import Grid, cells, falling, grid_of
from gradnoise.diagrams.filters import LinearFilter, Update
from gradnoise.diagrams.patterns import row_merges, tied_parts
from gradnoise.diagrams.transfer import Move, Transfer, transfer
from gradnoise.spacetime import Spacetime


def weighted_embeddings(
    diagram: Diagram,
    spacetime: Spacetime,
    optimizer: LinearFilter,
    ones: Callable[[tuple[int, ...]], Any],
) -> Iterator[tuple[Any, int]]:
    """sum over embeddings of the product of edge factors, after t = 0, 1, ..., T updates, as (sum, scale): sum / scale.

    `ones(shape)` makes an array of ones (called with the columns an epoch, once for each tied part, if the sampling is
    "fixed"; else not needed). With Fractions in `optimizer` the sums are exact integers over a common scale; with
    floats the scale is 1. Not divided by automorphisms.
    """
    grid = grid_of(spacetime)
    if spacetime.sampling == "fixed":
        shape = (spacetime.steps_per_epoch,) * len(tied_parts(diagram))
        rows = {node: row for row, part in enumerate(tied_parts(diagram)) for node in part}
        start = ones(shape) if shape else 1
        runs = [_run(diagram, rows, spacetime, optimizer, start, grid.batch_size ** len(shape))]
    else:
        runs = [
            _run(diagram, rows, spacetime, optimizer, 1, falling(grid.num_examples, num_rows))
            for num_rows, rows in row_merges(diagram)
            if num_rows <= spacetime.num_examples
        ]
    for results in zip(*runs, strict=True):
        yield _added(results)


def num_operations(diagram: Diagram, spacetime: Spacetime, optimizer: LinearFilter) -> int:
    """Multiplications that `weighted_embeddings` needs, about."""
    table = _table(
        diagram, optimizer, {node: row for _, rows in row_merges(diagram) for node, row in rows.items()}, False
    )
    columns = spacetime.steps_per_epoch if spacetime.sampling == "fixed" else 1
    return spacetime.num_steps * len(table.moves) * columns ** len(tied_parts(diagram))


def _added(results: tuple[tuple[Any, int], ...]) -> tuple[Any, int]:
    scale = lcm(*(own for _, own in results))
    return sum(total * (scale // own) if own != scale else total for total, own in results), scale


def _run(
    diagram: Diagram, rows: dict[int, int], spacetime: Spacetime, optimizer: LinearFilter, start: Any, factor: Any
) -> Iterator[tuple[Any, int]]:
    """One choice of which tied parts look at the same row."""
    table = _table(diagram, optimizer, rows, spacetime.sampling == "reshuffle")
    grid, is_fixed, exact = grid_of(spacetime), spacetime.sampling == "fixed", optimizer.is_exact
    period = spacetime.steps_per_epoch if spacetime.has_epochs else 1

    @cache
    def weights(update: Update) -> tuple[list[Any], int]:
        found = [_weight(move, update, spacetime.sampling, grid) for move in table.moves]
        return _cleared(found) if exact else (list(map(float, found)), 1)

    first = start * factor.numerator if exact else start * float(factor)
    values: list[Any] = [first, *[None] * (len(table.reset) - 1)]
    scale = 1
    yield _final(values, table), scale
    for step in range(spacetime.num_steps):
        if step % period == 0:
            values = _merged(values, table.reset)
        numbers, common = weights(optimizer.update(step))
        values = _moved(values, table, numbers, step % period if is_fixed else None)
        scale *= common
        yield _final(values, table), scale


def _weight(move: Move, update: Update, sampling: str, grid: Grid) -> Any:
    """Cells that the placed nodes can take, times the optimizer's factors."""
    factor = prod((own**power for own, power in zip(update, move.powers, strict=True) if power), start=Fraction(1))
    factor = factor * grid.batch_size**move.num_untied
    counts = tuple(sorted(count for _, count in move.rows))
    if sampling == "fixed" or not counts:
        return factor
    if sampling == "reshuffle":
        free = grid.num_examples - move.used
        return factor * falling(grid.batch_size, len(counts)) / falling(free, len(counts))
    return factor * cells((counts,), sampling, grid)


def _cleared(weights: list[Any]) -> tuple[list[Any], int]:
    """Fractions as integers over their common denominator."""
    common = lcm(*(Fraction(weight).denominator for weight in weights))
    return [int(weight * common) for weight in weights], common


def _moved(values: list[Any], table: Transfer, weights: list[Any], column: int | None) -> list[Any]:
    """The states after a step; with `column` a tied part is looked at only where its own column is this one."""
    after: list[Any] = [None] * len(values)
    for move, weight in zip(table.moves, weights, strict=True):
        value = values[move.source]
        if value is None or weight == 0:
            continue
        if column is None or not move.rows:
            gain = value * weight
            after[move.target] = gain if after[move.target] is None else after[move.target] + gain
            continue
        placed = {row for row, _ in move.rows}
        index = tuple(column if axis in placed else slice(None) for axis in range(value.ndim))
        if after[move.target] is None:
            after[move.target] = value * 0
        after[move.target][index] += value[index] * weight
    return after


def _merged(values: list[Any], reset: tuple[int, ...]) -> list[Any]:
    after: list[Any] = [None] * len(values)
    for state, value in enumerate(values):
        if value is not None:
            target = reset[state]
            after[target] = value if after[target] is None else after[target] + value
    return after


def _final(values: list[Any], table: Transfer) -> Any:
    found = [values[state] for state in table.final if values[state] is not None]
    return sum(value.sum() if hasattr(value, "sum") else value for value in found)


def _table(diagram: Diagram, optimizer: LinearFilter, rows: dict[int, int], has_memory: bool) -> Transfer:
    return transfer(
        diagram, tuple(sorted(rows.items())), optimizer.momentum != 0, optimizer.hessian_damping != 0, has_memory
    )
