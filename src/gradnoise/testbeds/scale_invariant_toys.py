"""Scale-invariant losses small enough for closed forms: an angle in the plane, and random Rayleigh quotients.

R = |x|^2 at equilibrium of the angle toy, with eta the learning rate, wd the weight decay, c = signal, s = noise, and
G = c^2/R, N = s^2/(B R): every step is tangential, so that |x|^2 obeys its balance exactly in the mean.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _checks
from gradnoise._types import Key, Params
from gradnoise.problem import Problem, from_arrays

PROCESSES = ("sgd", "svag", "sde")


def angle_toy(signal: float = 0.6, noise: float = 1.0) -> Problem:
    """l_xi = (c + s xi) phi(x), phi the angle of x in the plane, xi = +-1 the pool: the gradient only turns x.

        grad l = (c + s xi) e_phi/|x|,    |grad L|^2 = c^2/|x|^2,    tr D = s^2/|x|^2

    c = `signal`, s = `noise`. The loss itself means little (the angle jumps by 2 pi); its gradient does not jump.

    >>> problem = angle_toy(signal=0.6, noise=1.0)
    >>> jax.grad(problem.loss)(jnp.array([0.0, 2.0]), 1.0)
    Array([-0.8, ...], dtype=float32)

    Source: docs/theory/equilibrium.md, with both tangential directions of the toy in one plane.
    """
    c, s = _checks.number("signal", signal), _checks.number("noise", noise, minimum=0.0)

    def loss(x: Any, xi: Any) -> Any:
        x = jnp.asarray(x)
        return (c + s * xi).astype(x.dtype) * jnp.arctan2(x[1], x[0])

    return from_arrays(
        lambda x, xi: loss(x, jnp.asarray(xi)),
        lambda key: np.array([1.0, 0.0], np.float32),
        np.array([-1.0, 1.0]),
        "angle-toy",
    )


def angle_toy_squared_norm(
    learning_rate: float,
    weight_decay: float,
    batch_size: int = 1,
    process: str = "sgd",
    num_substeps: int | None = None,
    order: int = 1,
    signal: float = 0.6,
    noise: float = 1.0,
) -> float:
    """R = |x|^2 of the angle toy at equilibrium, batches drawn with replacement.

        sgd               R^2 = eta (c^2 + s^2/B) / (wd (2 - eta wd))
        svag(l), sde(m)   R^2 = eta (c^2/l + s^2/B) / (wd (2 - eta wd/l))
        sde               R^2 = eta s^2/(2 B wd)                              num_substeps=None
        sde, order 2      R^2 = eta (c^2 + s^2/B) / (wd (2 + eta wd))         num_substeps=None

    Exact for the SDEs, whose noise does not move |x|^2; for SGD and SVAG up to the spread of |g_B|^2 between batches, a
    relative eta wd. SGD over SDE is sqrt(2 (1 + G/N)/(2 - eta wd)).

    >>> angle_toy_squared_norm(0.1, 0.01), angle_toy_squared_norm(0.1, 0.01, process="sde")
    (2.608..., 2.236...)

    Raises ValueError for an unknown process, or a finite number of substeps at order 2.

    Source: docs/theory/equilibrium.md (closed-form toy); SVAG and order 2 are ours.
    """
    eta, decay = (
        _checks.number("learning_rate", learning_rate, above=0),
        _checks.number("weight_decay", weight_decay, above=0),
    )
    per_batch = noise**2 / _checks.integer("batch_size", batch_size)
    _checks.one_of("process", process, PROCESSES)
    if order == 2:
        if process != "sde" or num_substeps is not None:
            raise ValueError(
                'order=2 has a closed form for process="sde" with num_substeps=None. Leave the others out.'
            )
        return math.sqrt(eta * (signal**2 + per_batch) / (decay * (2 + eta * decay)))
    if (process == "svag") != (num_substeps is not None) and process != "sde":
        raise ValueError(
            f'process="{process}" came with num_substeps={num_substeps}, expected a number for "svag" and none for "sgd".'
        )
    part = 1.0 if process == "sgd" else 0.0 if num_substeps is None else 1 / num_substeps
    return math.sqrt(eta * (signal**2 * part + per_batch) / (decay * (2 - eta * decay * part)))


def rayleigh_toy(num_examples: int = 64, num_weights: int = 10, spread: float = 0.5, seed: int = 0) -> Problem:
    """l_n(x) = <x, A_n x>/|x|^2, A_n = diag(0, ..., 1) + spread W_n: the mean loss has its minimum near the first axis.

    W_n are symmetric random matrices, entries of variance 1/num_weights off the diagonal and twice that on it, fixed by
    `seed` and centred over the pool: their mean is exactly zero, so L is the quotient of the diagonal matrix.

        grad l_n = (2/|x|^2) (A_n x - l_n x)

    >>> problem = rayleigh_toy(num_weights=4)
    >>> round(float(np.mean([problem.loss(np.array([3.0, 0, 0, 0]), matrix) for matrix in problem.pool])), 6)
    0.0

    Source: docs/theory/equilibrium.md.
    """
    count, size = _checks.integer("num_examples", num_examples, 2), _checks.integer("num_weights", num_weights, 2)
    spread = _checks.number("spread", spread, minimum=0.0)
    draws = np.random.default_rng(_checks.integer("seed", seed, 0)).normal(size=(count, size, size)) / math.sqrt(size)
    symmetric = (draws + draws.transpose(0, 2, 1)) / math.sqrt(2)
    matrices = np.diag(np.linspace(0.0, 1.0, size)) + spread * (symmetric - symmetric.mean(axis=0))

    def loss(x: Params, matrix: Any) -> Any:
        x = jnp.asarray(x)
        return x @ jnp.asarray(matrix).astype(x.dtype) @ x / (x @ x)

    def init(key: Key) -> np.ndarray:
        return np.asarray(jax.random.normal(key, (size,), jnp.float32))

    return from_arrays(loss, init, matrices, "rayleigh-toy")
