"""Batch emulation: each step by dense algebra, its series by enumeration of training sets, its cost by counting."""

import warnings
from fractions import Fraction
from itertools import combinations, product
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import gradnoise as gn
from brute_force import gradient_rows
from cases import CASES
from diagrams.landscape import Landscape, derivative, enumerate_sgd, evaluate, landscape
from dynamics.one_step import PARAMS, POOL, RATE, assert_equal, displacements, five_points, loss
from gradnoise import _tree
from gradnoise.dynamics import sgd
from gradnoise.predict import batch_emulation
from gradnoise.predict.batch_emulation import emulate_batch, emulation_domain, mean_and_variance_gradient
from gradnoise.process import Batches
from scripts import load_script

THREE = gn.Spacetime(5, 3, sampling="subset", num_steps=1)
TRIPLES = np.array(list(combinations(range(5), 3)))
CUBIC = landscape("cubic1")
SETTINGS = [(2, 2, 2, 1), (3, 3, 3, 1), (3, 3, 6, 1), (4, 4, 4, 1), (4, 4, 4, 2), (4, 2, 2, 1)]
"""N, B, E, and the batch size B' emulated; M = E/B is 1 or 2."""


def hessian_rows():
    with jax.enable_x64(True):
        flat, unravel = ravel_pytree(jax.tree.map(jnp.asarray, PARAMS))
        one = jax.hessian(lambda at, example: loss(unravel(at), example))
        return np.asarray(jax.vmap(one, (None, 0))(flat, jax.tree.map(jnp.asarray, POOL)))


def test_every_batch_gives_the_step_of_dense_algebra():
    """-E [gbar + (1/4)(1/B' - 1/B) (2/(B-1)) sum_i h_i E (g_i - gbar)]; a weight of rate 0 stands still."""
    rate, rates = {"a": np.array([0.1, 0.0]), "b": np.array(0.7)}, np.array([0.1, 0.0, 0.7])
    g, h, share = gradient_rows(five_points(), PARAMS), hessian_rows(), (1 / 1 - 1 / 3) / 4
    moves = displacements(emulate_batch(five_points(), 3, 1), THREE, TRIPLES[:, None], rate=rate)
    for batch, move in zip(TRIPLES, moves, strict=True):
        centred = (g[batch] - g[batch].mean(0)) * rates
        extra = 2 / (3 - 1) * np.einsum("iab,ib->a", h[batch], centred)
        assert_equal(move, -rates * (g[batch].mean(0) + share * extra))


@pytest.mark.slow
def test_the_step_descends_the_batch_loss_with_its_share_of_the_unbiased_trace():
    """By automatic differentiation of mean l + (eta/4)(1/B' - 1/B) tr C_hat as it is written."""

    def written(flat, batch):
        rows = jax.vmap(lambda e: ravel_pytree(jax.grad(loss)(unravel(flat), e))[0])(batch)
        trace = jnp.trace(jnp.atleast_2d(jnp.cov(rows, rowvar=False, ddof=1)))
        return jax.vmap(loss, (None, 0))(unravel(flat), batch).mean() + RATE / 4 * (1 / 2 - 1 / 3) * trace

    moves = displacements(emulate_batch(five_points(), 3, 2), THREE, TRIPLES[:, None])
    with jax.enable_x64(True):
        flat, unravel = ravel_pytree(_tree.cast(PARAMS, float))
        pool = _tree.cast(POOL, float)
        slopes = jax.vmap(lambda rows: jax.grad(written)(flat, _tree.take(pool, rows)))(jnp.asarray(TRIPLES))
    assert_equal(moves, -RATE * np.asarray(slopes))


@pytest.mark.parametrize("numbers", [1, 3])
def test_the_size_of_a_chunk_changes_nothing(monkeypatch, numbers):
    """One weight, g_i = x_i^2 w, seven examples: chunks of one, and of three (the last reaches back)."""
    x = np.arange(7.0)
    monkeypatch.setattr(batch_emulation, "LARGEST_CHUNK", numbers)
    mean, variance = mean_and_variance_gradient(lambda w, x: (x * w) ** 2 / 2, 3.0, jnp.asarray(x), 0.5)
    np.testing.assert_allclose(mean, 3 * np.mean(x**2), rtol=1e-6)
    np.testing.assert_allclose(variance, 0.5 * 2 * 3 * np.var(x**2, ddof=1), rtol=1e-6)


# The series, in fractions: one weight, every training set.


def derive(polynomial):
    return tuple(k * c for k, c in enumerate(polynomial))[1:]


def multiply(a, b):
    total = [Fraction(0)] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            total[i + j] += x * y
    return tuple(total)


