"""Long runs of SGD from a minimum, on digits: the resummed prediction beside simulation, where the plain series is lost.

    python examples/resummed_digits.py                                # ten digits of 4 x 4 pixels, 170 weights; minutes
    python examples/resummed_digits.py --classes 3 --num-pool 100     # 51 weights

Softmax regression with a penalty that is part of the loss and left out of what is measured, so that the measured function
has a slope at the minimum and all pair diagrams count. Runs last five relaxation times of the flattest direction. Printed:
test loss and gap at 20 times, simulated and predicted, with z, and how far the plain series through order 3 is off.
docs/theory/resummation.md
"""

import argparse
from typing import NamedTuple

import jax
import numpy as np

import gradnoise as gn
from gradnoise.estimate import Estimate, from_samples
from gradnoise.predict.resummed import ResummedCurve, predict_resummed
from gradnoise.stationary import Minimum, find_minimum
from gradnoise.testbeds import networks
from gradnoise.testbeds.datasets import digits

WEIGHT_L2 = 1e-2
NUM_TIMES = 20


class Comparison(NamedTuple):
    """One learning rate: the grid, curves by target, the series' curves, and the simulated means at `times`."""

    spacetime: gn.Spacetime
    times: np.ndarray
    resummed: dict[str, ResummedCurve]
    series: dict[str, np.ndarray]
    simulated: dict[str, Estimate]

    def z(self, target: str) -> np.ndarray:
        """(simulated - resummed) / standard error at each time."""
        found = self.simulated[target]
        return (found.value - self.resummed[target].value[self.times]) / found.stderr

    def series_z(self, target: str) -> np.ndarray:
        """The same of the plain series through order 3."""
        found = self.simulated[target]
        return (found.value - self.series[target][self.times]) / found.stderr


def small_digits(num_pool: int, classes: int) -> gn.Problem:
    """The first digits of these classes, pixels averaged two by two, with softmax regression."""
    data = digits().pool
    chosen = np.flatnonzero(np.asarray(data["y"]) < classes)[:num_pool]
    x = np.asarray(data["x"])[chosen].reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
    model = networks.logistic(16, classes, weight_l2=WEIGHT_L2)
    pool = {"x": x, "y": np.asarray(data["y"])[chosen]}
    return gn.from_arrays(model.loss, model.init, pool, "small digits", model.measured)


def compare(
    problem: gn.Problem, minimum: Minimum, learning_rate: float, batch_size: int, columns: int, num_replicas: int
) -> Comparison:
    """Reshuffled epochs of `columns` steps until five relaxation times of the smallest curvature have gone by."""
    epochs = int(np.ceil(5 / (learning_rate * minimum.smallest_eigenvalue * columns)))
    spacetime = gn.Spacetime(batch_size * columns, batch_size, epochs, "reshuffle")
    every = spacetime.num_steps // NUM_TIMES
    values = gn.diagram_values(problem, minimum.params, max_order=3)
    resummed, series = {}, {}
    for target in ("test", "gap"):
        resummed[target] = predict_resummed(problem, minimum.params, spacetime, learning_rate, target)
        series[target] = np.asarray(gn.predict_curve(values, spacetime, learning_rate, target).value)[:, -1]
    runs = gn.simulate(
        gn.sgd(problem), minimum.params, spacetime, learning_rate, num_replicas, jax.random.key(1), every=every,
        dtype="float64",
    )  # fmt: skip
    gaps = runs.observables["gap"]  # at the start each training set has a gap of its own, zero in the mean
    simulated = {"test": runs.mean("test_loss")[1:], "gap": from_samples(np.asarray(gaps[:, 1:] - gaps[:, :1]))}
    times = np.arange(1, len(simulated["test"].value) + 1) * every
    return Comparison(spacetime, times, resummed, series, simulated)


def lines(found: Comparison) -> list[str]:
    """What is printed of one comparison."""
    told = [f"{found.spacetime}", f"{len(found.resummed['test'].diagrams)} diagrams, {found.resummed['test'].domain}"]
    for target in ("test", "gap"):
        mean, curve = found.simulated[target], found.resummed[target].value
        told.append(f"{target} loss: step, simulated less start, resummed less start, z, off of the series in errors")
        for place, step in enumerate(found.times):
            told.append(
                f"{step:6d}  {mean.value[place] - curve[0]:+.3e} +- {mean.stderr[place]:.1e}  {curve[step] - curve[0]:+.3e}"
                f"  {found.z(target)[place]:+5.1f}  {found.series_z(target)[place]:+.1e}"
            )
    return told


def main(arguments: list[str] | None = None) -> None:
    """Find the minimum, predict, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--num-pool", type=int, default=200)
    parser.add_argument("--learning-rate", type=float, nargs="+", default=[0.5])
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--columns", type=int, default=200, help="steps an epoch (default 200)")
    parser.add_argument("--num-replicas", type=int, default=300)
    options = parser.parse_args(arguments)
    problem = small_digits(options.num_pool, options.classes)
    minimum = find_minimum(problem, problem.init(jax.random.key(0)))
    print(
        f"{problem.num_pool} examples; curvatures {minimum.smallest_eigenvalue:.4g} to {minimum.largest_eigenvalue:.4g}; "
        f"|gradient| {minimum.gradient_norm:.1e}"
    )
    for rate in options.learning_rate:
        found = compare(problem, minimum, rate, options.batch_size, options.columns, options.num_replicas)
        print(f"learning rate {rate:g}", *lines(found), sep="\n", flush=True)


if __name__ == "__main__":
    main()
