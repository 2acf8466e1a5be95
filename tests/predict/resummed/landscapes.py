"""Small problems with every derivative in play, for comparing routes."""

from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np

import gradnoise as gn

SPACETIMES = {
    "one epoch": gn.Spacetime(6, 2),
    "fixed": gn.Spacetime(4, 2, 3),
    "reshuffle": gn.Spacetime(4, 2, 3, "reshuffle"),
    "reshuffle, cut": gn.Spacetime(4, 1, 2, "reshuffle").truncate(7),
    "subset": gn.Spacetime(5, 2, sampling="subset", num_steps=5),
    "with_replacement": gn.Spacetime(3, 2, sampling="with_replacement", num_steps=5),
}


def bent_loss(theta: Any, x: Any) -> Any:
    """Two weights; curvature, slope and noise all vary."""
    u, v = theta[0], theta[1]
    return (
        u**2 + u * v / 2 + v**2 + x[0] * (u + jnp.sin(v)) + x[1] * u * v + (u**3 - u * v**2) / 5 + x[0] ** 2 * v**3 / 7
    )


POOL = np.array([[1.0, -0.5], [-1.5, 0.2], [0.5, 0.3]])
OTHERS = np.array([[0.3, 0.4], [-0.6, -1.0]])


@cache
def bent(held_out: bool = False, measured: bool = False) -> gn.Problem:
    """The problem of `bent_loss`, with its own measured function or other test examples if asked for; one object each."""
    other = (lambda w, x: jnp.cos(w[0] + x[1]) + w[1] ** 2 * x[0]) if measured else None
    return gn.from_arrays(
        bent_loss, lambda key: np.zeros(2), POOL, "bent", measured=other, test_pool=OTHERS if held_out else None
    )
