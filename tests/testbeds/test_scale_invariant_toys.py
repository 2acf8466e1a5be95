"""The angle toy has its closed forms, the Rayleigh toy its mean; runs settle where the balance says."""

import math

import jax
import numpy as np
import pytest

import gradnoise as gn
from gradnoise.bootstrap import time_average
from gradnoise.dynamics.equilibrium_records import equilibrium_records
from gradnoise.stationary.averages import stationary_averages
from gradnoise.stationary.closeness import linear_scaling_invariance
from gradnoise.stationary.equilibrium import equilibrium_identity
from gradnoise.stationary.scale_invariant import is_scale_invariant
from gradnoise.testbeds.scale_invariant_toys import angle_toy, angle_toy_squared_norm, rayleigh_toy

RECORDED = ("squared_norm", "gradient_norm_squared", "batch_noise_trace")


def test_the_angle_toys_gradient_is_tangential_with_its_signal_and_noise():
    problem, points = angle_toy(0.6, 1.5), np.random.default_rng(0).normal(size=(20, 2))
    with jax.enable_x64(True):
        gradients = jax.jit(jax.vmap(jax.vmap(jax.grad(problem.loss), (None, 0)), (0, None)))(points, problem.pool)
    rows, squared = np.asarray(gradients), np.square(points).sum(axis=1)
    np.testing.assert_allclose(np.einsum("pxi,pi->px", rows, points), 0, atol=1e-14)
    mean = rows.mean(axis=1)
    np.testing.assert_allclose(np.square(mean).sum(axis=1) * squared, 0.36, rtol=1e-12)
    np.testing.assert_allclose(np.square(rows - mean[:, None]).sum(axis=(1, 2)) / 2 * squared, 2.25, rtol=1e-12)


@pytest.mark.parametrize(("rate", "decay", "batch_size"), [(0.1, 0.1, 1), (2.0, 0.02, 4)])
def test_the_closed_forms_are_fixed_points_of_their_steps(rate, decay, batch_size):
    signal, noise = 0.36, 1 / batch_size
    for part, form in [
        (1, {}),
        (3, {"process": "svag", "num_substeps": 3}),
        (5, {"process": "sde", "num_substeps": 5}),
    ]:
        R = angle_toy_squared_norm(rate, decay, batch_size, **form)
        step = rate / part
        assert (1 - step * decay) ** 2 * R + step**2 * (signal + part * noise) / R == pytest.approx(R, rel=1e-12)
    first, second = (angle_toy_squared_norm(rate, decay, batch_size, "sde", order=order) for order in (1, 2))
    assert -2 * decay * first + rate * noise / first == pytest.approx(0, abs=1e-14)
    drift = (
        -(decay + rate * decay**2 / 2) * second + rate / 2 * signal / second
    )  # <x, -(1 + (eta/2)(H + wd))(g + wd x)>
    assert 2 * drift + rate * noise / second == pytest.approx(0, abs=1e-14)


def test_sgd_over_sde_is_what_the_missing_signal_makes_it_and_order_2_mends_it():
    rate, decay = 1e-2, 1e-4
    sgd, sde = angle_toy_squared_norm(rate, decay), angle_toy_squared_norm(rate, decay, process="sde")
    assert sgd / sde == pytest.approx(math.sqrt(2 * (1 + 0.36) / (2 - rate * decay)), rel=1e-12)
    second = angle_toy_squared_norm(rate, decay, process="sde", order=2)
    assert second / sgd - 1 == pytest.approx(-rate * decay / 2, rel=1e-5)


