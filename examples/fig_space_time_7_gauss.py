"""A landscape that tells gradient flow, the SDE and SGD apart, and the three on it: Tenka's figure 7.

    python examples/fig_space_time_7_gauss.py                    # some minutes; numbers alone
    python examples/fig_space_time_7_gauss.py --out gauss.html   # and a page

Gauss, l_x(h) = (h + x^2 e^-h)/2, from the minimum h = 0 of its mean: there gradient flow stays, noise lifts the SDE and
SGD alike at order 2 of the learning rate, and at order 3 SGD lies below the SDE: finite steps lift it by T/16, skewness,
which the SDE lacks, lowers it by T/12. Points are simulated runs, curves the diagrams' series through order 4. Theory:
docs/theory/landscapes.md.
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import gradnoise as gn
from gradnoise.estimate import Estimate, independent_difference
from gradnoise.measure import DiagramValues
from gradnoise.predict import process_differences
from gradnoise.report import figure as fig
from gradnoise.report.html import Html, element, section, table
from gradnoise.report.page import filled
from gradnoise.testbeds import gauss

STEPS, ORDER, SUBSTEPS = 2, 4, 64
RATES = (0.05, 0.1, 0.15, 0.2)
NAMES = {"sgd": "SGD", "sde": "SDE", "ode": "gradient flow"}
HEAD = ["process", "learning rate", "simulated", "error", "predicted", "last term", "z, verdict"]
COLOURS = {"sgd": "@order1", "sde": "@order2", "ode": "@order4"}


class Point(NamedTuple):
    """Mean loss above the minimum after STEPS steps: simulated, predicted through ORDER, and the last order's term."""

    process: str
    learning_rate: float
    simulated: Estimate
    predicted: float
    last_term: float

    @property
    def verdict(self) -> str:
        """Simulated less predicted in standard errors, and whether what exceeds 4.5 of them is the size of the last term."""
        off, error = float(self.simulated.value - self.predicted), float(self.simulated.stderr)
        if error == 0:
            return "exact" if abs(off) < 1e-12 else "off"
        word = "agrees" if abs(off) < 4.5 * error else "in last term" if abs(off) < abs(self.last_term) else "differs"
        return f"{off / error:.2f} {word}"


def landscape() -> gn.Problem:
    """Gauss on eleven equally likely x: ten times x^2 = 1 - 1/sqrt 5, once 1 + sqrt 20.

    Mean 1 and variance 2 of x^2 are those of a normal x, its third cumulant 8.05 is 0.6 % larger: so are S and S:J.
    """
    squares = np.array([1 - np.sqrt(1 / 5)] * 10 + [1 + np.sqrt(20)])
    stated = gauss()
    return gn.from_arrays(stated.loss, stated.init, np.sqrt(squares)[:, None], "gauss on points")


def series(values: DiagramValues) -> dict[str, np.ndarray]:
    """Coefficients of learning_rate^k of the loss above the minimum, k = 0..ORDER."""
    grid = gn.Spacetime(STEPS, 1)
    found = {
        "sgd": gn.series_coefficients(values, grid),
        "sde": gn.sde_coefficients(values, STEPS, 1),
        "ode": gn.ode_coefficients(values, STEPS),
    }
    return {name: np.asarray(each.value) - 0.5 * (np.arange(ORDER + 1) == 0) for name, each in found.items()}


def above_minimum(params: Any, examples: Any) -> Any:
    """The population's mean loss less its minimum: the same for every example that is drawn."""
    return ((params + jax.numpy.exp(-params)) / 2).sum() - 0.5


def simulated(problem: gn.Problem, name: str, rate: float, num_replicas: int, seed: int) -> Estimate:
    """Mean over runs after STEPS steps, every batch one fresh example."""
    process = {"sgd": gn.sgd(problem), "sde": gn.sde(problem, SUBSTEPS), "ode": gn.gradient_flow(problem)}[name]
    count = 8 if name == "ode" else num_replicas
    runs = gn.simulate(
        process, problem.init(jax.random.key(0)), gn.Spacetime(STEPS, 1), rate, count, jax.random.key(seed),
        observe={"above": above_minimum}, every=STEPS, training_set="population", dtype="float64",
    )  # fmt: skip
    return runs.mean("above")[-1]


def points(problem: gn.Problem, values: DiagramValues, num_replicas: int, seed: int) -> list[Point]:
    """All processes at all learning rates, each with draws of its own."""
    found, place = [], 0
    for name, coefficients in series(values).items():
        for rate in RATES:
            terms, place = coefficients * rate ** np.arange(ORDER + 1), place + 1
            mean = simulated(problem, name, rate, num_replicas, seed + place)
            found.append(Point(name, rate, mean, terms.sum(), terms[-1]))
    return found


def rows(found: list[Point]) -> list[list[str]]:
    """A row of text a point, those of SGD less the SDE last."""
    return [
        [
            NAMES.get(p.process, p.process),
            f"{p.learning_rate:g}",
            *(f"{x:.6f}" for x in (p.simulated.value, p.simulated.stderr, p.predicted, p.last_term)),
            p.verdict,
        ]
        for p in [*found, *differences(found)]
    ]


