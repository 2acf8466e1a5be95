"""Whether a loss is found to be scale-invariant."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cases import CASES
from gradnoise import from_arrays, testbeds
from gradnoise.problem import penalized
from gradnoise.stationary.scale_invariant import gradient_along_weights, is_scale_invariant, scale_invariant_groups

POOL = np.random.default_rng(0).normal(size=(20, 3))


def _direction(w, x):
    return -(w @ x) / jnp.linalg.norm(w)


def _squared(w, x):
    return (w @ x - 1) ** 2


def _layer_norm(params, x):
    """A normalized hidden layer under a normalized readout: invariant in each leaf."""
    hidden = params["first"] @ x
    hidden = jnp.tanh((hidden - hidden.mean()) / jnp.sqrt(jnp.var(hidden)))
    return (hidden @ params["last"]) / jnp.linalg.norm(params["last"])


def _problem(loss):
    return from_arrays(loss, lambda key: np.zeros(3), POOL)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_a_function_of_the_direction_alone_is_invariant_at_any_size(scale):
    assert is_scale_invariant(_problem(_direction), scale * np.array([1.0, -2.0, 0.5]))
    params = {"first": scale * POOL[:4], "last": scale * np.array([1.0, 2.0, -1.0, 0.5])}
    assert is_scale_invariant(_problem(_layer_norm), params)


@pytest.mark.parametrize("name", ["gauss", "helix", "digits-logistic", "mean-estimation"])
def test_starting_at_zero_makes_no_loss_invariant(name):
    problem = testbeds.problem(name)
    zeros = jax.tree.map(np.zeros_like, problem.init(jax.random.key(0)))
    assert not is_scale_invariant(problem, zeros)
    assert not is_scale_invariant(problem, problem.init(jax.random.key(0)))


def test_a_direction_is_invariant_though_it_is_not_defined_at_zero():
    assert is_scale_invariant(_problem(_direction), np.zeros(3))


@pytest.mark.parametrize("constant", [1e6, -1e6])
def test_a_large_constant_neither_hides_nor_breaks_invariance(constant):
    assert not is_scale_invariant(_problem(lambda w, x: _squared(w, x) + constant), np.ones(3))
    assert is_scale_invariant(_problem(lambda w, x: _direction(w, x) + constant), np.ones(3))


def test_a_slight_dependence_on_the_norm_is_seen():
    assert not is_scale_invariant(_problem(lambda w, x: _direction(w, x) + 0.01 * jnp.linalg.norm(w)), np.ones(3))


def test_a_loss_even_in_the_factor_ten_alone_is_not_invariant():
    periodic = lambda w, x: _direction(w, x) + jnp.sin(2 * jnp.pi * jnp.log10(jnp.linalg.norm(w)))  # noqa: E731
    assert not is_scale_invariant(_problem(periodic), np.ones(3))


def test_points_outside_the_losses_domain_are_not_asked():
    ratio = lambda w, x: x[0] * jnp.log(w[0] / w[1])  # noqa: E731
    assert is_scale_invariant(_problem(ratio), np.ones(3))
    assert not is_scale_invariant(_problem(lambda w, x: jnp.nan * w[0]), np.ones(3))


@pytest.mark.parametrize("name", sorted(CASES))
def test_no_case_with_biases_or_free_scales_is_invariant(name):
    assert not is_scale_invariant(*CASES[name]())


def _partly(params, x):
    """A normalized layer under a trained readout with a bias: invariant in its first layer alone."""
    hidden = params["first"] @ x
    hidden = jnp.tanh((hidden - hidden.mean()) / jnp.sqrt(jnp.var(hidden)))
    return hidden @ params["last"] + params["bias"]


PARTLY = {"first": POOL[:4], "last": np.array([1.0, 2.0, -1.0, 0.5]), "bias": np.array(0.3)}


def test_a_normalized_layer_is_found_beside_a_free_last_layer_and_a_bias():
    problem = _problem(_partly)
    assert scale_invariant_groups(problem, PARTLY) == {"bias": False, "first": True, "last": False}
    along = gradient_along_weights(problem, PARTLY)
    assert along["first"] < 1e-12
    assert along["bias"] == pytest.approx(1.0)
    assert along["last"] > 0.1


def test_weight_decay_in_the_loss_is_left_out_of_groups():
    problem = penalized(_problem(_partly), 0.1)
    assert scale_invariant_groups(problem, PARTLY)["first"]
    assert not is_scale_invariant(problem, PARTLY)


def test_a_ratio_is_invariant_as_a_whole_and_in_no_group():
    problem = _problem(lambda w, x: x[0] * jnp.log(jnp.square(w["top"] / w["bottom"])))
    params = {"top": np.array(1.0), "bottom": np.array(2.0)}
    assert scale_invariant_groups(problem, params) == {"bottom": False, "top": False}
    assert is_scale_invariant(problem, params)


def test_a_loss_periodic_in_the_logarithm_of_the_norm_is_caught_by_its_gradient():
    """The factors 2, 10 and 0.3 are all multiples of the period; the gradient is not fooled."""
    period = np.log(2) / 1e4
    problem = _problem(
        lambda w, x: _direction(w, x) + 1e-4 * jnp.sin(2 * jnp.pi * jnp.log(jnp.linalg.norm(w)) / period)
    )
    assert gradient_along_weights(problem, np.ones(3))["weights"] > 0.1
    assert scale_invariant_groups(problem, np.ones(3)) == {"weights": False}
