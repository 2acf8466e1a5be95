"""SVAG on halves of one draw: their law by enumeration, the covariance that grows with l, what is refused."""

from itertools import combinations, permutations

import jax
import numpy as np
import pytest

from brute_force import covariance, linear_problem
from dynamics.one_step import PARAMS, POOL, RATE, WITHOUT, assert_equal, batch_noise, displacements, five_points
from gradnoise import _tree
from gradnoise.dynamics.halves import distinct_halves
from gradnoise.dynamics.simulate import simulate
from gradnoise.dynamics.svag import svag, svag_weights
from gradnoise.problem import Problem
from gradnoise.process import Batches
from gradnoise.spacetime import Spacetime


def every_split(num_examples, batch_size):
    """All ordered pairs of disjoint batches."""
    sets = [frozenset(some) for some in combinations(range(num_examples), batch_size)]
    return [(sorted(a), sorted(b)) for a, b in permutations(sets, 2) if not a & b]


@pytest.mark.parametrize(("num_examples", "batch_size"), [(5, 2), (4, 2), (6, 1), (6, 2), (7, 3)])
@pytest.mark.parametrize("l", [1, 2, 8])
def test_halves_of_distinct_examples_have_covariance_s2_over_b_times_l_minus_b_over_n(num_examples, batch_size, l):
    """dynamics.md A2, over all splits; independent batches have l (S2/B)(1 - B/N). Equal at l = 1 only."""
    rows = np.random.default_rng(0).normal(size=(num_examples, 3))
    first, second = svag_weights(l)
    noise = [first * rows[a].mean(0) + second * rows[b].mean(0) for a, b in every_split(num_examples, batch_size)]
    fraction, variance = batch_size / num_examples, covariance(rows, 1) / batch_size
    found = covariance(np.array(noise))
    assert_equal(found, variance * (l - fraction), 1e-13)
    independent = l * (1 - fraction) * variance
    ratio = (l - fraction) / (l * (1 - fraction))
    np.testing.assert_allclose(np.trace(found) / np.trace(independent), ratio)
    assert (ratio == 1) == (l == 1)


def test_a_substep_over_all_splits_has_the_mean_and_the_larger_covariance():
    """The process's own arithmetic on each of the 30 pairs of halves of five points."""
    l, fraction = 8, 2 / 5
    moves = displacements(svag(five_points(), l), WITHOUT, np.array(every_split(5, 2)))
    g, sigma, _ = batch_noise(WITHOUT)  # (S2/B)(1 - B/N)
    assert_equal(moves.mean(0), -RATE / l * g)
    larger = sigma * (l - fraction) / (1 - fraction)
    assert_equal(covariance(moves), (RATE / l) ** 2 * larger)
    assert (
        np.abs(covariance(moves) - (RATE / l) ** 2 * l * sigma).max() > 0.3 * (RATE / l) ** 2 * l * np.abs(sigma).max()
    )


def test_a_substep_is_that_of_independent_batches_on_the_drawn_halves_for_every_sampling():
    """Number for number: the rows of one half of the key, noise from the other; samplings with epochs draw afresh too."""
    options = {"weight_decay": 0.1, "injected_noise": 0.3}
    split, plain = (svag(five_points(), 3, batches=kind, **options) for kind in ("split", "independent"))
    pool = jax.tree.map(lambda leaf: np.concatenate([leaf, leaf[:1]]), POOL)
    grids = [Spacetime(6, 2, sampling=sampling) for sampling in ("subset", "fixed", "reshuffle")]

    @jax.jit
    def moves(key):
        state = split.init(PARAMS)
        noise, drawn = jax.random.split(key)
        halves = _tree.take(pool, distinct_halves(drawn, 6, 2))
        found = [split.step(key, state, Batches(None, pool, grid), RATE) for grid in grids]
        return found, plain.step(noise, state, Batches(halves, pool, grids[0]), RATE)

    found, expected = moves(jax.random.key(4))
    for one in found:
        for ours, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_every_ordered_split_is_drawn_equally_often(getkey):
    num_examples, batch_size, count = 5, 2, 30_000
    draw = jax.jit(jax.vmap(lambda key: distinct_halves(key, num_examples, batch_size)))
    rows = np.asarray(draw(jax.random.split(getkey(), count)))
    splits = every_split(num_examples, batch_size)
    names = {tuple(map(tuple, split)): i for i, split in enumerate(splits)}
    found = [names[tuple(map(tuple, np.sort(pair, axis=-1)))] for pair in rows]
    counts, expected = np.bincount(found, minlength=len(splits)), count / len(splits)
    assert np.abs((counts - expected) / np.sqrt(expected * (1 - 1 / len(splits)))).max() < 4.5