def variance_slope(batch):
    """The derivative of tr C_hat of a batch of polynomials, itself a polynomial."""
    size, slopes = len(batch), [derive(f) for f in batch]
    mean = tuple(sum(c, Fraction(0)) / size for c in zip(*slopes, strict=True))
    squares = [multiply(*[tuple(a - b for a, b in zip(s, mean, strict=True))] * 2) for s in slopes]
    return derive(tuple(sum(c, Fraction(0)) / (size - 1) for c in zip(*squares, strict=True)))


def enumerate_emulation(land: Landscape, spacetime, share, order=2):
    """E test, E train and E theta of SGD on mean l + eta share tr C_hat, in a fixed order, over all training sets."""
    degree = max(len(f) for _, f in land.points)
    points = [(p, f + (Fraction(0),) * (degree - len(f))) for p, f in land.points]
    total = {name: [Fraction(0)] * (order + 1) for name in ("test", "train", "theta")}
    size, columns = spacetime.batch_size, spacetime.steps_per_epoch
    for chosen in product(points, repeat=spacetime.num_examples):
        weight, theta = prod(p for p, _ in chosen), (land.start, *[Fraction(0)] * order)
        for step in range(spacetime.num_steps):
            batch = [f for _, f in chosen[step % columns * size :][:size]]
            slope = [sum((evaluate(f, theta, 1)[k] for f in batch), Fraction(0)) / size for k in range(order + 1)]
            extra = evaluate(variance_slope(batch), theta)
            move = [slope[k - 1] + (share * extra[k - 2] if k > 1 else 0) for k in range(1, order + 1)]
            theta = (theta[0], *(t - m for t, m in zip(theta[1:], move, strict=True)))
        ends = {
            "test": [sum(p * evaluate(f, theta)[k] for p, f in points) for k in range(order + 1)],
            "train": [sum(evaluate(f, theta)[k] for _, f in chosen) / len(chosen) for k in range(order + 1)],
            "theta": theta,
        }
        for name, series in ends.items():
            total[name] = [t + weight * s for t, s in zip(total[name], series, strict=True)]
    total["gap"] = [a - b for a, b in zip(total["test"], total["train"], strict=True)]
    return total


def noise_slope(land):
    """(G tr C', kappa(g, g, h)) at the start."""

    def mean(function):
        return sum(p * function(*(derivative(f, k, land.start) for k in (1, 2))) for p, f in land.points)

    big_g, big_h, c = mean(lambda g, h: g), mean(lambda g, h: h), mean(lambda g, h: g * g)
    c -= big_g**2
    return 2 * big_g * mean(lambda g, h: (g - big_g) * h), mean(lambda g, h: (g - big_g) ** 2 * h) - big_h * c


