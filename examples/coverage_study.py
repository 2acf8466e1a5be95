"""How often the intervals of `noise_scale` and `critical_batch` contain the truth: the table of docs/coverage.md.

    python examples/coverage_study.py                            # about a quarter of an hour on two cores
    python examples/coverage_study.py --repetitions 100 --draws 200
    python examples/coverage_study.py --scales 1                 # one coordinate: the hardest case

The loss is linear, params @ example, so that an example is its own gradient and |G|^2, tr D and their ratio are known.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise.estimate import Estimate, from_samples
from gradnoise.measure.noise_interval import noise_scale_interval
from gradnoise.measure.noise_scale import noise_scale
from gradnoise.problem import Problem
from gradnoise.stationary.linear_scaling import critical_batch

SCALES = (0.2, 0.525, 0.85, 1.175, 1.5)  # standard deviation of each gradient coordinate
MEANS = {"far": 1.0, "near minimum": 0.1, "at minimum": 0.0}
NOISES = {
    "gaussian": lambda key, shape: jax.random.normal(key, shape),
    "skewed (exponential)": lambda key, shape: jax.random.exponential(key, shape) - 1,
    "heavy-tailed (t, 8 d.o.f.)": lambda key, shape: jax.random.t(key, 8.0, shape) * math.sqrt(6 / 8),
}
BATCH_SIZE, QUANTITIES = 32, ("gradient_norm_squared", "noise_trace", "simple_noise_scale", "noise_to_signal")


class Row(NamedTuple):
    """Share of repetitions in which the 95% interval of `quantity` held the truth, and in which it was unbounded."""

    noise: str
    place: str
    samples: int
    quantity: str
    covered: float
    unbounded: float


def noise_scale_coverage(
    draws: int, repetitions: int, seed: int = 0, scales: tuple[float, ...] = SCALES
) -> Iterator[Row]:
    """The four quantities of `noise_scale` for every noise and place."""
    case_keys = iter(jax.random.split(jax.random.key(seed), len(NOISES) * len(MEANS)))
    for noise, sampler in NOISES.items():
        for place, mean in MEANS.items():

            def sample(key: jax.Array, n: int, sampler=sampler, mean=mean) -> jax.Array:
                return mean + jnp.asarray(scales) * sampler(key, (n, len(scales)))

            problem = Problem(_linear_loss, jax.jit(sample, static_argnums=1), lambda key: jnp.zeros(len(scales)))
            trace, signal = float(np.square(scales).sum()), len(scales) * mean**2
            ratio = trace / signal if signal > 0 else math.inf
            truth = dict(zip(QUANTITIES, (signal, trace, ratio, ratio / BATCH_SIZE), strict=True))
            keys = jax.random.split(jax.random.fold_in(next(case_keys), draws), repetitions)
            intervals = [_intervals(problem, draws, key, len(scales)) for key in keys]
            for quantity in QUANTITIES:
                yield _row(noise, place, draws, quantity, truth[quantity], [each[quantity] for each in intervals])


def critical_batch_coverage(repetitions: int, seed: int = 0) -> Iterator[Row]:
    """`critical_batch` from time averages of G and N over independent windows, as a stationary run gives them."""
    random = np.random.default_rng(seed)
    cases = {
        ("gaussian", "far", 20): lambda m: (random.normal(1.0, 0.5, m), random.normal(4.0, 1.0, m)),
        ("gaussian", "near minimum", 20): lambda m: (random.normal(0.1, 0.4, m), random.normal(4.0, 1.0, m)),
        ("skewed (gamma)", "far", 40): lambda m: (random.gamma(4.0, 0.25, m), random.gamma(4.0, 1.0, m)),
        ("correlated (gamma)", "far", 40): lambda m: _correlated(random, m),
    }
    for (noise, place, samples), draw in cases.items():
        ratio = 40.0 if place == "near minimum" else 4.0
        intervals = []
        for _ in range(repetitions):
            signal, trace = draw(samples)
            shared = float(np.cov(signal, trace)[0, 1]) / samples if noise.startswith("correlated") else 0.0
            pair: tuple[Estimate, Estimate] = from_samples(signal), from_samples(trace)
            intervals.append(critical_batch(*pair, BATCH_SIZE, covariance=shared).interval("sharp"))
        yield _row(noise, place, samples, "critical_batch", BATCH_SIZE * (2 + ratio), intervals)


def _correlated(random: np.random.Generator, m: int) -> tuple[np.ndarray, np.ndarray]:
    shared, first, second = (random.gamma(2.0, 1.0, m) for _ in range(3))
    return (shared + first) / 4, shared + second


def _linear_loss(params: jax.Array, example: jax.Array) -> jax.Array:
    return params @ example


def _intervals(problem: Problem, draws: int, key: jax.Array, size: int) -> Mapping[str, tuple[float, float]]:
    scale = noise_scale(problem, np.zeros(size), BATCH_SIZE, draws, key)
    return {quantity: noise_scale_interval(scale, quantity) for quantity in QUANTITIES}


def _row(noise: str, place: str, samples: int, quantity: str, truth: float, intervals: list) -> Row:
    covered = float(np.mean([low <= truth <= high for low, high in intervals]))
    return Row(noise, place, samples, quantity, covered, float(np.mean([high == math.inf for _, high in intervals])))


def markdown(rows: list[Row]) -> str:
    """The rows as a table, one line a noise, place and number of samples."""
    columns = [*QUANTITIES, "critical_batch"]
    lines = ["| noise | place | n | " + " | ".join(columns) + " | unbounded |", "|---" * (len(columns) + 4) + "|"]
    for head in dict.fromkeys(row[:3] for row in rows):
        found = {row.quantity: row for row in rows if row[:3] == head}
        shares = [f"{100 * found[column].covered:.1f}" if column in found else "" for column in columns]
        ratio = found.get("simple_noise_scale") or found["critical_batch"]
        lines.append(f"| {' | '.join(map(str, head))} | {' | '.join(shares)} | {100 * ratio.unbounded:.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table; progress goes to stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--draws", type=int, nargs="+", default=[200, 1000])
    parser.add_argument("--scales", type=float, nargs="+", default=list(SCALES))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = []
    for draws in options.draws:
        for row in noise_scale_coverage(draws, options.repetitions, options.seed, tuple(options.scales)):
            rows.append(row)
            print(*row, file=sys.stderr)
    rows.extend(critical_batch_coverage(options.repetitions, options.seed))
    print(markdown(rows))


if __name__ == "__main__":
    main()
