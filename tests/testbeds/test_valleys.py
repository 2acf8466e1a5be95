"""Section 5's claims at the minima hold to rounding, and SGD drifts along the valleys as predicted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradnoise.testbeds import helix, helix_ring, ring_engine
from gradnoise.testbeds.valleys import (
    HELIX_COVARIANCE,
    HELIX_HESSIAN,
    helix_frame,
    helix_ring_rate,
    helix_velocity,
    in_image_of_noise,
    ring_engine_covariance,
    ring_engine_rate,
    ring_engine_velocity,
)


def at_points(problem, points):
    """Mean hessian, covariance of the gradient and mean gradient over the pool of signs, exactly, at each point."""

    @jax.jit
    def derivatives(theta):
        gradients = jax.vmap(jax.grad(problem.loss), (None, 0))(theta, problem.pool)
        return jax.vmap(jax.hessian(problem.loss), (None, 0))(theta, problem.pool).mean(0), gradients

    with jax.enable_x64(True):
        found = [map(np.asarray, derivatives(np.asarray(theta, dtype=float))) for theta in points]
    return [(hessian, np.cov(gradients.T, bias=True), gradients.mean(0)) for hessian, gradients in found]


def drift_per_step(problem, coordinate, learning_rate, key, num_replicas=10_000, settle=100, num_steps=300):
    """Mean change of `coordinate` a step and its standard error, fresh examples, B = 1, after settling."""

    @jax.jit
    def run(key, theta):
        def step(theta, key):
            gradients = jax.vmap(jax.grad(problem.loss))(theta, problem.sample(key, num_replicas))
            return theta - learning_rate * gradients, None

        return jax.lax.scan(step, theta, key)[0]

    first, second = jax.random.split(key)
    start = jnp.tile(jnp.asarray(problem.init(None), dtype=jnp.float32), (num_replicas, 1))
    begin = run(jax.random.split(first, settle), start)
    end = run(jax.random.split(second, num_steps), begin)
    change = np.asarray(coordinate(end)) - np.asarray(coordinate(begin))
    change = (change + np.pi) % (2 * np.pi) - np.pi  # an angle's change is far below pi in these runs
    return change.mean() / num_steps, change.std(ddof=1) / np.sqrt(num_replicas) / num_steps


def test_helix_has_the_same_hessian_and_covariance_all_along_its_valley():
    points = [(0.0, 0.0, 0.0), (0.0, 0.0, 0.7), (0.0, 0.0, -2.0)]
    for theta, (hessian, covariance, gradient) in zip(points, at_points(helix(law="signs"), points), strict=True):
        frame = helix_frame(theta)
        assert gradient == pytest.approx(np.zeros(3), abs=1e-15)
        assert frame @ hessian @ frame.T == pytest.approx(HELIX_HESSIAN, abs=1e-14)
        assert frame @ covariance @ frame.T == pytest.approx(HELIX_COVARIANCE, abs=1e-14)


def test_helix_hessian_turns_with_z():
    """d_z H = e_u e_v^T + e_v e_u^T."""
    with jax.enable_x64(True):
        third = jax.jacfwd(jax.hessian(helix().loss))
        slope = jax.jit(third)(np.zeros(3), np.zeros(1))
    assert np.asarray(slope)[:, :, 2] == pytest.approx(np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]]), abs=1e-14)


def test_sgd_climbs_the_helix_at_the_predicted_velocity(getkey):
    velocity, error = drift_per_step(helix(), lambda theta: theta[:, 2], 0.05, getkey())
    assert error < 0.02 * velocity
    assert abs(velocity - helix_velocity(0.05)) < 4 * error


def test_incline_below_the_drift_does_not_stop_it(getkey):
    problem = helix(incline=0.5 * helix_velocity(0.05) / 0.05)
    velocity, error = drift_per_step(problem, lambda theta: theta[:, 2], 0.05, getkey())
    assert abs(velocity - 0.5 * helix_velocity(0.05)) < 4 * error


@pytest.mark.parametrize(("radius", "winding"), [(4.0, 4), (1.0, 1)])
def test_helix_ring_is_a_circle_of_minima(radius, winding):
    points = [(radius * np.cos(angle), radius * np.sin(angle), 0.0) for angle in (0.0, 1.0, 4.0)]
    for hessian, covariance, gradient in at_points(helix_ring(radius, winding, law="signs"), points):
        assert gradient == pytest.approx(np.zeros(3), abs=1e-14)
        assert np.linalg.eigvalsh(hessian) == pytest.approx([0.0, 1.0, 2.0], abs=1e-13)
        assert np.linalg.eigvalsh(covariance) == pytest.approx([0.0, 0.0, 1.0], abs=1e-13)


def test_helix_ring_is_the_helix_bent():
    """u = hypot(X, Y) - R, v = W, z = m angle: losses agree at any point."""
    theta, x = np.array([1.5, -2.0, 0.3]), np.array([0.8])
    bent = (np.hypot(1.5, -2.0) - 2.0, 0.3, 3 * np.arctan2(-2.0, 1.5))
    with jax.enable_x64(True):
        expected = jax.jit(helix().loss)(np.array(bent), x)
        assert float(jax.jit(helix_ring(2.0, 3).loss)(theta, x)) == pytest.approx(float(expected), rel=1e-13)


def test_sgd_goes_round_the_helix_ring_at_the_predicted_rate(getkey):
    def angle(theta):
        return jnp.arctan2(theta[:, 1], theta[:, 0])

    rate, error = drift_per_step(helix_ring(), angle, 0.05, getkey())
    assert error < 0.02 * rate
    assert abs(rate - helix_ring_rate(0.05)) < 4 * error


@pytest.mark.parametrize("twist", [-1.0, 0.5])
def test_ring_engine_has_the_stated_hessian_and_covariance(twist):
    problem = ring_engine(twist, noise=0.5)
    out, along = np.array([np.cos(2.0), np.sin(2.0)]), np.array([-np.sin(2.0), np.cos(2.0)])
    frame = np.array([out, along])
    (hessian, covariance, gradient), (_, inside, _) = at_points(problem, [out, 0.8 * out])
    assert gradient == pytest.approx(np.zeros(2), abs=1e-15)
    assert frame @ hessian @ frame.T == pytest.approx(np.diag([1.0, 0.0]), abs=1e-14)
    assert frame @ covariance @ frame.T == pytest.approx(ring_engine_covariance(1.0, twist), abs=1e-14)
    assert frame @ inside @ frame.T == pytest.approx(ring_engine_covariance(0.8, twist), abs=1e-14)


@pytest.mark.parametrize(("twist", "law"), [(-1.0, "signs"), (1.0, "normal")])
def test_ring_engine_turns_at_the_predicted_rate(twist, law, getkey):
    def angle(theta):
        return jnp.arctan2(theta[:, 1], theta[:, 0])

    rate, error = drift_per_step(ring_engine(twist, law=law), angle, 0.05, getkey(), num_steps=600)
    assert error < 0.03 * abs(rate)
    assert abs(rate - ring_engine_rate(0.05, twist)) < 4 * error


def test_the_formula_of_the_drift_gives_the_closed_rates():
    """v_l = -(eta/2) Sigma_mn d_l H_mn, Sigma_mn = (eta/B) C_mn/(h_m + h_n - eta h_m h_n): diagrams.md section 3."""
    rate, batch = 0.05, 3
    h = np.diag(HELIX_HESSIAN)[:2]
    sigma = rate / batch * HELIX_COVARIANCE[:2, :2] / (h[:, None] + h - rate * np.outer(h, h))
    turning = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert -rate / 2 * np.sum(sigma * turning) == pytest.approx(helix_velocity(rate, batch), rel=1e-12)
    cross = rate / batch * ring_engine_covariance()[0, 1] / 1.0  # h = 1 across, 0 along
    along = -rate / 2 * 2 * cross  # J_rtt = 1, Sigma_rt and Sigma_tr
    assert along == pytest.approx(ring_engine_velocity(rate, batch_size=batch)[1], rel=1e-12)


def test_the_helix_drifts_across_its_noise_and_the_ring_engine_within():
    """The account that keeps currents in the image of C gives 0 on the helix, all of the rate on the ring engine."""
    climb = np.array([0.0, 0.0, helix_velocity(0.1)])
    assert in_image_of_noise(climb, HELIX_COVARIANCE) == pytest.approx(np.zeros(3), abs=1e-15)
    turn = ring_engine_velocity(0.1, twist=0.5)
    assert in_image_of_noise(turn, ring_engine_covariance(twist=0.5)) == pytest.approx(turn, rel=1e-12)
    (_, covariance, _), *_ = at_points(helix_ring(law="signs"), [(4.0, 0.0, 0.0)])
    assert in_image_of_noise([0.0, 1.0, 0.0], covariance) == pytest.approx(np.zeros(3), abs=1e-12)


def test_batches_slow_the_drift_in_proportion():
    assert helix_velocity(0.1, batch_size=4) == pytest.approx(helix_velocity(0.1) / 4)
    assert ring_engine_rate(0.1, batch_size=4) == pytest.approx(ring_engine_rate(0.1) / 4)
    assert helix_ring_rate(0.1, 4.0, 4) == pytest.approx(helix_velocity(0.1) / 4)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: helix(law="cauchy"), "law='cauchy'"),
        (lambda: helix(incline=np.inf), "incline=inf"),
        (lambda: helix(theta0=(0.0, 1.0)), "theta0 has shape"),
        (lambda: helix_ring(radius=0.0), "radius=0"),
        (lambda: helix_ring(winding=0), "winding=0"),
        (lambda: ring_engine(noise=-1.0), "noise=-1"),
    ],
)
def test_wrong_arguments_are_told(make, words):
    with pytest.raises(ValueError, match=words):
        make()