def test_the_rayleigh_toy_is_scale_invariant_and_its_mean_loss_is_the_diagonals_quotient():
    problem, x = rayleigh_toy(num_examples=16, num_weights=5), np.array([1.0, 2.0, -1.0, 0.5, 3.0])
    assert is_scale_invariant(problem, x)
    with jax.enable_x64(True):
        losses = jax.jit(jax.vmap(problem.loss, (None, 0)))(x, problem.pool)
    assert np.asarray(losses).mean() == pytest.approx(np.linspace(0, 1, 5) @ x**2 / (x @ x), rel=1e-12)
    assert np.asarray(losses).std() > 0.1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: angle_toy(noise=-1.0), "noise=-1 does not do"),
        (lambda: angle_toy_squared_norm(0.1, 0.1, process="adam"), "process='adam' is unknown"),
        (lambda: angle_toy_squared_norm(0.1, 0.1, order=2), "order=2 has a closed form for"),
        (lambda: angle_toy_squared_norm(0.0, 0.1), "learning_rate=0 does not do"),
        (lambda: rayleigh_toy(num_weights=1), "num_weights=1 is below 2"),
    ],
)
def test_wrong_calls_are_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def settled(problem, process, rate, batch_size, key, replicas=16, time=3000.0, every=1):
    """R, G, N from a quarter of the run on, (replica, record)."""
    num_steps = round(time / rate) // every * every
    grid = gn.Spacetime(problem.num_pool, batch_size, sampling="with_replacement", num_steps=num_steps)
    runs = gn.simulate(
        process,
        problem.init(jax.random.key(0)),
        grid,
        rate,
        replicas,
        key,
        observe=equilibrium_records(problem, grid),
        training_set="given",
        every=every,
    )
    assert np.all(runs.diverged_at < 0)
    return [runs.observables[name][:, num_steps // every // 4 :] for name in RECORDED]


@pytest.mark.slow
@pytest.mark.parametrize(("order", "num_substeps"), [(1, 8), (2, 8)])
def test_order_1_settles_without_the_signal_and_order_2_with_it(order, num_substeps, getkey):
    """To 4.5 errors of the time average, and eta wd for the spread of |g|^2 between substeps and terms of order 1/m."""
    problem, rate, decay = angle_toy(), 0.5, 0.02
    process = gn.sde(problem, num_substeps, order=order, weight_decay=decay)
    R = settled(problem, process, rate, 1, getkey(), replicas=4, time=600.0)[0]
    limits = {o: angle_toy_squared_norm(rate, decay, process="sde", order=o) for o in (1, 2)}
    if order == 1:
        expected = angle_toy_squared_norm(rate, decay, process="sde", num_substeps=num_substeps)
    else:  # R^2 = (eta/wd) (c^2 (1 + 1/m) + s^2)/(2 + eta wd (1 - 1/m))
        expected = math.sqrt(rate / decay * (0.36 * 1.125 + 1) / (2 + rate * decay * 0.875))
    found = time_average(R)
    assert abs(found.value - expected) < 4.5 * found.stderr + rate * decay / num_substeps * expected
    sgd = angle_toy_squared_norm(rate, decay)
    assert abs(limits[2] / sgd - 1) < 0.006 < 0.14 < 1 - limits[1] / sgd
    assert abs(found.value / limits[order] - 1) < 0.04


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate", "batch_size", "process", "num_substeps"),
    [(0.3, 1, "sgd", None), (1.2, 4, "sgd", None), (4.8, 16, "sgd", None), (4.8, 16, "svag", 4), (4.8, 16, "sde", 16)],
)
def test_rayleigh_runs_balance(rate, batch_size, process, num_substeps, getkey):
    problem, decay = rayleigh_toy(), 0.01
    made = getattr(gn, process)(problem, *([num_substeps] if num_substeps else []), weight_decay=decay)
    series = settled(problem, made, rate, batch_size, getkey())
    found = equilibrium_identity(*series, rate, decay, process=process, num_substeps=num_substeps)
    assert found.conclusion == "equilibrium"
    assert abs(found.ratio.estimate.value - 1) < 4.5 * found.ratio.estimate.stderr
    assert found.ratio.estimate.stderr < 0.01


@pytest.mark.slow
def test_linear_scaling_breaks_on_the_rayleigh_toy_and_svag_recovers_the_small_batch(getkey):
    problem, decay = rayleigh_toy(), 0.01
    small = stationary_averages(*settled(problem, gn.sgd(problem, weight_decay=decay), 0.3, 1, getkey()))
    large = stationary_averages(*settled(problem, gn.sgd(problem, weight_decay=decay), 4.8, 16, getkey()))
    svag = stationary_averages(*settled(problem, gn.svag(problem, 16, weight_decay=decay), 4.8, 16, getkey()))
    broken, kept = (linear_scaling_invariance(small, other, 16) for other in (large, svag))
    assert broken.holds(2**0.5) is False
    assert kept.ratios["R/R'"].low > 0.97
    assert kept.ratios["R/R'"].high < 1.03
