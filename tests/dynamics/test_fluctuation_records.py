"""What runs record for fluctuation-dissipation identities is what it says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradnoise as gn
from gradnoise.dynamics.fluctuation_records import DIRECTION_RECORDS, RECORDS, TEST_RECORDS, fluctuation_records
from gradnoise.problem import Problem, from_arrays
from gradnoise.stationary.fluctuation_dissipation import direction_identity, loss_identity, norm_identity
from gradnoise.stationary.force_balance import force_balance

RANDOM = np.random.default_rng(11)
A = (lambda roots: roots @ roots.transpose(0, 2, 1))(RANDOM.normal(size=(5, 3, 3)))
B = RANDOM.normal(size=(5, 3))
POOL = {"A": A, "b": B}
PARAMS = {"free": np.array(0.3), "unit": np.array([1.0, -2.0])}
THETA = np.array([0.3, 1.0, -2.0])
ALPHA, BETA = 0.4, 0.7
ROWS = np.array([[1.0, 2.0, 2.0], [0.0, 0.0, 5.0]])


def loss(params, example):
    w = jnp.concatenate([params["free"][None], params["unit"]])
    return w @ example["A"] @ w / 2 - example["b"] @ w


PROBLEM = from_arrays(loss, lambda key: PARAMS, POOL, test_pool={"A": 2 * A[:2], "b": B[:2]})
SETTINGS = {"weight_decay": ALPHA, "injected_noise": BETA}


def grid(batch_size=2, sampling="with_replacement"):
    return gn.Spacetime(5, batch_size, sampling=sampling, num_steps=1)


def values_of(*records):
    """The records of each kind at PARAMS, in float64, compiled together."""
    with jax.enable_x64(True):
        found = jax.jit(lambda w, x: [{name: f(w, x) for name, f in one.items()} for one in records])(PARAMS, POOL)
        return [{name: float(value) for name, value in one.items()} for one in found]


def definitions(fraction=1.0, beta=BETA, origin=0.0):
    rows = A @ THETA - B
    U, H = rows.mean(axis=0), A.mean(axis=0)
    s, M = U + ALPHA * THETA, fraction * np.cov(rows.T, ddof=0) + beta**2 * np.eye(3)
    HT = 2 * A[:2].mean(axis=0)
    test = HT @ THETA - B[:2].mean(axis=0)
    values = (THETA - origin) @ s, s @ s, np.trace(M), THETA @ U, U @ U, U @ s, np.trace(H @ M), s @ H @ s
    found = dict(zip(RECORDS, values, strict=True))
    found |= dict(zip(TEST_RECORDS, (test @ s, np.trace(HT @ M), s @ HT @ s), strict=True))
    for i, v in enumerate(ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)):
        along = v @ (THETA - origin), v @ s, v @ M @ v
        found |= {f"{name}_{i}": value for name, value in zip(DIRECTION_RECORDS, along, strict=True)}
    return found


def test_exact_records_are_the_definitions():
    origin = {"free": np.array(0.1), "unit": np.array([0.5, 0.2])}
    found = values_of(
        fluctuation_records(PROBLEM, grid(), directions=ROWS, **SETTINGS),
        fluctuation_records(PROBLEM, grid(sampling="subset"), directions=ROWS, weight_decay=ALPHA, origin=origin),
    )
    expected = definitions(), definitions(3 / 4, 0.0, np.array([0.1, 0.5, 0.2]))
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-11)


def test_probes_are_unbiased_and_change_with_the_bits_of_the_weights():
    name = "curvature_noise"
    exact = definitions(3 / 4)
    records = fluctuation_records(PROBLEM, grid(sampling="subset"), num_probes=2, **SETTINGS)
    with jax.enable_x64(True):
        nearby = {"free": PARAMS["free"] + 1e-12 * np.arange(4000), "unit": PARAMS["unit"]}
        draws = np.asarray(jax.jit(jax.vmap(records[name], ({"free": 0, "unit": None}, None)))(nearby, POOL))
    assert abs(draws.mean() - exact[name]) < 4.5 * draws.std() / np.sqrt(4000)
    assert draws.std() > 0.1 * exact[name]


def test_test_records_are_left_out_without_a_pool():
    drawn = Problem(loss, lambda key, n: jax.tree.map(lambda leaf: jnp.asarray(leaf)[:n], POOL), lambda key: PARAMS)
    assert set(fluctuation_records(drawn, grid())) == set(RECORDS)


def quadratic():
    """Two weights of their own curvature, noise of two signs: everything known."""
    return gn.testbeds.quadratic.mean_estimation(hessian=[2.0, 0.5], noise=[1.0, 0.6], theta0=[0.1, 0.1])


def simulated(process, records, num_steps, replicas, key, rate=0.3):
    spacetime = gn.Spacetime(4, 1, sampling="with_replacement", num_steps=num_steps)
    made = records(spacetime)
    runs = gn.simulate(process, np.array([0.1, 0.1]), spacetime, rate, replicas, key, made, training_set="given")
    return runs.observables


@pytest.mark.slow
def test_runs_of_sgd_obey_all_identities_and_the_continuous_forms_fail(getkey):
    problem, window = quadratic(), (200, 3000)
    make = lambda spacetime: fluctuation_records(problem, spacetime, directions=np.eye(2), **SETTINGS)  # noqa: E731
    seen = simulated(gn.sgd(problem, **SETTINGS), make, 3000, 8, getkey())
    given = {"learning_rate": 0.3, "batch_size": 1, "window": window, "level": 0.9999}
    found = [
        norm_identity(seen["position_force"], seen["noise_trace"], seen["force_squared"], **given),
        loss_identity(seen["gradient_force"], seen["curvature_noise"], seen["force_curvature"], **given),
        loss_identity(seen["test_gradient_force"], seen["test_curvature_noise"], seen["test_force_curvature"], **given),
        direction_identity(seen["position_0"], seen["force_0"], seen["noise_0"], **given),
    ]
    for one in found:
        assert one.discrete.conclusion == "agrees"
        assert one.continuous.conclusion.startswith("differs: left is 1.")
    assert force_balance(seen["force_0"], seen["force_1"], window=window, level=0.9999).conclusion == "agrees"


@pytest.mark.slow
def test_runs_with_momentum_obey_the_directions_identity(getkey):
    problem = quadratic()
    make = lambda spacetime: fluctuation_records(problem, spacetime, directions=np.eye(2), **SETTINGS)  # noqa: E731
    seen = simulated(gn.sgd(problem, momentum=0.6, **SETTINGS), make, 3000, 8, getkey(), rate=0.2)
    found = direction_identity(
        *(seen[f"{name}_0"] for name in DIRECTION_RECORDS), 0.2, 1, momentum=0.6, window=(200, 3000), level=0.9999
    )
    assert found.discrete.conclusion == "agrees"


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"problem": 3}, TypeError, "problem is a int"),
        ({"spacetime": 3}, TypeError, "spacetime is int"),
        ({"spacetime": gn.Spacetime(4, 2)}, ValueError, 'sampling="fixed" makes the batches of an epoch depend'),
        ({"training_set": "mine"}, ValueError, "training_set='mine' is unknown"),
        ({"weight_decay": -1.0}, ValueError, "weight_decay=-1 does not do"),
        ({"num_probes": 0}, ValueError, "num_probes=0 is below 1"),
        ({"directions": np.zeros((1, 3))}, ValueError, r"directions has shape \(1, 3\), expected"),
        ({"directions": np.ones(3)}, ValueError, r"directions has shape \(3,\), expected"),
    ],
)
def test_wrong_calls_are_one_sentence(wrong, error, words):
    with pytest.raises(error, match=words):
        fluctuation_records(**({"problem": PROBLEM, "spacetime": grid()} | wrong))