def differences(found: list[Point]) -> list[Point]:
    """SGD less SDE, by rising rate: the two were simulated independently."""
    return [
        Point(
            "SGD less SDE", sgd.learning_rate, independent_difference(sgd.simulated, sde.simulated),
            sgd.predicted - sde.predicted, sgd.last_term - sde.last_term,
        )
        for sgd, sde in zip(of(found, "sgd"), of(found, "sde"), strict=True)
    ]  # fmt: skip


def of(found: list[Point], name: str) -> list[Point]:
    """The points of one process, by rising rate."""
    return [point for point in found if point.process == name]


def causes(values: DiagramValues) -> str:
    """The order-3 difference between SGD and SDE, split; for exact normal x it is +T/16 - T/12 = -T/48."""
    split = process_differences(values, gn.Spacetime(STEPS, 1))
    told = {"SGD less SDE": split.sgd_minus_sde, "finite steps": split.finite_steps, "skewness": split.non_gaussian}
    shown = ", ".join(f"{name} {each.value[3] / STEPS:.5f}" for name, each in told.items())
    return f"Order 3, a step, on these points: {shown}; for normal x -1/48 = {-1 / 48:.5f}, 1/16, -1/12."


def dots(x: Any, means: list[Estimate], name: str, paint: str) -> fig.Trace:
    """Simulated means with 95 % bars."""
    reach = fig.rounded([fig.NORMAL_95 * float(each.stderr) for each in means])
    return {
        "type": "scatter", "mode": "markers", "x": fig.rounded(x), "y": fig.rounded([each.value for each in means]),
        "name": f"{name}, simulated", "marker": {"color": paint, "size": 8}, "error_y": {"array": reach, "color": paint},
    }  # fmt: skip


def figures(problem: gn.Problem, values: DiagramValues, found: list[Point]) -> list[Html]:
    """The landscape; loss against learning rate; SGD less SDE against learning rate."""
    h, rates = np.linspace(-1.2, 1.2, 121), np.linspace(0, 1.1 * RATES[-1], 60)
    powers, coefficients = rates[:, None] ** np.arange(ORDER + 1), series(values)
    squares = np.unique(np.asarray(problem.pool) ** 2)
    shape = [fig.line(h, (h + s * np.exp(-h)) / 2, f"x² = {s:.2g}", "@order3", dash="dot") for s in squares]
    shape.append(fig.line(h, (h + np.exp(-h)) / 2, "mean", "@ink"))
    curves: list[fig.Trace] = []
    for name, told in NAMES.items():
        curves.append(fig.line(rates, powers @ coefficients[name], told, COLOURS[name]))
        curves.append(dots(RATES, [p.simulated for p in of(found, name)], told, COLOURS[name]))
    seen = [each.simulated for each in differences(found)]
    apart = [fig.line(rates, powers @ (coefficients["sgd"] - coefficients["sde"]), "predicted", "@ink")]
    apart.append(dots(RATES, seen, "SGD less SDE", "@order1"))
    rate, loss, less = (fig.axis(text) for text in ("learning rate", "loss above the minimum", "SGD less SDE"))
    told = (
        f"After {STEPS} steps from the minimum. Points: simulated, 95% bars; lines: the series through order {ORDER}."
    )
    skew = "SGD lies below the SDE: finite steps lift it less than the skewness, which only SGD sees, lowers it."
    height = {"": fig.variant(shape, fig.axis("h"), fig.axis("loss"))}
    return [
        fig.figure("landscape", "The loss of single examples, and its mean.", "Loss against h", height, 320),
        fig.figure("three", told, "Loss against learning rate", {"": fig.variant(curves, rate, loss)}, 420),
        fig.figure("apart", skew, "SGD less SDE against learning rate", {"": fig.variant(apart, rate, less)}, 340),
    ]


def page(problem: gn.Problem, values: DiagramValues, found: list[Point]) -> str:
    """The page: three figures and the numbers."""
    drawn = section("figures", "Gradient flow, SDE and SGD", *figures(problem, values, found))
    numbers = section("numbers", "Numbers", table(HEAD, rows(found), range(1, 6)), element("p", causes(values)))
    header = element("header", element("h1", "Gauss"))
    return filled("Gauss – gradnoise", header, Html(drawn + numbers), Html(""))


def main(arguments: list[str] | None = None) -> None:
    """Print the numbers, and write the page if asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="file of the page (default: none is written)")
    parser.add_argument("--num-replicas", type=int, default=100_000, help="runs of each process (default 100000)")
    parser.add_argument("--seed", type=int, default=0, help="of all random draws (default 0)")
    options = parser.parse_args(arguments)
    problem = landscape()
    values = gn.diagram_values(problem, np.zeros(1), max_order=ORDER)
    found = points(problem, values, options.num_replicas, options.seed)
    print("\n".join("  ".join(cell.rjust(13) for cell in row) for row in [HEAD, *rows(found)]))
    print(causes(values))
    if options.out:
        options.out.write_text(page(problem, values, found), encoding="utf-8")


if __name__ == "__main__":
    main()
