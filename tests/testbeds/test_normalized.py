"""The normalized networks are exactly scale-invariant in every layer, smooth, and still learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradnoise as gn
from gradnoise import testbeds
from gradnoise.dynamics.equilibrium_records import RECORDS, equilibrium_records
from gradnoise.problem import probe_problem
from gradnoise.smoothness import kinks
from gradnoise.stationary.equilibrium import equilibrium_identity
from gradnoise.stationary.scale_invariant import is_scale_invariant, scale_invariant_groups
from gradnoise.testbeds.normalized import TINY, normalize, normalized_conv, normalized_mlp

SMALL = {
    "mlp": lambda **options: normalized_mlp(16, 3, width=5, depth=2, **options),
    "conv": lambda **options: normalized_conv(16, 3, channels=4, depth=1, kernel=2, **options),
}


def problem_of(model, num_features=16):
    random = np.random.default_rng(0)
    pool = {"x": random.normal(size=(12, num_features)), "y": np.arange(12, dtype=np.int32) % 3}
    return gn.from_arrays(model.loss, model.init, pool, "normalized", model.measured, metrics=model.metrics)


@pytest.mark.parametrize("kind", SMALL)
def test_each_layer_may_be_scaled_and_gradients_are_orthogonal_to_it(kind):
    problem = problem_of(SMALL[kind]())
    weights = jax.tree.leaves(problem.init(jax.random.key(0)))
    rebuild = jax.tree.structure(problem.init(jax.random.key(0))).unflatten
    with jax.enable_x64(True):
        weights = [np.asarray(leaf, np.float64) for leaf in weights]
        both = jax.jit(jax.vmap(jax.value_and_grad(problem.loss), (None, 0)))
        here, gradients = both(rebuild(weights), problem.pool)
        factors = np.linspace(0.01, 100.0, len(weights))
        there, scaled = both(rebuild([c * leaf for c, leaf in zip(factors, weights, strict=True)]), problem.pool)
        np.testing.assert_allclose(there, here, rtol=1e-12)
        for factor, leaf, rows, less in zip(
            factors, weights, jax.tree.leaves(gradients), jax.tree.leaves(scaled), strict=True
        ):
            np.testing.assert_allclose(np.sum(rows * leaf, axis=(1, 2)), 0, atol=1e-13)
            np.testing.assert_allclose(less * factor, rows, atol=1e-12)  # grad(c x) = grad(x)/c


def test_a_group_of_channels_may_be_scaled_alone():
    problem = problem_of(SMALL["conv"](norm_groups=2))
    params = problem.init(jax.random.key(0))
    losses = jax.jit(jax.vmap(problem.loss, (None, 0)))
    scaled = jax.tree.map(lambda leaf: leaf * np.array([7.0, 7.0, 1.0, 1.0], np.float32)[:, None], params)
    np.testing.assert_allclose(losses(scaled, problem.pool), losses(params, problem.pool), rtol=1e-5)


@pytest.mark.slow
def test_groups_are_found_and_only_the_penalty_breaks_them():
    problem = problem_of(SMALL["mlp"](weight_l2=0.1))
    params = problem.init(jax.random.key(0))
    assert scale_invariant_groups(problem, params) == {"layers.0": True, "layers.1": True}
    assert not is_scale_invariant(problem, params)


def test_the_tiny_constant_is_seen_by_neither_precision_and_keeps_zeros_finite():
    assert np.float64(1e-7) + TINY == np.float64(1e-7)
    assert np.float32(1e-7) + np.float32(TINY) == np.float32(1e-7)
    model = SMALL["mlp"]()
    blank = {"x": jnp.zeros(16), "y": 1}
    value, gradient = jax.jit(jax.value_and_grad(model.loss))(model.init(jax.random.key(0)), blank)
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))
    np.testing.assert_allclose(np.std(normalize(jnp.arange(7.0))), 1, rtol=1e-6)


def test_the_last_layer_is_fixed_and_the_same_for_all_keys():
    model = SMALL["mlp"]()
    shapes = [leaf.shape for leaf in jax.tree.leaves(model.init(jax.random.key(0)))]
    assert shapes == [(5, 16), (5, 5)]
    x = {"x": jnp.arange(16.0), "y": 2}
    params = model.init(jax.random.key(1))
    assert float(model.loss(params, x)) == float(SMALL["mlp"]().loss(params, x))


@pytest.mark.slow
@pytest.mark.parametrize("kind", SMALL)
def test_they_pass_the_probe_in_float64_and_have_no_kinks(kind):
    problem = problem_of(SMALL[kind](activation="gelu"))
    params = problem.init(jax.random.key(0))
    with jax.enable_x64(True):
        probe_problem(problem, params, problem.pool)
    assert not kinks(problem, params)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: normalized_mlp(4, 2, width=2), "width=2 is below 3"),
        (lambda: normalized_mlp(4, 2, activation="relu"), "activation='relu' is unknown"),
        (lambda: normalized_conv(64, 3, channels=9), "norm_groups=2 with channels=9 and 1 places"),
        (lambda: normalized_conv(64, 3, channels=2), "leaves at least 3 numbers a group"),
        (lambda: normalized_conv(64, 3, depth=3), "use up an image of 8 x 8"),
        (lambda: normalized_conv(60, 3), "num_features=60 is no square image"),
    ],
)
def test_wrong_options_are_told(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.slow
@pytest.mark.parametrize(("model", "rate"), [("normalized-mlp", 1.0), ("normalized-conv", 0.4)])
def test_they_learn_the_digits_within_400_steps(model, rate, getkey):
    from gradnoise.testbeds.catalogue import MODELS
    from gradnoise.testbeds.datasets import digits

    data, built = digits(num_test=297), MODELS[model](64, 10)
    problem = gn.from_arrays(built.loss, built.init, data.pool, model, test_pool=data.test_pool, metrics=built.metrics)
    grid = gn.Spacetime(1500, 50, sampling="with_replacement", num_steps=400)
    runs = gn.simulate(
        gn.sgd(problem), problem.init(getkey()), grid, rate, 4, getkey(), training_set="given", every=400
    )
    assert runs.observables["train_accuracy"][:, -1].min() > 0.9
    assert runs.observables["test_accuracy"][:, -1].mean() > 0.8


@pytest.mark.slow
def test_a_network_with_weight_decay_balances_on_the_way_and_says_whether_it_is_there(getkey):
    """(11) on the digits, for all weights and for each layer alone; before equilibrium the conclusion says so."""
    problem = testbeds.problem("digits-normalized-mlp", num_pool=200)
    params, decay, rate = problem.init(getkey()), 0.05, 0.5
    grid = gn.Spacetime(200, 10, sampling="subset", num_steps=1200)
    groups = scale_invariant_groups(problem, params)
    assert groups == {"layers.0": True, "layers.1": True}
    parts = {"all": groups, **{name: [name] for name in groups}}
    records = {name: equilibrium_records(problem, grid, part) for name, part in parts.items()}
    observe = {f"{part} {name}": f for part, each in records.items() for name, f in each.items()}
    process = gn.sgd(problem, weight_decay=decay)
    runs = gn.simulate(process, params, grid, rate, 4, getkey(), observe, training_set="given").observables
    series = {part: [runs[f"{part} {name}"] for name in RECORDS[:3]] for part in parts}
    early = equilibrium_identity(*series["all"], rate, decay, window=(0, 60))
    assert early.conclusion.startswith("not yet: R still drifts")
    for part in parts:
        late = equilibrium_identity(*series[part], rate, decay, window=(300, 1200))
        assert late.conclusion == "equilibrium"
        assert abs(late.ratio.estimate.value - 1) < 4.5 * late.ratio.estimate.stderr < 0.1
