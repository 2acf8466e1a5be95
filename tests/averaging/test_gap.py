"""The gap by cross-evaluation: unbiased, with an error that holds; overlapping sets; losses of networks on all sets."""

import itertools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradnoise.problem as gp
from gradnoise.averaging import (
    cross_losses,
    gap_parts,
    generalization_gap,
    mean_estimation_losses,
    mean_pairwise_kl,
    over_sampled_sets,
    training_ensemble,
)


def mean_problem(pool):
    return gp.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: 0.0, np.asarray(pool, dtype=float))


def root_problem():
    return gp.from_arrays(lambda w, x: jnp.sqrt(w + x), lambda key: 0.0, np.array([0.0, 1.0]))


def network(pool_size=12, seed=0):
    """A small network, squared error with a penalty as the loss, squared error measured."""
    random = np.random.default_rng(seed)
    pool = {"x": random.normal(size=(pool_size, 3)), "y": random.normal(size=pool_size)}

    def measured(params, example):
        return (jnp.tanh(example["x"] @ params["in"]) @ params["out"] - example["y"]) ** 2

    def loss(params, example):
        return measured(params, example) + params["out"] @ params["out"]

    problem = gp.from_arrays(loss, lambda key: None, pool, measured=measured)
    weights = lambda count: {"in": random.normal(size=(count, 3, 4)), "out": random.normal(size=(count, 4))}  # noqa: E731
    return problem, weights


@given(st.integers(2, 6), st.integers(0, 10_000))
def test_value_and_jackknife_are_those_of_loops(sets, seed):
    M = np.random.default_rng(seed).normal(size=(sets, sets))

    def gap(keep):
        pairs = [M[s, t] for s in keep for t in keep if s != t]
        return np.mean(pairs) - np.mean([M[s, s] for s in keep])

    found = generalization_gap(M)
    assert found.value == pytest.approx(gap(range(sets)))
    assert found.num_samples == sets
    if sets == 2:
        assert np.isnan(found.stderr)
        return
    left = np.array([gap([s for s in range(sets) if s != out]) for out in range(sets)])
    assert found.stderr == pytest.approx(np.sqrt((sets - 1) / sets * np.sum((left - left.mean()) ** 2)))


@pytest.mark.slow
def test_the_gap_of_sampled_sets_is_unbiased_and_its_squared_error_is_not_too_small_in_the_mean(rng):
    """Mean estimation, 12 sets of 4 of N(0, 2), theta = mean + noise: gap sigma^2/n = 0.5; 4000 repetitions.

    Of a U-statistic of pairs the jackknife's mean squared error is at least the variance (Efron and Stein, Hoeffding) and,
    were the statistic degenerate, about twice it.
    """
    exact, repetitions = mean_estimation_losses(2.0, 4, 0.3).gap, 4000
    x = rng.normal(scale=2**0.5, size=(repetitions, 12, 4))
    theta = x.mean(axis=2) + rng.normal(scale=0.3**0.5, size=(repetitions, 12))
    found = [generalization_gap(each) for each in np.mean((theta[:, :, None, None] - x[:, None]) ** 2, axis=3) / 2]
    values, errors = np.array([each.value for each in found]), np.array([each.stderr for each in found])
    spread = values.std(ddof=1)
    assert abs(values.mean() - exact) < 4.5 * spread / repetitions**0.5
    fourth = np.mean((values - values.mean()) ** 4) / spread**4
    uncertainty = 4.5 * np.sqrt((fourth - 1) / repetitions)  # of the variance over repetitions
    assert 1 - uncertainty < np.mean(errors**2) / spread**2 < 2 * 11 / 10 * (1 + uncertainty)


def trained(problem, start, sets, steps=150, rate=0.3):
    """The weights of gradient descent from `start` on each set of examples of the pool."""
    gradient = jax.grad(lambda params, rows: jnp.mean(jax.vmap(problem.loss, (None, 0))(params, rows)))

    def descend(params, indices):
        rows = jax.tree.map(lambda leaf: jnp.asarray(leaf)[indices], problem.pool)
        step = lambda at, _: (jax.tree.map(lambda w, g: w - rate * g, at, gradient(at, rows)), None)  # noqa: E731
        return jax.lax.scan(step, params, length=steps)[0]

    return jax.jit(jax.vmap(descend, (None, 0)))(start, sets)


@pytest.mark.slow
def test_for_networks_the_gap_by_cross_evaluation_is_that_to_the_pool_and_on_unseen_examples_that_to_the_rest(rng):
    """60 networks trained on 25 of 200 examples each: two estimates of one gap, of the same networks."""
    problem, weights = network(pool_size=200)
    start = jax.tree.map(lambda leaf: leaf[0], weights(1))
    draws = {False: rng.integers(0, 200, (60, 25)), True: np.array([rng.permutation(200)[:25] for _ in range(60)])}
    for unseen, sets in draws.items():
        params = trained(problem, start, sets)
        M = cross_losses(problem, params, sets, leave_out_overlap=unseen)
        losses = np.asarray(
            jax.vmap(jax.vmap(problem.measured, (None, 0)), (0, None))(
                jax.tree.map(jnp.asarray, params), jax.tree.map(jnp.asarray, problem.pool)
            )
        )
        counted = np.array([[not unseen or i not in each for i in range(200)] for each in sets])
        direct = generalization_gap(M, np.sum(losses * counted, axis=1) / counted.sum(axis=1))
        crossed = generalization_gap(M)
        assert direct.value > 4.5 * direct.stderr
        assert abs(crossed.value - direct.value) < 4.5 * np.hypot(crossed.stderr, direct.stderr)


