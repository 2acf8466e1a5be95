"""One answer from five sides: dense recursion, every row, the adjoint, all schedules enumerated, a penalized problem."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import gradnoise as gn
from cases import CASES
from gradnoise import _tree
from gradnoise.predict.path import predict_path
from gradnoise.predict.path.noise_weights import noise_weights
from predict.path.enumeration import Settings, means, outcomes, partial_sums

POOL = {
    "x": np.array([[0.9, -0.4], [-1.1, 0.3], [0.2, 1.4], [1.6, 0.8]]),
    "y": np.array([0.7, -0.2, 1.3, 0.1]),
}
TEST_POOL = {"x": np.array([[0.4, 0.5], [-0.8, -0.9], [1.2, -0.7]]), "y": np.array([-0.3, 0.6, 0.2])}
PARAMS = {"a": np.array([0.6, -0.8]), "b": np.array(0.25)}
PER_WEIGHT = {"a": np.array([0.3, 0.1]), "b": np.array(0.45)}
HEAVY = {"momentum": 0.6}
NESTEROV = {"momentum": 0.5, "nesterov": True}
DAMPED = {"momentum": 0.7, "dampening": 0.4}


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)


def regression(params, example):
    return (jnp.tanh(example["x"] @ params["a"] + params["b"]) - example["y"]) ** 2 / 2


def cosine(params, example):
    return jnp.cos(example["x"] @ params["a"] - example["y"] * params["b"])


PLAIN = gn.from_arrays(regression, lambda key: PARAMS, POOL, "four examples")
HELD_OUT = gn.from_arrays(regression, lambda key: PARAMS, POOL, "held out", cosine, TEST_POOL)

T4 = {"num_steps": 4}
ENUMERATED = [
    ("given", gn.Spacetime(4, 1), {}),
    ("given", gn.Spacetime(4, 2, 2, "reshuffle"), DAMPED),
    ("given", gn.Spacetime(4, 2, 2), NESTEROV),
    ("given", gn.Spacetime(4, 2, sampling="subset", **T4), {}),
    ("given", gn.Spacetime(4, 1, sampling="with_replacement", **T4), HEAVY),
    ("drawn", gn.Spacetime(4, 1), HEAVY),
    ("drawn", gn.Spacetime(4, 2, 2), NESTEROV),
    ("drawn", gn.Spacetime(2, 1, 2, "reshuffle"), {}),
    ("drawn", gn.Spacetime(3, 2, sampling="subset", **T4), {}),
    ("drawn", gn.Spacetime(2, 1, sampling="with_replacement", **T4), {}),
    ("distinct", gn.Spacetime(2, 1, 2), HEAVY),
    ("distinct", gn.Spacetime(2, 1, 2, "reshuffle"), {}),
    ("distinct", gn.Spacetime(3, 2, sampling="subset", **T4), {}),
    ("distinct", gn.Spacetime(3, 1, sampling="with_replacement", **T4), {}),
    ("population", gn.Spacetime(4, 1), {}),
]  # fmt: skip


def assert_one_loop_is_exact(problem, params, spacetime, training_set, rate, settings, method="dense"):
    path = predict_path(problem, params, spacetime, rate, training_set=training_set, method=method, **settings)
    flat = _flat_rates(rate, spacetime.num_steps)
    runs = outcomes(spacetime, training_set, problem.num_pool)
    runs = runs.padded(-(-len(runs.chances) // 1500) * 1500)
    with jax.enable_x64(True):
        exact = means(problem, params, runs, flat, Settings(**settings), order=2)
    for target in ("test", "train", "gap"):
        sums = partial_sums(path, target)
        assert_close(sums[:, 0], exact[target][0])
        np.testing.assert_allclose(exact[target][1], 0, atol=1e-13)
        assert_close(sums[:, 1] - sums[:, 0], exact[target][2])
    moved = partial_sums(path, "displacement")
    assert_close(moved[:, 0], exact["weights"][0] - exact["weights"][0, 0])
    assert_close(moved[:, 1] - moved[:, 0], exact["weights"][2])
    weights = noise_weights(spacetime, training_set, problem.num_pool)
    leading = path.samples.slope_square[0] @ [float(weights[kind]) for kind in path.kinds]
    assert_close(leading, exact["test_variance"][2])


def _flat_rates(rate, num_steps):
    return _by_weight(rate, num_steps) if isinstance(rate, dict) else np.broadcast_to(rate, num_steps)


def _by_weight(rates, num_steps):
    return np.tile(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(rates)]), (num_steps, 1))


@pytest.mark.parametrize(("training_set", "spacetime", "settings"), ENUMERATED, ids=str)
def test_one_loop_is_the_second_order_in_the_noise_over_all_training_sets_and_schedules(
    training_set, spacetime, settings
):
    """Test, train, gap, displacement and the leading variance at every step, over up to 1300 enumerated runs: 1e-12."""
    rates = 0.4 * np.array([1.0, 0.6, 1.3, 0.8])
    assert_one_loop_is_exact(PLAIN, PARAMS, spacetime, training_set, rates, settings)


@pytest.mark.parametrize("method", ["dense", "rows"])
def test_two_reshuffled_epochs_of_a_given_set_are_exact_over_all_576_schedules(method):
    assert_one_loop_is_exact(PLAIN, PARAMS, gn.Spacetime(4, 1, 2, "reshuffle"), "given", 0.5, {}, method)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("training_set", "spacetime"),
    [("given", gn.Spacetime(4, 2, 2, "reshuffle")), ("drawn", gn.Spacetime(2, 1, 2, "reshuffle"))],
)
def test_held_out_loss_with_another_measured_function_and_rates_by_weight_is_exact(training_set, spacetime):
    assert_one_loop_is_exact(HELD_OUT, PARAMS, spacetime, training_set, PER_WEIGHT, HEAVY)


FORMS = [
    ("three_weights", gn.Spacetime(3, 1, 2), "distinct", NESTEROV),
    ("penalized_held_out", gn.Spacetime(8, 2, 2), "drawn", {"weight_decay": 0.2, **HEAVY}),
    ("mlp", gn.Spacetime(4, 2, sampling="subset"), "distinct", {}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "spacetime", "training_set", "settings"), FORMS)
def test_the_dense_form_is_the_mean_over_every_row(name, spacetime, training_set, settings):
    """Matrix recursions against second-order Taylor expansions row by row, in every target, to rounding."""
    case, rate = CASES[name](), lambda step: 0.2 / (1 + step)
    dense, rows = (
        predict_path(*case, spacetime, rate, training_set=training_set, method=method, **settings)
        for method in ("dense", "rows")
    )
    for target in ("test", "train", "gap", "displacement"):
        both = [partial_sums(path, target) for path in (dense, rows)]
        assert_close(both[1], both[0])
    assert_close(rows.samples.slope_square, dense.samples.slope_square)
    assert_close(rows.path_weights, dense.path_weights)


@pytest.mark.slow
def test_weight_decay_is_the_penalty_left_out_of_the_measured_loss():
    decay, spacetime = 0.3, gn.Spacetime(4, 2, 2, "reshuffle")

    def penalized(params, example):
        return regression(params, example) + decay / 2 * (params["a"] @ params["a"] + params["b"] ** 2)

    by_hand = gn.from_arrays(penalized, lambda key: PARAMS, POOL, "by hand", measured=regression)
    one = predict_path(PLAIN, PARAMS, spacetime, 0.4, weight_decay=decay)
    other = predict_path(by_hand, PARAMS, spacetime, 0.4)
    for target in ("test", "train", "gap", "displacement", "variance"):
        assert_close(one.curve(target).value, other.curve(target).value)


def adjoint_coefficient(problem, params, rates):
    """L1 = sum_t (1/2) R_t C_t R_t : Lambda_{t+1} along one epoch, Lambda backwards from the hessian of the test mean.

    Lambda_t = K^T Lambda_{t+1} K - J_t . (R_t lambda_{t+1}), lambda_t = K^T lambda_{t+1}, K = 1 - R_t H_t; `rates` (T, P).
    """
    with jax.enable_x64(True):
        params = _tree.cast(params, jnp.float64)
        start, unflatten = ravel_pytree(params)
        pool = _tree.cast(problem.pool, jnp.float64)
        test = pool if problem.test_pool is None else _tree.cast(problem.test_pool, jnp.float64)
        losses = lambda w: jax.vmap(lambda x: problem.loss(unflatten(w), x))(pool)  # noqa: E731
        tested = lambda w: jax.vmap(lambda x: problem.measured_loss(unflatten(w), x))(test).mean()  # noqa: E731
        mean = lambda w: losses(w).mean()  # noqa: E731
        first, second = jax.jit(jax.grad(mean)), jax.jit(jax.hessian(mean))
        third = jax.jit(jax.jacfwd(jax.hessian(mean)))
        rows = jax.jit(jax.jacfwd(losses))
        path = [start]
        for rate in rates:
            path.append(path[-1] - rate * first(path[-1]))
        slope, bend = np.asarray(jax.grad(tested)(path[-1])), np.asarray(jax.hessian(tested)(path[-1]))
        total = 0.0
        for w, rate in zip(path[-2::-1], rates[::-1], strict=True):
            noise = rate * np.asarray(rows(w))
            total += np.trace(np.cov(noise.T, ddof=0).reshape(bend.shape) @ bend) / 2
            kept = np.eye(len(start)) - rate[:, None] * np.asarray(second(w))
            bend = kept.T @ bend @ kept - np.asarray(third(w)) @ (rate * slope)
            slope = kept.T @ slope
    return total


@pytest.mark.slow
@pytest.mark.parametrize("name", ["three_weights", "held_out"])
def test_one_epoch_backwards_gives_the_same_coefficient(name):
    """The adjoint of loop.md, in numpy, with a rate for each weight: 1e-12."""
    problem, params = (HELD_OUT, PARAMS) if name == "held_out" else CASES[name]()
    rates = PER_WEIGHT if name == "held_out" else np.array([0.2, 0.1, 0.25])
    path = predict_path(problem, params, gn.Spacetime(12, 2), rates)
    backwards = adjoint_coefficient(problem, params, _by_weight(rates, 6))
    np.testing.assert_allclose(path.test_coefficient.value[-1], backwards, rtol=1e-12, atol=1e-14)
