"""The resummed edge: what a kick of the gradient has become some steps later, on a quadratic of fixed curvature."""

from typing import NamedTuple

import numpy as np


class Propagator(NamedTuple):
    """One update of a deviation: `advance` (..., q, q) and, of a unit gradient, `push` (..., q, p).

    The first p of the q slots are the weights; with momentum the other p are the buffer. A kick at step s stands in the
    weights at step t as the first p rows of advance^(t-s-1) push.
    """

    advance: np.ndarray
    push: np.ndarray


def propagator(hessian: np.ndarray, learning_rate: complex, momentum: float = 0.0) -> Propagator:
    """K = I - eta H and -eta I, or with heavy-ball momentum beta the matrices of (weights, buffer); `hessian` (..., p, p).

        -eta p_s(eta H),   p_0 = 0,  p_1 = 1,  p_{s+1} = (1 + beta - eta H) p_s - beta p_{s-1};   beta = 0: p_s = K^(s-1)

    >>> edge = propagator(np.array([[2.0]]), learning_rate=0.1, momentum=0.5)
    >>> edge.push[0, 0], (edge.advance @ edge.push)[0, 0]            # -eta p_1, -eta p_2 = -0.1 (1.5 - 0.2)
    (np.float64(-0.1), np.float64(-0.13))

    Source: diagrams.md section 3 (rule) and section 4.3 (momentum).
    """
    one = np.broadcast_to(np.eye(hessian.shape[-1]), hessian.shape)
    moved = one - learning_rate * hessian
    if momentum == 0:
        return Propagator(moved, -learning_rate * one)
    buffered = -learning_rate * momentum * one
    advance = np.concatenate(
        [np.concatenate([moved, buffered], -1), np.concatenate([hessian, momentum * one], -1)], axis=-2
    )
    return Propagator(advance, np.concatenate([-learning_rate * one, one], axis=-2))


def mode_propagator(eigenvalues: np.ndarray, learning_rate: float, momentum: float = 0.0) -> Propagator:
    """The same for m numbers instead of a matrix: advance (slots, slots, m) and push (slots, m)."""
    advance, push = propagator(np.asarray(eigenvalues, dtype=float)[:, None, None], learning_rate, momentum)
    return Propagator(np.moveaxis(advance, 0, -1), np.moveaxis(push[..., 0], 0, -1))