@given(st.integers(3, 6), st.integers(0, 10_000))
def test_the_gap_over_sampled_sets_on_a_grid_is_the_u_statistic_of_cross_averages(sets, seed):
    """The jackknife takes the bias 1/S of the plug-in covariance off exactly, and the two errors agree."""
    losses = np.random.default_rng(seed).normal(size=(sets, 9)) ** 2
    ensemble = training_ensemble(-2 * losses, 0.1)
    found = over_sampled_sets(lambda *sampled: gap_parts(*sampled).gap, ensemble, losses)
    crossed = generalization_gap(ensemble.cross_averages(losses))
    assert found.value == pytest.approx(crossed.value, rel=1e-9, abs=1e-12)
    assert gap_parts(ensemble, losses).gap == pytest.approx(crossed.value * (sets - 1) / sets, rel=1e-9, abs=1e-12)
    assert found.num_samples == sets
    assert found.stderr > 0


def test_pairs_that_were_not_evaluated_count_neither_in_value_nor_error():
    M = np.random.default_rng(0).normal(size=(5, 5))
    M[0, 1] = M[3, 2] = np.nan
    pairs = [M[s, t] for s in range(5) for t in range(5) if s != t and not np.isnan(M[s, t])]
    found = generalization_gap(M)
    assert found.value == pytest.approx(np.mean(pairs) - np.trace(M) / 5)
    assert 0 < found.stderr < np.inf


def test_with_test_losses_the_gap_is_a_mean_of_differences():
    M, test = np.diag([1.0, 2.0, 4.0]), np.array([2.0, 2.5, 6.0])
    found = generalization_gap(M, test)
    differences = test - np.diag(M)
    assert found.value == pytest.approx(differences.mean())
    assert found.stderr == pytest.approx(differences.std(ddof=1) / 3**0.5)


def test_sets_drawn_from_one_pool_have_a_gap_too_small_by_the_share_that_overlaps():
    """n of M without replacement, enumerated: gap to fresh draws = (1 - n/M) gap to unseen examples, set by set in the mean.

    Mean estimation: the gap to unseen examples is S2/n, S2 of divisor M - 1, since train = (1 - 1/n) S2/2 and unseen =
    (1 + 1/n) S2/2.
    """
    pool, n = np.array([0.0, 1.0, 3.0, 7.0, 8.0]), 3
    sets = np.array(list(itertools.combinations(range(5), n)))
    M = cross_losses(mean_problem(pool), pool[sets].mean(axis=1), sets)
    fresh = M.mean() - np.diag(M).mean()
    unseen = np.mean([np.mean((pool[s].mean() - np.delete(pool, s)) ** 2) / 2 for s in sets]) - np.diag(M).mean()
    assert unseen == pytest.approx(pool.var(ddof=1) / n)
    assert fresh == pytest.approx((1 - n / 5) * unseen)


def test_leaving_out_the_overlap_gives_the_gap_to_unseen_examples():
    """Over all pairs of sets of 2 of 5 that are not the same set; any pair then has an unseen example."""
    pool = np.array([0.0, 1.0, 3.0, 7.0, 8.0])
    sets = np.array(list(itertools.combinations(range(5), 2)))
    found = generalization_gap(cross_losses(mean_problem(pool), pool[sets].mean(axis=1), sets, leave_out_overlap=True))
    assert found.value == pytest.approx(pool.var(ddof=1) / 2)


def test_independent_test_samples_of_one_pool_see_a_sixth_of_the_gap_and_few_unseen_examples():
    """Erratum 24: train and test drawn independently from one pool, 50,000 and 10,000 of 60,000.

    The overlap's sd is 34 of 10,000 images, 1667 are unseen in the mean, and the fluctuation is 2 % of these. Enumerated
    on 5 points with 3 and 2: E gap = (1 - n/M) of the gap on unseen examples.
    """
    from scipy import stats

    overlap = stats.hypergeom(60_000, 50_000, 10_000)
    assert overlap.std() == pytest.approx(34.0, abs=0.05)
    assert 10_000 - overlap.mean() == pytest.approx(1666.7, abs=0.1)
    assert overlap.std() / (10_000 - overlap.mean()) == pytest.approx(0.0204, abs=1e-4)
    pool = np.array([0.0, 1.0, 3.0, 7.0, 8.0])
    train = [list(each) for each in itertools.combinations(range(5), 3)]
    test = [list(each) for each in itertools.combinations(range(5), 2)]
    loss = lambda s, at: np.mean((pool[s].mean() - pool[at]) ** 2) / 2  # noqa: E731
    random = np.mean([loss(s, t) - loss(s, s) for s in train for t in test])
    split = np.mean([loss(s, np.setdiff1d(range(5), s)) - loss(s, s) for s in train])
    assert random == pytest.approx((1 - 3 / 5) * split)


