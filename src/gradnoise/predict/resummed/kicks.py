"""How the kicks of a schedule add up along directions of fixed curvature: the sums over times of all tied pairs.

Of each way to put steps into classes that share an example's noise (path/noise_weights), with a unit kick a step,

    carried_i(t) = sum over the steps s < t in the class of step t of -eta p_{t-s}(eta h_i)
    spread_ij(t) = sum over classes of (sum over its steps of -eta p_{t-s}(eta h_i)) (the same of h_j)

A schedule's sum is the weighted one over its ways. Nothing here depends on a problem but the curvatures.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gradnoise.predict.path.noise_weights import num_classes
from gradnoise.predict.resummed.propagator import Propagator
from gradnoise.spacetime import Spacetime


class Kicks(NamedTuple):
    """At one time: `spread` (q,) of the pairs of directions, `carried` (m,) of the directions."""

    spread: np.ndarray
    carried: np.ndarray


def kicks(kind: str, spacetime: Spacetime, edge: Propagator, left: np.ndarray, right: np.ndarray) -> Iterator[Kicks]:
    """`Kicks` after t = 0, 1, ..., T updates, for the pairs (left[q], right[q]) of m directions.

    `edge` is a mode_propagator. Work a step: q plus m times the classes ("column": the columns of an epoch).

    >>> from gradnoise.predict.resummed.propagator import mode_propagator
    >>> edge, first = mode_propagator(np.array([0.5]), learning_rate=1.0), np.array([0])
    >>> [one.spread.item() for one in kicks("same", Spacetime(2, 1), edge, first, first)]        # 0, 1, (1 + 1/2)^2
    [0.0, 1.0, 2.25]

    Source: diagrams.md section 3 (V01, C01); loop.md section 12 for the classes.
    """
    advance, push = edge
    slots, modes = push.shape
    classes = {"fresh": 0, "epoch": 1}.get(kind, num_classes(kind, spacetime))
    reset = spacetime.steps_per_epoch if kind == "epoch" else spacetime.num_steps + 1
    spread, carried = np.zeros((slots, slots, len(left))), np.zeros((max(classes, 1), slots, modes))
    ahead, behind, fresh = advance[..., left], advance[..., right], push[:, None, left] * push[None, :, right]
    for step in range(spacetime.num_steps + 1):
        if step % reset == 0:
            carried[:] = 0
        place = step % max(classes, 1)
        yield Kicks(spread[0, 0], carried[place, 0])
        spread = np.einsum("abq,bdq,cdq->acq", ahead, spread, behind) + fresh
        if classes:
            moved = np.einsum("abm,bm->am", advance, carried[place])
            spread += moved[:, None, left] * push[None, :, right] + push[:, None, left] * moved[None, :, right]
            carried = np.einsum("abm,cbm->cam", advance, carried)
            carried[place] += push
