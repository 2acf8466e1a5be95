"""Formulas that the theory derives without running them, each against a route of its own: iteration or enumeration."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from diagrams.landscape import enumerate_sgd, value
from gradnoise.diagrams import Diagram
from gradnoise.spacetime import Spacetime
from predict.raw_moments import AT_A_MINIMUM


def descended(rows, hessian, mean, penalty, noise, rate=0.2, num_steps=400):
    """Full-batch descent on the mean of (H/2)(w - mu)^2 + (lam/2) w^2 + x S w over the rows, far beyond convergence."""
    w = 0.0
    for _ in range(num_steps):
        w -= rate * (hessian * (w - mean) + penalty * w + noise * np.mean(rows))
    return w


@pytest.mark.parametrize("num_examples", [1, 3, 5])
def test_the_penalized_test_loss_and_its_best_penalty_have_their_closed_forms(num_examples):
    """(H/2)[lam^2 mu^2 + S^2/N]/(H + lam)^2, least at lam = S^2/(N H mu^2); "test" is without the penalty."""
    hessian, mean, noise = 1.3, 0.7, 0.9

    def enumerated(penalty):
        ends = [descended(rows, hessian, mean, penalty, noise) for rows in product((-1.0, 1.0), repeat=num_examples)]
        return np.mean([hessian / 2 * (w - mean) ** 2 for w in ends])

    best = noise**2 / (num_examples * hessian * mean**2)
    for penalty in (0.0, best, 2.0):
        closed = hessian / 2 * (penalty**2 * mean**2 + noise**2 / num_examples) / (hessian + penalty) ** 2
        assert enumerated(penalty) == pytest.approx(closed, rel=1e-12)
    least = hessian * noise**2 * mean**2 / (2 * (num_examples * hessian**2 * mean**2 + noise**2))
    assert enumerated(best) == pytest.approx(least, rel=1e-12)
    assert min(enumerated(best - 0.01), enumerated(best + 0.01)) > least


def test_the_stationary_covariance_is_where_the_recursion_settles_and_the_lyapunov_form_is_its_leading_order(rng):
    """Sigma_ij = (eta/B) C_ij/(h_i + h_j - eta h_i h_j) from Sigma <- K Sigma K + (eta^2/B) C."""
    rate, batch, h = 0.3, 4, np.array([0.4, 1.0, 3.0])
    root = rng.normal(size=(3, 3))
    covariance, keep = root @ root.T, np.diag(1 - rate * h)
    found = np.zeros((3, 3))
    for _ in range(400):
        found = keep @ found @ keep + rate**2 / batch * covariance
    sums, products = h[:, None] + h, np.outer(h, h)
    assert found == pytest.approx(rate / batch * covariance / (sums - rate * products), rel=1e-12)
    assert abs(found[2, 2] / (rate / batch * covariance[2, 2] / sums[2, 2]) - 1) > 0.5
    batch_second_moment = np.diag(h) @ found @ np.diag(h) + covariance / batch
    assert np.sum(h * np.diag(found)) == pytest.approx(rate / 2 * np.trace(batch_second_moment), rel=1e-12)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_the_product_over_distinct_examples_comes_from_means_of_groups(size, rng):
    """(S)_3 <0><1><2> from E {0}{1}{2} over groups of S: <012> = S^2 {012} - (S-1)(S-2) <0><1><2> - (S-1) sum <a><bc>.

    {012} is the product of three means of one group, <...> are expectations over single examples; two kinds of x.
    """
    chance = np.array([0.3, 0.7])
    values = rng.normal(size=(3, 2))
    of_groups = 0.0
    for group in product(range(2), repeat=size):
        weight = np.prod(chance[list(group)])
        of_groups += weight * np.prod(values[:, list(group)].mean(axis=1))
    a, b, c = values @ chance
    first, second, third = values
    pairs = [a * (second * third) @ chance, b * (first * third) @ chance, c * (first * second) @ chance]
    single = np.prod(values, axis=0) @ chance
    assert single == pytest.approx(size**2 * of_groups - (size - 1) * (size - 2) * a * b * c - (size - 1) * sum(pairs))
    assert single != pytest.approx(
        size**2 * of_groups - (size - 1) * (size - 2) * a * b * c - 3 * (size - 1) * pairs[0]
    )


@pytest.mark.parametrize(("N", "B"), [(2, 1), (3, 1), (4, 2)])
def test_at_a_minimum_fresh_noise_displaces_first_at_order_3(N, B):
    """-(1/2) C(T,2) C:J eta^3/B: un-resummed drift, one epoch."""
    T = N // B
    force = value(AT_A_MINIMUM, Diagram.parse("(01-2-3)(02-12-23)"), root=False)
    found = enumerate_sgd(AT_A_MINIMUM, Spacetime(N, B), 3)["displacement"]
    assert found[:3] == (0, 0, 0)
    assert found[3] == -Fraction(T * (T - 1), 4 * B) * force
    assert force != 0
