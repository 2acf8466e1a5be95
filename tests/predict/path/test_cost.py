"""The stated cost of a prediction: counted as the compiler counts, in proportion to what it should be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradnoise as gn
from gradnoise.predict.path.cost import SECOND, STEP, estimate_path, run_equivalents
from gradnoise.predict.path.probes import second_order
from gradnoise.predict.path.setting import read_setting


@pytest.fixture(scope="module")
def digits():
    problem = gn.testbeds.problem("digits-mlp", num_pool=300)
    return problem, problem.init(jax.random.key(0))


def operations(function, *arguments):
    return jax.jit(function).lower(*arguments).compile().cost_analysis()["flops"]


def test_the_parts_of_a_probe_cost_what_the_compiler_counts(digits):
    """Operations of a Taylor step and of a second derivative of the loss, over those of a gradient: within a third."""
    with jax.enable_x64(True):
        setting = read_setting(*digits, gn.Spacetime(80, 8), 0.1, "drawn", 0.0, False, 0.0, 0.0, 0.0)
        view, count = setting.motion.landscape, 8
        directions = jnp.asarray(np.random.default_rng(0).normal(size=(2, count, setting.num_weights)))

        def taylor(function):
            return lambda x, y: jax.vmap(lambda a, b: second_order(function, setting.start, a, b))(x, y)

        gradient = lambda w: view.mean_gradient(w, setting.pool)  # noqa: E731
        loss = lambda w: view.mean_measured(w, setting.pool)  # noqa: E731
        one = operations(gradient, setting.start)
        assert operations(taylor(gradient), *directions) / count / one == pytest.approx(STEP, rel=0.35)
        assert operations(taylor(loss), *directions) / count / one == pytest.approx(SECOND, rel=0.35)


def test_probes_and_steps_multiply_the_cost_and_the_path_is_in_it(digits):
    few, many = (estimate_path(*digits, gn.Spacetime(80, 8), "probes", count) for count in (10, 20))
    long = estimate_path(*digits, gn.Spacetime(800, 8), "probes", 10)
    each = 10 * (STEP + 2 * SECOND)
    assert many.gradient_equivalents - few.gradient_equivalents == pytest.approx(10 * each)
    assert few.gradient_equivalents == pytest.approx(10 * (each + 2 + 2 / 3))
    assert long.gradient_equivalents == pytest.approx(10 * few.gradient_equivalents)
    assert many.bytes > few.bytes


def test_a_run_costs_its_examples_and_one_test_loss(digits):
    spacetime = gn.Spacetime(80, 8)
    assert run_equivalents(spacetime, 300) == pytest.approx(80 / 300 + 1 / 3)
    cost = estimate_path(*digits, spacetime, "probes", 40)
    assert cost.num_runs == 40
    assert cost.simulation_equivalents == pytest.approx(40 * (80 / 300 + 1 / 3))


def test_the_dense_form_grows_with_the_weights_and_is_the_default_for_few():
    problem = gn.testbeds.problem("digits-logistic", num_pool=100)
    params, spacetime = problem.init(jax.random.key(0)), gn.Spacetime(80, 8)
    assert estimate_path(problem, params, spacetime) == estimate_path(problem, params, spacetime, "dense")
    assert estimate_path(problem, params, spacetime, "dense").gradient_equivalents > 10 * 6 * 650


def test_memory_bounds_what_is_held(digits):
    spacetime = gn.Spacetime(80, 8)
    assert estimate_path(*digits, spacetime, "probes", 10_000, memory="4GiB").bytes <= 4 * 2**30


@pytest.mark.parametrize(("name", "value"), [("method", "probe"), ("num_probes", 1), ("momentum", 2.0)])
def test_a_wrong_argument_names_itself(digits, name, value):
    with pytest.raises(ValueError, match=name):
        estimate_path(*digits, gn.Spacetime(80, 8), **{name: value})
