"""The path as a control variate of a simulation: what each replica carries, its exact mean, no bias, smaller errors."""

from dataclasses import replace
from functools import cache
from itertools import permutations, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradnoise as gn
from cases import CASES
from gradnoise.dynamics.controls import Controls, adjust
from gradnoise.estimate import Estimate, from_samples
from gradnoise.experiment.path_controls import with_companions

pytestmark = pytest.mark.slow  # compiling takes minutes in all

TARGETS = {"test_loss": "test", "train_loss": "train", "gap": "gap"}


def halving(step):
    return 0.3 / (1 + step)


RUNS = {
    "fixed, drawn": ("logistic", gn.Spacetime(6, 2, 2), {}, {}, 0.3),
    "reshuffled, held out": (
        "penalized_held_out", gn.Spacetime(4, 2, 2, "reshuffle"),
        {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1}, {}, 0.1,
    ),
    "subset, distinct": (
        "mlp", gn.Spacetime(4, 2, 2, "subset"), {"momentum": 0.5, "dampening": 0.2}, {"training_set": "distinct"}, halving,
    ),
    "reshuffled, given": ("penalized_held_out", gn.Spacetime(6, 2, 2, "reshuffle"), {}, {"training_set": "given"}, 0.3),
    "with replacement": ("logistic", gn.Spacetime(4, 2, 2, "with_replacement"), {}, {}, 0.3),
    "population": ("logistic", gn.Spacetime(4, 2, 2), {"momentum": 0.5}, {"training_set": "population"}, 0.2),
}  # fmt: skip


@cache
def case_of(name):
    """Made once, so that tests share compiled code."""
    return CASES[name]()


def run_of(name, num_replicas, key, problem=None, every=1, **options):
    case, spacetime, optimizer, chosen, rate = RUNS[name]
    case = case_of(case)
    process = gn.sgd(problem or case.problem, **optimizer)
    options = {"dtype": "float64", "every": every, **chosen, **options}
    return gn.simulate(process, case.params, spacetime, rate, num_replicas, key, **options)


def scaled(problem, strength):
    """The problem (without a test pool) whose examples deviate from the pool's mean `strength` times as much."""

    def of(function):
        def value(params, example):
            mean = jnp.mean(jax.vmap(function, (None, 0))(params, problem.pool))
            return mean + strength * (function(params, example) - mean)

        return value

    measured = problem.measured and of(problem.measured)
    return replace(problem, loss=of(problem.loss), measured=measured, metrics=None)


@pytest.fixture(scope="module")
def carried(request):
    """name -> 4000 runs with controls, made once; the numbers of a replica depend on the key and its number alone."""
    key = jax.random.key(request.config.getoption("--seed"))
    return cache(lambda name: (run_of(name, 4000, key, every=2, variance_reduction="path"), key))


@pytest.mark.parametrize("name", ["fixed, drawn", "subset, distinct"])
def test_each_replica_carries_the_derivatives_of_its_losses_in_the_noise(carried, name):
    """Central differences in the noise's strength, under the same draws: error h^2 f^(4) / 24 and rounding 1e-16 / h^2."""
    (runs, key), h = carried(name), 2e-3
    case, spacetime, optimizer, chosen, rate = RUNS[name]
    case = case_of(case)
    path = gn.predict_path(case.problem, case.params, spacetime, rate, **optimizer, **chosen)
    low, high = (run_of(name, 5, key, scaled(case.problem, strength), every=2) for strength in (-h, h))
    middle = {"test_loss": path.path_test, "train_loss": path.path_pool, "gap": path.path_test - path.path_pool}
    for observable in ("test_loss", "train_loss", "gap"):
        less, more = (each.observables[observable] for each in (low, high))
        first, second = np.moveaxis(runs.controls[observable].samples[:5], -1, 0)
        np.testing.assert_allclose(first, (more - less) / (2 * h), atol=2e-4)
        np.testing.assert_allclose(second, (more + less - 2 * middle[observable][runs.steps]) / (2 * h**2), atol=2e-4)
        assert np.abs(second[:, -1]).max() > 2e-3


