"""Chaudhari and Soatto's example 19, three rotations: one density, and what flows on it.

    python examples/fig_variational_3_double_well.py --out double_well.html

For rotation 0, 0.5 and 1.5: the stationary density from the solver, paths of the drift without noise, orbits of the
circulating force j, zeros of the drift; below, the return map that shows that the drift has no limit cycle. Printed:
constants from the grid beside their closed forms. The page is one file without scripts. Theory: docs/theory/potential.md.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy import integrate

from gradnoise.report.html import Html, element
from gradnoise.stationary import potential_fields, return_map, solve_fokker_planck
from gradnoise.stationary.return_map import circular_period
from gradnoise.testbeds import rotating_double_well as well

ROTATIONS = (0.0, 0.5, 1.5)
BOX = ((-3.6, 3.6), (-5.2, 5.2))
SHOWN, SIDE = 2.2, 300
"""Half the side of the square that is drawn, and its size on the page."""
STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#222}"
    "figure{display:inline-block;margin:0 1em 1em 0}svg{border:1px solid #ccc}"
    ".path{stroke:#1b5fa8;fill:none;stroke-width:1.3}.orbit{stroke:#c2571a;fill:none;stroke-width:1.6;stroke-dasharray:5 4}"
    ".cell{shape-rendering:crispEdges}.axis{stroke:#777;stroke-width:1}.zero{fill:#1b5fa8}"
    "text{font:12px sans-serif;fill:#444}"
)


def solved(rotation: float, cells: int):
    """The density and its fields on a grid."""
    functions = (lambda x: well.drift(x, rotation)), (lambda x: np.eye(2))
    solution = solve_fokker_planck(*functions, BOX, (cells, cells))
    return solution, potential_fields(solution, *functions)


def line(points: np.ndarray, kind: str) -> Html:
    """A polyline through points (2, n) of the plane."""
    x, y = place(points)
    return element("polyline", points=" ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)), class_=kind)


def place(points: np.ndarray) -> np.ndarray:
    """Plane to page: x to the right, y upwards."""
    return SIDE / 2 * (1 + np.array([[1.0], [-1.0]]) * np.reshape(points, (2, -1)) / SHOWN)


def shading(centers: tuple[np.ndarray, ...], density: np.ndarray) -> list[Html]:
    """A square a cell, darker where the density is higher."""
    width, height = ((c[1] - c[0]) * SIDE / 2 / SHOWN for c in centers)
    middles = np.stack(np.meshgrid(*centers, indexing="ij"))
    seen, squares = (np.abs(middles) < SHOWN + 0.1).all(0), []
    for i, j in zip(*np.nonzero(seen & (density > 0.02 * density.max())), strict=True):
        (x,), (y,) = place(np.array([centers[0][i], centers[1][j]]))
        grey = round(255 - 150 * density[i, j] / density.max())
        size = {"x": f"{x - width / 2:.1f}", "y": f"{y - height / 2:.1f}", "width": f"{width + 0.3:.1f}"}
        squares.append(
            element("rect", **size, height=f"{height + 0.3:.1f}", fill=f"rgb({grey},{grey},{grey})", class_="cell")
        )
    return squares


def panel(rotation: float, cells: int) -> Html:
    """Density, noiseless paths, orbits and zeros for one rotation."""
    solution, _ = solved(rotation, cells)
    drawn: list[Html] = shading(solution.centers, solution.density)
    for start in [(2.1, 2.1), (-2.1, -2.1), (2.1, -2.1), (-2.1, 2.1), (0.1, 2.1), (-0.1, -2.1)]:
        path = integrate.solve_ivp(lambda _, x: well.drift(x, rotation), (0, 15), start, max_step=0.03)
        drawn.append(line(path.y, "path"))
    angles = np.linspace(0, 2 * np.pi, 100)
    if rotation:
        drawn += [line(r * np.array([np.cos(angles), np.sin(angles)]), "orbit") for r in (0.5, 1.0, 1.5)]
    for zero in well.zeros(rotation) if rotation else np.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]):
        (x,), (y,) = place(zero)
        drawn.append(element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="4", class_="zero"))
    told = f"Rotation {rotation:g}: density, paths without noise (full), orbits of j (dashed), zeros of the drift"
    picture = element("svg", *drawn, viewBox=f"0 0 {SIDE} {SIDE}", width=SIDE, height=SIDE, role="img", aria_label=told)
    return element("figure", picture, element("figcaption", f"rotation {rotation:g}"))


def return_panel() -> Html:
    """How much closer to the origin a path of rotation 1.5 comes back, against where it started."""
    radii = np.geomspace(0.03, 5, 40)
    change = return_map(lambda x: well.drift(x, 1.5), radii).change
    x, y = 40 + 540 * np.log(radii / 0.03) / np.log(5 / 0.03), 20 - 200 * change
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    drawn = [element("polyline", points=points, class_="path")]
    drawn.append(element("line", x1=40, x2=580, y1=20, y2=20, class_="axis"))
    drawn += [element("text", f"{c:g}", x=2, y=20 - 200 * c + 4) for c in (0.0, -0.25, -0.5, -0.75)]
    for radius in (0.05, 0.2, 1.0, 5.0):
        at = 40 + 540 * np.log(radius / 0.03) / np.log(5 / 0.03)
        drawn.append(element("text", f"r = {radius:g}", x=f"{at - 20:.0f}", y=235))
    told = "Return map of the drift without noise at rotation 1.5: r'/r - 1, below zero at every radius"
    picture = element("svg", *drawn, viewBox="0 0 600 240", width=600, height=240, role="img", aria_label=told)
    return element("figure", picture, element("figcaption", told, ". A limit cycle would be a crossing of zero."))


def numbers(cells: int) -> str:
    """Constants of the grid, Richardson's step between `cells` and twice as many, beside their closed forms."""
    rows = [
        f"{'rotation':>9} {'E x1^2':>9} {'exact':>9} {'E x1 dx2-x2 dx1':>16} {'exact':>9} {'entropy/t':>9} {'rms div j':>9}"
    ]
    exact_square = 1.0417972965
    for rotation in ROTATIONS:
        found = []
        for count in (cells, 2 * cells):
            solution, fields = solved(rotation, count)
            x = np.stack(np.meshgrid(*solution.centers, indexing="ij"))
            area = x[0] * solution.current[..., 1] - x[1] * solution.current[..., 0]
            rate = fields.mean(area / solution.density)
            test = fields.divergence_test
            found.append([fields.mean(x[0] ** 2), rate, fields.entropy_production, test.divergence])
        square, rate, produced, divergence = (4 * np.array(found[1]) - found[0]) / 3
        rows.append(
            f"{rotation:9g} {square:9.5f} {exact_square:9.5f} {rate:16.5f} {well.angular_rate(rotation):9.5f} "
            f"{produced:9.4f} {divergence:9.4f}"
        )
    periods = [circular_period(lambda x: well.angular_speed(x, 1.5), r) for r in (0.3, 1.0, 1.7)]
    rows.append("periods of j at rotation 1.5, r = 0.3, 1, 1.7: " + ", ".join(f"{t:.4f}" for t in periods))
    changes = return_map(lambda x: well.drift(x, 1.5), [0.05, 0.1, 0.4, 0.8, 1.2, 2.0]).change
    rows.append("return map r'/r - 1 at r = .05, .1, .4, .8, 1.2, 2: " + ", ".join(f"{c:.4f}" for c in changes))
    return "\n".join(rows)


def page(cells: int) -> str:
    """The whole page."""
    body = [
        element("h1", "The rotating double well"),
        element("p", "The density is the same for every rotation; the drift is not, and probability circulates on it."),
        element(
            "p", "Grey: density. Full lines and dots: paths of the drift without noise, its zeros. Dashed: orbits of j."
        ),
        element("div", *(panel(rotation, cells) for rotation in ROTATIONS)),
        return_panel(),
    ]
    head = element(
        "head", element("meta", charset="utf-8"), element("title", "Double well"), element("style", Html(STYLE))
    )
    return "<!DOCTYPE html>\n" + element("html", head, element("body", *body), lang="en")


def main(arguments: list[str] | None = None) -> None:
    """Print the numbers and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="file of the page (default: none is written)")
    parser.add_argument("--cells", type=int, default=100, help="cells an axis (default 100)")
    options = parser.parse_args(arguments)
    print(numbers(options.cells))
    if options.out:
        options.out.write_text(page(options.cells), encoding="utf-8")


if __name__ == "__main__":
    main()
