"""The closed forms equal the mean over every training set and every schedule, enumerated."""

from itertools import chain, combinations, permutations, product

import jax
import numpy as np
import pytest

from gradnoise.testbeds import mean_estimation as constructor
from gradnoise.testbeds.quadratic import (
    descent,
    gap,
    overfit_cyclic,
    overfit_cyclic_limit,
    overfit_full_batch,
    overfit_one_epoch,
    overfit_redrawn,
    overfit_reshuffled,
    overfit_reshuffled_limit,
)

HESSIAN, NOISE, START, RATE = 1.3, 0.7, 0.4, 0.3
COVARIANCE = NOISE**2


def enumerated(schedules, num_examples):
    """Exact mean test loss and train loss over all sign training sets and the equally likely schedules."""
    tests, trains = [], []
    for signs in product((-1.0, 1.0), repeat=num_examples):
        rows = np.array(signs)
        for schedule in schedules:
            theta = START
            for batch in schedule:
                theta -= RATE * (HESSIAN * theta + NOISE * rows[list(batch)].mean())
            tests.append(HESSIAN / 2 * theta**2)
            trains.append(HESSIAN / 2 * theta**2 + NOISE * rows.mean() * theta)
    return np.mean(tests), np.mean(trains)


def epochs_of(orders, batch_size, epochs):
    """All schedules that run through one of `orders` in each epoch."""
    cut = [[order[i : i + batch_size] for i in range(0, len(order), batch_size)] for order in orders]
    return [list(chain(*choice)) for choice in product(cut, repeat=epochs)]


@pytest.mark.parametrize(("n", "b", "e"), [(3, 1, 1), (4, 2, 2), (3, 1, 3), (3, 3, 4), (6, 2, 2)])
def test_cyclic_overfit_and_gap_are_exact(n, b, e):
    test, train = enumerated(epochs_of([range(n)], b, e)[:1], n)
    steps = n * e // b
    below = descent(HESSIAN, START, RATE, steps)
    assert test == pytest.approx(below + overfit_cyclic(HESSIAN, COVARIANCE, RATE, b, n, e), rel=1e-12)
    assert test - train == pytest.approx(gap(HESSIAN, COVARIANCE, RATE, n, steps), rel=1e-12)


def test_one_epoch_and_full_batch_are_its_special_cases():
    one = overfit_one_epoch(HESSIAN, COVARIANCE, RATE, 2, 5)
    assert one == pytest.approx(overfit_cyclic(HESSIAN, COVARIANCE, RATE, 2, 10, 1), rel=1e-12)
    full = overfit_full_batch(HESSIAN, COVARIANCE, RATE, 4, 7)
    assert full == pytest.approx(overfit_cyclic(HESSIAN, COVARIANCE, RATE, 4, 4, 7), rel=1e-12)


