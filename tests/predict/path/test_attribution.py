"""One loop of one epoch as a sum over steps: against noise in one step alone, against L1, in words."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradnoise as gn
from cases import CASES
from gradnoise.predict.path.attribution import StepAttribution, step_attribution, where_noise_costs
from gradnoise.predict.path.engines import run_dense_on
from gradnoise.predict.path.setting import read_setting

pytestmark = pytest.mark.slow  # compiling takes minutes in all

SPACETIME = gn.Spacetime(10, 2)
RATES = np.array([0.3, 0.2, 0.25, 0.1, 0.3])
OPTIMIZERS = {
    "sgd": {},
    "momentum": {"momentum": 0.5},
    "dampened": {"momentum": 0.5, "dampening": 0.25},
    "nesterov": {"momentum": 0.6, "nesterov": True, "weight_decay": 0.1},
}


@cache
def dense(name, optimizer="sgd"):
    case = CASES[name]()
    return step_attribution(case.problem, case.params, SPACETIME, RATES, **OPTIMIZERS[optimizer])


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [*((name, "sgd") for name in CASES), *(("two_weights", optimizer) for optimizer in OPTIMIZERS)],
)
def test_the_steps_sum_to_the_one_loop_coefficient(name, optimizer):
    case = CASES[name]()
    path = gn.predict_path(
        case.problem, case.params, SPACETIME, RATES, method="dense", **OPTIMIZERS[optimizer]
    ).test_coefficient.value[-1]
    found = dense(name, optimizer)
    assert found.value.sum() == pytest.approx(path, rel=1e-12, abs=1e-14)
    assert found.total.value == pytest.approx(path, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_step_is_the_one_loop_part_of_noise_in_that_step_alone(optimizer):
    case, given = CASES["two_weights"](), {"momentum": 0.0, "nesterov": False, "dampening": 0.0, "weight_decay": 0.0}
    with jax.enable_x64(True):
        setting = read_setting(*case, SPACETIME, RATES, "drawn", **(given | OPTIMIZERS[optimizer]), hessian_damping=0.0)
        alone = [float(run_dense_on(setting, setting.rates, 2, None, row).test[-1, 0]) for row in jnp.eye(5)]
    np.testing.assert_allclose(dense("two_weights", optimizer).value, alone, rtol=1e-12)


def test_probes_sum_to_their_own_one_loop_and_their_mean_is_the_dense_form(getkey):
    case, key = CASES["logistic"](), getkey()
    given = {"method": "probes", "num_probes": 400, "key": key}
    found = step_attribution(case.problem, case.params, SPACETIME, RATES, **given)
    path = gn.predict_path(case.problem, case.params, SPACETIME, RATES, **given)
    np.testing.assert_allclose(found.samples.sum(1), path.samples.test[:, -1, 0], rtol=1e-10)
    assert found.total.value == pytest.approx(path.test_coefficient.value[-1], rel=1e-10)
    assert found.total.stderr == pytest.approx(path.test_coefficient.stderr[-1], rel=1e-10)
    z = (found.value - dense("logistic").value) / found.stderr
    assert np.all(np.abs(z) < 4.5)  # 5 steps: chance of more below 1e-4


def test_hessian_damping_is_attributed_by_probes(getkey):
    case, key = CASES["two_weights"](), getkey()
    given = {"method": "probes", "num_probes": 10, "key": key, "hessian_damping": 0.3}
    found = step_attribution(case.problem, case.params, SPACETIME, RATES, **given)
    path = gn.predict_path(case.problem, case.params, SPACETIME, RATES, **given)
    np.testing.assert_allclose(found.samples.sum(1), path.samples.test[:, -1, 0], rtol=1e-10)


def test_a_fresh_population_at_every_step_has_the_same_steps():
    case = CASES["two_weights"]()
    fresh = step_attribution(
        *case, gn.Spacetime(4, 2, epochs=3).truncate(5), RATES, training_set="population", method="dense"
    )
    np.testing.assert_allclose(fresh.value, dense("two_weights").value, rtol=1e-13)


def made(steps, errors=0.0):
    steps = np.asarray(steps, dtype=float)
    samples = steps[None] + errors * np.array([[-1.0], [1.0]]) / len(steps) if errors else steps[None]
    return StepAttribution(steps, 0 * steps, 2, batch_size=2, path_loss=1.0, samples=samples)


def test_words_say_where_the_cost_comes_from():
    told = where_noise_costs(made([0, 0, 0, 1, 4, 4, 1, 0, 0]))
    assert "adds 10 / batch size to the final test loss: 5 to 1 at batch size 2" in told
    assert "Half of it comes from steps 5 to 6 of 9" in told
    assert "0%, 90% and 10%" in told


def test_words_say_where_noise_helps():
    told = str(made([-3, 0, 6, 6]))
    assert "adds 9 / batch size" in told
    assert "acts the other way, by 1.5, mostly in step 1" in told
    assert "takes 2 / batch size from" in str(made([-1, 0, -1]))


def test_words_do_not_explain_what_is_not_there():
    assert "not told from zero" in str(made([0.5, 0.5], errors=3.0))
    assert "not told from zero" in str(made([0.0, 0.0]))


def test_shared_noise_is_refused():
    case = CASES["two_weights"]()
    with pytest.raises(ValueError, match=r"steps share noise with sampling=\"fixed\", epochs=2"):
        step_attribution(*case, gn.Spacetime(4, 2, epochs=2), 0.1)
    with pytest.raises(ValueError, match=r"hessian_damping=0\.1 is not in the dense form"):
        step_attribution(*case, SPACETIME, 0.1, method="dense", hessian_damping=0.1)
    with pytest.raises(ValueError, match="key is missing"):
        step_attribution(*case, SPACETIME, 0.1, method="probes")
