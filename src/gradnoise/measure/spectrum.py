"""The spectrum of the gradient noise: eigenvalues, summary numbers, spectral density."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from matfree import decomp

from gradnoise import _checks
from gradnoise._types import Examples, Key, Params
from gradnoise.estimate import Estimate, exact, from_samples
from gradnoise.measure.eigen import EXACT_SIDE, centred_factor, is_exact, total_variance
from gradnoise.measure.gradients import ExampleGradients, covariance_product, example_gradients
from gradnoise.problem import Loss, Problem

SMOOTHING = 0.15
"""Standard deviation, in decades, of the Gaussian with which each eigenvalue enters the density."""

LANCZOS_EIGENVALUES, NUM_PROBES, PROBE_STEPS = 50, 8, 40
ACCURATE_SIDE = (
    500  # up to here singular values; beyond, eigenvalues of A A^T: 5 times faster, off by some eps lambda_max
)
CONVERGED = 1e-3  # residual over eigenvalue; what is left out of the density is its square
DENSITY_POINTS, DENSITY_DECADES = 200, 8.0
SMALLEST = -300.0  # decades; what is smaller counts as zero


class NoiseSpectrum(NamedTuple):
    """Eigenvalues of a gradient covariance and what they amount to; see `noise_spectrum`. P parameters, n examples."""

    which: str
    """"D" (divisor n: the pool is the population) or "S2" (divisor n - 1: the examples were drawn)."""
    method: str
    """"exact", or "lanczos"."""
    eigenvalues: Float[np.ndarray, "k"]
    """Descending, zeros included; loss^2 / parameter^2."""
    eigenvalue_bounds: Float[np.ndarray, "k"]
    """Residual norms: within this distance of each value given the matrix has an eigenvalue, though perhaps one of
    another rank (0: exact to rounding)."""
    trace: Estimate
    """The sum of all eigenvalues. Of S2 from draws every stderr here is nan: the sampling error is not known."""
    mean: Estimate
    """trace / P."""
    spread: Estimate
    """Standard deviation of all P eigenvalues, zeros included: (|D|_F^2 / P - mean^2)^(1/2)."""
    participation_ratio: Estimate
    """trace^2 / |D|_F^2: how many equal eigenvalues would give the same ratio."""
    stable_rank: Estimate
    """trace / largest eigenvalue (|A|_F^2 / |A|_2^2 of the matrix A of centred gradients); from Lanczos, stderr is the
    largest eigenvalue's residual bound, carried over."""
    rank: int
    """How many eigenvalues exceed `rank_threshold`; from Lanczos a lower bound, counting those given."""
    rank_threshold: float
    """largest eigenvalue * P * eps, numpy's rule, eps = 2.2e-16 of float64."""
    grid: Float[np.ndarray, "m"]
    """Eigenvalues at which `density` is given, equal steps on a log axis."""
    density: Estimate
    """Share of the P eigenvalues per decade at `grid`, smoothed by a Gaussian of SMOOTHING decades; its integral over
    log10 is the share that lies on the grid, the rest being smaller or zero. From Lanczos, stderr contains a bound of
    what its few nodes do not resolve: it is as large as the value towards small eigenvalues."""
    num_examples: int
    num_parameters: int


def noise_spectrum(
    problem: Problem,
    params: Params,
    num_eigenvalues: int | None = None,
    *,
    num_draws: int | None = None,
    key: Key | None = None,
    memory: int | str | None = None,
) -> NoiseSpectrum:
    """The spectrum of D = (1/N) sum_i (g_i - gbar)(g_i - gbar)^T over the pool, or of S2 over `num_draws` draws.

    If n or P is at most 2000 and the work fits in `memory` (peak of the process; bytes or "2GiB", the default): all P
    eigenvalues (or the first `num_eigenvalues`) from the singular values of the gradients, and everything else exactly.
    Otherwise the trace is still exact, Lanczos with twice as many steps gives the top `num_eigenvalues` (default 50)
    with residual bounds, and |D|_F^2 and the density add to the converged ones a stochastic Lanczos quadrature over
    probes orthogonal to them; stderr is over 8 probes, for the density together with a bound of what the quadrature
    does not resolve. On the pool, stderr is this numerical error (0: exact); from draws it is nan, for the sampling
    error beside it is not known. `num_samples` is n.

    >>> import gradnoise.problem as gp
    >>> pool = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> problem = gp.from_arrays(lambda w, x: w @ x, lambda key: np.zeros(2), pool)
    >>> spectrum = noise_spectrum(problem, np.zeros(2))
    >>> spectrum.eigenvalues, spectrum.rank, float(spectrum.participation_ratio.value)     # 2.5^2 / (4 + 0.25)
    (array([2. , 0.5]), 2, 1.470...)

    Raises ValueError without a pool and num_draws, for a key without num_draws, and if num_eigenvalues exceeds P
    (beyond the exact sizes, half of the fewer of n and P); MemoryError if the Lanczos vectors do not fit.

    Source: Chaudhari and Soatto 2018, section 4; docs/theory/noise_scale.md, "Spectrum and curvature". Quadrature:
    Golub and Meurant 2010, chapter 7.
    """
    wanted = None if num_eigenvalues is None else _checks.integer("num_eigenvalues", num_eigenvalues)
    gradients = example_gradients(problem, params, num_draws, key, memory, "noise_spectrum")
    count, size = gradients.num_examples, gradients.num_parameters
    if wanted is not None and wanted > size:
        raise ValueError(f"num_eigenvalues={wanted} exceeds the {size} parameters. Ask for at most {size}.")
    scale = count / (count - 1) if gradients.drawn else 1.0
    parts = _exact_parts(gradients, scale) if is_exact(gradients) else _lanczos_parts(gradients, scale, wanted)
    return _summary(parts, gradients, wanted)


