"""More epochs at smaller rates against one epoch of SGD and against gradient descent: Tenka's figure 5, on digits.

    python examples/fig_space_time_5_epochs.py              # a minute or two
    python examples/fig_space_time_5_epochs.py --num-replicas 200 --epochs 2

The time learning_rate * num_steps is the same for all. Printed for each number of epochs: test loss less that of one epoch,
and less that of gradient descent in as many steps as one epoch has, from runs on the same training sets, beside the
second-order predictions. Both change with 1 - 1/E. At ten times this rate the third order is seen. The page beside it:
docs/theory/batch_emulation.md.
"""

import argparse
from typing import Any

import jax
import numpy as np

import gradnoise as gn
from gradnoise.estimate import Estimate, from_samples
from gradnoise.measure import DiagramValues
from gradnoise.predict.epochs import batch_size_effect, epochs_effect

NUM_EXAMPLES, RATE = 40, 2.5e-4


def grid(epochs: int) -> gn.Spacetime:
    """Batches of one in a fresh order each epoch."""
    return gn.Spacetime(NUM_EXAMPLES, 1, epochs, "reshuffle")


def end_losses(problem: gn.Problem, params: Any, spacetime: gn.Spacetime, rate: float, runs: int) -> np.ndarray:
    """Test loss at the end of each run; the training sets are the same in every call."""
    found = gn.simulate(
        gn.sgd(problem), params, spacetime, rate, runs, jax.random.key(1), every=spacetime.num_steps, dtype="float64"
    )
    return found.observables["test_loss"][:, -1]


def predictions(values: DiagramValues, epochs: int) -> tuple[float, float]:
    """Less one epoch, and less gradient descent: the eta^2 terms."""
    more = epochs_effect(values, grid(epochs)).value[2]
    descent = batch_size_effect(values, grid(1), NUM_EXAMPLES).value[2]
    return more * RATE**2, (more - descent) * RATE**2


def line(found: Estimate, predicted: float) -> str:
    """A simulated difference beside its prediction."""
    z = (found.value - predicted) / found.stderr
    return f"{found.value:+.3e} +- {found.stderr:.1e}  predicted {predicted:+.3e}  (z {z:+.1f})"


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-replicas", type=int, default=1000, help="runs of each kind (default 1000)")
    parser.add_argument("--epochs", type=int, nargs="+", default=[2, 4, 8], help="numbers of epochs")
    options = parser.parse_args(arguments)
    problem = gn.testbeds.digits_logistic(256)
    params = problem.init(jax.random.key(0))
    values = gn.diagram_values(problem, params, max_order=2)
    full = gn.Spacetime(NUM_EXAMPLES, NUM_EXAMPLES, NUM_EXAMPLES)
    one = end_losses(problem, params, grid(1), RATE, options.num_replicas)
    descent = end_losses(problem, params, full, RATE, options.num_replicas)
    for epochs in options.epochs:
        many = end_losses(problem, params, grid(epochs), RATE / epochs, options.num_replicas)
        for name, other, predicted in zip(
            ("one epoch", "descent  "), (one, descent), predictions(values, epochs), strict=True
        ):
            print(f"{epochs:2d} epochs less {name}  {line(from_samples(many - other), predicted)}", flush=True)


if __name__ == "__main__":
    main()
