"""The curve of any set of linkless diagrams, each summed over its embeddings: for few weights."""

from collections.abc import Iterable

import numpy as np

from gradnoise.diagrams.diagram import Diagram
from gradnoise.predict.resummed.derivatives import DerivativeTensors
from gradnoise.predict.resummed.embedding_sum import embedding_sum
from gradnoise.predict.resummed.linkless import linkless_diagrams, untied_leaves
from gradnoise.predict.resummed.propagator import Propagator
from gradnoise.spacetime import Spacetime


def summed_diagrams(
    excess_power: int, target: str, *, has_slope: bool, root_has_slope: bool, is_held_out: bool
) -> tuple[Diagram, ...]:
    """The diagrams up to a power that the target sees, without those whose value has a gradient that vanishes as factor.

    >>> [str(diagram) for diagram in summed_diagrams(1, "test", has_slope=False, root_has_slope=False, is_held_out=False)]
    ['(01-2)(02-12)']
    """
    alone = target != "gap" or is_held_out
    found = (linkless_diagrams(excess_power) if alone else ()) + (
        linkless_diagrams(excess_power, root_tied=True) if target in ("gap", "train") else ()
    )
    kept = []
    for diagram in found:
        one_child = len(diagram.children(diagram.root)) == 1
        seen = one_child if target == "displacement" else root_has_slope or not one_child or diagram.is_root_tied
        if seen and (has_slope or not untied_leaves(diagram)):
            kept.append(diagram)
    return tuple(kept)


def diagram_curve(
    diagrams: Iterable[Diagram], spacetime: Spacetime, edge: Propagator, tensors: DerivativeTensors, target: str
) -> np.ndarray:
    """l + the sum of the diagrams, (T + 1,), or the mean displacement (T + 1, P).

    A diagram with its root alone goes into test and train loss, one with a tied root, times 1/N, into train loss and, with
    the other sign, into the gap. Held out, its root is measured over other examples for test than for train.
    """
    over_test, over_pool = {"test": (1, 0), "train": (0, 1), "gap": (1, -1), "displacement": (0, 0)}[target]

    def mean(order: int) -> np.ndarray:
        """The root's tensor in the target: over test examples, over the pool, or one less the other."""
        test = tensors.root(order, tensors.is_held_out) if over_test else 0.0
        pool = over_pool * tensors.root(order) if over_pool else 0.0
        return np.asarray(test + pool)

    is_vector = target == "displacement"
    shape = (spacetime.num_steps + 1, tensors.num_weights) if is_vector else (spacetime.num_steps + 1,)
    total = np.zeros(shape, edge.advance.dtype) + (0.0 if is_vector else mean(0))
    for diagram in diagrams:
        order = len(diagram.children(diagram.root))
        if diagram.is_root_tied:
            share = over_pool / spacetime.num_examples
            total += share * embedding_sum(diagram, spacetime, edge, tensors, tensors.root_noise(order))
        else:
            total += embedding_sum(diagram, spacetime, edge, tensors, None if is_vector else mean(order))
    return total
