"""Where SVAG goes as l grows: moments against closed equations, weights and buffer against the whole state's limit."""

from itertools import product
from math import comb

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from dynamics.one_step import RATE, WITH
from gradnoise.dynamics.discrete import sgd
from gradnoise.dynamics.momentum import MomentumState
from gradnoise.dynamics.svag import svag
from gradnoise.problem import from_arrays
from gradnoise.process import Batches
from gradnoise.spacetime import Spacetime

pytestmark = pytest.mark.slow  # compiling takes a minute in all

# Linear gradients: moments of any order in closed form, through the process itself.

SLOPES, SHIFTS = np.array([0.2, 0.9, 1.6, 1.3]), np.array([0.5, -0.7, 1.4, 0.0])
ETA, TIME, START = 0.4, 4.0, 1.5


def linear_gradients():
    pool = {"a": SLOPES, "b": SHIFTS}
    return from_arrays(
        lambda x, e: e["a"] * x**2 / 2 - e["b"] * x, lambda key: np.array(START), pool, "linear gradients"
    )


def affine_maps(process, spacetime):
    """x -> A x + C for every pair of batches, read off `process.step` at x = 0 and 1."""
    per_substep = process.batches_per_substep
    rows = np.array(list(product(range(4), repeat=per_substep)))[..., None]
    with jax.enable_x64(True):
        pool = jax.tree.map(jax.numpy.asarray, linear_gradients().pool)

        def image(x):
            def one(rows):
                batches = Batches(jax.tree.map(lambda leaf: leaf[rows], pool), pool, spacetime)
                return process.params(process.step(None, process.init(jax.numpy.array(x)), batches, ETA))

            return np.asarray(jax.jit(jax.vmap(one))(rows))

        shift = image(0.0)
        return image(1.0) - shift, shift


def moments_after(process, num_steps, order=4):
    """E x^p, p = 0..order, after num_steps substeps."""
    slope, shift = affine_maps(process, Spacetime(4, 1, sampling="with_replacement", num_steps=1))
    transfer = np.zeros((order + 1, order + 1))
    for p in range(order + 1):
        for k in range(p + 1):
            transfer[p, k] = comb(p, k) * np.mean(slope**k * shift ** (p - k))
    return np.linalg.matrix_power(transfer, num_steps) @ START ** np.arange(order + 1)


def sde_moments(order=4):
    """The closed linear equations of the SDE's moments (dynamics.md A4), to rounding."""
    mean_a, mean_b = SLOPES.mean(), SHIFTS.mean()
    s2, s0 = SLOPES.var(), SHIFTS.var()
    s1 = -2 * np.mean((SLOPES - mean_a) * (SHIFTS - mean_b))
    rate = np.zeros((order + 1, order + 1))
    for p in range(1, order + 1):
        rate[p, p] += -p * mean_a + ETA / 2 * p * (p - 1) * s2
        rate[p, p - 1] += p * mean_b + ETA / 2 * p * (p - 1) * s1
        if p > 1:
            rate[p, p - 2] += ETA / 2 * p * (p - 1) * s0
    return expm(rate * TIME) @ START ** np.arange(order + 1)


def test_svag_moments_converge_to_the_sdes_at_first_order_in_1_over_l():
    exact, problem, steps = sde_moments(), linear_gradients(), round(TIME / ETA)
    np.testing.assert_allclose(exact[1:], [0.3 + 1.2 * np.exp(-4), 0.21587193, 0.13819901, 0.11885035], atol=1e-8)
    errors = {l: np.abs(moments_after(svag(problem, l), steps * l) - exact)[1:] for l in (32, 64, 128)}
    np.testing.assert_allclose(128 * errors[128], [0.017565, 0.012799, 0.011870, 0.011901], atol=2e-6)
    for l in (32, 64):
        np.testing.assert_allclose(errors[l] / errors[2 * l], 2, rtol=0.02)


def test_the_mean_of_svag_with_momentum_converges_to_the_flow_of_the_whole_state():
    """d(theta, v)/ds = (-eta (mu v + g), (mu - 1) v + g); keeping mu in each substep misses it by an amount that stays."""
    mu, h, eta, steps = 0.9, 0.7, 0.1, 10
    problem = from_arrays(lambda x, e: h * x**2 / 2, lambda key: np.array(1.0), np.zeros(1), "one curvature")
    field = np.array([[-eta * h, -eta * mu], [h, mu - 1]])
    limit = (expm(field * steps) @ [1.0, 0.0])[0]
    wrong_limit = np.exp(-h * eta / (1 - mu) * steps)
    errors, misses, to_wrong = [], [], []
    for l in (64, 128, 256, 512):
        batches = Batches(np.zeros((2, 1)), np.zeros(1), WITH)
        errors.append(after(svag(problem, l, momentum=mu), batches, eta, steps * l) - limit)
        fixed = after(sgd(problem, momentum=mu), batches, eta / l, steps * l)
        misses.append(abs(fixed - limit))
        to_wrong.append(abs(fixed - wrong_limit))
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 2, rtol=0.05)
    np.testing.assert_allclose(np.divide(to_wrong[:-1], to_wrong[1:]), 2, rtol=0.1)
    assert min(misses) > 20 * abs(errors[-1])


def after(process, batches, rate, num_substeps):
    with jax.enable_x64(True):
        batches = jax.tree.map(jax.numpy.asarray, Batches(batches.examples, batches.training_set, None))
        run = jax.jit(
            lambda: jax.lax.fori_loop(
                0,
                num_substeps,
                lambda i, s: process.step(None, s, batches._replace(spacetime=WITH), rate),
                started(process),
            )
        )
        return float(process.params(run()))


def started(process):
    state = process.init(jax.numpy.array(1.0))
    return state if state.velocity is None else state._replace(started=jax.numpy.array(True))


def test_the_covariance_of_svag_with_momentum_converges_to_the_diffusion_of_the_whole_state():
    """Var theta after 30 steps on a quadratic with additive noise, against the Lyapunov equation of the limit."""
    mu, h, noise, steps = 0.6, 1.3, 0.7, 30
    field = np.array([[-RATE * h, -RATE * mu], [h, mu - 1]])
    diffusion = np.outer([-RATE, 1], [-RATE, 1]) * noise

    def flow(s, flat):
        p = flat.reshape(2, 2)
        return (field @ p + p @ field.T + diffusion).ravel()

    limit = solve_ivp(flow, (0, steps), np.zeros(4), rtol=1e-11, atol=1e-13).y[:, -1].reshape(2, 2)
    errors = []
    for l in (32, 64, 128):
        step = read_linear_step(l, mu, h)
        p = np.zeros((2, 2))
        for _ in range(steps * l):
            p = step @ p @ step.T + diffusion / l
        errors.append(p[0, 0] - limit[0, 0])
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 2, rtol=0.05)


def read_linear_step(l, mu, h):
    """The matrix of one noiseless substep on (theta, v), read off the process."""
    problem = from_arrays(lambda x, e: h * x**2 / 2, lambda key: np.array(1.0), np.zeros(1), "one curvature")
    process, columns = svag(problem, l, momentum=mu), []
    with jax.enable_x64(True):
        batches = Batches(jax.numpy.zeros((2, 1)), jax.numpy.zeros(1), WITH)
        for theta, v in ((1.0, 0.0), (0.0, 1.0)):
            state = MomentumState(jax.numpy.array(theta), jax.numpy.array(v), jax.numpy.array(True))
            moved = process.step(None, state, batches, RATE)
            columns.append([float(moved.params), float(moved.velocity)])
    return np.array(columns).T
