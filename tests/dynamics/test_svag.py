"""SVAG by enumeration of all pairs of batches: identities, moments of a step; printed forms that fail."""

import jax
import numpy as np
import pytest

from brute_force import gradient_rows, linear_problem
from dynamics.one_step import (
    PARAMS,
    POOL,
    RATE,
    WITH,
    WITHOUT,
    assert_equal,
    batch_noise,
    displacements,
    every_batch,
    every_pair,
    five_points,
    loss,
    third,
    three_symmetric,
)
from gradnoise.dynamics.discrete import sgd
from gradnoise.dynamics.momentum import MomentumState
from gradnoise.dynamics.simulate import simulate
from gradnoise.dynamics.svag import svag, svag_weights
from gradnoise.process import Batches
from gradnoise.spacetime import Spacetime

SAMPLINGS = [WITH, WITHOUT]
LS = [1, 2, 3, 8, 50]


def pairs_for(l, spacetime):
    return every_batch(spacetime)[:, None] if l == 1 else every_pair(spacetime)


@pytest.mark.parametrize("l", [*LS, 1024])
def test_weights_have_their_four_identities(l):
    c1, c2 = svag_weights(l)
    found = [c1 + c2, c1**2 + c2**2, c1 * c2, c1**3 + c2**3, c1**4 + c2**4]
    np.testing.assert_allclose(found, [1, l, (1 - l) / 2, (3 * l - 1) / 2, l**2 - (l - 1) ** 2 / 2], rtol=1e-12)
    assert c2 <= 0


@pytest.mark.parametrize("spacetime", SAMPLINGS, ids=lambda s: s.sampling)
@pytest.mark.parametrize("l", LS)
def test_a_step_has_the_mean_covariance_and_third_moment_of_the_corrected_lemma(l, spacetime):
    """Lemma 4.6/4.7 corrected (dynamics.md A3), over all pairs of batches with and without replacement."""
    moves = displacements(svag(five_points(), l), spacetime, pairs_for(l, spacetime))
    g, sigma, cumulant = batch_noise(spacetime)
    h = RATE / l
    assert_equal(moves.mean(0), -h * g)
    assert_equal(moves.T @ moves / len(moves), h**2 * (l * sigma + np.outer(g, g)))
    corrected = -(RATE**3 / l**2) * ((3 - 1 / l) / 2 * cumulant + three_symmetric(g, sigma))
    corrected -= h**3 * np.einsum("a,b,c->abc", g, g, g)
    assert_equal(third(moves), corrected)


def test_the_printed_third_moment_fails_and_so_does_its_mirror_image():
    l = 2
    moves = displacements(svag(five_points(), l), WITHOUT, every_pair(WITHOUT))
    g, sigma, cumulant = batch_noise(WITHOUT)
    cubes = np.einsum("a,b,c->abc", g, g, g)
    printed = RATE**3 / l**2 * (3 - 1 / l) / 2 * cumulant + RATE**3 / l**3 * (three_symmetric(g, sigma) + cubes)
    size = np.abs(third(moves)).max()
    assert np.abs(third(moves) - printed).max() > 0.5 * size
    assert np.abs(third(moves) + printed).max() > 0.1 * size


def test_the_covariance_of_a_step_is_sgds_over_l_and_the_raw_second_moment_is_not():
    one, l = displacements(svag(five_points(), 1), WITH, every_batch(WITH)[:, None]), 8
    many = displacements(svag(five_points(), l), WITH, every_pair(WITH))
    assert_equal(l * np.cov(many.T, bias=True), np.cov(one.T, bias=True))
    raw = [moves.T @ moves / len(moves) for moves in (one, many)]
    g = batch_noise(WITH).mean
    assert_equal(l * raw[1] - raw[0], -(1 - 1 / l) * RATE**2 * np.outer(g, g))
    assert np.abs(l * raw[1] - raw[0]).max() > 1e-3


