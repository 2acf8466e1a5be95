"""Runs by temperature and seed: the table that the functions of the empirical protocol take.

A row is a temperature (or a cell of learning rate and batch size), a column one seed. Columns are independent; within a
column anything may be shared (training set, start, batches), so every error here comes from differences between columns.
"""

import math

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy import special

Row = Float[np.ndarray, "row"]
Table = Float[np.ndarray, "row seed"]

SAME = 1e-9
"""Temperatures this close, relatively, are one: learning rate over batch size is rounded."""


def runs_by_temperature(
    name: str, temperature: ArrayLike, values: ArrayLike, num_rows: int = 1, num_seeds: int = 1
) -> tuple[Row, Table]:
    """Temperatures (row,) in rising order with their runs (row, seed); one value a temperature makes one column.

    Raises ValueError for shapes that do not match, temperatures not positive, numbers not finite, or fewer rows or seeds
    than `num_rows` and `num_seeds`.
    """
    rows = np.asarray(temperature, dtype=float)
    table = np.asarray(values, dtype=float)
    table = table[:, None] if table.ndim == 1 else table
    if rows.ndim != 1 or table.ndim != 2 or len(table) != len(rows):
        raise ValueError(
            f"temperature has shape {rows.shape} and {name} {np.shape(values)}, expected (row,) and (row,) or "
            "(row, seed). Give one row of runs a temperature."
        )
    if not np.all(np.isfinite(rows)) or np.any(rows <= 0):
        raise ValueError("temperature holds numbers that are not positive and finite. Give learning rate / batch size.")
    if not np.all(np.isfinite(table)):
        raise ValueError(f"{name} holds NaN or infinity. Leave out the temperatures or seeds whose runs diverged.")
    if len(rows) < num_rows or table.shape[1] < num_seeds:
        raise ValueError(
            f"{name} has {len(rows)} rows and {table.shape[1]} seeds, expected at least {num_rows} and {num_seeds}. "
            "Add runs."
        )
    order = np.argsort(rows, kind="stable")
    return rows[order], table[order]


def first_rows(temperature: Row) -> Int[np.ndarray, "temperature"]:
    """Where each temperature begins among rows in rising order; what differs by rounding alone is one temperature.

    >>> first_rows(np.array([0.3 / 24, 0.1 / 8, 0.2 / 8])).tolist()
    [0, 2]
    """
    return np.flatnonzero(np.diff(temperature, prepend=-np.inf) > SAME * temperature)


def one_row_a_temperature(temperature: Row, table: Table) -> tuple[Row, Table]:
    """The table with rows of equal temperature, different cells, averaged seed by seed; temperatures in rising order.

    >>> one_row_a_temperature(np.array([1.0, 1.0, 2.0]), np.array([[1.0], [3.0], [5.0]]))
    (array([1., 2.]), array([[2.], [5.]]))
    """
    starts = first_rows(temperature)
    counts = np.diff(starts, append=len(temperature))
    return temperature[starts], np.add.reduceat(table, starts) / counts[:, None]


def run_spread(temperature: Row, table: Table) -> Row:
    """Standard deviation of one run at each temperature, what a seed does to all temperatures alike left out.

    A power of the temperature, sd = s T^q, fitted to the squares of y - row mean - column mean + mean, which have
    (S - 1)(k - 1)/k degrees of freedom a row: few seeds give no spread of their own row that one could divide by.
    Where a row has no spread at all, the common one of all rows, and at least that of rounding (for zeros, of rounding 1).
    """
    rows, seeds = table.shape
    residual = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    freedom = (seeds - 1) * (rows - 1) / rows
    variance = np.square(residual).sum(axis=1) / freedom
    rounding = np.finfo(float).eps * (float(np.abs(table).max()) or 1.0)
    if np.any(variance <= rounding**2) or np.ptp(temperature) == 0:
        return np.full(rows, max(math.sqrt(variance.mean()), rounding))
    logs = np.log(variance) - special.digamma(freedom / 2) + math.log(freedom / 2)
    power, level = np.polyfit(np.log(temperature), logs, 1)
    return np.exp((power * np.log(temperature) + level) / 2)


def resampled_means(table: Table, num_resamples: int, seed: int) -> Float[np.ndarray, "resample row"]:
    """Row means as other seeds might have given them: mean + sum_s z_s (y_s - mean) / sqrt(S (S - 1)), z_s ~ N(0, 1).

    They have exactly the covariance of the means that the columns show, between rows as well.
    """
    seeds = table.shape[1]
    means = table.mean(axis=1)
    multipliers = np.random.default_rng(seed).normal(size=(num_resamples, seeds))
    return means + multipliers @ (table - means[:, None]).T / math.sqrt(seeds * (seeds - 1))