class _Parts(NamedTuple):
    method: str
    eigenvalues: np.ndarray
    bounds: np.ndarray
    trace: float
    frobenius: Estimate
    known: np.ndarray
    """Eigenvalues that enter the density as they are."""
    probes: list[tuple[np.ndarray, float]]
    """For the others, Lanczos matrix and squared norm of each random start."""


def _exact_parts(gradients: ExampleGradients, scale: float) -> _Parts:
    values = np.zeros(gradients.num_parameters)
    rows = centred_factor(gradients)
    if len(rows) <= ACCURATE_SIDE:
        found = np.linalg.svd(rows, compute_uv=False) ** 2
    else:
        found = np.maximum(np.linalg.eigvalsh(rows @ rows.T)[::-1], 0.0)
    values[: len(found)] = scale * found
    square = exact(float(values @ values), gradients.num_examples)
    return _Parts("exact", values, np.zeros_like(values), float(values.sum()), square, values, [])


def _lanczos_parts(gradients: ExampleGradients, scale: float, wanted: int | None) -> _Parts:
    wanted = _check_lanczos(gradients, wanted)
    size, random = gradients.num_parameters, np.random.default_rng(0)
    basis, matrices, residuals = _lanczos(gradients, 2 * wanted, random.standard_normal((1, size)))
    ritz, coordinates = np.linalg.eigh(scale * matrices[0])
    ritz, coordinates = np.maximum(ritz[::-1], 0.0), coordinates[:, ::-1]
    bounds = scale * residuals[0] * np.abs(coordinates[-1])
    found = np.flatnonzero(bounds[:wanted] <= CONVERGED * ritz[:wanted])
    vectors = basis[0].T @ coordinates[:, found]
    starts = random.choice([-1.0, 1.0], (NUM_PROBES, size))
    starts -= (starts @ vectors) @ vectors.T
    _, matrices, _ = _lanczos(gradients, min(PROBE_STEPS, gradients.num_examples, size), starts)
    probes = [(scale * matrix, float(start @ start)) for matrix, start in zip(matrices, starts, strict=True)]
    rest = from_samples(np.array([square * (matrix[0] @ matrix[0]) for matrix, square in probes]))  # |D v|^2
    top = float((ritz[found] ** 2 + bounds[found] ** 2).sum())
    square = Estimate(top + rest.value, rest.stderr, NUM_PROBES)
    trace = scale * total_variance(gradients)
    return _Parts("lanczos", ritz[:wanted], bounds[:wanted], trace, square, ritz[found], probes)


def _check_lanczos(gradients: ExampleGradients, wanted: int | None) -> int:
    """How many eigenvalues to look for; raises ValueError where that cannot be done."""
    count, size = gradients.num_examples, gradients.num_parameters
    most = min(count, size) // 2
    wanted = min(LANCZOS_EIGENVALUES, most) if wanted is None else wanted
    if wanted > most:
        raise ValueError(
            f"num_eigenvalues={wanted} exceeds {most}, the most that Lanczos gives for {count} examples and {size} "
            f"parameters. Ask for fewer, or allow memory for an exact decomposition (one side up to {EXACT_SIDE})."
        )
    needed = 8 * size * (6 * wanted + 2 * NUM_PROBES * PROBE_STEPS)
    gradients.require(needed, f"Lanczos with num_eigenvalues={wanted}", "Ask for fewer")
    return wanted


