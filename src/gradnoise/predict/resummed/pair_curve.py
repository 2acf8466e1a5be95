"""The curve of all diagrams with one tied pair: tables of the problem times sums over times, step by step."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gradnoise.predict.path.noise_weights import noise_weights
from gradnoise.predict.resummed.kicks import kicks
from gradnoise.predict.resummed.propagator import mode_propagator
from gradnoise.predict.resummed.responses import Responses, delayed
from gradnoise.predict.resummed.tables import Forces, Root, Tables
from gradnoise.spacetime import Spacetime


class Motion(NamedTuple):
    """At one time: `driven` (m,), the response to a unit kick at every step; `spread` (q,), `carried` (m,) of the noise."""

    driven: np.ndarray
    spread: np.ndarray
    carried: np.ndarray


def pair_curve(
    tables: Tables, spacetime: Spacetime, learning_rate: float, momentum: float, target: str,
    forces: Forces | None = None, responses: Responses | None = None,
) -> np.ndarray:  # fmt: skip
    """Test loss, train loss or gap (T + 1,), or the mean displacement (T + 1, P), after every step.

        test = l + G_i r_i u_i + (1/2) R_ij (G_i G_j u_i u_j + C_ij s_ij) + r_a z_a,      gap = -(1/N) kappa(g_i, g_i) u_i

    u: a kick at every step; s: the kicks of the noise; z: the mean's response to (1/2) J:(noise + path) and to noise in the
    curvature, the `forces` along the directions of `responses`. Held out, the gap is the whole of test - train.

    Source: diagrams.md section 3.
    """
    found, pushes = [], []
    for motion in _motions(tables, spacetime, learning_rate, momentum):
        if forces is not None:
            pushes.append(_force(forces, tables, motion))
        if target == "displacement":
            found.append(tables.gradient * motion.driven)
            continue
        tied = tables.pool.tied @ motion.driven / spacetime.num_examples
        test, pool = (mean_loss(root, tables, motion) for root in (tables.test, tables.pool))
        found.append({"test": test, "train": pool + tied, "gap": test - pool - tied}[target])
    curve = np.array(found)
    if forces is not None and responses is not None:
        curve += _shift(responses, np.array(pushes)[:-1], target)
    return curve @ tables.vectors.T if target == "displacement" else curve


def mean_loss(root: Root, tables: Tables, motion: Motion) -> float:
    """One root's diagrams at one time, but for those with a force."""
    path = root.quadratic @ (motion.driven[tables.left] * motion.driven[tables.right])
    return float(root.loss + root.linear @ motion.driven + (path + root.noise @ motion.spread) / 2)


def _force(forces: Forces, tables: Tables, motion: Motion) -> np.ndarray:
    path = forces.from_path @ (motion.driven[tables.left] * motion.driven[tables.right])
    return forces.from_noise @ motion.spread + path + forces.from_curvature @ motion.carried


def _shift(responses: Responses, pushes: np.ndarray, target: str) -> np.ndarray:
    if target == "displacement":
        assert responses.weights is not None
        return delayed(responses.weights, pushes)
    test, pool = (delayed(each, pushes).sum(axis=1) for each in (responses.test, responses.pool))
    return {"test": test, "train": pool, "gap": test - pool}[target]


def _motions(tables: Tables, spacetime: Spacetime, learning_rate: float, momentum: float) -> Iterator[Motion]:
    edge = mode_propagator(tables.eigenvalues, learning_rate, momentum)
    weights = {kind: float(weight) for kind, weight in noise_weights(spacetime, "drawn", 0).items()}
    sums = [kicks(kind, spacetime, edge, tables.left, tables.right) for kind in ("same", *weights)]
    for every, *noise in zip(*sums, strict=True):
        both = list(zip(weights.values(), noise, strict=True))
        spread = sum((weight * one.spread for weight, one in both), start=np.zeros(len(tables.left)))
        carried = sum((weight * one.carried for weight, one in both), start=np.zeros(len(every.carried)))
        yield Motion(every.carried, spread, carried)
