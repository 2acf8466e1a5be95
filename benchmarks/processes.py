"""What a step of each process costs, as ratios measured in one run: `python benchmarks/processes.py`, some two minutes.

Rounds are interleaved: each round times every entry once, a ratio is that of two entries of one round, and the median
over rounds is printed with the smallest and largest. Wall time, and processor time, which other programs disturb less.
With `--torchsde-python PATH` (a Python that has torchsde) the same ensemble is timed there as well.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import gradnoise as gn

RATE, BATCH, SUBSTEPS, STEPS, PATHS, SIZE, EXAMPLES = 0.1, 4, 4, 50, 1000, 10, 32
"""The ensemble: logistic losses log(1 + exp(-x_n.w)) of EXAMPLES points in SIZE weights; peer: torchsde_peer.py."""


def points() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(EXAMPLES, SIZE)).astype(np.float32)


def loss(weights, point):
    return jax.nn.softplus(-point @ weights)


def ours() -> Callable[[], object]:
    """`simulate(sde)` on the ensemble: everything it does between call and arrays."""
    problem = gn.from_arrays(loss, lambda key: jnp.zeros(SIZE), points())
    grid = gn.Spacetime(EXAMPLES, BATCH, sampling="with_replacement", num_steps=STEPS)
    run = partial(gn.simulate, gn.sde(problem, SUBSTEPS), np.zeros(SIZE, np.float32), grid, RATE, PATHS)
    return lambda: run(jax.random.key(0), every=STEPS, training_set="given")


def bare_scan() -> Callable[[], object]:
    """The same Euler-Maruyama steps by reweighting, as one would write them for this problem alone."""
    x, h = jnp.asarray(points()), RATE / SUBSTEPS
    scale = (EXAMPLES / BATCH * SUBSTEPS) ** 0.5

    def substep(weights, key):
        xi = jax.random.normal(key, (EXAMPLES,))
        by_example = 1 + scale * (xi - xi.mean())
        gradient = jax.grad(lambda at: jnp.mean(by_example * jax.vmap(loss, (None, 0))(at, x)))(weights)
        return weights - h * gradient, None

    def path(key):
        return jax.lax.scan(substep, jnp.zeros(SIZE), jax.random.split(key, STEPS * SUBSTEPS))[0]

    ensemble = jax.jit(jax.vmap(path))
    return lambda: ensemble(jax.random.split(jax.random.key(0), PATHS)).block_until_ready()


def with_diffrax() -> Callable[[], object]:
    """diffrax.Euler with the diffusion as a SIZE x EXAMPLES matrix of centred gradients: its general Ito noise."""
    x, h = jnp.asarray(points()), RATE / SUBSTEPS
    scale = (RATE / (BATCH * EXAMPLES)) ** 0.5

    def gradients(weights):
        return -jax.nn.sigmoid(-x @ weights)[:, None] * x

    def diffusion(t, weights, args):
        rows = gradients(weights)
        return scale * (rows - rows.mean(0)).T

    drift = diffrax.ODETerm(lambda t, weights, args: -gradients(weights).mean(0))

    def path(key):
        time_end = STEPS * RATE
        noise = diffrax.UnsafeBrownianPath(shape=(EXAMPLES,), key=key)
        terms = diffrax.MultiTerm(drift, diffrax.ControlTerm(diffusion, noise))
        options = {"max_steps": STEPS * SUBSTEPS + 4, "adjoint": diffrax.DirectAdjoint()}
        ends = diffrax.diffeqsolve(terms, diffrax.Euler(), 0.0, time_end, h, jnp.zeros(SIZE), **options).ys
        assert ends is not None
        return ends[-1]

    ensemble = jax.jit(jax.vmap(path))
    return lambda: ensemble(jax.random.split(jax.random.key(0), PATHS)).block_until_ready()


def digits(make: Callable[[gn.Problem], gn.Process], num_steps: int, batch_size: int, num_replicas: int):
    """`simulate` of a process on the digits with the stock network 64-32-10; all 1797 examples are the training set."""
    problem = gn.testbeds.problem("digits-mlp")
    grid = gn.Spacetime(problem.num_pool, batch_size, sampling="with_replacement", num_steps=num_steps)
    process, start, key = make(problem), problem.init(jax.random.key(0)), jax.random.key(1)
    return lambda: gn.simulate(process, start, grid, 0.01, num_replicas, key, every=num_steps, training_set="given")


class Torchsde:
    """The peer in a Python of its own: one line in, seconds out."""

    def __init__(self, python: str) -> None:
        numbers = [RATE, BATCH, SUBSTEPS, STEPS, PATHS, EXAMPLES, SIZE]
        command = [python, str(Path(__file__).with_name("torchsde_peer.py")), *map(str, numbers)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self) -> tuple[float, float]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        wall, processor = self.process.stdout.readline().split()
        return float(wall), float(processor)


def clock(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of one call."""
    if isinstance(work, Torchsde):
        return work()
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def measure(entries: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds of every entry in every round; each is called once before, to compile."""
    for work in entries.values():
        work()
    seconds = {name: [] for name in entries}
    for _ in range(rounds):
        for name, work in entries.items():
            seconds[name].append(clock(work))
    return seconds


def repeated(work: Callable[[], object], times: int) -> Callable[[], object]:
    """`work`, so many times over."""
    return lambda: [work() for _ in range(times)]


def report(seconds: dict[str, list[tuple[float, float]]], above: str, below: str) -> None:
    """One line: median, smallest and largest ratio over rounds, of wall time and of processor time; median seconds."""
    told = []
    for kind in (0, 1):
        ratios = [a[kind] / b[kind] for a, b in zip(seconds[above], seconds[below], strict=True)]
        told.append(f"{statistics.median(ratios):5.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    wall = " / ".join(f"{statistics.median(w for w, _ in seconds[name]):.2f} s" for name in (above, below))
    print(f"{above + ' / ' + below:55s} wall {told[0]:24s} processor {told[1]:24s} [{wall}]", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--torchsde-python", help="a Python that has torchsde; left out without it")
    given = parser.parse_args()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} cores, load {load}; Python {sys.version.split()[0]}, jax {jax.__version__}", flush=True)
    steps, replicas = 300, 4
    seconds = measure(
        {
            "noisy_gd": digits(gn.noisy_gd, steps, 32, replicas),
            "gradient_descent": digits(gn.gradient_descent, steps, 32, replicas),
        },
        given.rounds,
    )
    report(seconds, "noisy_gd", "gradient_descent")
    inner, outer = 4, 300
    seconds = measure(
        {
            f"svag({inner})": digits(lambda problem: gn.svag(problem, inner), outer, 32, 16),
            f"{2 * inner} times the steps of sgd": digits(gn.sgd, 2 * inner * outer, 32, 16),
        },
        given.rounds,
    )
    report(seconds, *seconds)
    entries = {"sde": ours(), "a bare scan": bare_scan(), "diffrax": with_diffrax()}
    seconds = measure({name: repeated(work, 5) for name, work in entries.items()}, given.rounds)
    report(seconds, "sde", "a bare scan")
    report(seconds, "sde", "diffrax")
    if given.torchsde_python:
        seconds = measure({"sde": ours(), "torchsde": Torchsde(given.torchsde_python)}, 2)
        report(seconds, "sde", "torchsde")


if __name__ == "__main__":
    main()
