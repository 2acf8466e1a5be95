"""Jump processes: cumulants of a substep exactly by its linear map, stable laws by their characteristic function."""

import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from brute_force import gradient_rows, linear_problem
from dynamics.one_step import (
    PARAMS,
    POOL,
    RATE,
    WITH,
    WITHOUT,
    affine_in_draws,
    assert_equal,
    batch_noise,
    displacements,
    every_batch,
    five_points,
    third,
)
from gradnoise.dynamics.discrete import sgd
from gradnoise.dynamics.levy import levy, stable_like
from gradnoise.dynamics.momentum import MomentumState
from gradnoise.dynamics.simulate import simulate
from gradnoise.problem import from_arrays
from gradnoise.process import Batches
from gradnoise.spacetime import Spacetime

pytestmark = pytest.mark.slow  # compiling takes a minute in all

B, N = 2, 5
ALPHAS = [0.7, 1.0, 1.5, 2.0]


# Compound Poisson.


def poisson_cumulants(m, rate=RATE, spacetime=WITH, **options):
    """Mean, covariance, third cumulant of a substep: all cumulants of a Poisson number are its rate B/(m N)."""
    mu, matrix = affine_in_draws(levy(five_points(), num_substeps=m, **options).step, spacetime, rate)
    jumps = spacetime.batch_size / (m * N)
    return mu + jumps * matrix.sum(1), jumps * matrix @ matrix.T, jumps * np.einsum("ai,bi,ci->abc", *[matrix] * 3)


@pytest.mark.parametrize("m", [1, 4])
def test_a_substep_has_the_mean_covariance_and_third_cumulant_of_sgd_over_m(m):
    """dynamics.md A1.7, against the enumeration of all batches with replacement: the skewness is SGD's for every m."""
    g, sigma, skewness = batch_noise(WITH)
    mean, covariance, cumulant = poisson_cumulants(m)
    assert_equal(m * mean, -RATE * g)
    assert_equal(m * covariance, RATE**2 * sigma)
    assert_equal(m * cumulant, -(RATE**3) * skewness)
    sgds = displacements(sgd(five_points()), WITH, every_batch(WITH)[:, None])
    assert_equal(m * cumulant, third(sgds - sgds.mean(0)))


def test_its_cumulants_are_unchanged_when_rate_and_batch_are_scaled_together():
    """Four substeps at (eta, B) and one at (4 eta, 4 B) pass the same time: same law, to all cumulants (dynamics.md A6)."""
    small = [4 * cumulant for cumulant in poisson_cumulants(1)]
    large = poisson_cumulants(1, 4 * RATE, Spacetime(N, 4 * B, sampling="with_replacement", num_steps=1))
    for one, other in zip(small, large, strict=True):
        assert_equal(one, other)


def test_rates_by_weight_decay_and_momentum_act_as_on_sgd():
    rates, decay, flat = np.array([0.1, 0.4, 0.7]), 0.4, np.array([0.6, -0.8, 0.25])
    g, sigma, _ = batch_noise(WITH)
    mean, covariance, _ = poisson_cumulants(2, {"a": rates[:2], "b": rates[2]}, weight_decay=decay)
    assert_equal(2 * mean, -rates * (g + decay * flat))
    assert_equal(2 * covariance, rates[:, None] * sigma * rates)
    with jax.enable_x64(True):
        start = jax.tree.map(jax.numpy.asarray, PARAMS)
        velocity = jax.tree.map(lambda leaf: jax.numpy.full(np.shape(leaf), 1.5), PARAMS)
        state = MomentumState(start, velocity, jax.numpy.array(True))
    _, matrix = affine_in_draws(levy(five_points(), momentum=0.7, num_substeps=2).step, WITH, start=state)
    blocks = np.block([[RATE**2 * sigma, -RATE * sigma], [-RATE * sigma, sigma]])
    assert_equal(B / N * matrix @ matrix.T, blocks)


def test_runs_with_linear_losses_have_the_exact_mean_variance_and_skewness(getkey):
    """Three effective steps on a given set; k-statistics against cumulants, errors from the samples' own moments."""
    rows = np.array([[0.0], [0.2], [-0.3], [3.0]])
    d = rows[:, 0] - rows[:, 0].mean()
    spacetime, count = Spacetime(4, 2, sampling="with_replacement", num_steps=3), 100_000
    runs = simulate(
        levy(linear_problem(rows), num_substeps=2), np.zeros(1), spacetime, RATE, count, getkey(),
        {"w": lambda w, e: w[0]}, 3, "given",
    )  # fmt: skip
    w = runs.observables["w"][:, -1].astype(float)
    mean, variance = -3 * RATE * rows.mean(), 3 * RATE**2 / 2 * np.mean(d**2)
    skew = -3 * RATE**3 / 4 * np.mean(d**3)
    for power, moment in ((1, 0.0), (2, variance), (3, skew)):
        sample = (w - mean) ** power
        assert abs(sample.mean() - moment) < 4.5 * sample.std() / np.sqrt(count)
    assert abs(skew) > 20 * ((w - mean) ** 3).std() / np.sqrt(count)  # a diffusion would be seen


def test_a_sampling_without_replacement_is_refused_and_a_population_is_not():
    problem, start = five_points(), five_points().init(None)
    with pytest.raises(ValueError, match=r'sampling="fixed" came with levy.*with_replacement'):
        simulate(levy(problem), start, Spacetime(6, 2), 0.1, 2, jax.random.key(0))
    with pytest.raises(ValueError, match='sampling="subset"'):
        affine_in_draws(levy(problem).step, WITHOUT)
    runs = simulate(levy(problem), start, Spacetime(6, 2), 0.1, 2, jax.random.key(0), training_set="population")
    assert (runs.diverged_at == -1).all()


