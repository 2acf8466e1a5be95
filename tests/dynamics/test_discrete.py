"""SGD and gradient descent against a loop in plain numpy that knows PyTorch's rules, and against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradnoise.dynamics.batches import batch_indices
from gradnoise.dynamics.discrete import gradient_descent, sgd
from gradnoise.dynamics.simulate import simulate
from gradnoise.problem import from_arrays
from gradnoise.process import Process
from gradnoise.spacetime import Spacetime

SAMPLINGS = ("fixed", "reshuffle", "subset", "with_replacement")
RULES = [
    {},
    {"weight_decay": 0.3},
    {"momentum": 0.6},
    {"momentum": 0.6, "dampening": 0.4, "weight_decay": 0.1},
    {"momentum": 0.6, "nesterov": True, "weight_decay": 0.1},
]
OBSERVE = {f"w{i}": lambda w, e, i=i: w[i] for i in range(2)}
OBSERVE |= {f"x{n}{i}": lambda w, e, n=n, i=i: e["x"][n, i] for n in range(6) for i in range(2)}
OBSERVE |= {f"y{n}": lambda w, e, n=n: e["y"][n] for n in range(6)}


@pytest.fixture(scope="module")
def regression():
    """Least squares in two weights: the gradient is written by hand below."""
    random = np.random.default_rng(0)
    pool = {"x": random.normal(size=(9, 2)), "y": random.normal(size=9)}
    return from_arrays(lambda w, e: (e["x"] @ w - e["y"]) ** 2 / 2, lambda key: jnp.zeros(2), pool)


def by_hand(x, y, rows, learning_rate, momentum=0.0, nesterov=False, dampening=0.0, weight_decay=0.0):
    """torch.optim.SGD, from its documentation, on the mean loss of each step's rows."""
    theta, buffer, path = np.array([0.5, -1.0]), None, []
    for row in rows:
        path.append(theta)
        gradient = x[row].T @ (x[row] @ theta - y[row]) / len(row) + weight_decay * theta
        if momentum:
            buffer = gradient if buffer is None else momentum * buffer + (1 - dampening) * gradient
            gradient = gradient + momentum * buffer if nesterov else buffer
        theta = theta - learning_rate * gradient
    return np.array([*path, theta])


def recorded(process, spacetime, learning_rate, key, training_set="drawn"):
    """The third replica's training set, as its observables show it, and its path."""
    size, start = spacetime.num_examples, np.array([0.5, -1.0])
    runs = simulate(process, start, spacetime, learning_rate, 3, key, OBSERVE, 1, training_set, dtype="float64")
    seen = {name: values[2] for name, values in runs.observables.items()}
    x = np.array([[seen[f"x{n}{i}"][0] for i in range(2)] for n in range(size)])
    return x, np.array([seen[f"y{n}"][0] for n in range(size)]), np.stack([seen["w0"], seen["w1"]], axis=1)


def rows_of_replica_two(spacetime, key):
    return np.asarray(batch_indices(spacetime, jax.random.fold_in(jax.random.split(key, 4)[1], 2)))


@pytest.mark.parametrize(("sampling", "rule"), zip((*SAMPLINGS, "fixed"), RULES, strict=True))
def test_sgd_equals_a_numpy_loop_of_pytorchs_rules_for_each_sampling(regression, sampling, rule):
    spacetime, key = Spacetime(6, 2, 2, sampling), jax.random.key(4)
    x, y, path = recorded(sgd(regression, **rule), spacetime, 0.1, key)
    np.testing.assert_allclose(path, by_hand(x, y, rows_of_replica_two(spacetime, key), 0.1, **rule), atol=1e-13)


@pytest.mark.parametrize("rule", RULES[3:])
def test_gradient_descent_uses_the_whole_training_set_each_step(regression, rule):
    spacetime = Spacetime(6, 2, 2)
    x, y, path = recorded(gradient_descent(regression, **rule), spacetime, 0.1, jax.random.key(5))
    np.testing.assert_allclose(path, by_hand(x, y, [np.arange(6)] * 6, 0.1, **rule), atol=1e-13)


def test_injected_noise_adds_eta_squared_over_b_beta_squared_a_step():
    flat = from_arrays(
        lambda w, e: e * jnp.sum(w), lambda key: jnp.zeros(2), np.zeros(1)
    )  # no gradient, no other noise
    spacetime, rate, beta, count = Spacetime(12, 4, 2), 0.5, 3.0, 20_000
    observe = {"square": lambda w, e: w[0] ** 2, "product": lambda w, e: w[0] * w[1]}
    for process in (sgd(flat, injected_noise=beta), gradient_descent(flat, injected_noise=beta)):
        runs = simulate(process, np.zeros(2), spacetime, rate, count, jax.random.key(0), observe, every=6)
        square, product = runs.mean("square")[-1], runs.mean("product")[-1]
        assert abs(square.value - 6 * rate**2 * beta**2 / 4) < 4.5 * square.stderr
        assert abs(product.value) < 4.5 * product.stderr


def test_a_process_is_equal_to_its_twin_so_that_both_share_compiled_functions(regression):
    assert sgd(regression, momentum=0.5) == sgd(regression, momentum=0.5)
    assert sgd(regression, momentum=0.5) != sgd(regression, momentum=0.4)
    assert isinstance(hash(sgd(regression)), int)
    assert isinstance(gradient_descent(regression), Process)


@pytest.mark.parametrize("make", [sgd, gradient_descent])
@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"momentum": 1.0}, ValueError, "momentum=1 is not below 1"),
        ({"momentum": -0.1}, ValueError, "momentum=-0.1"),
        ({"momentum": "0.9"}, TypeError, "momentum='0.9'"),
        ({"nesterov": True}, ValueError, "nesterov=True"),
        ({"nesterov": True, "momentum": 0.5, "dampening": 0.5}, ValueError, "nesterov=True"),
        ({"nesterov": 1, "momentum": 0.5}, TypeError, "nesterov=1"),
        ({"dampening": 0.5}, ValueError, "dampening=0.5"),
        ({"momentum": 0.5, "dampening": 1.5}, ValueError, "dampening=1.5"),
        ({"weight_decay": -1}, ValueError, "weight_decay=-1"),
        ({"weight_decay": float("nan")}, ValueError, "weight_decay"),
        ({"injected_noise": float("inf")}, ValueError, "injected_noise"),
        ({"problem": "digits"}, TypeError, "problem"),
    ],
)
def test_wrong_arguments_are_named(regression, make, arguments, error, words):
    with pytest.raises(error, match=words):
        make(**{"problem": regression, **arguments})
