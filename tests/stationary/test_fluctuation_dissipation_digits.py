"""The identities on a small network trained on digits: a finding, with intervals."""

import pytest

import gradnoise as gn
from gradnoise.dynamics.fluctuation_records import fluctuation_records
from gradnoise.dynamics.train import train
from gradnoise.stationary.fluctuation_dissipation import loss_identity, norm_identity

RATE, BATCH, DECAY, EVERY = 0.4, 4, 0.02, 20


def identities(runs, window):
    seen, given = runs.observables, {"learning_rate": RATE, "batch_size": BATCH, "window": window, "every": EVERY}
    return (
        norm_identity(seen["position_force"], seen["noise_trace"], seen["force_squared"], **given),
        loss_identity(seen["gradient_force"], seen["curvature_noise"], seen["force_curvature"], **given),
        loss_identity(seen["test_gradient_force"], seen["test_curvature_noise"], seen["test_force_curvature"], **given),
    )


@pytest.mark.slow
def test_a_small_network_at_its_stationary_state_obeys_the_discrete_identity_and_not_the_continuous_one(getkey):
    """64-8-10 tanh, 400 digits, eta = 0.4, B = 4, weight decay 0.02: 2 runs, steps 5000 to 20000 after a burn-in.

    The first 100 steps from the start are told from a stationary run.
    """
    problem = gn.testbeds.problem("digits-mlp", num_pool=400, num_test=100, width=8)
    process = gn.sgd(problem, weight_decay=DECAY)
    start = problem.init(getkey())
    burnt = train(process, start, 3000, BATCH, RATE, getkey())
    grid = gn.Spacetime(problem.num_pool, BATCH, sampling="with_replacement", num_steps=20_000)
    records = fluctuation_records(problem, grid, weight_decay=DECAY, origin=burnt, num_probes=4)
    given = {"observe": records, "every": EVERY, "training_set": "given"}
    runs = gn.simulate(process, burnt, grid, RATE, 2, getkey(), **given)
    norm, loss, test = identities(runs, (5000, 20_000))
    assert abs(norm.discrete.ratio.estimate.value - 1) < 4.5 * norm.discrete.ratio.estimate.stderr
    assert norm.discrete.ratio.high - norm.discrete.ratio.low < 0.06
    assert norm.continuous.ratio.low > 1.2
    assert loss.continuous.ratio.low > 1.3
    assert abs(loss.discrete.ratio.estimate.value - 1) < 0.1  # third derivatives: the loss is no quadratic
    assert abs(test.discrete.ratio.estimate.value - 1) < abs(test.continuous.ratio.estimate.value - 1)
    given = {"observe": records, "every": 1, "training_set": "given"}
    early = gn.simulate(process, start, grid.truncate(100), RATE, 8, getkey(), **given).observables
    series = (early[name] for name in ("position_force", "noise_trace", "force_squared"))
    descent = norm_identity(*series, learning_rate=RATE, batch_size=BATCH).discrete
    assert descent.conclusion != "agrees"
