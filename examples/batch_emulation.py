"""Full-batch descent that behaves like SGD with batches of one, and where it stops doing so: softmax regression on digits.

    python examples/batch_emulation.py                      # some minutes
    python examples/batch_emulation.py --num-replicas 200 --rates 0.001

Same training sets for all three processes. Printed for each learning rate: test loss and gap of gradient descent less SGD,
of emulating descent less SGD, both as z; the eta^2 prediction, and for the test loss the prediction along the whole path.
The page beside it: docs/theory/batch_emulation.md.
"""

import argparse
from typing import Any, NamedTuple

import jax
import numpy as np

import gradnoise as gn
from gradnoise.estimate import Estimate, from_samples
from gradnoise.measure import DiagramValues
from gradnoise.predict.batch_emulation import emulate_batch, emulation_domain
from gradnoise.predict.epochs import batch_size_effect

NUM_EXAMPLES = 40
RATES = (0.001, 0.002, 0.01, 0.05)


class Comparison(NamedTuple):
    """End of the run, less SGD with batches of one on the same training sets: of full batches, of emulating full batches.

    `predicted`: of the first, learning_rate^2 times its order-2 coefficient.
    """

    plain: Estimate
    emulated: Estimate
    predicted: float


def grids() -> tuple[gn.Spacetime, gn.Spacetime]:
    """As many steps with batches of one as with full batches."""
    return gn.Spacetime(NUM_EXAMPLES, 1), gn.Spacetime(NUM_EXAMPLES, NUM_EXAMPLES, epochs=NUM_EXAMPLES)


def compare(
    problem: gn.Problem, params: Any, values: DiagramValues, rate: float, num_replicas: int, key: Any
) -> dict[str, Comparison]:
    """Test loss and gap of paired runs."""
    small, large = grids()
    settings = {"learning_rate": rate, "num_replicas": num_replicas, "key": key, "every": NUM_EXAMPLES}
    runs = {
        name: gn.simulate(process, params, grid, **settings, dtype="float64").observables
        for name, process, grid in (
            ("sgd", gn.sgd(problem), small),
            ("plain", gn.sgd(problem), large),
            ("emulated", emulate_batch(problem, NUM_EXAMPLES, 1), large),
        )
    }
    found = {}
    for target, name in (("test", "test_loss"), ("gap", "gap")):
        plain, emulated = (from_samples((runs[run][name] - runs["sgd"][name])[:, -1]) for run in ("plain", "emulated"))
        predicted = batch_size_effect(values, small, NUM_EXAMPLES, target)
        found[target] = Comparison(plain, emulated, float(predicted.value[2] * rate**2))
    return found


def along_the_path(problem: gn.Problem, params: Any, rate: float) -> float:
    """The same difference of test losses by one loop around the deterministic path, at any learning rate."""
    ends = []
    for grid in grids():
        curve = gn.predict_path(problem, params, grid, rate).curve("test", batch_size=grid.batch_size)
        ends.append(float(np.asarray(curve.value)[-1]))
    return ends[1] - ends[0]


def line(name: str, found: Comparison) -> str:
    """One row of the table."""
    z = [float(each.value / each.stderr) for each in (found.plain, found.emulated)]
    return (
        f"    {name:<4}  full batch {found.plain.value:+.3e} +- {found.plain.stderr:.1e} (z {z[0]:+6.1f})   emulating "
        f"{found.emulated.value:+.3e} +- {found.emulated.stderr:.1e} (z {z[1]:+6.1f})   eta^2 term {found.predicted:+.3e}"
    )


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-replicas", type=int, default=2000, help="runs of each process (default 2000)")
    parser.add_argument("--rates", type=float, nargs="+", default=RATES, help="learning rates")
    parser.add_argument("--no-path", action="store_true", help="leave out the prediction along the path")
    options = parser.parse_args(arguments)
    problem = gn.testbeds.digits_logistic(256)
    params = problem.init(jax.random.key(0))
    values = gn.diagram_values(problem, params, max_order=2)
    print(
        f"Softmax regression on 256 digits, N = {NUM_EXAMPLES}, {NUM_EXAMPLES} steps; each less SGD with batches of one."
    )
    for rate in options.rates:
        print(f"rate {rate:g}: {emulation_domain(problem, params, grids()[0], rate)}")
        for name, found in compare(problem, params, values, rate, options.num_replicas, jax.random.key(1)).items():
            print(line(name, found), flush=True)
        if not options.no_path:
            print(
                f"    test  full batch along the path, one loop: {along_the_path(problem, params, rate):+.3e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
