"""Population, held out, this training set: what test and train loss are means over."""

import jax
import numpy as np
import pytest

from gradnoise.dynamics.discrete import gradient_descent, sgd
from gradnoise.dynamics.simulate import simulate
from gradnoise.problem import Problem, from_arrays
from gradnoise.spacetime import Spacetime

POOL, TEST_POOL = np.array([-1.0, 0.5, 2.0, 4.0]), np.array([3.0, 7.0])
START, KEY = np.array(0.25), jax.random.key(0)


def loss(w, x):
    return (w - x) ** 2 / 2


def measured(w, x):
    return abs(w - x)


@pytest.fixture(scope="module")
def held_out():
    return from_arrays(loss, lambda key: START, POOL, measured=measured, test_pool=TEST_POOL)


def test_held_out_test_loss_is_measured_on_the_test_pool_and_train_loss_on_the_training_set(held_out):
    observe = {"w": lambda w, e: w, **{f"x{n}": lambda w, e, n=n: e[n] for n in range(6)}}
    for size in (2, 6):  # fewer and more examples than the pool holds: two ways to the train loss
        seen = {name: observe[name] for name in ("w", *(f"x{n}" for n in range(size)))}
        runs = simulate(sgd(held_out), START, Spacetime(size, 1), 0.3, 20, KEY, seen, dtype="float64")
        w, drawn = runs.observables["w"], np.stack([runs.observables[f"x{n}"] for n in range(size)])
        np.testing.assert_allclose(runs.observables["test_loss"], np.mean([abs(w - x) for x in TEST_POOL], axis=0))
        np.testing.assert_allclose(runs.observables["train_loss"], abs(w - drawn).mean(0))
        assert set(drawn.ravel()) <= set(POOL)
        assert runs.setting == "held out"


def test_this_training_set_trains_on_the_pool_and_draws_only_orders(held_out):
    problem = from_arrays(loss, lambda key: START, POOL)
    observe = {"w": lambda w, e: w, "first": lambda w, e: e[0]}
    options = {"training_set": "given", "dtype": "float64"}
    runs = simulate(sgd(problem), START, Spacetime(4, 1, 2), 0.3, 200, KEY, observe, **options)
    assert (runs.observables["first"] == POOL[0]).all()
    assert (runs.observables["gap"] == 0).all()
    assert runs.setting == "this training set"
    reached = np.unique(np.round(runs.observables["w"][:, 4], 9))
    assert len(reached) == 24  # every order of four examples leads elsewhere
    steps = np.diff(runs.observables["w"], axis=1) / 0.3 + runs.observables["w"][:, :-1]
    np.testing.assert_allclose(steps[:, :4], steps[:, 4:], atol=1e-9)  # the same order in the second epoch
    full = simulate(gradient_descent(held_out), START, Spacetime(4, 1), 0.3, 2, KEY, observe, **options)
    by_hand = POOL.mean() + (START - POOL.mean()) * 0.7 ** np.arange(5)
    np.testing.assert_allclose(full.observables["w"], [by_hand, by_hand])
    np.testing.assert_allclose(full.observables["train_loss"][0], abs(by_hand[:, None] - POOL).mean(1))


def test_gradient_descent_on_the_population_follows_the_pools_gradient(held_out):
    observe = {"w": lambda w, e: w, "size": lambda w, e: e.size + 0 * w}
    grid = Spacetime(8, 2)
    runs = simulate(gradient_descent(held_out), START, grid, 0.3, 2, KEY, observe, training_set="population")
    by_hand = POOL.mean() + (START - POOL.mean()) * 0.7 ** np.arange(5)
    np.testing.assert_allclose(runs.observables["w"], [by_hand, by_hand], rtol=1e-6)
    np.testing.assert_allclose(runs.observables["train_loss"][0], abs(by_hand[:, None] - POOL).mean(1), rtol=1e-6)
    assert (runs.observables["size"] == 4).all()


def test_a_problem_without_a_pool_shows_each_replica_its_own_draws():
    normal = Problem(loss, lambda key, n: jax.random.normal(key, (n,)), lambda key: START)
    observe = {"mean": lambda w, e: e.mean(), "w": lambda w, e: w}
    runs = simulate(gradient_descent(normal), START, Spacetime(5, 5, 3), 0.3, 500, KEY, observe, dtype="float64")
    mean = runs.observables["mean"]
    assert (mean == mean[:, :1]).all()
    assert abs(mean[:, 0].var() * 5 - 1) < 4.5 * np.sqrt(2 / 500)
    np.testing.assert_allclose(runs.observables["w"], mean + (START - mean) * 0.7 ** np.arange(4), atol=1e-12)
    assert runs.num_test_draws == 1000
