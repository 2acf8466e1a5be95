"""SGD as an engine: it turns on a circle of minima where gradient flow rests. Tenka's figure 8.

    python examples/fig_space_time_8_engine.py                     # numbers alone, about a minute
    python examples/fig_space_time_8_engine.py --out engine.html   # and a page
    python examples/fig_space_time_8_engine.py --climb 1000000     # and the helix, uphill for so many steps

Two landscapes with a circle of minima: the ring engine, whose drift lies within the noise, and the helix bent to a ring,
whose drift is perpendicular to it. Net angle against time by three accounts: the drift -(rate/2) Sigma:dH; of it what lies
in the image of the noise's covariance, as Chaudhari and Soatto have it; and the naive one, 0, for the mean gradient is 0.
Ours is the leading order in the noise: ten thousand runs see the helix ring 0.3 % above it. Theory:
docs/theory/landscapes.md.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import gradnoise as gn
from gradnoise.estimate import Estimate, from_samples
from gradnoise.report import figure as fig
from gradnoise.report.html import Html, element, section, table
from gradnoise.report.page import filled
from gradnoise.testbeds import helix, helix_ring, ring_engine
from gradnoise.testbeds.valleys import (
    HELIX_COVARIANCE,
    helix_ring_rate,
    helix_velocity,
    in_image_of_noise,
    ring_engine_covariance,
    ring_engine_rate,
)

RATE, RECORDS = 0.05, 20
HEAD = ["landscape", "process", "steps", "net angle", "error", "ours", "z", "image of C", "naive"]


class Ring(NamedTuple):
    """A landscape with a circle of minima, and each account's mean angle a step."""

    name: str
    problem: gn.Problem
    ours: float
    in_image: float


class Turned(NamedTuple):
    """Net angles at RECORDS times, each an Estimate of the mean over runs."""

    ring: Ring
    process: str
    steps: np.ndarray
    angle: Estimate

    def cells(self) -> list[str]:
        """The last time as a row of the table."""
        last, error, steps = float(self.angle.value[-1]), float(self.angle.stderr[-1]), int(self.steps[-1])
        expected = self.ring.ours * steps * (self.process == "SGD")
        z = "exact" if error == 0 == last - expected else f"{(last - expected) / error:.2f}"
        numbers = (last, error, expected)
        accounts = [self.ring.in_image * steps * (self.process == "SGD"), 0.0]
        told = [f"{x:.4f}" for x in numbers]
        return [self.ring.name, self.process, str(steps), *told, z, *(f"{x:.4f}" for x in accounts)]


def rings() -> list[Ring]:
    """The ring engine and the helix ring; on the latter the circle is the direction z of the helix."""
    turn, climb = ring_engine_rate(RATE), helix_ring_rate(RATE)
    within = in_image_of_noise([0.0, turn], ring_engine_covariance())[1]
    across = in_image_of_noise([0.0, 0.0, climb], HELIX_COVARIANCE)[2]
    return [
        Ring("ring engine", ring_engine(), turn, float(within)),
        Ring("helix ring", helix_ring(law="signs"), climb, float(across)),
    ]


def angle(params: Any, examples: Any) -> Any:
    """Where on the circle, from -pi to pi."""
    return jnp.arctan2(params[1], params[0])


def height(params: Any, examples: Any) -> Any:
    """The helix's third weight."""
    return params[2]