def _lanczos(gradients: ExampleGradients, steps: int, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with jax.enable_x64(True):
        inputs = gradients.params, jnp.asarray(gradients.mean), gradients.examples, jnp.asarray(starts)
        results = _compiled_lanczos(gradients.loss, gradients.product_chunk, steps, *inputs)
        basis, diagonal, off_diagonal, residual = (np.asarray(part) for part in results)
    tridiagonal = [np.diag(d) + np.diag(o, 1) + np.diag(o, -1) for d, o in zip(diagonal, off_diagonal, strict=True)]
    return basis, np.stack(tridiagonal), residual


@partial(jax.jit, static_argnums=(0, 1, 2))
def _compiled_lanczos(
    loss: Loss, chunk: int, steps: int, params: Params, mean: Any, examples: Examples, starts: Any
) -> tuple[Any, Any, Any, Any]:
    tridiagonalise = decomp.tridiag_sym(steps, materialize=False, custom_vjp=False)

    def one(start: Any) -> Any:
        product = lambda vector: covariance_product(loss, chunk, params, mean, examples, vector)  # noqa: E731
        result = tridiagonalise(product, start)
        return result.Q_tall, *result.J_small, jnp.linalg.norm(result.residual)

    return jax.vmap(one)(starts)


def _summary(parts: _Parts, gradients: ExampleGradients, wanted: int | None) -> NoiseSpectrum:
    count, size = gradients.num_examples, gradients.num_parameters
    largest, trace, square = float(parts.eigenvalues[0]), parts.trace, parts.frobenius
    threshold = largest * size * float(np.finfo(float).eps)
    variance = max(float(square.value) / size - (trace / size) ** 2, 0.0)
    spread = np.sqrt(variance)
    participation = trace**2 / square.value if square.value > 0 else 0.0
    relative = square.stderr / square.value if square.value > 0 else 0.0
    stable = trace / largest if largest > 0 else 0.0
    stable_error = stable * float(parts.bounds[0]) / largest if largest > 0 else 0.0

    def told(value: Any, error: Any) -> Estimate:
        return Estimate(value, np.full(np.shape(value), np.nan) if gradients.drawn else error, count)

    grid = max(largest, np.finfo(float).tiny) * np.logspace(-DENSITY_DECADES, 0.5, DENSITY_POINTS)
    return NoiseSpectrum(
        "S2" if gradients.drawn else "D",
        parts.method,
        parts.eigenvalues[:wanted],
        parts.bounds[:wanted],
        told(trace, 0.0),
        told(trace / size, 0.0),
        told(spread, square.stderr / (2 * size * spread) if spread > 0 else 0.0),
        told(participation, participation * relative),
        told(stable, stable_error),
        int(np.count_nonzero(parts.eigenvalues > threshold)),
        threshold,
        grid,
        told(*_density(parts, grid, size)),
        count,
        size,
    )


def _density(parts: _Parts, grid: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The smoothed density and its numerical error: from Lanczos, that of probes and of resolution."""
    at = np.log10(grid)[:, None]
    known = _kernel(at - _log(parts.known)).sum(axis=1) / size
    if not parts.probes:
        return known, np.zeros_like(known)
    curves, blurs = [], []
    for matrix, square in parts.probes:
        nodes, vectors = np.linalg.eigh(matrix)
        weights = square * vectors[0] ** 2 / size
        curve, blur = _resolved(at, _log(nodes), weights)
        curves.append(curve)
        blurs.append(blur)
    rest = from_samples(np.array(curves))
    return known + rest.value, np.hypot(rest.stderr, np.mean(blurs, axis=0))


def _resolved(at: np.ndarray, nodes: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A quadrature's smoothed density and how far it can be off: the mass of a node lies between its neighbours.

    That is the separation theorem of Chebyshev, Markov and Stieltjes.
    """
    below = np.concatenate([[SMALLEST], nodes[:-1]])
    above = np.concatenate([nodes[1:], nodes[-1:]])
    own = _kernel(at - nodes)
    nearest = _kernel(np.maximum(np.maximum(below - at, at - above), 0.0))
    farthest = _kernel(np.maximum(at - below, above - at))
    return own @ weights, np.maximum(nearest - own, own - farthest) @ weights


def _log(eigenvalues: np.ndarray) -> np.ndarray:
    return np.log10(np.maximum(eigenvalues, 10**SMALLEST))


def _kernel(decades: np.ndarray) -> np.ndarray:
    return np.exp(-((decades / SMOOTHING) ** 2) / 2) / (SMOOTHING * np.sqrt(2 * np.pi))
