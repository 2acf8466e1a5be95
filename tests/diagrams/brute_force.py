"""The oracle for counts: every schedule, every embedding, one by one. Knows no patterns and no transfer matrices."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import combinations, permutations, product

from gradnoise import diagrams
from gradnoise.spacetime import Spacetime

Batches = tuple[tuple[int, ...], ...]


def schedules(spacetime: Spacetime) -> list[tuple[Fraction, Batches]]:
    """(probability, rows of each step) for all that the sampling can draw."""
    rows, size, steps = range(spacetime.num_examples), spacetime.batch_size, spacetime.num_steps
    if spacetime.sampling == "subset":
        found = list(product(combinations(rows, size), repeat=steps))
    elif spacetime.sampling == "with_replacement":
        found = list(product(product(rows, repeat=size), repeat=steps))
    else:
        epochs = -(-steps // spacetime.steps_per_epoch)
        orders = [tuple(rows)] if spacetime.sampling == "fixed" else list(permutations(rows))
        chosen = [(order,) * epochs for order in orders] if len(orders) == 1 else list(product(orders, repeat=epochs))
        found = [
            tuple(order[i : i + size] for order in run for i in range(0, len(order), size))[:steps] for run in chosen
        ]
    return [(Fraction(1, len(found)), run) for run in found]


def weighted_count(
    diagram: diagrams.Diagram,
    spacetime: Spacetime,
    edge: Callable[[int, int], Fraction | int] = lambda child, parent: 1,
    inside: Callable[[int], Fraction | int] = lambda step: 0,
) -> Fraction:
    """W(D): mean over schedules of the sum over embeddings of the product of edge factors, over |Aut D|.

    `edge(s, t)` weighs an edge from step s to step t; `inside(s)` one within step s, allowed for one child a node.
    """
    total = sum(weight * _sum_over_embeddings(diagram, run, edge, inside) for weight, run in schedules(spacetime))
    return Fraction(total) / automorphisms(diagram)


def automorphisms(diagram: diagrams.Diagram) -> int:
    """Permutations of the non-root nodes that keep edges and parts, by trying all."""
    nodes, edges = range(diagram.order), set(enumerate(diagram.parents))
    parts = set(map(frozenset, diagram.parts))
    return sum(
        {(order[u], (*order, diagram.root)[v]) for u, v in edges} == edges
        and {frozenset((*order, diagram.root)[u] for u in part) for part in parts} == parts
        for order in permutations(nodes)
    )


def _sum_over_embeddings(diagram, run, edge, inside):
    cells = [(step, row) for step, batch in enumerate(run) for row in batch]
    part = {node: index for index, nodes in enumerate(diagram.parts) for node in nodes}

    def extend(node: int, steps: dict[int, int], rows: dict[int, int], crowded: frozenset[int]):
        if node < 0:
            return 1
        parent = diagram.parents[node]
        total = 0
        for step, row in cells:
            if rows.get(part[node], row) != row:
                continue
            weight, now = 0, crowded
            if step < steps[parent]:
                weight = edge(step, steps[parent])
            elif step == steps[parent] and parent != diagram.root and parent not in crowded:
                weight, now = inside(step), crowded | {parent}
            if weight:
                total += weight * extend(node - 1, {**steps, node: step}, {**rows, part[node]: row}, now)
        return total

    return extend(diagram.order - 1, {diagram.root: len(run)}, {}, frozenset())


def optimizer_response(
    steps: int, momentum=0, nesterov=False, dampening=0, rates=None
) -> Callable[[int, int], Fraction | int]:
    """edge(s, t): how far a unit gradient at step s alone has moved theta_t, by running torch.optim.SGD's update."""
    rates = rates or [1] * steps
    moved: dict[tuple[int, int], Fraction | int] = {}
    for impulse in range(steps):
        position, buffer = Fraction(0), None
        for step in range(steps):
            gradient = int(step == impulse)
            direction = gradient
            if momentum:
                buffer = gradient if buffer is None else momentum * buffer + (1 - dampening) * gradient
                direction = gradient + momentum * buffer if nesterov else buffer
            position += rates[step] * direction
            moved[impulse, step + 1] = position
    return lambda child, parent: moved[child, parent]


def every_diagram(*orders: int) -> Iterator[diagrams.Diagram]:
    for order in orders:
        yield from diagrams.enumerate_diagrams(order)
