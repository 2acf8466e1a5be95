"""How a sweep is cut up, by its plan alone: cells, their runs, and chunks of runs of one shape."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gradnoise import _checks
from gradnoise.dynamics import sgd
from gradnoise.dynamics.width import best_width
from gradnoise.experiment.sweep.config import SweepPlan
from gradnoise.experiment.sweep.problems import problem_of
from gradnoise.process import Process
from gradnoise.spacetime import Spacetime


class Cell(NamedTuple):
    """One place of the grid; `width` None is the problem's own."""

    learning_rate: float
    batch_size: int
    num_examples: int
    width: int | None
    variant: str

    @property
    def temperature(self) -> float:
        """T = learning rate / batch size, to twelve digits, so that cells of one temperature have one number."""
        return temperature(self.learning_rate, self.batch_size)


class Shape(NamedTuple):
    """What runs of one compiled call share: `num_records` records, `every` steps apart, after the start."""

    batch_size: int
    num_examples: int
    width: int | None
    variant: str
    every: int
    num_records: int
    sampling: str

    @property
    def num_steps(self) -> int:
        return self.every * self.num_records

    @property
    def spacetime(self) -> Spacetime:
        """Which examples are used when; of reshuffled epochs the last may be cut."""
        if self.sampling != "reshuffle":
            return Spacetime(self.num_examples, self.batch_size, sampling=self.sampling, num_steps=self.num_steps)
        epochs = -(-self.num_steps * self.batch_size // self.num_examples)
        return Spacetime(self.num_examples, self.batch_size, epochs, self.sampling).truncate(self.num_steps)


class Run(NamedTuple):
    """One run of a shape."""

    learning_rate: float
    seed: int


class Chunk(NamedTuple):
    """Runs of one shape in one compiled call of `size` of them; where `runs` are fewer, the last is repeated."""

    number: int
    shape: Shape
    runs: tuple[Run, ...]
    size: int

    @property
    def name(self) -> str:
        return f"chunk-{self.number:05d}"

    @property
    def padded(self) -> tuple[Run, ...]:
        """`size` runs."""
        return self.runs + self.runs[-1:] * (self.size - len(self.runs))

    @property
    def work(self) -> float:
        """Examples that its steps and records look at, up to a factor: what time goes by."""
        steps = self.shape.num_steps * self.shape.batch_size
        return float(self.size * (steps + self.shape.num_records * self.shape.num_examples))


def temperature(learning_rate: float, batch_size: int) -> float:
    """T = learning rate / batch size, without the last digits that rounding makes.

    >>> 0.3 / 24 == 0.1 / 8, temperature(0.3, 24) == temperature(0.1, 8)
    (False, True)
    """
    return float(f"{learning_rate / batch_size:.12g}")


def process_of(plan: SweepPlan, shape: Shape) -> Process:
    """SGD on the problem of `shape`, with momentum where its variant has it; equal calls give equal processes."""
    momentum = plan.momentum if "momentum" in shape.variant else 0.0
    return sgd(problem_of(plan, shape.width), momentum=momentum, weight_decay=plan.weight_decay)


def cells(plan: SweepPlan) -> list[Cell]:
    """All places of the grid, the learning rate running fastest; raises ValueError for a grid that is impossible."""
    grid = itertools.product(plan.widths or (None,), plan.variants)
    found = [
        Cell(rate, batch_size, num_examples, width, variant)
        for width, variant in grid
        for num_examples in _numbers_of_examples(plan, width)
        for batch_size in _batch_sizes(plan, num_examples)
        for rate in plan.rates(batch_size)
    ]
    if not found:
        raise ValueError(
            f"learning_rate_cap={plan.cap:g} leaves no cell: every temperature times every batch size is above it. Raise "
            "the cap, or give smaller ones."
        )
    return found


def shape_of(plan: SweepPlan, cell: Cell) -> Shape:
    """The shape of the runs of `cell`: whole steps between records, as near to its epochs as that allows."""
    epochs = plan.epochs(cell.temperature)
    steps = epochs * cell.num_examples / cell.batch_size
    if steps < plan.num_records:
        raise ValueError(
            f"num_records={plan.num_records} is more than the {steps:g} steps of a run with batch_size={cell.batch_size}, "
            f"num_examples={cell.num_examples} and {epochs} epochs. Give fewer records, or more reference_epochs."
        )
    every = round(steps / plan.num_records)
    return Shape(cell.batch_size, cell.num_examples, cell.width, cell.variant, every, plan.num_records, plan.sampling)


def chunks(plan: SweepPlan) -> list[Chunk]:
    """All runs of a plan, those of one shape in chunks of one size; a function of the plan and the problem alone.

    >>> found = chunks(SweepPlan(problem="mean-estimation", learning_rates=(0.1, 0.2), num_examples=16, seeds=3))
    >>> [(chunk.name, len(chunk.runs), chunk.shape.num_steps) for chunk in found]
    [('chunk-00000', 6, 200)]
    """
    runs: dict[Shape, list[Run]] = {}
    for cell in cells(plan):
        own = runs.setdefault(shape_of(plan, cell), [])
        own += [Run(cell.learning_rate, seed) for seed in range(plan.seeds)]
    pieces = [
        (shape, piece, size)
        for shape, own in runs.items()
        for size in (_size(plan, shape, own),)
        for piece in cut(own, size)
    ]
    return [Chunk(number, *piece) for number, piece in enumerate(pieces)]


def cut(runs: Sequence[Run], size: int) -> Iterator[tuple[Run, ...]]:
    """Pieces of at most `size` runs, in order.

    >>> [len(piece) for piece in cut([Run(0.1, seed) for seed in range(5)], 2)]
    [2, 2, 1]
    """
    return (tuple(runs[first : first + size]) for first in range(0, len(runs), size))


def _size(plan: SweepPlan, shape: Shape, runs: Sequence[Run]) -> int:
    """Runs of one compiled call; its shape is tried on one step: what a step needs."""
    process, fastest = process_of(plan, shape), max(run.learning_rate for run in runs)
    most = min(len(runs), plan.runs_per_chunk or len(runs))
    even = -(-len(runs) // -(-len(runs) // most))
    return best_width(
        process, process.problem.init, shape.spacetime.truncate(1), fastest, even, shape.num_records + 1,
        plan.training_set, plan.memory,
    )  # fmt: skip


def _numbers_of_examples(plan: SweepPlan, width: int | None) -> tuple[int, ...]:
    """N as asked for, or chosen from the pool."""
    problem = problem_of(plan, width)
    size, splits = problem.num_pool, plan.training_set == "distinct" and problem.test_pool is None
    if plan.num_examples is None:
        if size is None:
            raise ValueError(
                f"num_examples is missing, and problem {problem.name!r} has no pool to choose it from. Give "
                "num_examples=100, say."
            )
        return (_checks.integer("num_examples, half of the pool,", size // 2, 2) if splits else size,)
    most = max(plan.num_examples)
    if splits and size is not None and most == size:
        raise ValueError(
            f'num_examples={most} is the whole pool, and training_set="distinct" then leaves nothing to generalize to: the '
            "gap is zero. Give fewer examples."
        )
    return plan.num_examples


def _batch_sizes(plan: SweepPlan, num_examples: int) -> tuple[int, ...]:
    most = max(plan.batch_sizes)
    if most > num_examples:
        raise ValueError(
            f"batch_sizes holds {most}, above num_examples={num_examples}, expected batches no larger than the training "
            "set. Leave it out, or give more examples."
        )
    return plan.batch_sizes
