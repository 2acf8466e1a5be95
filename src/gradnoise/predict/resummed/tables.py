"""What the pair diagrams of a problem are worth at a point, resolved by the curvature of the directions they run along.

In the eigenbasis of H the sums over times (kicks) depend on curvatures only; everything else of the diagrams

    1: G_i r_i    V: G_i R_ij G_j    V01: C_ij R_ij   C01: kappa(h_ai, g_i) r_a   Y01: C_ij J_aij r_a   Y: G_i G_j J_aij r_a

is a table. r, R are gradient and hessian of the measured function. Pairs i <= j stand once, with their multiplicity.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise._types import Examples
from gradnoise.measure.derivatives import directional
from gradnoise.predict.path.landscape import Function, Landscape


class Root(NamedTuple):
    """The tables of one measured mean: over m directions or q pairs of them.

    `loss` there; `linear` (m,): G r; `quadratic` (q,): G R G; `noise` (q,): C R; `slope` (m,): r; `tied` (m,):
    kappa(g_i of the measured function, g_i).
    """

    loss: float
    linear: np.ndarray
    quadratic: np.ndarray
    noise: np.ndarray
    slope: np.ndarray
    tied: np.ndarray


class Forces(NamedTuple):
    """What bends and varying curvature do to the mean, along m' directions; q pairs, m eigenvectors.

    `from_noise` (m', q): (1/2) J_aij C_ij; `from_path` (m', q): (1/2) J_aij G_i G_j;
    `from_curvature` (m', m): kappa(h_ai, g_i).
    """

    from_noise: np.ndarray
    from_path: np.ndarray
    from_curvature: np.ndarray


class Tables(NamedTuple):
    """Eigenvalues of H (m,), its eigenvectors (P, m), the mean gradient along them (m,), pairs of directions (q,), and all
    tables of two roots."""

    eigenvalues: np.ndarray
    vectors: np.ndarray
    gradient: np.ndarray
    left: np.ndarray
    right: np.ndarray
    test: Root
    pool: Root


class Slopes(NamedTuple):
    """First derivatives of loss and measured function, (n, P); measured means over pool and test examples."""

    rows: np.ndarray
    measured_rows: np.ndarray
    pool_loss: np.ndarray
    test_loss: np.ndarray
    test_slope: np.ndarray

    @property
    def pool_slope(self) -> np.ndarray:
        """The measured mean's gradient over the pool, (P,)."""
        return self.measured_rows.mean(axis=0)

    @property
    def noise(self) -> np.ndarray:
        """g_x - G, (n, P)."""
        return self.rows - self.rows.mean(axis=0)


def measure_slopes(view: Landscape, start: jax.Array, pool: Examples, test: Examples) -> Slopes:
    """All first derivatives; call it inside `jax.enable_x64(True)`. `test` None: the pool."""
    return Slopes(*map(np.asarray, _slopes(view, start, pool, test)))


def measure_tables(
    view: Landscape, start: jax.Array, pool: Examples, test: Examples, slopes: Slopes, all_pairs: bool
) -> Tables:
    """The tables without third derivatives, in the complete eigenbasis; call it inside `jax.enable_x64(True)`.

    `all_pairs`: of directions; else only where R is not diagonal.
    """
    values, vectors = np.linalg.eigh(mean_hessian(view.loss, start, pool))
    gradient, centred = vectors.T @ slopes.rows.mean(axis=0), slopes.noise @ vectors
    is_diagonal = not all_pairs and view.measured is view.loss and test is None
    left, right = (np.arange(len(values)),) * 2 if is_diagonal else np.triu_indices(len(values))
    pairs = np.where(left == right, 1.0, 2.0)
    noise = pairs * (centred.T @ centred / len(centred))[left, right]
    path = pairs * gradient[left] * gradient[right]
    tied = np.mean((slopes.measured_rows - slopes.pool_slope) @ vectors * centred, axis=0)

    def root(examples: Examples, loss: np.ndarray, slope: np.ndarray) -> Root:
        bend, along = vectors.T @ mean_hessian(view.measured, start, examples) @ vectors, vectors.T @ slope
        return Root(float(loss), gradient * along, bend[left, right] * path, bend[left, right] * noise, along, tied)

    on_pool = root(pool, slopes.pool_loss, slopes.pool_slope)
    on_test = on_pool if test is None else root(test, slopes.test_loss, slopes.test_slope)
    return Tables(values, vectors, gradient, left, right, on_test, on_pool)


def mean_hessian(function: Function, point: jax.Array, examples: Examples) -> np.ndarray:
    """The hessian (P, P) of the mean over the examples, symmetric to the last bit."""
    found = np.asarray(_mean_hessian(function, point, examples))
    return (found + found.T) / 2


def measure_forces(
    view: Landscape, start: jax.Array, pool: Examples, slopes: Slopes, tables: Tables, directions: np.ndarray
) -> Forces:
    """The forces along `directions` (m', m), given in the eigenbasis: P third derivatives of the mean loss for each."""
    basis, left, right = jnp.asarray(tables.vectors.T), tables.left, tables.right
    centred, rays = slopes.noise @ tables.vectors, directions @ tables.vectors.T
    bent = np.empty((len(rays), len(left)))
    for place, ray in enumerate(rays):
        products = np.asarray(_third_products(view.loss, start, pool, jnp.asarray(ray), basis))
        bent[place] = (products @ tables.vectors)[left, right]
    bent *= np.where(left == right, 0.5, 1.0)
    noise = (centred.T @ centred / len(centred))[left, right]
    varying = np.asarray(_weighted_products(view.loss, start, pool, basis, jnp.asarray(centred.T) / len(centred)))
    return Forces(bent * noise, bent * tables.gradient[left] * tables.gradient[right], rays @ varying.T)


@jax.jit(static_argnums=0)
def _slopes(view: Landscape, start: jax.Array, pool: Examples, test: Examples) -> tuple[jax.Array, ...]:
    both = lambda f: jax.vmap(jax.value_and_grad(f), (None, 0))  # noqa: E731
    _, rows = both(view.loss)(start, pool)
    losses, measured_rows = both(view.measured)(start, pool)
    test_losses, test_rows = both(view.measured)(start, pool if test is None else test)
    return rows, measured_rows, losses.mean(), test_losses.mean(), test_rows.mean(axis=0)


@jax.jit(static_argnums=0)
def _mean_hessian(function: Function, point: jax.Array, examples: Examples) -> jax.Array:
    slope = jax.grad(lambda w: jax.vmap(function, (None, 0))(w, examples).mean())
    return jax.lax.map(lambda v: directional(slope, point, [v]), jnp.eye(len(point)), batch_size=16)


@jax.jit(static_argnums=0)
def _third_products(
    function: Function, point: jax.Array, examples: Examples, first: jax.Array, basis: jax.Array
) -> jax.Array:
    """D^2 grad of the mean along `first` and each row of `basis`, a row each."""
    slope = jax.grad(lambda w: jax.vmap(function, (None, 0))(w, examples).mean())
    return jax.lax.map(lambda v: directional(slope, point, [first, v]), basis, batch_size=16)


@jax.jit(static_argnums=0)
def _weighted_products(
    function: Function, point: jax.Array, examples: Examples, basis: jax.Array, weights: jax.Array
) -> jax.Array:
    """sum_x weights[i, x] h_x basis[i], a row for each i."""

    def product(pair: tuple[jax.Array, jax.Array]) -> jax.Array:
        vector, shares = pair
        return directional(jax.grad(lambda w: shares @ jax.vmap(function, (None, 0))(w, examples)), point, [vector])

    return jax.lax.map(product, (basis, weights), batch_size=16)
