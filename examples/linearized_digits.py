"""SGD around a minimum at real size: softmax regression on all the digits, 650 weights, against the linear theory.

    python examples/linearized_digits.py                              # two batch sizes, two minutes on two idle cores

Printed for each batch size: variances and means along chosen directions, energy, excess loss and circulation, predicted by
`linearize` and measured on runs. What the quadratic model leaves out is of relative order eta/B. docs/theory/spectra.md
"""

import argparse
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

import gradnoise as gn
from gradnoise._types import Key
from gradnoise.dynamics import Simulation
from gradnoise.estimate import Estimate, from_samples
from gradnoise.stationary import Linearization, Minimum, area_rate, find_minimum, linearize, mean_shift

WEIGHT_L2, LEARNING_RATE = 1e-2, 0.5
BURN_IN, EVERY = 1000, 100
"""Runs start at the minimum; exp(-2 * 0.5 * 0.01 * 1000) = 5e-5 of the slowest variance is still missing then."""
RESOLVED = 1e-6
"""Share of the largest variance from which on directions are chosen; float32 may not resolve those far below."""
LAG = 5  # steps between the records of which the swept area is made: its prediction is exact for any lag


class Setting(NamedTuple):
    """A minimum, the linear process there, and the rates at which it is run."""

    problem: gn.Problem
    minimum: Minimum
    linearization: Linearization
    learning_rate: float
    batch_size: int

    @property
    def covariance(self) -> Float[np.ndarray, "P P"]:
        """C, the stationary covariance of SGD on the quadratic model."""
        return self.linearization.covariance(self.learning_rate, self.batch_size)


class Measured(NamedTuple):
    """Of the runs after the burn-in; errors over replicas."""

    variances: Estimate
    """Along each direction; parameter^2."""
    means: Estimate
    energy: Estimate
    """E x.F x/2, x and the means counted from the minimum; units of the loss."""
    excess_loss: Estimate
    """E f - f(minimum), penalty included."""


def directions(setting: Setting, count: int, seed: int = 0) -> dict[str, Float[np.ndarray, "P k"]]:
    """Unit columns with the largest variances and the smallest resolved ones, and random ones among the noisy."""
    span = setting.linearization.noisy_directions()
    variances, vectors = np.linalg.eigh(span.T @ setting.covariance @ span)
    vectors = (span @ vectors[:, variances > RESOLVED * variances[-1]])[:, ::-1]
    random = np.linalg.qr(np.random.default_rng(seed).standard_normal((span.shape[1], count)))[0]
    return {"leading": vectors[:, :count], "trailing": vectors[:, -count:], "random": span @ random}


def turning_planes(setting: Setting, count: int) -> Float[np.ndarray, "P k"]:
    """Orthonormal pairs of columns that span the planes where Q is largest, k = 2 count."""
    decomposition, span = setting.linearization.decomposition(setting.learning_rate)
    vectors = np.linalg.eigh(1j * decomposition.Q)[1][:, ::-1][:, :count]
    pairs = np.sqrt(2) * np.stack([np.real(vectors), np.imag(vectors)], axis=-1)
    return span @ pairs.reshape(span.shape[1], 2 * count)


def lagged_area_rate(setting: Setting, columns: Float[np.ndarray, "P k"], lag: int) -> Float[np.ndarray, "k k"]:
    """What `area_rate` of records `lag` steps apart should give: (C A^T - A C)/(lag eta), A = (1 - eta F)^lag."""
    F, rate = setting.linearization.F, setting.learning_rate
    carried = np.linalg.matrix_power(np.eye(len(F)) - rate * F, lag) @ setting.covariance
    return columns.T @ (carried.T - carried) @ columns / (lag * rate)


def runs_along(setting: Setting, observe: dict[str, Any], steps: int, every: int, count: int, key: Key) -> Simulation:
    """`count` runs of SGD with replacement from the minimum, float32."""
    size = len(setting.problem.pool["y"])
    grid = gn.Spacetime(size, setting.batch_size, sampling="with_replacement", num_steps=steps)
    arguments = gn.sgd(setting.problem), setting.minimum.params, grid, setting.learning_rate, count, key
    return gn.simulate(*arguments, observe, every=every, training_set="given")


def along(centre: jax.Array, columns: np.ndarray) -> dict[str, Any]:
    """Functions that read off the weights along each column, from the centre."""

    def one(column: np.ndarray, params: Any, examples: Any) -> jax.Array:
        return (ravel_pytree(params)[0] - centre) @ column

    return {f"along_{i}": partial(one, column.astype(np.float32)) for i, column in enumerate(columns.T)}


