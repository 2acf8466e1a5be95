"""What a sweep costs beside loops that one writes by hand, and what its engine adds: `python benchmarks/sweep.py`.

The plan is small: the digits, network 64-32-10, batch sizes 8 and 32, three temperatures, a few seeds. The same runs are
made by `gn.sweep`, by a loop over runs in JAX (a run is one compiled call) and, with `--torch-python PATH`, by a loop over
runs and steps in PyTorch. Rounds are interleaved as in processes.py. Then what the engine adds to its compiled calls, by the
run, and what Dask adds, by the chunk.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from processes import Torchsde, clock, measure, report

import gradnoise as gn
from gradnoise.dynamics import runner
from gradnoise.experiment.sweep import read_plan, sweep
from gradnoise.experiment.sweep.cells import chunks, temperature
from gradnoise.experiment.sweep.local_cluster import local_cluster

EXAMPLES, EPOCHS, RECORDS, TEMPERATURES, BATCH_SIZES = 320, 20, 5, (0.001, 0.002, 0.004), (8, 32)


def plan(seeds: int) -> dict:
    return {
        "problem": "digits-mlp", "temperatures": TEMPERATURES, "batch_sizes": BATCH_SIZES, "num_examples": EXAMPLES,
        "reference_epochs": EPOCHS, "num_records": RECORDS, "seeds": seeds,
    }  # fmt: skip


def settings(seeds: int) -> list[tuple[float, int, int, int]]:
    """(learning rate, batch size, steps between records, seed) of every run."""
    found = chunks(read_plan(plan(seeds)))
    return [
        (run.learning_rate, chunk.shape.batch_size, chunk.shape.every, run.seed)
        for chunk in found
        for run in chunk.runs
    ]


@partial(jax.jit, static_argnames=("batch_size", "every"))
def one_run(pool, key, rate, batch_size, every):
    """A run as one would write it: training set, batches, SGD, loss and accuracy on both sets at each record."""
    problem = gn.testbeds.problem("digits-mlp")
    start, own, draws = jax.random.split(key, 3)
    chosen = jax.random.randint(own, (EXAMPLES,), 0, problem.num_pool)
    train = jax.tree.map(lambda leaf: leaf[chosen], pool)

    def mean_loss(params, examples):
        return jnp.mean(jax.vmap(problem.loss, (None, 0))(params, examples))

    def evaluate(params):
        functions = (problem.loss, *(problem.metrics or {}).values())
        return [jnp.mean(jax.vmap(each, (None, 0))(params, on)) for each in functions for on in (pool, train)]

    def step(params, rows):
        gradient = jax.grad(mean_loss)(params, jax.tree.map(lambda leaf: leaf[rows], train))
        return jax.tree.map(lambda w, g: w - rate * g, params, gradient), None

    def until_record(params, rows):
        params, _ = jax.lax.scan(step, params, rows)
        return params, evaluate(params)

    params = problem.init(start)
    rows = jax.random.randint(draws, (RECORDS, every, batch_size), 0, EXAMPLES)
    return evaluate(params), jax.lax.scan(until_record, params, rows)[1]


def loop(seeds: int) -> list:
    """All runs one after the other in JAX, one compiled call each."""
    pool = gn.testbeds.problem("digits-mlp").pool
    return [
        jax.device_get(one_run(pool, jax.random.key(seed), rate, batch_size, every))
        for rate, batch_size, every, seed in settings(seeds)
    ]


class Torch(Torchsde):
    """The loop in PyTorch, in a Python of its own."""

    def __init__(self, python: str, seeds: int, folder: str) -> None:
        file = Path(folder) / "runs.npz"
        x, y = jax.tree.leaves(gn.testbeds.problem("digits-mlp").pool)
        np.savez(file, x=x, y=y, runs=np.array(settings(seeds)), examples=EXAMPLES, records=RECORDS)
        command = [python, str(Path(__file__).with_name("sweep_torch_peer.py")), str(file)]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )


def overhead(seeds: int, rounds: int) -> None:
    """Processor time of a sweep outside of its compiled calls, by the run."""
    spent, compiled = [], runner.compiled

    def timed(function):
        def call(*arguments):
            result, seconds = None, time.process_time()
            result = jax.block_until_ready(function(*arguments))
            spent.append(time.process_time() - seconds)
            return result

        return call

    runner.compiled = lambda *given: runner.Compiled(*map(timed, compiled(*given)))  # type: ignore[assignment]
    runs, whole, inside = len(settings(seeds)), [], []
    for _ in range(rounds):
        spent.clear()
        whole.append(clock(lambda: sweep(plan(seeds)))[1])
        inside.append(sum(spent))
    runner.compiled = compiled
    added = [(a - b) / runs * 1e3 for a, b in zip(whole, inside, strict=True)]
    share = statistics.median(1 - b / a for a, b in zip(whole, inside, strict=True))
    print(
        f"engine outside compiled calls, {runs} runs: {statistics.median(added):.2f} ({min(added):.2f} to "
        f"{max(added):.2f}) ms of processor time a run, {share:.0%} of all"
    )


def dask_overhead(rounds: int, number: int = 60) -> None:
    """Seconds between finished chunks, on a cluster of one worker and here; the chunks do next to nothing."""
    rates = [0.001 * k for k in range(1, number + 1)]
    tiny = {
        "problem": "mean-estimation",
        "learning_rates": rates,
        "num_examples": 16,
        "seeds": 1,
        "reference_epochs": 20,
    }
    tiny |= {"runs_per_chunk": 1, "num_records": 1}

    def between(cluster: str | None) -> float:
        heard: list[float] = []
        sweep(tiny, cluster=cluster, progress=lambda stage, share: heard.append(time.perf_counter()))
        return (heard[-1] - heard[0]) / (number - 1) * 1e3

    with local_cluster(1) as address:
        between(address), between(None)
        pairs = [(between(address), between(None)) for _ in range(rounds)]
    added = [there - here for there, here in pairs]
    print(
        f"Dask: {statistics.median(added):.1f} ({min(added):.1f} to {max(added):.1f}) ms a chunk more than here "
        f"({statistics.median(here for _, here in pairs):.1f} ms)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 30])
    parser.add_argument("--torch-python", help="a Python that has torch and numpy; left out without it")
    given = parser.parse_args()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} cores, load {load}; Python {sys.version.split()[0]}, jax {jax.__version__}", flush=True)
    for seeds in given.seeds:
        runs = settings(seeds)
        assert len({temperature(rate, batch_size) for rate, batch_size, *_ in runs}) == len(TEMPERATURES)
        entries = {"sweep": partial(sweep, plan(seeds)), "JAX loop": partial(loop, seeds)}
        with tempfile.TemporaryDirectory() as folder:
            if given.torch_python:
                entries["torch loop"] = Torch(given.torch_python, seeds, folder)
            seconds = measure(entries, given.rounds)
        print(f"{len(runs)} runs; runs a minute of processor time:", end=" ")
        rates = {name: 60 * len(runs) / statistics.median(cpu for _, cpu in spent) for name, spent in seconds.items()}
        print(", ".join(f"{name} {rate:.0f}" for name, rate in rates.items()))
        for name in entries:
            if name != "sweep":
                report(seconds, name, "sweep")
        overhead(seeds, given.rounds)
    dask_overhead(given.rounds)


if __name__ == "__main__":
    main()