@pytest.mark.parametrize(("n", "b", "e"), [(3, 1, 2), (4, 2, 2), (2, 1, 4), (3, 3, 3)])
def test_reshuffled_overfit_is_exact_over_all_orders(n, b, e):
    test, train = enumerated(epochs_of(list(permutations(range(n))), b, e), n)
    below = descent(HESSIAN, START, RATE, n * e // b)
    assert test == pytest.approx(below + overfit_reshuffled(HESSIAN, COVARIANCE, RATE, b, n, e), rel=1e-12)
    assert test - train == pytest.approx(gap(HESSIAN, COVARIANCE, RATE, n, n * e // b), rel=1e-12)


@pytest.mark.parametrize("replacement", [True, False])
def test_redrawn_batches_are_exact(replacement):
    n, b, steps = 3, 2, 3
    batches = list(product(range(n), repeat=b) if replacement else combinations(range(n), b))
    test, train = enumerated(list(product(batches, repeat=steps)), n)
    expected = overfit_redrawn(HESSIAN, COVARIANCE, RATE, b, n, steps, replacement=replacement)
    assert test == pytest.approx(descent(HESSIAN, START, RATE, steps) + expected, rel=1e-12)
    assert test - train == pytest.approx(gap(HESSIAN, COVARIANCE, RATE, n, steps), rel=1e-12)


def test_long_runs_reach_the_limits():
    settings = (HESSIAN, COVARIANCE, RATE, 2, 6)
    assert overfit_cyclic(*settings, epochs=200) == pytest.approx(overfit_cyclic_limit(*settings), rel=1e-12)
    assert overfit_reshuffled(*settings, epochs=200) == pytest.approx(overfit_reshuffled_limit(*settings), rel=1e-12)


def test_limits_run_from_takeuchi_to_the_noise_floor():
    h, c = np.array([0.5, 2.0]), np.array([1.0, 3.0])
    takeuchi, rate, n = np.sum(c / h) / (2 * 10), 1e-6, 10
    assert overfit_cyclic_limit(h, c, rate, 1, n) == pytest.approx(takeuchi, rel=1e-5)
    assert overfit_reshuffled_limit(h, c, rate, 1, n) == pytest.approx(takeuchi, rel=1e-5)
    floor = rate * np.sum(c) / 4
    assert overfit_cyclic_limit(h, c, rate, 1, 10**8) == pytest.approx(floor, rel=1e-5)


def test_series_agrees_with_the_exact_table():
    """exact_table.json, mean_estimation: N=3, B=1, E=2, H=3, S=1, start 1/3. The values are polynomials in the rate."""
    rates = 0.05 * (1 + np.cos(np.pi * (np.arange(40) + 0.5) / 40))
    test = [descent(3.0, 1 / 3, r, 6) + overfit_cyclic(3.0, 1.0, r, 1, 3, 2) for r in rates]
    gaps = [gap(3.0, 1.0, r, 3, 6) for r in rates]
    fit = np.polynomial.Polynomial.fit
    assert fit(rates, test, 12).convert().coef[:4] == pytest.approx([1 / 6, -6, 117, -1260], rel=1e-5)
    assert fit(rates, gaps, 6).convert().coef[:4] == pytest.approx([0, 2, -15, 60], rel=1e-7, abs=1e-9)


def test_flat_and_sharp_minima_both_overfit_less_at_fixed_time():
    """Full batch: the peak over h is at eta T h = 1.256431, the root of e^x = 1 + 2x; the gap only falls."""
    x = np.linspace(0.01, 10, 2000)
    steps, rate = 100_000, 1e-3
    overfit = [overfit_full_batch(h, 1.0, rate, 5, steps) for h in x / (rate * steps)]
    assert x[int(np.argmax(overfit))] == pytest.approx(1.256431, abs=0.005)
    assert np.all(np.diff([gap(h, 1.0, rate, 5, steps) for h in x / (rate * steps)]) < 0)


def test_flat_directions_diffuse_without_loss():
    assert overfit_cyclic(0.0, 1.0, 0.1, 1, 4, 3) == 0.0
    assert overfit_reshuffled(0.0, 1.0, 0.1, 1, 4, 3) == 0.0
    assert gap(0.0, 2.0, 0.1, 4, 12) == pytest.approx(0.1 * 12 * 2 / 4)


def test_several_weights_are_a_sum_and_the_pool_has_their_covariance():
    problem = constructor(hessian=[1.0, 3.0], noise=[0.5, 2.0], theta0=0.1)
    with jax.enable_x64(True):
        gradients = jax.jit(jax.vmap(jax.grad(problem.loss), (None, 0)))(problem.init(None), problem.pool)
        hessian = jax.jit(jax.hessian(problem.loss))(problem.init(None), problem.pool[0])
    assert np.cov(np.asarray(gradients).T, bias=True) == pytest.approx(np.diag([0.25, 4.0]))
    assert np.asarray(hessian) == pytest.approx(np.diag([1.0, 3.0]))
    both = overfit_cyclic([1.0, 3.0], [0.25, 4.0], 0.1, 1, 3, 2)
    apart = overfit_cyclic(1.0, 0.25, 0.1, 1, 3, 2) + overfit_cyclic(3.0, 4.0, 0.1, 1, 3, 2)
    assert both == pytest.approx(apart)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"law": "uniform"}, "law='uniform' is unknown"),
        ({"hessian": [1.0, 2.0], "noise": [1.0, 2.0, 3.0]}, "hessian has shape"),
        ({"theta0": np.nan}, "theta0 holds NaN"),
        ({"hessian": np.ones(20)}, "2\\^20 examples"),
    ],
)
def test_wrong_arguments_are_told(options, words):
    with pytest.raises(ValueError, match=words):
        constructor(**options)


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="batch_size=2 does not divide num_examples=5"):
        overfit_cyclic(1.0, 1.0, 0.1, 2, 5, 1)