@pytest.mark.parametrize(("n", "b", "e", "small"), SETTINGS)
def test_test_loss_displacement_and_gap_are_those_of_the_small_batch_through_order_2(n, b, e, small):
    large, other = gn.Spacetime(n, b, e), gn.Spacetime(n, small, e * small // b)
    share = (Fraction(1, small) - Fraction(1, b)) / 4
    found, wanted = enumerate_emulation(CUBIC, large, share), enumerate_sgd(CUBIC, other, 2)
    assert found["test"] == list(wanted["test"])
    assert found["theta"][1:] == list(wanted["displacement"][1:])
    assert found["gap"] == list(wanted["gap"])


@pytest.mark.parametrize(("n", "b", "e", "small"), SETTINGS[1:])
def test_the_batchs_own_covariance_is_what_matches_the_gap(n, b, e, small):
    """The penalty's slope is correlated with the training loss: that moves the gap by what the large batch lacks.

    (M/2)(1/B' - 1/B) kappa(g, g, h). With the population's C in its place the gap is off by just this.
    """
    large, other = gn.Spacetime(n, b, e), gn.Spacetime(n, small, e * small // b)
    share = (Fraction(1, small) - Fraction(1, b)) / 4
    slope, skew = noise_slope(CUBIC)
    without, wanted = enumerate_emulation(CUBIC, large, Fraction(0)), enumerate_sgd(CUBIC, other, 2)
    found = enumerate_emulation(CUBIC, large, share)
    lack = Fraction(e, b) / 2 * (Fraction(1, small) - Fraction(1, b)) * skew
    assert found["test"][2] - without["test"][2] == -large.num_steps * share * slope
    assert wanted["gap"][2] - without["gap"][2] == found["gap"][2] - without["gap"][2] == lack != 0


@pytest.mark.parametrize(("n", "b", "e", "small"), [s for s in SETTINGS if s[0] == s[1] and s[3] == 1])
def test_the_drafts_factor_never_does(n, b, e, small):
    """(N-1)/(4N^2) in place of (N-1)/(4N), for a full batch and B' = 1."""
    found = enumerate_emulation(CUBIC, gn.Spacetime(n, b, e), Fraction(n - 1, 4 * n * n))
    wanted = enumerate_sgd(CUBIC, gn.Spacetime(n, 1, e // n), 2)
    assert found["test"][:2] == list(wanted["test"][:2])
    assert found["test"][2] != wanted["test"][2]


@pytest.mark.parametrize("name", ["one_weight", pytest.param("two_weights", marks=pytest.mark.slow)])
def test_the_process_is_the_small_batch_up_to_eta_cubed(name):
    """Mean test loss over all training sets of three: the difference falls as eta^3, without the penalty as eta^2."""
    case, small, large = CASES[name](), gn.Spacetime(3, 1), gn.Spacetime(3, 3, 3)
    rates = (4e-3, 2e-3, 1e-3)
    wanted = mean_test_loss(sgd(case.problem), case.params, small, rates)
    emulated = mean_test_loss(emulate_batch(case.problem, 3, 1), case.params, large, rates) - wanted
    plain = mean_test_loss(sgd(case.problem), case.params, large, rates) - wanted
    np.testing.assert_allclose(emulated[:-1] / emulated[1:], 8, rtol=0.1)
    np.testing.assert_allclose(plain[:-1] / plain[1:], 4, rtol=0.1)
    assert (np.abs(plain) > 10 * np.abs(emulated)).all()


def mean_test_loss(process, start, spacetime, rates):
    """E test loss over all training sets drawn from the pool, in a fixed order, for each rate."""
    with jax.enable_x64(True):
        pool = _tree.cast(process.problem.pool, float)
        size, columns = spacetime.batch_size, spacetime.steps_per_epoch

        def run(drawn, rate):
            def step(state, t):
                rows = jax.lax.dynamic_slice_in_dim(drawn, t % columns * size, size)
                batches = Batches(_tree.take(pool, rows[None]), _tree.take(pool, drawn), spacetime)
                return process.step(jax.random.key(0), state, batches, rate), None

            state = process.init(_tree.cast(start, float))
            state, _ = jax.lax.scan(step, state, jnp.arange(spacetime.num_steps))
            return jax.vmap(process.problem.loss, (None, 0))(process.params(state), pool).mean()

        sets = jnp.array(list(product(range(_tree.num_examples(pool)), repeat=spacetime.num_examples)))
        over_sets = jax.jit(lambda rate: jax.vmap(run, (0, None))(sets, rate).mean())
        return np.array([float(over_sets(rate)) for rate in rates])


# Cost


def test_a_step_passes_its_batch_twice():
    """Evaluations of the loss on the way forward: B for the mean gradient, B for the single ones and their products."""
    seen = []

    def counted(w, x):
        jax.debug.callback(lambda _: seen.append(1), x)
        return jnp.tanh(w * x) ** 2

    jax.block_until_ready(mean_and_variance_gradient(counted, 0.5, jnp.arange(7.0), 0.1))
    jax.effects_barrier()
    assert len(seen) == 2 * 7


@pytest.mark.slow
def test_no_more_than_a_chunk_of_single_gradients_is_held_at_a_time(monkeypatch):
    """The largest array of a step on 64 examples is four examples' gradients, and a step costs about three gradients."""
    problem, weights = gn.testbeds.digits_mlp(64), 2410
    params = problem.init(jax.random.key(0))
    rates = jax.tree.map(lambda leaf: 0.1, params)
    monkeypatch.setattr(batch_emulation, "LARGEST_CHUNK", 4 * weights)
    jaxpr = jax.make_jaxpr(lambda at: mean_and_variance_gradient(problem.loss, at, problem.pool, rates))(params)
    assert largest_array(jaxpr.jaxpr) <= max(4 * weights, 64 * 64)
    monkeypatch.setattr(batch_emulation, "LARGEST_CHUNK", 64 * weights)
    both = flops(lambda at: mean_and_variance_gradient(problem.loss, at, problem.pool, rates), params)
    one = flops(jax.grad(lambda at: jax.vmap(problem.loss, (None, 0))(at, problem.pool).mean()), params)
    assert 2 < both / one < 4


def largest_array(jaxpr):
    sizes = [variable.aval.size for equation in jaxpr.eqns for variable in equation.outvars]
    parameters = [part for equation in jaxpr.eqns for part in equation.params.values()]
    inner = [getattr(part, "jaxpr", part) for part in parameters]
    return max([*sizes, *(largest_array(part) for part in inner if hasattr(part, "eqns"))])


def flops(function, params):
    analysis = jax.jit(function).lower(params).compile().cost_analysis()
    assert analysis is not None
    return analysis["flops"]


# Where it holds


def quadratic():
    return gn.from_arrays(lambda w, x: x * w**2 / 2, lambda key: np.float64(1), np.array([1.0, 3.0]), "two slopes")


def test_a_run_too_long_is_said_and_a_short_one_is_not():
    """lambda_max(H) = 2, four steps: the bound 0.3 is reached at a rate of 0.0375."""
    process, spacetime = emulate_batch(quadratic(), 4, 1), gn.Spacetime(8, 4, 2)
    assert process.caution is not None
    assert process.caution(np.float64(1), spacetime, 0.0374) == ""
    for rate in (0.0376, np.full(4, 0.0376), lambda step: 0.15 * (step == 3) + 1e-3):
        assert process.caution(np.float64(1), spacetime, rate).startswith("outside: ")


def test_who_simulates_it_hears_the_caution(getkey):
    process, spacetime = emulate_batch(quadratic(), 4, 1), gn.Spacetime(8, 4, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gn.simulate(process, np.float32(1), spacetime, 0.0374, 2, getkey())
    with pytest.warns(UserWarning, match=r"emulate_batch: outside: .* expected at most 0\.3"):
        gn.simulate(process, np.float32(1), spacetime, 0.05, 2, getkey())


@pytest.mark.slow
def test_the_time_carries_the_error_of_the_curvature(getkey):
    exact = emulation_domain(quadratic(), np.float64(1), gn.Spacetime(8, 4, 2), 0.05)
    assert exact.time.value == pytest.approx(0.4, abs=1e-12)
    assert not exact.inside
    drawn = emulation_domain(quadratic(), np.float64(1), gn.Spacetime(8, 4, 2), 0.05, num_draws=400, key=getkey())
    assert drawn.time.stderr == pytest.approx(0.2 / np.sqrt(400), rel=0.1)
    assert abs(drawn.time.value - 0.4) < 4.5 * drawn.time.stderr


@pytest.fixture(scope="module")
def script():
    return load_script("batch_emulation")


@pytest.mark.slow
def test_on_digits_full_batches_pass_for_batches_of_one_with_the_penalty_and_not_without(script, getkey):
    """Forty examples, forty steps; same training sets: |z| > 5 without it, < 3 with it, in test loss."""
    problem = gn.testbeds.digits_logistic(256)
    params = problem.init(jax.random.key(0))
    values = gn.diagram_values(problem, params, max_order=2)
    found = script.compare(problem, params, values, 1e-3, 600, getkey())["test"]
    assert abs(found.plain.value / found.plain.stderr) > 5
    assert abs(found.emulated.value / found.emulated.stderr) < 3
    assert abs(found.plain.value - found.predicted) < 4.5 * found.plain.stderr + 0.056 * found.predicted


@pytest.mark.slow
def test_on_digits_a_long_run_turns_the_sign_that_the_penalty_imitates(script, getkey):
    """eta T lambda_max = 2.8: full batches end lower than batches of one, and by the eta^2 term they would end higher."""
    problem = gn.testbeds.digits_logistic(256)
    params = problem.init(jax.random.key(0))
    values = gn.diagram_values(problem, params, max_order=2)
    found = script.compare(problem, params, values, 0.05, 300, getkey())["test"]
    assert found.plain.value < -4.5 * found.plain.stderr
    assert found.predicted > 0.01
    assert found.emulated.value < found.plain.value


def test_a_sampling_without_epochs_is_said():
    """There the batch size enters through C:H (diagrams.md 2.5); a full batch is the same in every sampling."""
    part, whole = (emulate_batch(quadratic(), size, 1).caution for size in (4, 8))
    assert part is not None
    assert whole is not None
    assert "has no epochs" in part(np.float64(1), gn.Spacetime(8, 4, sampling="subset"), 1e-3)
    assert whole(np.float64(1), gn.Spacetime(8, 8, sampling="subset"), 1e-3) == ""


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"problem": "digits"}, TypeError, "problem is a str"),
        ({"emulated_batch_size": 4}, ValueError, "emulated_batch_size=4 is not below batch_size=4"),
        ({"emulated_batch_size": 0}, ValueError, "emulated_batch_size=0"),
        ({"batch_size": 1}, ValueError, "batch_size=1 is below 2"),
        ({"batch_size": 2.5}, TypeError, r"batch_size=2\.5"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        emulate_batch(**{"problem": quadratic(), "batch_size": 4, "emulated_batch_size": 2, **arguments})


def test_runs_with_another_batch_size_are_refused(getkey):
    with pytest.raises(ValueError, match="batch_size=4 of emulate_batch is not the spacetime's, which is 2"):
        gn.simulate(emulate_batch(quadratic(), 4, 1), np.float32(1), gn.Spacetime(8, 2), 0.01, 2, getkey())
