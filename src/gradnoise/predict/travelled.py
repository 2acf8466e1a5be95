"""phi_T(H): how far T steps of descent carry a constant force, for numbers and for symmetric matrices."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

NEAR = 1e-4
"""Curvatures that differ by less than this over eta T have a derivative for their divided difference."""


def travelled(curvature: Any, learning_rate: float, num_steps: int) -> jax.Array:
    """phi_T(h) = eta sum_{t<T} (1 - eta h)^t, for an array of curvatures, by doubling: no cancellation at h = 0.

    >>> [float(travelled(h, 0.5, 3)) for h in (0.0, 1.0)]
    [1.5, 0.875]
    """
    factor = 1 - learning_rate * jnp.asarray(curvature)
    total, power = jnp.zeros_like(factor), jnp.ones_like(factor)
    for bit in f"{num_steps:b}":
        total, power = total * (1 + power), power * power
        if bit == "1":
            total, power = 1 + factor * total, factor * power
    return learning_rate * total


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def carried(rate: float, steps: int, rows: jax.Array, hessian: jax.Array) -> jax.Array:
    """rows @ phi_T(hessian), (n, P)."""
    curvatures, vectors = jnp.linalg.eigh(hessian)
    return (rows @ vectors * travelled(curvatures, rate, steps)) @ vectors.T


@carried.defjvp
def _carried_jvp(rate: float, steps: int, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    """d rows phi(H) + rows V [phi[h_i, h_j] (V^T dH V)_ij] V^T in the eigenbasis V of H."""
    (rows, hessian), (rows_dot, hessian_dot) = primals, tangents
    curvatures, vectors = jnp.linalg.eigh(hessian)
    turned, lengths = rows @ vectors, travelled(curvatures, rate, steps)
    slopes = _divided_differences(rate, steps, curvatures, lengths) * (vectors.T @ hessian_dot @ vectors)
    change = (rows_dot @ vectors) * lengths + turned @ slopes
    return (turned * lengths) @ vectors.T, change @ vectors.T


def _divided_differences(rate: float, steps: int, curvatures: jax.Array, lengths: jax.Array) -> jax.Array:
    """(phi_i - phi_j) / (h_i - h_j), (P, P); the derivative midway where the two curvatures are near."""
    apart = curvatures[:, None] - curvatures
    near = jnp.abs(apart) * rate * max(steps, 1) < NEAR
    midway = jax.vmap(jax.grad(lambda h: travelled(h, rate, steps)))
    slopes = midway(((curvatures[:, None] + curvatures) / 2).ravel()).reshape(apart.shape)
    return jnp.where(near, slopes, (lengths[:, None] - lengths) / jnp.where(near, 1, apart))