def runs(
    process: gn.Process, observe: Callable[[Any, Any], Any], num_steps: int, num_replicas: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Recorded steps and what was observed, (replica, record); every batch is one fresh example."""
    problem = process.problem
    found = gn.simulate(
        process, problem.init(jax.random.key(0)), gn.Spacetime(num_steps, 1), RATE, num_replicas, jax.random.key(seed),
        observe={"seen": observe}, every=num_steps // RECORDS, training_set="population", dtype="float64",
    )  # fmt: skip
    return found.steps, np.asarray(found.observables["seen"])


def turned(ring: Ring, name: str, num_steps: int, num_replicas: int, seed: int) -> Turned:
    """Net angle since the first record, by when the noise across the valley has settled; whole turns are counted.

    Between two records it changes by less than half a turn.
    """
    process = gn.sgd(ring.problem) if name == "SGD" else gn.gradient_flow(ring.problem)
    steps, angles = runs(process, angle, num_steps, num_replicas if name == "SGD" else 2, seed)
    net = np.unwrap(angles[:, 1:], axis=1)
    return Turned(ring, name, steps[1:] - steps[1], from_samples(net - net[:, :1]))


def climb(num_steps: int, num_replicas: int, seed: int) -> str:
    """The helix against an incline of half of what the drift overcomes: velocity in each tenth of the time."""
    half = helix_velocity(RATE) / 2
    steps, heights = runs(gn.sgd(helix(half / RATE, law="signs")), height, num_steps, num_replicas, seed)
    tenths = heights[:, :: RECORDS // 10]
    velocity = from_samples(np.diff(tenths, axis=1) / (steps[-1] // 10))
    z = (velocity.value - half) / velocity.stderr
    total = from_samples(heights[:, -1])
    return (
        f"Uphill for {num_steps} steps, incline {half / RATE:.4g}: height {total.value:.2f} +- {total.stderr:.2f}, "
        f"predicted {half * num_steps:.2f}; velocity in each tenth, less the prediction: z {z.min():.2f} to {z.max():.2f}"
    )


def curves(found: list[Turned]) -> fig.Variant:
    """Net angle of SGD with 95 % bars and of gradient flow, and the three accounts as lines."""
    sgd, flow = found
    x, ours = sgd.steps, sgd.ring.ours * sgd.steps
    bars = {"array": fig.rounded(fig.NORMAL_95 * sgd.angle.stderr), "color": "@order1"}
    points = {
        "type": "scatter", "mode": "markers", "x": fig.rounded(x), "y": fig.rounded(sgd.angle.value),
        "name": "SGD, simulated", "marker": {"color": "@order1", "size": 7}, "error_y": bars,
    }  # fmt: skip
    lines = [
        fig.line(x, ours, "drift, ours", "@order1"),
        fig.line(x, sgd.ring.in_image * x, "in the image of C (Chaudhari, Soatto)", "@order2", dash="dash", width=3),
        fig.line(x, 0 * x, "naive", "@ink", dash="dot"),
        fig.line(flow.steps, flow.angle.value, "gradient flow, simulated", "@order4", width=1),
    ]
    return fig.variant([*lines, points], fig.axis("step"), fig.axis("net angle"))


def noise() -> fig.Variant:
    """The ring engine: its circle of minima, and at some points the covariance of the noise as an ellipse."""
    around = np.linspace(0, 2 * np.pi, 60)
    circle = np.array([np.cos(around), np.sin(around)])
    size, vectors = np.linalg.eigh(ring_engine_covariance())
    ellipse = np.array([[1.0], [0.0]]) + 0.35 * vectors @ (np.sqrt(size)[:, None] * circle)
    traces = [fig.line(*circle, "minima", "@ink")]
    for place in np.linspace(0, 2 * np.pi, 9)[:-1]:
        frame = np.array([[np.cos(place), -np.sin(place)], [np.sin(place), np.cos(place)]])
        x, y = frame @ ellipse
        traces.append(fig.line(x, y, "covariance of the noise", "@order2", showlegend=place == 0))
    return fig.variant(traces, fig.axis("X"), fig.axis("Y", scaleanchor="x"))


def page(found: list[list[Turned]]) -> str:
    """The page: mean and covariance, net angles, numbers."""
    names = [pair[0].ring.name for pair in found]
    button = [("ring", "Landscape", [(name, name) for name in names], names[0])]
    told = "Points: SGD, means with 95% bars. On the helix ring the drift is perpendicular to the noise."
    tilted = (
        "The mean gradient is 0 on the circle. The noise is tilted against it; curvature makes of that tilt a drift."
    )
    drawn = [
        fig.figure("noise", tilted, "Circle of minima with ellipses of the noise", {"": noise()}, 460),
        fig.figure(
            "angle", told, "Net angle against step", dict(zip(names, map(curves, found), strict=True)), 420, button
        ),
    ]
    numbers = table(HEAD, [each.cells() for pair in found for each in pair], range(2, 9))
    header = element("header", element("p", "gradnoise example", class_="brand"), element("h1", "The engine"))
    main = section("figures", "Mean and covariance, net angle", *drawn) + section("numbers", "Numbers", numbers)
    return filled("Engine – gradnoise", header, Html(main), Html(""))


def main(arguments: list[str] | None = None) -> None:
    """Print the numbers, and write the page if asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="file of the page (default: none is written)")
    parser.add_argument("--num-steps", type=int, default=4000, help="of each run, a multiple of 20 (default 4000)")
    parser.add_argument("--num-replicas", type=int, default=10_000, help="runs of SGD (default 10000)")
    parser.add_argument("--climb", type=int, default=0, help="steps of 32 runs up the helix (default: none)")
    options = parser.parse_args(arguments)
    count, steps = options.num_replicas, options.num_steps
    found = [[turned(ring, name, steps, count, seed) for name in ("SGD", "flow")] for seed, ring in enumerate(rings())]
    rows = [HEAD, *(each.cells() for pair in found for each in pair)]
    print("\n".join("  ".join(cell.rjust(11) for cell in row) for row in rows))
    if options.climb:
        print(climb(options.climb, 32, 7))
    if options.out:
        options.out.write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    main()