def test_the_noise_identity_has_the_learning_rate_inside_the_root_not_beside_it():
    """(eta/l) Sigma^l = eta Sigma, Sigma^l = Cov(c1 grad L_1 + c2 grad L_2); printed: (eta/l)^(1/2) and eta^(1/2)."""
    l = 8
    moves = displacements(svag(five_points(), l), WITH, every_pair(WITH))
    amplified, sigma = np.cov(moves.T, bias=True) / (RATE / l) ** 2, batch_noise(WITH).covariance
    assert_equal(RATE / l * amplified, RATE * sigma)
    assert np.abs((RATE / l) ** 0.5 * amplified - RATE**0.5 * sigma).max() > 0.5 * np.abs(sigma).max()


def test_sigma_is_the_covariance_of_gradients_in_both_factors():
    """Printed: (grad L_B - grad L)(L_B - grad L)^T, a gradient sign missing. Read with the loss itself it is not Sigma."""
    rows, batches = gradient_rows(five_points(), PARAMS), every_batch(WITH)
    noise = rows[batches].mean(1) - rows.mean(0)
    with jax.enable_x64(True):
        losses = np.asarray(jax.vmap(loss, (None, 0))(PARAMS, jax.tree.map(jax.numpy.asarray, POOL)))
    printed = noise.T @ (losses[batches].mean(1)[:, None] - rows.mean(0)) / len(batches)
    moves = displacements(svag(five_points(), 1), WITH, batches[:, None])
    found = np.cov(moves.T, bias=True) / RATE**2
    assert_equal(found, noise.T @ noise / len(batches))
    assert np.abs(found - printed).max() > 0.5 * np.abs(found).max()
    assert np.abs(printed - printed.T).max() > 0.01  # no covariance at all


def test_halves_of_one_draw_have_another_covariance_than_independent_batches():
    """dynamics.md A2: (S2/B)(l - B/N), not l (S2/B)(1 - B/N)."""
    l, size, batch = 8, 5, 2
    halves = np.array([(pair[0], pair[1]) for pair in every_pair(WITHOUT) if not set(pair[0]) & set(pair[1])])
    assert len(halves) == 30
    moves = displacements(svag(five_points(), l), WITHOUT, halves)
    sigma = batch_noise(WITHOUT).covariance  # (S2/B)(1 - B/N)
    found = np.cov(moves.T, bias=True) / (RATE / l) ** 2
    assert_equal(found, sigma * (l - batch / size) / (1 - batch / size))
    assert np.abs(found - l * sigma).max() > 0.3 * l * np.abs(sigma).max()


def test_the_fourth_moment_of_a_step_falls_as_l_to_the_minus_two():
    """sqrt(E |Delta|^8) l^2 stays bounded (corrected Lemma 4.7 (iv))."""
    size = []
    for l in (4, 64, 1024):
        moves = displacements(svag(five_points(), l), WITH, every_pair(WITH))
        size.append(l**2 * np.mean(np.sum(moves**2, axis=1) ** 4) ** 0.5)
    assert size[0] > size[1] > size[2] > 0.9 * size[1]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"momentum": 0.6, "weight_decay": 0.1},
        pytest.param({"injected_noise": 0.7}, marks=pytest.mark.slow),
    ],
)
def test_svag_1_is_sgd_number_for_number(options):
    problem, spacetime, key = five_points(), Spacetime(6, 2, 2, "reshuffle"), jax.random.key(3)
    runs = [
        simulate(process, problem.init(None), spacetime, 0.1, 5, key)
        for process in (sgd(problem, **options), svag(problem, 1, **options))
    ]
    np.testing.assert_array_equal(runs[0].observables["test_loss"], runs[1].observables["test_loss"])


def test_weight_decay_enters_once_a_step_whatever_l():
    problem, decay = five_points(), 0.4
    moves = [displacements(svag(problem, 8, weight_decay=w), WITH, every_pair(WITH)) for w in (0.0, decay)]
    flat = np.array([0.6, -0.8, 0.25])
    assert_equal(moves[1] - moves[0], np.broadcast_to(-RATE / 8 * decay * flat, moves[0].shape))


def test_injected_noise_keeps_its_covariance_for_every_l():
    """Per substep eta^2/(l B) beta^2: beta scales a fixed normal draw, whose factor is read off."""
    for l in (1, 4, 9):
        batch = pairs_for(l, WITH)[:1]
        draws = [displacements(svag(five_points(), l, injected_noise=beta), WITH, batch)[0] for beta in (0.0, 1.0, 3.0)]
        unit = (draws[1] - draws[0]) * l**0.5
        assert_equal((draws[2] - draws[0]) * l**0.5, 3 * unit)
        first = unit if l == 1 else first
        assert_equal(unit, first)  # the same normal numbers, with eta/sqrt(B) in front for every l


