"""The table of runs: averages over cells, spreads, resampled means."""

import math

import numpy as np
import pytest

from gradnoise.averaging.seed_table import one_row_a_temperature, resampled_means, run_spread, runs_by_temperature


def test_rows_come_in_rising_order_and_cells_of_one_temperature_are_averaged(rng):
    table = rng.normal(size=(4, 3))
    rows = one_row_a_temperature(*runs_by_temperature("gap", [0.3, 0.1, 3 * 0.1, 0.2], table))
    assert rows[0] == pytest.approx([0.1, 0.2, 0.3])
    np.testing.assert_allclose(rows[1], [table[1], table[3], (table[0] + table[2]) / 2])


@pytest.mark.parametrize("common", [0.0, 5.0])
def test_the_spread_is_a_power_of_temperature_and_leaves_out_what_a_seed_does_to_all(common, rng):
    """Rows alone have chi-squared logs with mean digamma: unbiased in the log with two seeds as with a hundred."""
    temperature = np.geomspace(1, 32, 12)
    true = 0.1 * temperature**0.4
    logs = []
    for _ in range(200):
        table = true[:, None] * rng.normal(size=(12, 4)) + common * rng.normal(size=4)
        logs.append(np.log(run_spread(temperature, table) / true))
    error = np.std(logs, axis=0) / math.sqrt(200)
    assert np.all(np.abs(np.mean(logs, axis=0)) < 4.5 * error + 0.12)  # column means mix the rows' spreads, 1/12 each


def test_resampled_means_have_the_covariance_that_the_columns_show(rng):
    table = rng.normal(size=(3, 6)) @ np.diag(rng.uniform(1, 3, 6))
    drawn = resampled_means(table, 200_000, 0)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(table) / 6, atol=0.02)
    np.testing.assert_allclose(drawn.mean(axis=0), table.mean(axis=1), atol=0.02)


def test_a_table_without_spread_has_that_of_rounding():
    eps = np.finfo(float).eps
    assert run_spread(np.array([1.0, 2.0]), np.full((2, 3), 4.0)).tolist() == [4 * eps, 4 * eps]
    assert run_spread(np.array([1.0, 2.0]), np.zeros((2, 3))).tolist() == [eps, eps]