def measure(setting: Setting, columns: np.ndarray, num_steps: int, replicas: int, key: Key) -> Measured:
    """Moments along the columns, energy and excess loss, averaged over the records after the burn-in."""
    centre = ravel_pytree(setting.minimum.params)[0]
    curvature = setting.linearization.F.astype(np.float32)

    def energy(params: Any, examples: Any) -> jax.Array:
        x = ravel_pytree(params)[0] - centre
        return x @ (curvature @ x) / 2

    def penalty(params: Any, examples: Any) -> jax.Array:
        return WEIGHT_L2 / 2 * jnp.sum(ravel_pytree(params)[0] ** 2)

    observe = along(centre, columns) | {"energy": energy, "penalty": penalty}
    values = runs_along(setting, observe, num_steps, EVERY, replicas, key).observables
    kept = slice(BURN_IN // EVERY, None)
    x = np.stack([values[f"along_{i}"][:, kept] for i in range(columns.shape[1])], axis=-1).astype(float)
    squares = (x - x.mean(axis=0)) ** 2 * replicas / (replicas - 1)
    loss = values["train_loss"].astype(float) + values["penalty"]
    return Measured(
        variances=from_samples(squares.mean(axis=1)),
        means=from_samples(x.mean(axis=1)),
        energy=from_samples(values["energy"][:, kept].astype(float).mean(axis=1)),
        excess_loss=from_samples(loss[:, kept].mean(axis=1) - loss[:, 0]),
    )


def measure_turning(setting: Setting, columns: np.ndarray, num_steps: int, replicas: int, key: Key) -> Estimate:
    """`area_rate` along the columns, after the burn-in."""
    observe = along(ravel_pytree(setting.minimum.params)[0], columns)
    values = runs_along(setting, observe, num_steps, LAG, replicas, key).observables
    x = np.stack([values[name][:, BURN_IN // LAG :] for name in observe], axis=-1)
    return area_rate(x, LAG * setting.learning_rate)


def variance_lines(setting: Setting, chosen: dict[str, np.ndarray], found: Measured) -> list[str]:
    """Of each group of directions: range predicted, measured over predicted, |z|; then of all the means."""
    columns = np.concatenate(list(chosen.values()), axis=1)
    expected = np.einsum("pi,pq,qi->i", columns, setting.covariance, columns)
    ratios, errors = found.variances.value / expected, found.variances.stderr / expected
    lines = []
    for name, here in zip(chosen, np.split(np.arange(len(expected)), len(chosen)), strict=True):
        worst = np.abs((ratios[here] - 1) / errors[here]).max()
        lines.append(
            f"    variance, {len(here)} {name}: {expected[here].min():.2g} to {expected[here].max():.2g} predicted; "
            f"measured/predicted {ratios[here].min():.3f} to {ratios[here].max():.3f}, mean {ratios[here].mean():.4f}, "
            f"each +- {errors[here].mean():.3f}, largest |z| {worst:.1f}"
        )
    problem, minimum, linearization, rate, batch = setting
    shift = mean_shift(problem, minimum.params, linearization, rate, batch) @ columns
    off, left = (np.abs((found.means.value - wanted) / found.means.stderr).max() for wanted in (0.0, shift))
    return [*lines, f"    mean, {len(shift)} directions: largest |z| {off:.1f} from the minimum, {left:.1f} from m"]


def energy_lines(setting: Setting, found: Measured) -> list[str]:
    """Energy and excess loss against tr(F C)/2, and the SDE's form of it, eta tr(D)/(4 B)."""
    expected = np.trace(setting.linearization.F @ setting.covariance) / 2
    continuous = setting.learning_rate * np.trace(setting.linearization.D) / (4 * setting.batch_size)
    lines = [f"    tr(F C)/2 = {expected:.6f} predicted; in the SDE's form {continuous:.6f}"]
    for name, each in (("energy E x.F x/2", found.energy), ("excess loss", found.excess_loss)):
        lines.append(
            f"    {name} {each.value:.6f}: off by {each.value / expected - 1:+.2%} +- {each.stderr / expected:.2%}"
        )
    return lines


def turning_lines(found: Estimate, expected: np.ndarray) -> list[str]:
    """The rate in each plane, measured and predicted."""
    planes = [tuple(m[i, i + 1] for m in (found.value, found.stderr, expected)) for i in range(0, len(expected), 2)]
    return [
        f"    turning in plane {i}: {value:.3e} +- {error:.1e}, predicted {wanted:.3e}, z = {(value - wanted) / error:+.1f}"
        for i, (value, error, wanted) in enumerate(planes, 1)
    ]


def main(arguments: list[str] | None = None) -> None:
    """Find the minimum, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, nargs="+", default=[64, 16])
    parser.add_argument("--num-replicas", type=int, default=1000, help="default 1000; a fifth as many for turning")
    parser.add_argument("--num-steps", type=int, default=2000, help="steps, 1000 of them burn-in (default 2000)")
    options = parser.parse_args(arguments)
    problem = gn.testbeds.digits_logistic(weight_l2=WEIGHT_L2)
    minimum = find_minimum(problem, problem.init(jax.random.key(0)))
    linearization = linearize(problem, minimum.params)
    size, noisy = linearization.noisy_directions().shape
    print(f"{size} weights, {noisy} noisy directions; loss {minimum.loss:.6f} at the minimum")
    for batch_size in options.batch_size:
        setting = Setting(problem, minimum, linearization, LEARNING_RATE, batch_size)
        keys, chosen = jax.random.split(jax.random.key(batch_size)), directions(setting, 8)
        print(f"eta = {LEARNING_RATE:g}, B = {batch_size}, {options.num_replicas} runs")
        columns, replicas = np.concatenate([*chosen.values()], axis=1), options.num_replicas
        found = measure(setting, columns, options.num_steps, replicas, keys[0])
        print(*variance_lines(setting, chosen, found), *energy_lines(setting, found), sep="\n", flush=True)
        planes = turning_planes(setting, 2)
        turned = measure_turning(setting, planes, 2 * BURN_IN, max(16, replicas // 5), keys[1])
        print(*turning_lines(turned, lagged_area_rate(setting, planes, LAG)), sep="\n", flush=True)


if __name__ == "__main__":
    main()
