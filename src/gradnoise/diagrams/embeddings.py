"""W(D), the number of ways to put a diagram's nodes onto the grid, without walking through them.

A pattern (which nodes share an epoch, a column; what comes first) stands for a product of binomials in the sizes of
the grid; so the work does not grow with the number of examples or epochs. Sizes may be Fractions, sympy symbols, or
arrays of floats: one function gives exact counts, formulas, and whole curves.
"""

from collections import Counter
from fractions import Fraction
from functools import cache
from itertools import product
from math import comb, factorial, prod
from typing import Any, NamedTuple

from gradnoise.diagrams.diagram import Diagram
from gradnoise.diagrams.patterns import Level, Shape, fixed_patterns, random_patterns, same_step_sets, tied_parts
from gradnoise.spacetime import Spacetime, require_spacetime

Number = Any
"""A Fraction, a sympy expression or a numpy array of floats: closed under + - * and / by an integer."""


class Grid(NamedTuple):
    """The sizes that a count depends on: N, B, columns an epoch, whole epochs, columns of the unfinished epoch.

    Sampling without epochs draws each step afresh: there an epoch is one step, of one column.
    """

    num_examples: Number
    batch_size: Number
    columns: Number
    full_epochs: Number
    cut_columns: Number


def embedding_count(diagram: Diagram, spacetime: Spacetime) -> Fraction:
    """W(D) = (embeddings of the non-root nodes) / |Aut D|, its mean over schedules if the sampling is random.

    An embedding sends nodes to cells, children to earlier steps than their parents; nodes of one part look at the same
    row, different parts are unrestricted (free convention, which goes with cumulant values). Exact on any grid, whole
    epochs or not, in time that does not depend on its size. Raises ValueError if the root is tied, TypeError for
    anything but a diagram and a spacetime.

    >>> grid = Spacetime(num_examples=4, batch_size=1, epochs=2)
    >>> embedding_count(Diagram.parse("(01-2)(01-12)"), grid)      # C01: N E(E-1)/2
    Fraction(4, 1)
    >>> embedding_count(Diagram.parse("(02-1-3)(01-12-23)"), grid.truncate(6))
    Fraction(6, 1)

    Source: diagrams.md sections 1, 2.4 (unfinished epochs) and 2.5 (other sampling).
    """
    check_diagram(diagram)
    if diagram.is_root_tied:
        raise ValueError(f"the root of {str(diagram)!r} is tied, expected alone. Count diagram.detach_root() instead.")
    grid = grid_of(spacetime)
    return Fraction(num_embeddings(diagram, spacetime.sampling, grid)) / diagram.num_automorphisms


def check_diagram(diagram: Any) -> None:
    """Raise TypeError unless `diagram` is one."""
    if not isinstance(diagram, Diagram):
        raise TypeError(
            f"diagram={diagram!r} is of type {type(diagram).__name__}, expected a Diagram. "
            'Give Diagram.parse("(01-2)(02-12)"), say.'
        )


def grid_of(spacetime: Spacetime) -> Grid:
    """The sizes of a spacetime's grid, exact."""
    require_spacetime(spacetime)
    examples, batch = Fraction(spacetime.num_examples), Fraction(spacetime.batch_size)
    if not spacetime.has_epochs:
        return Grid(examples, batch, Fraction(1), Fraction(spacetime.num_steps), Fraction(0))
    cut = Fraction(spacetime.remaining_steps)
    return Grid(examples, batch, Fraction(spacetime.steps_per_epoch), Fraction(spacetime.full_epochs), cut)


def num_embeddings(diagram: Diagram, sampling: str, grid: Grid, hessian_damping: Number = 0) -> Number:
    """Embeddings of the non-root nodes, not divided by automorphisms; the root's part does not matter.

    Each edge inside a step (hessian-damped updates only, diagrams.md section 4.4) carries a factor hessian_damping.
    """
    count = _fixed_count if sampling == "fixed" else _random_count
    total = 0
    for same in same_step_sets(diagram):
        if not same:
            total = total + count(diagram, same, grid, sampling)
        elif hessian_damping != 0:
            total = total + hessian_damping ** len(same) * count(diagram, same, grid, sampling)
    return total


