"""The two parts of the SDE's error: those of the closed hierarchies, and exact ones where there is no noise."""

import jax
import numpy as np
import pytest
from scipy import stats
from scipy.linalg import expm

import gradnoise as gn
from experiment.synthetic_runs import GRID, as_simulation
from gradnoise.experiment.error_decomposition import ErrorDecomposition, Parts, _parts, decompose_error
from gradnoise.testbeds import linear_gradients
from gradnoise.testbeds.linear_errors import decomposition
from gradnoise.testbeds.linear_gradients import LinearRun, noisy_gd_moments, sde_moments

PROBLEM = linear_gradients()


def made_up(rng, offsets=(0.0, 1.0, 3.0), num_replicas=400):
    processes = (gn.sgd(PROBLEM), gn.noisy_gd(PROBLEM), gn.sde(PROBLEM, 4))
    noise = rng.normal(size=(3, num_replicas, 5))
    return [as_simulation(process, z + shift) for process, z, shift in zip(processes, noise, offsets, strict=True)]


def test_the_parts_add_up_replica_by_replica_and_the_scheme_is_extrapolated(rng):
    runs = made_up(rng)
    stochastic, noisy, diffusion = (simulation.observables["test_loss"] for simulation in runs)
    parts = _parts(runs, "test_loss", num_substeps=4)
    np.testing.assert_allclose(parts.total.value, parts.discretization.value + parts.non_gaussian.value, rtol=1e-12)
    np.testing.assert_allclose(parts.discretization.value, 4 / 3 * (diffusion - noisy).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(parts.non_gaussian.stderr, (noisy - stochastic).std(axis=0, ddof=1) / 20, rtol=1e-12)


def test_what_replicas_share_does_not_enter_the_errors(rng):
    runs, shared = made_up(rng), 100 * rng.normal(size=(400, 1))
    joined = [as_simulation(run.process, run.observables["test_loss"] + shared) for run in runs]
    for alone, together in zip(_parts(runs, "test_loss", 4), _parts(joined, "test_loss", 4), strict=True):
        np.testing.assert_allclose(alone.stderr, together.stderr, rtol=1e-9)


def test_intervals_are_students_at_each_step(rng):
    parts = _parts(made_up(rng, num_replicas=10), "test_loss", 4)
    low, high = parts.intervals(0.9)["discretization"]
    reach = stats.t.isf(0.05, 9) * parts.discretization.stderr
    np.testing.assert_allclose([low, high], [parts.discretization.value - reach, parts.discretization.value + reach])
    with pytest.raises(ValueError, match="level=1 is not below 1"):
        parts.intervals(1.0)


def test_the_sentence_says_what_is_not_told_from_zero():
    estimates = [gn.Estimate(np.array([0.0, value]), np.array([0.0, 0.1]), 50) for value in (2.0, 0.15, 2.15)]
    said = ErrorDecomposition({"test_loss": Parts(*estimates)}, np.array([0, 7]), 50, 16).sentence("test_loss")
    assert said == (
        "test_loss of the SDE less that of SGD at step 7: small steps 2 +- 0.1, Gaussian noise 0.15 +- 0.1 (not told from "
        "zero), in all 2.15 +- 0.1."
    )


def test_the_extrapolation_leaves_an_error_of_order_eta_squared_where_the_scheme_has_one_of_order_eta():
    """At fixed time and m = 16: halved rates halve one and quarter the other."""
    plain, left = [], []
    for rate, steps in ((0.01, 400), (0.005, 800)):
        run = LinearRun(rate, steps)
        noisy, scheme, exact = (
            moments[-1, 1:] for moments in (noisy_gd_moments(run), sde_moments(run, 16), sde_moments(run))
        )
        plain.append(scheme - exact)
        left.append(16 / 15 * (scheme - noisy) - (exact - noisy))
    np.testing.assert_allclose(plain[0] / plain[1], 2, rtol=0.1)
    np.testing.assert_allclose(left[0] / left[1], 4, rtol=0.1)
    assert np.all(np.abs(left[1]) < 0.1 * np.abs(plain[1]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_substeps": 1}, "num_substeps=1 is below 2"),
        ({"num_replicas": 2}, "num_replicas=2 is below 8"),
        ({"training_set": "givn"}, "Did you mean 'given'"),
        ({"momentum": 1.0}, "momentum=1"),
    ],
)
def test_wrong_input_is_answered_with_one_sentence(change, words, getkey):
    call = {"num_replicas": 10, "key": getkey()} | change
    with pytest.raises(ValueError, match=words):
        decompose_error(PROBLEM, np.float32(1), GRID, 0.1, **call)


def power(p):
    return lambda x, examples: x**p


@pytest.mark.slow
def test_on_linear_gradients_runs_have_the_exact_parts(getkey):
    """A5's numbers; the extrapolated scheme's own error at m = 32, at most 3.5e-4, is a sixth of an error bar or less."""
    observe = {str(p): power(p) for p in (1, 2, 3, 4)}
    grid = gn.Spacetime(4, 1, sampling="with_replacement", num_steps=10)
    found = decompose_error(
        PROBLEM, np.array(1.5), grid, 0.4, num_replicas=100_000, key=getkey(), observe=observe, num_substeps=32,
        training_set="population", every=5, dtype="float64",
    )  # fmt: skip
    run = LinearRun(0.4, 10)
    exact = decomposition(run)
    scheme = 32 / 31 * (sde_moments(run, 32) - noisy_gd_moments(run))
    for p in (1, 2, 3, 4):
        parts = found.parts[str(p)]
        print(found.sentence(str(p)))
        for part, theory in (
            (parts.discretization, exact.discretization),
            (parts.discretization, scheme),
            (parts.non_gaussian, exact.non_gaussian),
            (parts.total, exact.discretization + exact.non_gaussian),
        ):
            z = (part.value - theory[::5, p])[1:] / part.stderr[1:]
            assert np.abs(z).max() < 4.5, (p, z)
    assert abs(found.parts["4"].non_gaussian.value[-1]) > 4.5 * found.parts["4"].non_gaussian.stderr[-1]


@pytest.mark.slow
def test_without_noise_the_noise_part_is_zero_and_the_rest_is_flow_less_descent_with_momentum_too(getkey):
    h, mu, eta, steps = 0.9, 0.5, 0.2, 6
    problem = gn.from_arrays(lambda x, e: h * x**2 / 2 + 0 * e, lambda key: np.array(1.0), np.zeros(4), "one curvature")
    grid = gn.Spacetime(4, 4, epochs=steps)
    found = decompose_error(
        problem, np.array(1.0), grid, eta, num_replicas=8, key=getkey(), observe={"x": power(1)}, num_substeps=400,
        training_set="given", momentum=mu, dtype="float64", every=steps,
    ).parts["x"]  # fmt: skip
    np.testing.assert_allclose(found.non_gaussian.value, 0, atol=1e-14)
    flow = expm(np.array([[-eta * h, -eta * mu], [h, mu - 1]]) * steps)[0, 0]
    x, v = 1.0, 0.0
    for _ in range(steps):
        v = mu * v + h * x
        x -= eta * v
    assert found.discretization.value[-1] == pytest.approx(flow - x, rel=0.01)


@pytest.mark.slow
def test_every_record_of_a_network_is_decomposed_and_starts_at_zero(getkey):
    problem = gn.testbeds.digits_logistic(60)
    params = problem.init(jax.random.key(0))
    grid = gn.Spacetime(20, 4, sampling="subset", num_steps=6)
    found = decompose_error(problem, params, grid, 0.3, num_replicas=200, key=getkey(), num_substeps=4, every=3)
    assert set(found.parts) >= {"test_loss", "train_loss", "gap"}
    for name in ("test_loss", "train_loss", "gap"):
        np.testing.assert_array_equal(found.parts[name].total.value[0], 0)
        assert np.all(found.parts[name].total.stderr[1:] > 0)
