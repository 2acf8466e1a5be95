"""Tables for many weights: the leading directions of the curvature by Lanczos, the rest as if it were flat.

Of the diagrams 1, V, V01 and the gap's C the values of all directions are measured; only the propagators of the directions
that are left take h = 0 instead of their small h. Nothing of size P x P is formed.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _tree
from gradnoise._types import Examples, Params
from gradnoise.diagrams.diagram import Diagram
from gradnoise.measure.derivatives import mean_message
from gradnoise.measure.diagram_values import diagram_values
from gradnoise.measure.eigen import LANCZOS_TOLERANCE, lanczos, symmetric_operator
from gradnoise.measure.gradients import ExampleGradients, example_gradients
from gradnoise.predict.path.landscape import Landscape, landscape
from gradnoise.predict.resummed.tables import Root, Tables, mean_hessian
from gradnoise.problem import Problem

EXAMPLES_AT_ONCE = 256
VALUES = {"loss": "(0)()", "GG": "(0-1)(01)", "GHG": "(0-1-2)(02-12)", "CH": "(01-2)(02-12)", "C": "(01)(01)"}


class Rest(NamedTuple):
    """What is known of the directions that were left: |G|^2 and tr C of them, and the largest |h| they can have."""

    slope_square: float
    noise_trace: float
    largest_curvature: float


def spectral_tables(problem: Problem, params: Params, rank: int) -> tuple[Tables, Rest]:
    """Tables of the `rank` most curved directions and, as one more direction of curvature 0, of the rest.

    For a measured function that is the loss over the pool; of the gradient along each direction only the size is known.
    Call it outside `jax.enable_x64(True)`.
    """
    values = diagram_values(problem, params, max_order=2)
    known = {name: float(values[_diagram(text)].value) for name, text in VALUES.items()}
    gradients = example_gradients(problem, params, caller="predict_resummed")
    eigenvalues, vectors = leading_curvatures(problem, params, rank)
    squares, noise = (vectors.T @ gradients.mean) ** 2, _noise_along(gradients, vectors)
    rest_slope, rest_noise = max(known["GG"] - squares.sum(), 0.0), max(known["C"] - noise.sum(), 0.0)
    root = Root(
        known["loss"],
        linear=np.append(squares, rest_slope),
        quadratic=np.append(squares * eigenvalues, known["GHG"] - squares @ eigenvalues),
        noise=np.append(noise * eigenvalues, known["CH"] - noise @ eigenvalues),
        slope=np.zeros(rank + 1),
        tied=np.append(noise, rest_noise),
    )
    each = np.arange(rank + 1)
    cut = float(np.abs(eigenvalues).min()) if rank < len(vectors) else 0.0
    tables = Tables(np.append(eigenvalues, 0.0), vectors, np.sqrt(root.linear), each, each, root, root)
    return tables, Rest(rest_slope, rest_noise, cut)


def leading_curvatures(problem: Problem, params: Params, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The `rank` eigenvalues of the mean loss' hessian largest in size, and unit eigenvectors (P, rank).

    Restarted Lanczos on hessian-vector products; for more than half of the directions the hessian itself.
    """
    with jax.enable_x64(True):
        params, pool = _tree.cast(params, jnp.float64), _tree.cast(problem.pool, jnp.float64)
        view, (point, _) = landscape(problem, params, EXAMPLES_AT_ONCE), _tree.flatten(params)
    if rank > len(point) // 2:
        with jax.enable_x64(True):
            values, vectors = np.linalg.eigh(mean_hessian(view.loss, point, pool))
    else:
        start, width = np.random.default_rng(0).standard_normal(len(point)), min(len(point), max(2 * rank + 1, 40))
        operator = symmetric_operator(len(point), _hessian_product(view, point, pool))
        values, vectors = lanczos(operator, rank, "LM", start, width, LANCZOS_TOLERANCE)
    order = np.argsort(-np.abs(values))[:rank]
    return values[order], vectors[:, order]


def _hessian_product(view: Landscape, point: jax.Array, pool: Examples) -> Callable[[np.ndarray], np.ndarray]:
    """v -> H v for vectors (P,)."""

    def product(vector: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True):
            ray = jnp.asarray(np.ravel(vector), jnp.float64)
            return np.asarray(mean_message(view.loss, view.chunk, point, pool, [ray]))

    return product


def _noise_along(gradients: ExampleGradients, vectors: np.ndarray) -> np.ndarray:
    """C_ii = (1/n) sum_x ((g_x - G).v_i)^2."""
    along = sum(np.square((rows - gradients.mean) @ vectors).sum(axis=0) for rows in gradients.chunks())
    return np.asarray(along) / gradients.num_examples


def _diagram(text: str) -> Diagram:
    return Diagram((), ((0,),)) if text == "(0)()" else Diagram.parse(text)