def _fixed_count(diagram: Diagram, same: frozenset[int], grid: Grid, _: str) -> Number:
    """sum over patterns of C(full epochs, j) C(tau, k) B^parts, and C(r, i) C(tau-r, k) with an unfinished epoch."""
    inside, beyond = grid.cut_columns, grid.columns - grid.cut_columns
    total = 0
    for pattern, ways in fixed_patterns(diagram, same).items():
        wide = binomial(beyond if pattern.cut else grid.columns, pattern.high)
        total = total + ways * binomial(grid.full_epochs, pattern.num_epochs) * wide * binomial(inside, pattern.low)
    num_parts = num_untied(diagram) + len(tied_parts(diagram))
    return total * grid.batch_size**num_parts


def _random_count(diagram: Diagram, same: frozenset[int], grid: Grid, sampling: str) -> Number:
    """sum over patterns of (N)_rows C(full epochs, j) prod over epochs of (sum over columns of probabilities)."""

    patterns = {p: ways for p, ways in random_patterns(diagram, same).items() if not p.num_rows > grid.num_examples}
    whole = {
        shape: _epoch_ways(shape, grid.columns, sampling, grid) for shape in {s for p in patterns for s in p.epochs}
    }
    cut = {
        shape: _epoch_ways(shape, grid.cut_columns, sampling, grid)
        for shape in {p.cut for p in patterns if p.cut is not None}
    }
    total = 0
    for pattern, ways in patterns.items():
        term = ways * falling(grid.num_examples, pattern.num_rows) * binomial(grid.full_epochs, len(pattern.epochs))
        term = term * prod(whole[shape] for shape in pattern.epochs)
        total = total + (term if pattern.cut is None else term * cut[pattern.cut])
    return total * grid.batch_size ** num_untied(diagram)


def _epoch_ways(shape: Shape, columns: Number, sampling: str, grid: Grid) -> Number:
    return sum(ways * binomial(columns, len(levels)) * cells(levels, sampling, grid) for levels, ways in shape)


def num_untied(diagram: Diagram) -> int:
    """Non-root nodes that are alone in their part, or alone with the root."""
    return diagram.order - sum(map(len, tied_parts(diagram)))


def cells(levels: tuple[Level, ...], sampling: str, grid: Grid) -> Number:
    """Mean number of ways to find given rows in given columns of one epoch.

    Distinct examples: prod_columns (B)_q / (N)_{sum q} for q rows in a column. Draws with replacement, one column:
    E prod_r m_r^{k_r} for k_r nodes at row r, the m_r multinomial: sum over Stirling numbers of (B)_j / N^j.
    """
    if sampling == "with_replacement":
        return sum(
            ways * falling(grid.batch_size, draws) / grid.num_examples**draws
            for draws, ways in _draw_counts(levels[0] if levels else ()).items()
        )
    num_rows = sum(map(len, levels))
    found = prod((falling(grid.batch_size, len(level)) for level in levels), start=1)
    return found / falling(grid.num_examples, num_rows) if num_rows else found


@cache
def _draw_counts(level: Level) -> Counter[int]:
    """In how many ways k_r nodes fall on distinct draws, for each row r: by number of draws in all."""
    found: Counter[int] = Counter()
    for draws in product(*(range(1, nodes + 1) for nodes in level)):
        found[sum(draws)] += prod(stirling(nodes, own) for nodes, own in zip(level, draws, strict=True))
    return found


def stirling(size: int, blocks: int) -> int:
    """Partitions of `size` things into `blocks` blocks.

    >>> [stirling(4, k) for k in range(1, 5)]
    [1, 7, 6, 1]
    """
    signed = sum((-1) ** (blocks - j) * comb(blocks, j) * j**size for j in range(blocks + 1))
    return signed // factorial(blocks)


def falling(number: Number, length: int) -> Number:
    """number (number - 1) ... (number - length + 1)."""
    return prod((number - i for i in range(1, length)), start=number) if length else 1


def binomial(number: Number, size: int) -> Number:
    """number choose size, for any kind of number."""
    return falling(number, size) / factorial(size) if size > 1 else falling(number, size)