@pytest.mark.slow
def test_the_head_of_a_subset_would_not_do(getkey):
    """Floyd's order: the last example can only be drawn last, so that unshuffled halves differ in law."""
    from gradnoise.dynamics.batches import subset

    rows = np.asarray(jax.jit(jax.vmap(lambda key: subset(key, 5, 4)))(jax.random.split(getkey(), 1000)))
    assert not (rows[:, :2] == 4).any()
    assert (rows[:, 2:] == 4).any()


@pytest.mark.slow
def test_runs_have_the_larger_variance(getkey):
    """Linear losses: after T steps the variance is T eta^2 (S2/B)(l - B/N)/l, training on the pool; 4.5 errors."""
    rows, l, steps, count = np.array([[0.4], [-1.0], [2.1], [0.3]]), 8, 3, 20_000
    problem, spacetime = linear_problem(rows), Spacetime(4, 2, sampling="subset", num_steps=steps)
    runs = {}
    for kind in ("split", "independent"):
        process = svag(problem, l, batches=kind)
        observe = {"w": lambda w, e: w[0]}
        options = {"training_set": "given", "every": steps}
        found = simulate(process, np.zeros(1), spacetime, 0.1, count, getkey(), observe, **options)
        w = found.observables["w"][:, -1]
        centred = np.square(w - w.mean())
        runs[kind] = centred.mean(), centred.std() / np.sqrt(count)
    scale = steps * 0.1**2 * rows.var(ddof=1) / 2
    for kind, factor in (("split", (l - 0.5) / l), ("independent", 0.5)):
        value, error = runs[kind]
        assert abs(value - scale * factor) < 4.5 * error, kind


def test_settings_name_the_halves():
    assert ("batches", "split") in svag(five_points(), 2, batches="split").settings
    assert svag(five_points(), 2, batches="split").batches_per_substep == 0
    assert "batches" not in dict(svag(five_points(), 2).settings)


@pytest.mark.parametrize(
    ("spacetime", "words"),
    [
        (Spacetime(5, 2, sampling="with_replacement", num_steps=1), 'batches="split".*sampling="with_replacement"'),
        (Spacetime(5, 5), r"takes 2 \* batch_size=10 distinct examples, and the training set holds 5.*at most 2"),
    ],
)
def test_where_there_are_no_distinct_halves_split_is_refused(spacetime, words):
    process = svag(five_points(), 2, batches="split")
    with pytest.raises(ValueError, match=words):
        process.step(jax.random.key(0), process.init(PARAMS), Batches(None, POOL, spacetime), RATE)


@pytest.mark.slow
def test_a_run_on_the_population_is_refused_before_anything_runs():
    process, given = svag(five_points(), 2, batches="split"), {"training_set": "population"}
    with pytest.raises(ValueError, match='training_set="population"'):
        simulate(process, PARAMS, Spacetime(6, 2), 0.1, 2, jax.random.key(0), **given)


@pytest.mark.slow
def test_a_problem_without_a_pool_has_halves_of_its_own_training_set(getkey):
    endless = Problem(
        lambda w, x: (w - x) ** 2 / 2, lambda key, n: jax.random.normal(key, (n,)), lambda key: np.zeros(())
    )
    runs = simulate(svag(endless, 2, batches="split"), np.zeros(()), Spacetime(6, 2), 0.1, 4, getkey())
    assert np.isfinite(runs.observables["train_loss"]).all()


def test_unknown_batches_are_named():
    with pytest.raises(ValueError, match="batches='halves' is unknown"):
        svag(five_points(), 2, batches="halves")
