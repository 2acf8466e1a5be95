"""What a run must record for fluctuation-dissipation identities: work of the force, noise, curvature along both."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from gradnoise import _checks, _tree
from gradnoise._types import Examples, Params
from gradnoise.dynamics.fluctuation_point import FluctuationPoint, FluctuationSetting
from gradnoise.dynamics.prepare import TRAINING_SETS
from gradnoise.problem import Problem, require_problem
from gradnoise.spacetime import Spacetime, require_spacetime

RECORDS = (
    "position_force",
    "force_squared",
    "noise_trace",
    "position_gradient",
    "gradient_squared",
    "gradient_force",
    "curvature_noise",
    "force_curvature",
)
TEST_RECORDS = ("test_gradient_force", "test_curvature_noise", "test_force_curvature")
DIRECTION_RECORDS = ("position", "force", "noise")


@dataclass(frozen=True)
class FluctuationRecord:
    """One number of a run, f(params, training_examples)."""

    quantity: str
    setting: FluctuationSetting
    direction: int | None = None

    def __call__(self, params: Params, examples: Examples) -> jax.Array:
        at = FluctuationPoint(self.setting, params, examples)
        if self.direction is not None:
            return at.along(self.quantity, jnp.asarray(self.setting.directions[self.direction], at.weights.dtype))
        return getattr(at, self.quantity)()


def fluctuation_records(
    problem: Problem,
    spacetime: Spacetime,
    *,
    weight_decay: float = 0.0,
    injected_noise: float = 0.0,
    origin: Params | None = None,
    directions: ArrayLike | None = None,
    num_probes: int | None = None,
    training_set: str = "drawn",
    seed: int = 0,
) -> dict[str, Callable[[Params, Examples], Any]]:
    """Name -> function for `simulate(observe=...)`: both sides of the fluctuation-dissipation identities at one step.

    With U the mean of `problem.loss` over the replica's training set, s = grad U + weight_decay theta the force,
    M = B Sigma_B + injected_noise^2 I (B Sigma_B = D with replacement, D (N - B)/(N - 1) without), H the hessian of U:

        position_force (theta - origin).s   force_squared |s|^2           noise_trace tr M
        position_gradient theta.grad U      gradient_squared |grad U|^2   gradient_force grad U.s
        curvature_noise tr(H M)             force_curvature s.H s
        test_gradient_force, test_curvature_noise, test_force_curvature: of the test loss instead of U
        position_0, force_0, noise_0, position_1, ...: v.(theta - origin), v.s, v.M v for each row v of `directions`

    Give the process' own weight_decay and injected_noise; a penalty written into the loss is part of U. `origin`: a point
    that the run stays near, its weights after the burn-in, say: the identities hold for any, with smaller errors for a near
    one. Rows of `directions` are scaled to unit length. Test records where the problem has a pool: of `measured_loss`.

    All is exact over the training set: tr(H M) = (1/N) sum_n (g_n - gbar).H(g_n - gbar) + injected_noise^2 tr H needs N
    hessian-vector products (and, for injected noise, as many as there are weights) at each record. `num_probes` of
    random vectors of covariance M make it an unbiased estimate instead, with so many products; they follow from `seed`
    and the bits of the weights, and their noise is part of the series. Steps must be independent: sampling
    "with_replacement" or "subset", or training_set="population".

    >>> from gradnoise.problem import from_arrays
    >>> problem = from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float32(0), np.array([1.0, 3.0]))
    >>> records = fluctuation_records(problem, Spacetime(2, 1, sampling="with_replacement"), weight_decay=0.5)
    >>> names = "position_force", "noise_trace", "curvature_noise"                           # s = -1 + 0.5, D = 1, H = 1
    >>> [float(records[name](jnp.float32(1), jnp.array([1.0, 3.0]))) for name in names]
    [-0.5, 1.0, 1.0]

    Raises TypeError or ValueError for a problem, spacetime or training_set that is none, sampling by epochs, negative
    weight_decay or injected_noise, directions that are no rows of finite numbers or zero, num_probes below 1.

    Source: Gomez-Uribe, "Studying Generalization Through Data Averaging", eqs (32)-(37); docs/theory/trajectories.md.
    """
    require_problem(problem)
    _check_steps(spacetime, training_set)
    rows = _unit_rows(directions)
    setting = FluctuationSetting(
        problem,
        _checks.number("weight_decay", weight_decay, minimum=0.0),
        _checks.number("injected_noise", injected_noise, minimum=0.0),
        spacetime.batch_size,
        spacetime.sampling == "with_replacement" or training_set == "population",
        None if origin is None else _flat(origin),
        rows,
        None if num_probes is None else _checks.integer("num_probes", num_probes),
        _checks.integer("seed", seed, 0),
    )
    names = RECORDS if problem.pool is None else RECORDS + TEST_RECORDS
    whole = {name: FluctuationRecord(name, setting) for name in names}
    along = {f"{name}_{i}": FluctuationRecord(name, setting, i) for i in range(len(rows)) for name in DIRECTION_RECORDS}
    return whole | along


def _flat(params: Params) -> Float[np.ndarray, " weight"]:
    with jax.enable_x64(True):
        return np.asarray(_tree.flatten(_tree.cast(params, jnp.float64))[0])


def _check_steps(spacetime: Spacetime, training_set: str) -> None:
    require_spacetime(spacetime)
    _checks.one_of("training_set", training_set, TRAINING_SETS)
    if spacetime.has_epochs and training_set != "population":
        raise ValueError(
            f'sampling="{spacetime.sampling}" makes the batches of an epoch depend on each other, and the identities hold '
            'for independent ones. Use sampling="subset" or "with_replacement".'
        )


def _unit_rows(directions: ArrayLike | None) -> Float[np.ndarray, "direction weight"]:
    rows = np.zeros((0, 0)) if directions is None else np.asarray(directions, dtype=float)
    if rows.ndim != 2 or not np.all(np.isfinite(rows)) or np.any(np.linalg.norm(rows, axis=1) == 0):
        raise ValueError(
            f"directions has shape {rows.shape}, expected (direction, weight) of finite rows, none zero. Give vectors in "
            "the order of jax.flatten_util.ravel_pytree."
        )
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