@pytest.mark.parametrize("leave_out", [False, True])
def test_cross_losses_are_measured_losses_by_loops(leave_out):
    """Three sets of four, one example twice, one set inside another's examples, two samples a set."""
    problem, weights = network()
    sets = np.array([[0, 1, 2, 3], [2, 3, 4, 4], [5, 6, 7, 8]])
    params = weights(6)
    found = cross_losses(problem, params, sets, leave_out)
    outputs = np.einsum("pnh,ph->pn", np.tanh(problem.pool["x"] @ params["in"]), params["out"])
    losses = (outputs - problem.pool["y"]) ** 2
    for s, t in itertools.product(range(3), range(3)):
        rows = [i for i in sets[t] if not leave_out or s == t or i not in sets[s]]
        expected = np.mean([losses[p, i] for p in (2 * s, 2 * s + 1) for i in rows])
        assert found[s, t] == pytest.approx(expected, rel=1e-12)  # a pool in single precision would be 1e-8 off


def test_a_set_without_unseen_examples_is_marked_and_left_out():
    found = cross_losses(mean_problem([0.0, 1.0, 2.0]), np.zeros(3), [[0, 1], [1, 0], [1, 2]], leave_out_overlap=True)
    assert np.isnan(found).tolist() == [[False, True, False], [True, False, False], [False, False, False]]
    assert np.isfinite(generalization_gap(found).value)


def test_examples_of_a_problem_without_a_pool_are_given_themselves():
    problem = gp.Problem(lambda w, x: (w - x) ** 2 / 2, lambda key, n: jax.random.normal(key, (n,)), lambda key: 0.0)
    pool = np.array([0.0, 1.0, 3.0, 7.0])
    sets = np.array([[0, 1], [2, 3]])
    params = np.array([0.5, 2.0, 3.0, 5.0])
    given_rows = cross_losses(problem, params, pool[sets])
    np.testing.assert_allclose(given_rows, cross_losses(mean_problem(pool), params, sets))


def test_passes_of_any_size_give_the_same_numbers(monkeypatch):
    """Two weight vectors by five examples at a time: of 3 and 12, so that both have a remainder."""
    problem, sets, params = mean_problem(np.arange(12.0) ** 2), np.arange(12).reshape(3, 4), np.array([0.0, 1.0, 3.0])
    whole = cross_losses(problem, params, sets)
    monkeypatch.setattr(sys.modules["gradnoise.averaging.cross_losses"], "_pass_size", lambda *_: (2, 5))
    np.testing.assert_allclose(cross_losses(problem, params, sets), whole, rtol=1e-13)


def test_too_little_memory_is_told():
    with pytest.raises(MemoryError, match="the losses of all weights need 64 B"):
        cross_losses(mean_problem([0.0, 1.0]), np.zeros(2), [[0], [1]], memory="1MiB")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: generalization_gap(np.zeros((2, 3))), r"shape \(2, 3\), expected \(sets, sets\)"),
        (lambda: generalization_gap([[1.0]]), "at least two sets"),
        (lambda: generalization_gap([[np.nan, 1.0], [1.0, 1.0]]), "NaN on its diagonal"),
        (lambda: generalization_gap([[1.0, np.nan], [np.nan, 1.0]]), "NaN in every entry off the diagonal"),
        (lambda: generalization_gap(np.eye(2), [1.0]), "test_losses of shape"),
        (
            lambda: over_sampled_sets(mean_pairwise_kl, training_ensemble(np.eye(2), 1.0)),
            "training sets=2 is below 3",
        ),
        (
            lambda: over_sampled_sets(mean_pairwise_kl, training_ensemble(np.eye(3), 1.0, [1, 2, 3])),
            "unequal weights",
        ),
        (lambda: over_sampled_sets(gap_parts, training_ensemble(np.zeros((3, 3)), 1.0), np.zeros(4)), "each of 3 sets"),
        (lambda: cross_losses(mean_problem([0.0, 1.0]), np.zeros(2), [[0.0], [1.0]]), r"expected integers \(sets, n\)"),
        (
            lambda: cross_losses(mean_problem([0.0, 1.0]), np.zeros(2), [[0], [2]]),
            "indices from 0 to 2, expected 0 to 1",
        ),
        (lambda: cross_losses(root_problem(), np.array([1.0, -2.0]), [[0], [1]]), "weights of set 1 is not finite"),
        (lambda: cross_losses(mean_problem([0.0, 1.0]), np.zeros(3), [[0], [1]]), "stacks 3 weight vectors for 2"),
        (
            lambda: cross_losses(
                gp.Problem(lambda w, x: w * x, lambda key, n: np.zeros(n), lambda key: 0.0), np.zeros(1), [[0.0]], True
            ),
            "leave_out_overlap=True needs a pool",
        ),
    ],
)
def test_wrong_calls_are_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()
