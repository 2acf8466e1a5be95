"""The same mean loss of SGD with smaller errors: plain, with the first order of the noise, with `variance_reduction="path"`.

    python examples/path_control_variate.py                             # about a minute on two cores
    python examples/path_control_variate.py --pool 256 --steps 100      # the setting of loop.md 12: some minutes

Softmax regression on handwritten digits, one epoch of `--steps` batches, so that N = steps x B and one predicted path
serves all batch sizes. A gradient equivalent is the gradient of one example's loss; "pays" says how many times fewer of them
the path needs than plain simulation for the same error of the test loss (below 1: simulate more replicas instead), the
prediction of the path, made once, left out.
"""

import argparse
import time

import jax
import numpy as np

import gradnoise as gn
from gradnoise.dynamics import Simulation
from gradnoise.dynamics.controls import Controls, adjust
from gradnoise.estimate import from_samples


def linear_error(runs: Simulation, name: str) -> float:
    """The standard error with the first order (G x) as the only control."""
    samples, mean = runs.controls[name]
    return from_samples(adjust(runs.observables[name], Controls(samples[..., :1], mean[:, :1]))[0]).stderr[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=int, default=128, help="examples of the pool (default 128)")
    parser.add_argument("--steps", type=int, default=40, help="steps of each run (default 40)")
    parser.add_argument("--learning-rate", type=float, default=0.5)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[10, 20, 40, 80, 160])
    parser.add_argument("--replicas", type=int, default=200)
    options = parser.parse_args()

    problem = gn.testbeds.problem("digits-logistic", num_pool=options.pool)
    params, process = problem.init(jax.random.key(0)), gn.sgd(problem)
    first = options.batch_sizes[0]
    started = time.perf_counter()
    path = gn.predict_path(
        problem, params, gn.Spacetime(options.steps * first, first), options.learning_rate, method="dense"
    )
    print(
        f"path of {options.steps} steps, {options.pool} examples: {time.perf_counter() - started:.0f} s, once for all rows"
    )
    columns = ("B", "observable", "mean", "plain", "linear", "path", "linear/path", "plain/path")
    print("{:>5} {:>11} {:>9} {:>9} {:>9} {:>9} {:>12} {:>11}".format(*columns))
    for batch_size in options.batch_sizes:
        spacetime, key = gn.Spacetime(options.steps * batch_size, batch_size), jax.random.key(batch_size)
        started = time.perf_counter()
        runs = gn.simulate(
            process, params, spacetime, options.learning_rate, options.replicas, key, every=options.steps,
            variance_reduction=path,
        )  # fmt: skip
        seconds = time.perf_counter() - started
        for name in ("test_loss", "train_loss", "gap"):
            plain, found = from_samples(runs.observables[name]).stderr[-1], runs.mean(name)[-1]
            linear = linear_error(runs, name)
            print(
                f"{batch_size:5d} {name:>11} {found.value:9.5f} {plain:9.2e} {linear:9.2e} {found.stderr:9.2e} "
                f"{linear / found.stderr:12.1f} {plain / found.stderr:11.1f}"
            )
        cost = (4 * options.pool + 3 * batch_size) / batch_size
        gain = from_samples(runs.observables["test_loss"]).stderr[-1] / runs.mean("test_loss").stderr[-1]
        print(
            f"      {cost:.0f} times the gradients of a plain run ({seconds:.1f} s), pays {np.square(gain) / cost:.2g} times"
        )


if __name__ == "__main__":
    main()