# Stable noise.


@pytest.mark.parametrize("alpha", ALPHAS)
def test_stable_numbers_have_their_characteristic_function(alpha, getkey):
    """E cos(k S) = exp(-|k|^alpha), E sin(k S) = 0; float32 and float64; at alpha = 2 normal of variance 2."""
    count = 200_000
    for dtype in (np.float32, np.float64):
        with jax.enable_x64(dtype == np.float64):
            s = np.asarray(stable_like(getkey(), {"w": jax.numpy.zeros(count, dtype)}, alpha)["w"], float)
        assert np.isfinite(s).all()
        for k in (0.3, 1.0, 2.5):
            for values, exact in ((np.cos(k * s), np.exp(-(k**alpha))), (np.sin(k * s), 0.0)):
                assert abs(values.mean() - exact) < 4.5 * values.std() / np.sqrt(count)
    if alpha == 2:
        assert abs(s.var() - 2) < 4.5 * 2 * np.sqrt(2 / count)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("m", [1, 8])
def test_a_stable_substep_is_gradient_descent_and_the_scaled_draw(alpha, m):
    """x - h (G + decay x) + sigma h^(1/alpha) S with h = eta/m, rates by weight included; a rate of 0 stands still."""
    rates, sigma, decay = np.array([0.1, 0.0, 0.7]), 0.3, 0.4
    flat, draws = np.array([0.6, -0.8, 0.25]), np.array([1.3, -2.0, 0.4])
    step = levy(five_points(), alpha, sigma, m, weight_decay=decay).step
    with jax.enable_x64(True):
        pool, params = jax.tree.map(jax.numpy.asarray, (POOL, PARAMS))
        by_weight = {"a": jax.numpy.asarray(rates[:2]), "b": jax.numpy.asarray(rates[2])}
        tree = {"a": jax.numpy.asarray(draws[:2]), "b": jax.numpy.asarray(draws[2])}
        after = jax.jit(
            lambda: step.move(tree, jax.random.key(0), MomentumState(params), Batches(None, pool, WITH), by_weight)
        )()
        found = np.asarray(ravel_pytree(after.params)[0])
    g = gradient_rows(five_points(), PARAMS).mean(0)
    h = rates / m
    assert_equal(found, flat - h * (g + decay * flat) + sigma * h ** (1 / alpha) * draws)


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
def test_a_quadratic_has_the_stationary_scale_of_its_ornstein_uhlenbeck_process(alpha, getkey):
    """Drift -a x: scale^alpha = sigma^alpha h / (1 - (1 - a h)^alpha), which is sigma^alpha / (alpha a) for small h."""
    a, sigma, rate, m, steps, count = 1.5, 0.4, 0.4, 8, 12, 50_000
    h = rate / m
    kept = (1 - a * h) ** alpha
    exact = sigma**alpha * h * (1 - kept ** (m * steps)) / (1 - kept)
    assert abs(exact - sigma**alpha / (alpha * a)) < (a * h) * exact
    problem = from_arrays(lambda w, x: a * w**2 / 2, lambda key: np.array(0.0), np.zeros(1), "quadratic")
    observe = {f"cos{k}": lambda w, e, k=k: jax.numpy.cos(k * w) for k in (1, 3)}
    runs = simulate(
        levy(problem, alpha, sigma, m), np.array(0.0), Spacetime(1, 1, steps), rate, count, getkey(), observe, steps
    )
    for k in (1, 3):
        values = runs.observables[f"cos{k}"][:, -1]
        assert abs(values.mean() - np.exp(-exact * k**alpha)) < 4.5 * values.std() / np.sqrt(count)


# Both.


@pytest.mark.parametrize("tails", [{}, {"tail_index": 1.7, "scale": 0.1}], ids=["poisson", "stable"])
def test_a_run_repeats_for_its_key_and_takes_rates_by_step(tails, getkey):
    problem, key = five_points(), getkey()
    spacetime = Spacetime(6, 2, sampling="with_replacement", num_steps=4)
    process, start = levy(problem, **tails, num_substeps=2, injected_noise=0.2), problem.init(None)
    runs = [simulate(process, start, spacetime, 0.1, 4, key).observables["test_loss"] for _ in range(2)]
    np.testing.assert_array_equal(*runs)
    same = simulate(process, start, spacetime, {"a": np.full(2, 0.1), "b": np.array(0.1)}, 4, key)
    np.testing.assert_allclose(same.observables["test_loss"], runs[0], rtol=1e-5)
    halted = simulate(process, start, spacetime, lambda step: 0.1 * (step < 2), 4, key).observables["test_loss"]
    np.testing.assert_array_equal(halted[:, 2], halted[:, 4])


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"problem": "digits"}, TypeError, "problem is a str"),
        ({"num_substeps": 0}, ValueError, "num_substeps=0 is below 1"),
        ({"tail_index": 1.5}, ValueError, "tail_index=1.5 came with scale=None"),
        ({"scale": 1.5}, ValueError, "tail_index=None came with scale=1.5"),
        ({"tail_index": 0, "scale": 1}, ValueError, "tail_index=0"),
        ({"tail_index": 2.5, "scale": 1}, ValueError, "tail_index=2.5 is above 2"),
        ({"tail_index": "heavy", "scale": 1}, TypeError, "tail_index='heavy'"),
        ({"tail_index": 1.5, "scale": -1}, ValueError, "scale=-1"),
        ({"tail_index": 1.5, "scale": 1, "momentum": 0.9}, ValueError, "momentum=0.9 came with tail_index=1.5"),
        ({"momentum": 1}, ValueError, "momentum=1 is not below 1"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        levy(**{"problem": five_points(), **arguments})
