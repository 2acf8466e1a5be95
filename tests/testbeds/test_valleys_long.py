"""Long runs in the valleys: uphill for a million steps, and the SDE in full. Minutes."""

import jax.numpy as jnp
import numpy as np
import pytest

import gradnoise as gn
from gradnoise.testbeds import helix, helix_ring, ring_engine
from gradnoise.testbeds.valleys import helix_velocity, ring_engine_rate

pytestmark = pytest.mark.slow


def test_sgd_climbs_an_incline_for_a_million_steps_at_a_constant_velocity(getkey):
    """Incline at half of what the drift can overcome: height and loss rise in a line, by |z| < 4.5 in each tenth."""
    rate, half = 0.1, 0.5 * helix_velocity(0.1)
    problem = helix(incline=half / rate)
    runs = gn.simulate(
        gn.sgd(problem), problem.init(None), gn.Spacetime(10**6, 1), rate, 32, getkey(), {"height": _height}, 10**5,
        training_set="population", dtype="float64", num_test_draws=1,
    )  # fmt: skip
    climbed = np.diff(runs.observables["height"], axis=1) / 10**5
    mean, error = climbed.mean(axis=0), climbed.std(axis=0, ddof=1) / np.sqrt(len(climbed))
    assert np.all(np.abs(mean - half) < 4.5 * error)
    assert np.all(error < 0.01 * half)


def test_the_sde_integrated_in_full_shows_both_drifts(getkey):
    """With s substeps a step the helix' rate has 6 - 4 eta/s in the place of 6 - 4 eta; |z| < 4.5, error below 3 %."""
    rate, substeps, steps = 0.05, 4, 1200
    ring = helix_velocity(rate) * (6 - 4 * rate) / (6 - 4 * rate / substeps) * 4 / 4**2
    cases = ((ring_engine(), ring_engine_rate(rate), 6000), (helix_ring(law="signs"), ring, 1000))
    for problem, predicted, num_replicas in cases:
        runs = gn.simulate(
            gn.sde(problem, substeps), problem.init(None), gn.Spacetime(steps, 1), rate, num_replicas, getkey(),
            {"angle": _angle}, steps // 6, training_set="population", dtype="float64",
        )  # fmt: skip
        net = np.unwrap(runs.observables["angle"][:, 1:], axis=1)
        turned = (net[:, -1] - net[:, 0]) / (steps * 5 / 6)
        error = turned.std(ddof=1) / np.sqrt(num_replicas)
        assert error < 0.03 * predicted
        assert abs(turned.mean() - predicted) < 4.5 * error


def _angle(params, examples):
    return jnp.arctan2(params[1], params[0])


def _height(params, examples):
    return params[2]
