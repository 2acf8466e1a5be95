"""How a push of the mean weights is felt by the measured losses later on, and along how few directions.

A push f at step s changes a measured mean at step t by r.(-eta p_{t-s}(eta H)) f. The vectors p_s(eta H) r of all spans lie
close to a space of some twenty dimensions, however many the weights and steps: third derivatives are needed only there.
"""

from typing import NamedTuple

import numpy as np

from gradnoise.predict.resummed.propagator import mode_propagator
from gradnoise.predict.resummed.tables import Tables
from gradnoise.spacetime import Spacetime

NEGLIGIBLE = 1e-13
"""Directions with less than this share of the largest singular value are left out."""


class Responses(NamedTuple):
    """`directions` (m', m), orthonormal, in the eigenbasis; what a push along each does after 1, 2, ..., T steps.

    `test`, `pool` (T, m'): to the measured means; `weights` (T, m'): to the coordinate itself, where the directions are the
    eigenvectors.
    """

    directions: np.ndarray
    test: np.ndarray
    pool: np.ndarray
    weights: np.ndarray | None = None


def eigenvector_responses(tables: Tables, spacetime: Spacetime, learning_rate: float, momentum: float) -> Responses:
    """All directions: -eta p_s(eta h_a)."""
    advance, kick = mode_propagator(tables.eigenvalues, learning_rate, momentum)
    found = [kick[0]]
    for _ in range(spacetime.num_steps - 1):
        kick = np.einsum("abm,bm->am", advance, kick)
        found.append(kick[0])
    reached = np.array(found)[: spacetime.num_steps]
    return Responses(np.eye(reached.shape[1]), reached * tables.test.slope, reached * tables.pool.slope, reached)


def loss_responses(tables: Tables, spacetime: Spacetime, learning_rate: float, momentum: float) -> Responses:
    """The few directions that the losses feel, by singular values of all responses."""
    every = eigenvector_responses(tables, spacetime, learning_rate, momentum)
    left, sizes, directions = np.linalg.svd(np.concatenate([every.test, every.pool]), full_matrices=False)
    kept = sizes > NEGLIGIBLE * sizes.max(initial=0.0)
    test, pool = np.split(left[:, kept] * sizes[kept], 2)
    return Responses(directions[kept], test, pool)


def delayed(response: np.ndarray, force: np.ndarray) -> np.ndarray:
    """sum over s < t of response[t - 1 - s] force[s] for t = 0, ..., T: both (T, m'), the result (T + 1, m').

    >>> delayed(np.array([[1.0], [0.5]]), np.array([[1.0], [0.0]])).ravel()
    array([0. , 1. , 0.5])
    """
    found = np.zeros((len(force) + 1, force.shape[1]))
    for place in range(force.shape[1]) if len(force) else ():
        found[1:, place] = np.convolve(response[:, place], force[:, place])[: len(force)]
    return found
