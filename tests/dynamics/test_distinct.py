"""Training sets of distinct pool examples: every set once, finite-pool variance, and the path that predicts their mean."""

from itertools import combinations, permutations

import jax
import numpy as np
import pytest
from scipy import stats

import gradnoise as gn
from cases import CASES
from gradnoise.dynamics import sgd, simulate
from gradnoise.estimate import from_samples
from gradnoise.experiment.observables import OBSERVABLES
from gradnoise.problem import Problem, from_arrays
from gradnoise.spacetime import Spacetime

POOL, START = np.array([-1.0, 0.5, 2.0, 4.0, 4.5]), np.array(0.25)


def loss(w, x):
    return (w - x) ** 2 / 2


@pytest.fixture(scope="module")
def problem():
    return from_arrays(loss, lambda key: START, POOL)


def runs_of(problem, spacetime, num_replicas, key, observe=None, learning_rate=0.1):
    options = {"training_set": "distinct", "dtype": "float64"}
    return simulate(sgd(problem), START, spacetime, learning_rate, num_replicas, key, observe, **options)


def test_every_ordered_set_of_distinct_examples_has_the_same_chance(problem, getkey):
    """chi^2 over the 60 ordered triples of 5 examples: the batches of a fixed order are as random as the set."""
    observe = {f"x{n}": lambda w, e, n=n: e[n] for n in range(3)}
    runs = runs_of(problem, Spacetime(3, 1).truncate(0), 12_000, getkey(), observe)
    drawn = np.stack([runs.observables[name][:, 0] for name in observe], axis=1)
    found, counts = np.unique(drawn, axis=0, return_counts=True)
    assert {tuple(row) for row in found} == set(permutations(POOL, 3))
    assert stats.chisquare(counts).pvalue > 1e-4


def test_the_first_train_loss_is_unbiased_with_the_variance_of_a_finite_pool(problem, getkey):
    """Var = (S^2/N)(1 - N/n), S^2 with divisor n - 1: also the variance over all 10 sets, enumerated."""
    losses, size, num_replicas = loss(START, POOL), 3, 20_000
    every = np.array([np.mean(chosen) for chosen in combinations(losses, size)])
    np.testing.assert_allclose(every.var(), losses.var(ddof=1) / size * (1 - size / len(POOL)))
    first = runs_of(problem, Spacetime(size, 1), num_replicas, getkey()).observables["train_loss"][:, 0]
    assert set(np.round(first, 9)) == set(np.round(every, 9))
    assert abs(first.mean() - losses.mean()) < 4.5 * np.sqrt(every.var() / num_replicas)
    fourth = np.mean((every - every.mean()) ** 4)
    assert abs(first.var() - every.var()) < 4.5 * np.sqrt((fourth - every.var() ** 2) / num_replicas)


@pytest.mark.parametrize(
    "sampling",
    ["reshuffle", *(pytest.param(name, marks=pytest.mark.slow) for name in ("fixed", "subset", "with_replacement"))],
)
def test_the_mean_agrees_with_the_path_of_distinct_training_sets(getkey, sampling):
    """Within the second loop (a tenth of the first here); the path of drawn sets does not predict them."""
    case = CASES["logistic"]()
    spacetime, key = Spacetime(4, 2, 3, sampling), getkey()
    runs = simulate(
        sgd(case.problem), case.params, spacetime, 0.2, 20_000, key, every=6, training_set="distinct", dtype="float64"
    )
    for target in ("test", "train", "gap"):
        distinct, drawn = (
            gn.predict_path(case.problem, case.params, spacetime, 0.2, training_set=each).curve(target)
            for each in ("distinct", "drawn")
        )
        assert gn.compare(distinct, runs).verdict in ("agrees", "truncation", "not licensed")
        found = from_samples(runs.observables[OBSERVABLES[target]][:, -1])
        path, other = distinct.partial_sums.value[-1], drawn.partial_sums.value[-1]
        noise = abs(path[1] - path[0])
        assert abs(found.value - path[1]) < 4.5 * found.stderr + 0.2 * noise  # two loops
        assert abs(found.value - other[1]) > 4.5 * found.stderr + 0.3 * noise


def test_the_whole_pool_as_distinct_examples_is_the_pool_in_a_uniform_order(problem, getkey):
    observe = {"w": lambda w, e: w}
    runs = runs_of(problem, Spacetime(5, 1), 2_000, getkey(), observe)
    np.testing.assert_allclose(runs.observables["gap"], 0, atol=1e-12)
    assert len(np.unique(np.round(runs.observables["w"][:, -1], 12))) == 120
    assert runs.setting == "population"


@pytest.mark.parametrize("size", [6, 7])
def test_more_distinct_examples_than_the_pool_holds_are_refused(problem, size):
    with pytest.raises(ValueError, match=rf"distinct.*num_examples={size}.*pool of 5"):
        runs_of(problem, Spacetime(size, 1), 2, jax.random.key(0))


def test_distinct_examples_without_a_pool_are_refused():
    normal = Problem(loss, lambda key, n: jax.random.normal(key, (n,)), lambda key: START)
    with pytest.raises(ValueError, match=r"distinct.*no pool"):
        runs_of(normal, Spacetime(2, 1), 2, jax.random.key(0))