@pytest.mark.parametrize("name", RUNS)
def test_the_mean_of_the_controls_is_the_dense_one_loop_prediction(carried, name):
    runs, _ = carried(name)
    for observable, (samples, mean) in runs.controls.items():
        own = from_samples(samples)
        assert np.all(np.abs(own.value - mean.value) < 4.5 * own.stderr + 1e-12), observable
        assert np.all(mean.stderr == 0)


def test_for_mean_estimation_the_controls_are_the_loss_itself(getkey):
    """Quadratic, one hessian for all: the second order is the last one, so nothing is left to average."""
    problem = gn.from_arrays(lambda w, x: jnp.sum((w - x) ** 2) / 2, lambda key: np.zeros(2), np.eye(3, 2))
    process, spacetime = gn.sgd(problem, momentum=0.5, nesterov=True), gn.Spacetime(6, 2, 2, "reshuffle")
    rates = np.array([0.1, 0.4])
    runs = gn.simulate(process, np.ones(2), spacetime, rates, 50, getkey(), dtype="float64", variance_reduction="path")
    path = gn.predict_path(problem, np.ones(2), spacetime, rates, 0.5, nesterov=True).path_loss.value
    for name, base in (("test_loss", path), ("train_loss", path), ("gap", 0.0)):
        np.testing.assert_allclose(runs.observables[name], base + runs.controls[name].samples.sum(-1), atol=1e-12)
        np.testing.assert_allclose(runs.mean(name).stderr, 0, atol=1e-12)


def every_outcome(loss, pool, start, rate, size, epochs):
    """Final test and train loss of every training set and every pair of orders, equally likely; batches of one."""
    gradient = jax.grad(loss)

    def one(rows, order):
        w = start
        for place in order:
            w = w - rate * gradient(w, jnp.asarray(pool)[rows[place]])
        losses = jax.vmap(loss, (None, 0))(w, pool)
        return losses.mean(), losses[rows].mean()

    with jax.enable_x64(True):
        sets = jnp.array(list(product(range(len(pool)), repeat=size)))
        orders = jnp.array([sum(o, ()) for o in product(permutations(range(size)), repeat=epochs)])
        return [np.asarray(each) for each in jax.vmap(jax.vmap(one, (None, 0)), (0, None))(sets, orders)]


@pytest.fixture(scope="module")
def strong_noise(request):
    """Runs on three examples whose noise is far outside the expansion, exact means over all outcomes, one-loop curve."""
    pool, start, rate = np.array([-1.0, 0.3, 2.0]), np.float64(0.5), 0.4
    problem = gn.from_arrays(lambda w, x: jnp.log(jnp.cosh(2 * (w - x))), lambda key: start, pool)
    spacetime, key = gn.Spacetime(2, 1, 2, "reshuffle"), jax.random.key(request.config.getoption("--seed"))
    path = gn.predict_path(problem, start, spacetime, rate)
    options = {"every": 4, "dtype": "float64", "variance_reduction": path}
    runs = gn.simulate(gn.sgd(problem), start, spacetime, rate, 40_000, key, **options)
    test, train = (losses.mean() for losses in every_outcome(problem.loss, pool, start, rate, 2, 2))
    return runs, {"test_loss": test, "train_loss": train, "gap": test - train}, path.curve("test")


def test_the_adjusted_mean_is_that_of_all_outcomes_however_strong_the_noise(strong_noise):
    """One loop is wrong by more than a fifth of itself, 20 standard errors and more; the adjusted mean is not."""
    runs, exact, curve = strong_noise
    for name, value in exact.items():
        found, plain = runs.mean(name), from_samples(runs.observables[name])
        assert abs(found.value[-1] - value) < 4.5 * found.stderr[-1], name
        assert found.stderr[-1] < plain.stderr[-1], name
    assert curve.partial_sums is not None
    wrong, loop = abs(curve.value[-1] - exact["test_loss"]), np.diff(curve.partial_sums.value[-1])
    assert wrong > max(0.2 * abs(loop), 20 * runs.mean("test_loss").stderr[-1])


