"""Whether a diffusion is positive definite, and whether the cells' ratio of sides suits its cross terms."""

import numpy as np

from gradnoise.stationary.fokker_planck.grid import Grid


def check_positive_definite(matrices: np.ndarray, points: np.ndarray) -> None:
    """Raise ValueError unless every matrix of `matrices` (d, d, ...) is symmetric and positive definite."""
    asymmetry = np.abs(matrices - matrices.swapaxes(0, 1)).max((0, 1))
    size = np.abs(matrices).max((0, 1))
    if np.any(asymmetry > 1e-10 * size):
        place = _point(points, np.argmax(asymmetry - 1e-10 * size))
        raise ValueError(f"diffusion(x) is not symmetric at x={place}. Give a symmetric matrix.")
    lowest = np.linalg.eigvalsh(np.moveaxis(matrices, (0, 1), (-2, -1)))[..., 0]
    if np.any(lowest <= 1e-12 * size):
        worst = np.argmin(lowest - 1e-12 * size)
        raise ValueError(
            f"diffusion(x) has the eigenvalue {lowest.flat[worst]:g} at x={_point(points, worst)}, expected a positive "
            "definite matrix. Add a little noise in the direction that has none."
        )


def check_cross_terms(grid: Grid, own: list[np.ndarray], shares: list[np.ndarray]) -> None:
    """|D_12| <= min(D_11 h_2/h_1, D_22 h_1/h_2) at every edge, else a sentence with a shape that does."""
    h1, h2 = grid.widths
    low = float(np.max(shares[1] / own[1]))
    high = float(np.min(own[0] / np.maximum(shares[0], np.finfo(float).tiny)))
    slack = 1e-9
    if low * (1 - slack) <= h1 / h2 <= high * (1 + slack):
        return
    told = (
        f"the diffusion's cross terms need cells with {low:.4g} <= width/height <= {high:.4g}, these have {h1 / h2:.4g}"
    )
    shape = _shape_with_ratio(grid, low, high)
    if low > high or shape is None:
        raise ValueError(
            f"{told}: no shape does. Turn or rescale the coordinates so that diffusion(x) is nearer diagonal."
        )
    raise ValueError(f"{told}. Use shape={shape}, which keeps the density positive.")


def _shape_with_ratio(grid: Grid, low: float, high: float) -> tuple[int, int] | None:
    """A shape whose cells have a ratio of sides between low and high, at least as fine as the grid's along each axis."""
    (l1, l2), (n1, n2) = (high - low for low, high in grid.bounds), grid.shape
    wanted = np.sqrt(low * high) if low > 0 else high
    for first in range(n1, 8 * n1):
        second = max(round(wanted * first * l2 / l1), 1)
        if second >= n2 and low <= (l1 / first) / (l2 / second) <= high:
            return first, second
    return None


def _point(points: np.ndarray, index: np.intp) -> list[float]:
    return [round(float(x), 4) for x in points.reshape(len(points), -1)[:, index]]
