"""optax's transformations as processes: SGD is SGD, Adam is Adam."""

import jax
import numpy as np
import optax
import pytest

import gradnoise as gn
from gradnoise.dynamics.optimizer import optimizer
from gradnoise.dynamics.train import train_state

POOL = np.array([[1.0, 2.0], [-1.0, 0.5], [3.0, -2.0]])
GRID = gn.Spacetime(3, 1, epochs=4, sampling="reshuffle")


@pytest.fixture(scope="module")
def problem():
    return gn.from_arrays(lambda w, x: ((w - x) ** 4).sum() / 4, lambda key: np.zeros(2), POOL)


def weights_of(process, rate, key):
    observe = {f"w{k}": lambda w, e, k=k: w[k] for k in range(2)}
    runs = gn.simulate(process, np.zeros(2), GRID, rate, 20, key, observe, dtype="float64")
    return np.stack([runs.observables[name] for name in observe])


def test_the_identity_is_plain_sgd_with_its_weight_decay_and_schedule(problem, getkey):
    key, rate = getkey(), lambda step: 0.02 / (1 + step)
    ours = weights_of(gn.sgd(problem, weight_decay=0.1), rate, key)
    np.testing.assert_allclose(weights_of(optimizer(problem, optax.identity(), 0.1), rate, key), ours, rtol=1e-13)


def test_adam_has_the_formulas_of_the_paper(problem):
    """m and v by hand, full batches of three equal examples so that the gradient is known."""
    same = gn.from_arrays(problem.loss, problem.init, np.repeat(POOL[:1], 3, axis=0))
    process = optimizer(same, optax.scale_by_adam(), name="adam")
    state = train_state(process, np.zeros(2, np.float32), 50, 3, 0.1, jax.random.key(0))
    w, m, v = np.zeros(2), np.zeros(2), np.zeros(2)
    for t in range(1, 51):
        g = (w - POOL[0]) ** 3
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w = w - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(process.params(state), w, rtol=1e-4)
    np.testing.assert_allclose(state.inner.nu, v, rtol=1e-4)


@pytest.mark.parametrize("bad", [0.1, optax.adam, None])
def test_what_is_no_transformation_is_refused(problem, bad):
    with pytest.raises(TypeError, match="transformation is"):
        optimizer(problem, bad)
