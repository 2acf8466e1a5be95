"""Overfitting against curvature: flat and sharp minima both overfit less, where the run sees its examples often.

    python examples/fig_small_rates_1_overfitting.py --out overfitting.html          # half a minute

At fixed learning rate x steps, each direction of curvature h of a quadratic loss with additive noise adds its own part to
E test - l(minimum). Full batch: (1 - exp(-x))^2/x with x = learning rate x steps x h, largest at x = 1.2564, the root of
exp(x) = 1 + 2 x. What the drafts leave out: the gap (test less train loss) only falls with h, and one epoch of small batches
only rises, towards learning rate x C/(4 B). Lines: closed forms; dots: runs. docs/theory/resummation.md
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.optimize import brentq

import gradnoise as gn
from gradnoise.estimate import Estimate
from gradnoise.predict.resummed.closed import gap, overfitting
from gradnoise.report import figure as fig
from gradnoise.report.html import element, escape, section
from gradnoise.report.page import filled

LEARNING_RATE, NUM_EXAMPLES = 0.01, 100
SCHEDULES = {
    "full batch, 2000 steps": (gn.Spacetime(NUM_EXAMPLES, NUM_EXAMPLES, 2000), "@order1"),
    "20 epochs, batches of one, reshuffled": (gn.Spacetime(NUM_EXAMPLES, 1, 20, "reshuffle"), "@order2"),
    "one epoch, batches of one": (gn.Spacetime(NUM_EXAMPLES, 1), "@order4"),
}
SIMULATED = np.geomspace(0.03, 30, 9)
"""Curvatures of the runs, in units of 1/(learning rate x steps)."""
CAVEATS = (
    "The peak belongs to overfitting of runs that see their examples often. The gap, for any batch size and order, only "
    "falls with curvature; one epoch of small batches only rises. All in units of learning rate x steps x noise / examples."
)


class Curve(NamedTuple):
    """Overfitting of one schedule at curvatures x/(learning rate x steps), in units of rate x steps x C/N."""

    x: np.ndarray
    values: np.ndarray


def unit(spacetime: gn.Spacetime) -> float:
    """Learning rate x steps: 1/h where x = 1; divided by N the unit of overfitting and gap (C = 1)."""
    return LEARNING_RATE * spacetime.num_steps


def predicted(spacetime: gn.Spacetime, x: np.ndarray) -> Curve:
    """The closed form."""
    values = [overfitting(one / unit(spacetime), 1.0, LEARNING_RATE, spacetime) for one in x]
    return Curve(x, np.array(values) * NUM_EXAMPLES / unit(spacetime))


def energy(index: int, curvature: float, params: jax.Array, examples: jax.Array) -> jax.Array:
    """What direction `index` adds to test loss - l(minimum)."""
    return curvature / 2 * params[index] ** 2


def simulated(spacetime: gn.Spacetime, num_replicas: int, seed: int = 0) -> list[Estimate]:
    """The same from runs, one direction for each curvature, all in one problem."""
    curvatures = SIMULATED / unit(spacetime)
    problem = gn.testbeds.mean_estimation(hessian=curvatures, theta0=0.0, law="normal")
    observe = {f"{i}": partial(energy, i, h) for i, h in enumerate(curvatures)}
    runs = gn.simulate(
        gn.sgd(problem), problem.init(jax.random.key(seed)), spacetime, LEARNING_RATE, num_replicas,
        jax.random.key(seed), observe, every=spacetime.num_steps, num_test_draws=2,
    )  # fmt: skip
    scale = NUM_EXAMPLES / unit(spacetime)
    last = [runs.mean(name)[-1] for name in observe]
    return [Estimate(scale * one.value, scale * one.stderr, one.num_samples) for one in last]


def peak_line() -> str:
    """Where full-batch overfitting is largest, against the root of exp(x) = 1 + 2 x."""
    x = np.linspace(1.0, 1.5, 5001)
    found = x[np.argmax(predicted(next(iter(SCHEDULES.values()))[0], x).values)]
    return f"full batch: largest at x = {found:.4f}; the root of exp(x) = 1 + 2x is {root():.6f}"


def root() -> float:
    """The root of exp(x) = 1 + 2 x above 0."""
    found: Any = brentq(lambda x: np.exp(x) - 1 - 2 * x, 1, 2)
    return float(found)


def page(dots: dict[str, list[Estimate]]) -> str:
    """The figure: a line and dots for each schedule, the gap dashed."""
    x, traces = np.geomspace(0.01, 40, 200), []
    for name, (spacetime, paint) in SCHEDULES.items():
        traces.append(fig.line(x, predicted(spacetime, x).values, name, paint))
        if name in dots:
            errors = {"type": "data", "array": fig.rounded([2 * one.stderr for one in dots[name]]), "visible": True}
            marks = fig.line(SIMULATED, [one.value for one in dots[name]], f"{name}: runs", paint)
            traces.append({**marks, "mode": "markers", "error_y": errors, "showlegend": False})
    spacetime = next(iter(SCHEDULES.values()))[0]
    gaps = [gap(one / unit(spacetime), 1.0, LEARNING_RATE, NUM_EXAMPLES, spacetime.num_steps) for one in x]
    gaps = np.array(gaps) * NUM_EXAMPLES / unit(spacetime)
    traces.append(fig.line(x, gaps, "gap (test less train), 2000 steps", "@order3", dash="dash"))
    across = fig.axis("curvature x learning rate x steps", "log", **fig.decades(0.01, 40))
    up = fig.axis("overfitting, gap (in units said below)")
    drawn = {"overfitting": fig.variant(traces, across, up, [peak_line(), CAVEATS])}
    caption = "E test - l(minimum) of one direction against its curvature; bars: two standard errors."
    body = section("overfitting-section", "Overfitting", fig.figure("overfitting", caption, caption, drawn, 440))
    made = element("p", "Made by examples/fig_small_rates_1_overfitting.py; docs/theory/resummation.md.")
    title = "Overfitting against curvature"
    return filled(title, element("header", element("h1", title)), escape((body,)), made)


def main(arguments: list[str] | None = None) -> None:
    """Simulate, print closed form and runs side by side, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="the page to write (default: none)")
    parser.add_argument(
        "--num-replicas", type=int, default=2000, help="runs of each schedule; 0: no dots (default 2000)"
    )
    options = parser.parse_args(arguments)
    print(peak_line())
    dots = {}
    for seed, (name, (spacetime, _)) in enumerate(SCHEDULES.items() if options.num_replicas else ()):
        dots[name] = simulated(spacetime, options.num_replicas, seed)
        print(name)
        for one, x, value in zip(dots[name], *predicted(spacetime, SIMULATED), strict=True):
            z = (one.value - value) / one.stderr
            print(f"    x = {x:6.3f}: {value:.4f}, runs {one.value:.4f} +- {one.stderr:.4f}, z = {z:+.1f}")
    if options.out is not None:
        options.out.write_text(page(dots), encoding="utf-8")
        print(options.out)


if __name__ == "__main__":
    main()