@pytest.mark.parametrize("num_replicas", [10, 20])
def test_the_fit_on_the_other_half_leaves_no_bias_at_few_replicas(strong_noise, num_replicas):
    """The mean of many small simulations against all outcomes: fitting c on the same runs is biased by O(1/replicas)."""
    runs, exact, _ = strong_noise
    for name, value in exact.items():
        controls, losses = runs.controls[name], runs.observables[name]
        groups = [slice(k, k + num_replicas) for k in range(0, len(losses), num_replicas)]
        adjusted = [adjust(losses[own], Controls(controls.samples[own], controls.mean))[0] for own in groups]
        found = from_samples(np.array([each[:, -1].mean() for each in adjusted]))
        assert abs(found.value - value) < 4.5 * found.stderr, name


def test_the_losses_themselves_and_other_observables_stay_as_they_are(getkey):
    key, observe = getkey(), {"first": lambda w, e: e["x"][0, 0], "norm": lambda w, e: jnp.sum(w.bias**2)}
    plain, reduced = (run_of("fixed, drawn", 30, key, observe=observe, variance_reduction=v) for v in (None, "path"))
    assert set(plain.observables) == set(reduced.observables)
    for name, values in plain.observables.items():
        np.testing.assert_allclose(reduced.observables[name], values, rtol=1e-10, atol=1e-12)
    assert reduced.process == plain.process
    assert reduced.mean("norm").stderr[-1] == pytest.approx(plain.mean("norm").stderr[-1])
    assert reduced.mean("test_loss").stderr[-1] < plain.mean("test_loss").stderr[-1] / 2


def test_one_prediction_serves_other_batch_sizes_and_comparisons_and_results_take_the_smaller_error(getkey):
    case = case_of("logistic")
    path = gn.predict_path(case.problem, case.params, gn.Spacetime(6, 2), 0.3)
    for batch_size in (2, 8):
        spacetime = gn.Spacetime(3 * batch_size, batch_size)
        runs = gn.simulate(
            gn.sgd(case.problem), case.params, spacetime, 0.3, 200, getkey(), dtype="float64", variance_reduction=path
        )
        found = gn.compare(path.curve("test", batch_size), runs)
        assert found.stderr[-1, 1] == runs.mean("test_loss").stderr[-1]
        assert found.verdict in ("agrees", "truncation")
        kept = gn.to_results(runs)["loss_se"].sel(target="test").values.ravel()
        np.testing.assert_array_equal(kept, runs.mean("test_loss").stderr)
        controls = gn.control_variates(case.problem, case.params)
        records = gn.simulate(gn.sgd(case.problem), case.params, spacetime, 0.3, 200, getkey(), controls)
        with pytest.raises(ValueError, match="controls came with a simulation"):
            gn.compare(path.curve("test", batch_size), runs, controls=records)


def test_the_error_of_a_prediction_by_probes_is_added(getkey):
    case, key = case_of("logistic"), getkey()
    spacetime, options = gn.Spacetime(6, 2), {"dtype": "float64", "every": 3}
    probes = gn.predict_path(case.problem, case.params, spacetime, 0.3, method="probes", num_probes=200, key=getkey())
    by_probes, by_matrices = (
        gn.simulate(gn.sgd(case.problem), case.params, spacetime, 0.3, 1000, key, variance_reduction=v, **options)
        for v in (probes, "path")
    )
    error = probes.curve("test").stderr[-1]
    known, estimated = (runs.mean("test_loss") for runs in (by_matrices, by_probes))
    plain = from_samples(by_probes.observables["test_loss"])
    assert known.stderr[-1] < estimated.stderr[-1] < min(plain.stderr[-1], 1.01 * np.hypot(known.stderr[-1], error))
    assert abs(known.value[-1] - estimated.value[-1]) < 4.5 * estimated.stderr[-1]


def test_equal_processes_with_companions_are_one_so_that_a_sweep_compiles_once():
    problem = case_of("logistic").problem
    assert with_companions(gn.sgd(problem, momentum=0.5)) is with_companions(gn.sgd(problem, momentum=0.5))


def test_controls_of_rounding_alone_do_nothing():
    runs = np.random.default_rng(0).normal(size=(100, 1))
    samples = 1e-14 * np.random.default_rng(1).normal(size=(100, 1, 2))
    adjusted, _ = adjust(runs, Controls(samples, Estimate(np.zeros((1, 2)), np.zeros((1, 2)), 1)))
    np.testing.assert_array_equal(adjusted, runs)


