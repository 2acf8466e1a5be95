"""Means over replicas of the mean-estimation problem against algebra (diagrams.md 3, 4.3): z-scores.

l_x = (H/2) theta^2 + x S theta with E x = 0, E x^2 = 1, from theta = 0, is a linear filter of the batch means m_t:
theta_T = -eta S sum_t p_{T-t} m_t, so E test = (H/2) eta^2 S^2 sum_tt' p p' E[m_t m_t'] gap = eta S^2 sum_t p_{T-t} / N.
"""

import jax
import numpy as np
import pytest

from gradnoise.dynamics.discrete import gradient_descent, sgd
from gradnoise.dynamics.simulate import simulate
from gradnoise.problem import Problem, from_arrays
from gradnoise.spacetime import Spacetime

H, S, ETA, COUNT = 1.5, 0.8, 0.3, 20_000
N, B, E = 6, 2, 3
TAU, T = N // B, E * N // B


def loss(theta, x):
    return H * theta**2 / 2 + x * S * theta


@pytest.fixture(scope="module")
def signs():
    return from_arrays(loss, lambda key: np.zeros(()), np.array([-1.0, 1.0]))


def batch_mean_products(sampling):
    """E[m_t m_t'], shape (T, T), averaged over training sets and schedules."""
    t = np.arange(T)
    same_step, same_epoch = t[:, None] == t, t[:, None] // TAU == t // TAU
    if sampling == "fixed":
        return (t[:, None] % TAU == t % TAU) / B
    if sampling == "reshuffle":
        return np.where(same_step, 1 / B, np.where(same_epoch, 0, 1 / N))
    if sampling == "subset":
        return np.where(same_step, 1 / B, 1 / N)
    if sampling == "with_replacement":
        return np.where(same_step, 1 / B + (1 - 1 / B) / N, 1 / N)
    if sampling == "whole set":
        return np.full((T, T), 1 / N)
    assert sampling == "population"
    return np.where(same_step, 1 / B, 0)


def propagators(momentum):
    """p_0 = 0, p_1 = 1, p_{s+1} = (1 + beta - eta H) p_s - beta p_{s-1}."""
    p = [0.0, 1.0]
    while len(p) <= T:
        p.append((1 + momentum - ETA * H) * p[-1] - momentum * p[-2])
    return np.array(p)


def expected(sampling, momentum):
    """Test loss and gap after 0, ..., T steps."""
    p, products = propagators(momentum), batch_mean_products(sampling)
    weights = np.array([[p[t - s] if s < t else 0 for s in range(T)] for t in range(T + 1)])
    test = H / 2 * (ETA * S) ** 2 * np.einsum("ts,su,tu->t", weights, products, weights)
    return test, ETA * S**2 * weights.sum(1) / N


def largest_z(estimate, value):
    return np.max(np.abs(estimate.value - value)[1:] / estimate.stderr[1:])


@pytest.mark.parametrize(
    ("sampling", "momentum"),
    [
        ("fixed", 0.0),
        ("reshuffle", 0.0),
        ("subset", 0.0),
        ("with_replacement", 0.0),
        ("fixed", 0.5),
        ("reshuffle", 0.5),
    ],
)
def test_sgd_has_the_exact_test_loss_and_gap(signs, sampling, momentum):
    spacetime = Spacetime(N, B, E, sampling)
    runs = simulate(sgd(signs, momentum), np.zeros(()), spacetime, ETA, COUNT, jax.random.key(1))
    test, gap = expected(sampling, momentum)
    assert largest_z(runs.mean("test_loss"), test) < 4.5
    assert largest_z(runs.mean("gap"), gap) < 4.5
    wrong = expected("subset" if sampling != "subset" else "fixed", momentum)[0]
    assert largest_z(runs.mean("test_loss"), wrong) > 6  # the check can tell samplings apart


def test_cyclic_epochs_have_the_printed_closed_form(signs):
    k = 1 - ETA * H
    printed = ETA * S**2 / (2 * B) * (1 - k ** (2 * TAU)) / (2 - ETA * H) * ((1 - k**T) / (1 - k**TAU)) ** 2
    np.testing.assert_allclose(expected("fixed", 0.0)[0][-1], printed, rtol=1e-12)


def test_gradient_descent_has_the_exact_test_loss_and_gap(signs):
    runs = simulate(gradient_descent(signs), np.zeros(()), Spacetime(N, B, E), ETA, COUNT, jax.random.key(2))
    test, gap = expected("whole set", 0.0)
    assert largest_z(runs.mean("test_loss"), test) < 4.5
    assert largest_z(runs.mean("gap"), gap) < 4.5


def test_an_infinite_training_set_gives_fresh_batches_and_no_gap(signs):
    sampled = Problem(loss, lambda key, n: jax.random.normal(key, (n,)), lambda key: np.zeros(()))
    observe = {"population_loss": lambda theta, examples: H * theta**2 / 2}
    for problem, more in ((signs, {}), (sampled, {"num_test_draws": 20})):
        start, grid = np.zeros(()), Spacetime(N, B, E)
        runs = simulate(sgd(problem), start, grid, ETA, COUNT, jax.random.key(3), observe, 3, "population", **more)
        assert largest_z(runs.mean("population_loss"), expected("population", 0.0)[0][::3]) < 4.5
        assert largest_z(runs.mean("test_loss"), expected("population", 0.0)[0][::3]) < 4.5
        assert (runs.observables["gap"] == 0).all()


@pytest.mark.slow
def test_fresh_test_draws_estimate_the_test_loss_without_bias():
    sampled = Problem(loss, lambda key, n: jax.random.normal(key, (n,)), lambda key: np.zeros(()))
    spacetime = Spacetime(N, B, E, "reshuffle")
    runs = simulate(sgd(sampled), np.zeros(()), spacetime, ETA, COUNT, jax.random.key(4), num_test_draws=20)
    test, gap = expected("reshuffle", 0.0)
    assert largest_z(runs.mean("test_loss"), test) < 4.5
    assert largest_z(runs.mean("gap"), gap) < 4.5
    assert runs.num_test_draws == 20


def test_a_centred_sum_over_drawn_examples_is_a_control_variate(signs):
    """Its mean is zero by construction, and it carries most of the train loss's variance at small learning rates."""
    observe = {"control": lambda theta, examples: examples.mean()}
    runs = simulate(sgd(signs), np.ones(()), Spacetime(N, B), 0.01, COUNT, jax.random.key(5), observe, every=3)
    control, train = runs.observables["control"][:, -1], runs.observables["train_loss"][:, -1]
    assert abs(control.mean()) < 4.5 * control.std() / np.sqrt(COUNT)
    assert abs(np.corrcoef(control, train)[0, 1]) > 0.99