def whole_state_moves(l, mu, spacetime):
    """Displacement of (theta, v) from theta = 0, v = 1.5 in one substep, one weight, for every pair of batches."""
    rows = np.array([[0.4], [-1.0], [2.1], [0.3], [-0.6]])
    process, pairs = svag(linear_problem(rows), l, momentum=mu), pairs_for(l, spacetime)
    with jax.enable_x64(True):
        state = MomentumState(jax.numpy.zeros(1), jax.numpy.full(1, 1.5), jax.numpy.array(True))

        def move(batch):
            batches = Batches(jax.numpy.asarray(rows)[batch], jax.numpy.asarray(rows), spacetime)
            after = process.step(None, state, batches, RATE)
            return jax.numpy.concatenate([after.params, after.velocity - 1.5])

        return np.asarray(jax.jit(jax.vmap(move))(pairs)), rows[:, 0]


@pytest.mark.parametrize("l", [1, 2, 8])
def test_with_momentum_mean_and_covariance_of_the_whole_state_are_sgds_over_l(l):
    """Blocks of the covariance: [[eta^2, -eta], [-eta, 1]] D/B: the noises of theta and v are anti-correlated. Printed
    (Gomez-Uribe (41)-(43)): +eta off the diagonal."""
    mu = 0.8
    moves, g = whole_state_moves(l, mu, WITH)
    assert_equal(l * moves.mean(0), [-RATE * (mu * 1.5 + g.mean()), (mu - 1) * 1.5 + g.mean()])
    blocks = np.array([[RATE**2, -RATE], [-RATE, 1]]) * g.var() / 2
    found = l * np.cov(moves.T, bias=True)
    assert_equal(found, blocks)
    assert np.abs(found - np.abs(blocks)).max() > RATE * g.var() / 2


# The run.


@pytest.mark.parametrize("sampling", ["subset", "with_replacement"])
def test_a_run_repeats_for_its_key_and_takes_rates_by_weight_and_by_step(sampling, getkey):
    problem, spacetime, key = five_points(), Spacetime(6, 2, sampling=sampling, num_steps=4), getkey()
    process, start = svag(problem, 3, momentum=0.5, nesterov=True), problem.init(None)
    runs = [simulate(process, start, spacetime, 0.1, 4, key).observables["test_loss"] for _ in range(2)]
    np.testing.assert_array_equal(*runs)
    by_weight = {"a": np.full(2, 0.1), "b": np.array(0.1)}
    for rate in (by_weight, lambda step: 0.1, np.full(4, 0.1)):
        same = simulate(process, start, spacetime, rate, 4, key).observables["test_loss"]
        np.testing.assert_allclose(same, runs[0], rtol=1e-5)
    halted = simulate(process, start, spacetime, lambda step: 0.1 * (step < 2), 4, key).observables["test_loss"]
    np.testing.assert_array_equal(halted[:, 2], halted[:, 4])


def test_batches_that_cannot_be_independent_are_refused():
    with pytest.raises(ValueError, match=r'sampling="fixed".*svag takes 4 independent batches'):
        simulate(svag(five_points(), 2), five_points().init(None), Spacetime(6, 2), 0.1, 2, jax.random.key(0))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"l": 0}, ValueError, "l=0 is below 1"),
        ({"l": 2.5}, TypeError, "l=2.5 is not an integer"),
        ({"l": True}, TypeError, "l=True"),
        ({"l": "4"}, TypeError, "l='4'"),
        ({"problem": "digits"}, TypeError, "problem is a str"),
        ({"momentum": 1.0}, ValueError, "momentum=1 is not below 1"),
        ({"nesterov": True}, ValueError, "nesterov=True"),
        ({"weight_decay": -1}, ValueError, "weight_decay=-1"),
        ({"injected_noise": float("nan")}, ValueError, "injected_noise"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        svag(**{"problem": five_points(), "l": 4, **arguments})