def bad_call(**changes):
    case = case_of("logistic")
    options = {"process": gn.sgd(case.problem), "params": case.params, "spacetime": gn.Spacetime(6, 2), **changes}
    options = {
        "learning_rate": 0.3,
        "num_replicas": 30,
        "key": jax.random.key(0),
        "variance_reduction": "path",
        **options,
    }
    return gn.simulate(**options)


def path_of(learning_rate=0.3, params=None, spacetime=None, **options):
    case = case_of("logistic")
    params = case.params if params is None else params
    return gn.predict_path(case.problem, params, spacetime or gn.Spacetime(6, 2), learning_rate, **options)


def no_pool():
    return gn.sgd(gn.Problem(lambda w, x: jnp.sum(w.bias - x) ** 2, jax.random.normal, lambda key: 0.0))


BAD_CALLS = [
    (lambda p: {"process": gn.gradient_descent(p)}, ValueError, "gradient_descent, expected sgd"),
    (lambda p: {"process": gn.sgd(p, injected_noise=0.1)}, ValueError, "injected_noise, expected sgd"),
    (lambda p: {"process": no_pool()}, ValueError, 'variance_reduction="path" needs a finite pool'),
    (lambda p: {"process": 3}, TypeError, "process is int"),
    (lambda p: {"observe": 3}, TypeError, "observe is int"),
    (lambda p: {"variance_reduction": "paths"}, ValueError, "variance_reduction"),
    (lambda p: {"variance_reduction": path_of(0.2)}, ValueError, "learning_rate differs"),
    (lambda p: {"variance_reduction": path_of(momentum=0.5)}, ValueError, "momentum differs"),
    (lambda p: {"variance_reduction": path_of(training_set="distinct")}, ValueError, "training_set differs"),
    (lambda p: {"variance_reduction": path_of(spacetime=gn.Spacetime(4, 2))}, ValueError, "columns an epoch|spacetime"),
    (lambda p: {"variance_reduction": path_of(params=p.init(jax.random.key(5)))}, ValueError, "starts at a test loss"),
    (lambda p: {"learning_rate": 1e6}, ValueError, "path of gradient descent itself diverges"),
]


@pytest.mark.parametrize(("change", "error", "words"), BAD_CALLS)
def test_what_has_no_path_to_follow_is_refused(change, error, words):
    with pytest.raises(error, match=words):
        bad_call(**change(case_of("logistic").problem))


def test_more_weights_than_the_dense_form_takes_ask_for_a_prediction_by_probes():
    problem = gn.testbeds.problem("digits-mlp", num_pool=20)
    params = problem.init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"2410 x 2410.*at most 1000 weights.*probes"):
        bad_call(process=gn.sgd(problem), params=params)


def test_a_prediction_with_another_mean_is_found_out_by_the_runs():
    path = path_of()
    wrong = replace(path, samples=replace(path.samples, test=path.samples.test * 3))
    with pytest.raises(ValueError, match="not that of the runs"):
        bad_call(variance_reduction=wrong, num_replicas=2000)


@pytest.mark.slow
def test_errors_on_digits_are_2_to_7_times_below_those_with_the_first_order_alone(getkey):
    """Softmax regression on 256 digits, rate .5, 100 steps of B; against a plain simulation of 16 times as many runs."""
    problem = gn.testbeds.problem("digits-logistic", num_pool=256)
    params = problem.init(jax.random.key(0))
    path = gn.predict_path(problem, params, gn.Spacetime(1000, 10), 0.5)
    for batch_size, gain in ((10, 1.8), (40, 3.0), (160, 5.0)):
        spacetime, process = gn.Spacetime(100 * batch_size, batch_size), gn.sgd(problem)
        runs = gn.simulate(process, params, spacetime, 0.5, 300, getkey(), every=100, variance_reduction=path)
        plain = gn.simulate(process, params, spacetime, 0.5, 4800, getkey(), every=100)
        for name, (samples, mean) in runs.controls.items():
            first = Controls(samples[..., :1], mean[:, :1])
            linear = from_samples(adjust(runs.observables[name], first)[0]).stderr[-1]
            found, long = runs.mean(name), plain.mean(name)
            assert found.stderr[-1] < linear / gain
            assert abs(found.value[-1] - long.value[-1]) < 4.5 * np.hypot(found.stderr[-1], long.stderr[-1])
