"""Signal, noise and their ratio: values, errors, intervals."""

import importlib.util
import math
from itertools import product
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brute_force import covariance, fixed_draws, gradient_rows, linear_problem
from cases import CASES
from gradnoise import Problem
from gradnoise.measure.noise_interval import QUANTITIES, noise_scale_interval
from gradnoise.measure.noise_scale import noise_scale, noise_scale_from_gradients

KEY = jax.random.key(0)


def _from_draws(rows: np.ndarray, batch_size: int = 1):
    return noise_scale(fixed_draws(rows), np.zeros(rows.shape[1]), batch_size, len(rows), KEY)


def _corrected(rows: np.ndarray) -> tuple[float, float]:
    trace = np.trace(covariance(rows, 1))
    return float(rows.mean(axis=0) @ rows.mean(axis=0) - trace / len(rows)), float(trace)


@pytest.mark.parametrize("name", ["one_weight", "three_weights", "penalized_held_out"])
def test_on_a_pool_the_values_are_exact(name):
    problem, params = CASES[name]()
    rows = gradient_rows(problem, params)
    signal, trace = np.square(rows.mean(axis=0)).sum(), np.trace(covariance(rows))
    scale = noise_scale(problem, params, batch_size=4)
    np.testing.assert_allclose(scale.gradient_norm_squared.value, signal)
    np.testing.assert_allclose(scale.noise_trace.value, trace)
    np.testing.assert_allclose(scale.simple_noise_scale.value, trace / signal)
    np.testing.assert_allclose(scale.noise_to_signal.value, trace / signal / 4)
    diversity = np.square(rows).sum() / np.square(rows.sum(axis=0)).sum()
    np.testing.assert_allclose(scale.gradient_diversity.value, diversity)
    assert [field.stderr for field in scale[:5]] == [0] * 5
    assert scale.note == "The pool is taken as the population: the values are exact."
    assert noise_scale_interval(scale) == (scale.simple_noise_scale.value,) * 2


def test_groups_are_the_leaves_and_add_up():
    problem, params = CASES["mlp"]()
    rows = gradient_rows(problem, params)
    for scale in (noise_scale(problem, params), noise_scale(problem, params, 2, 50, KEY)):
        assert sum(g.noise_trace.value for g in scale.groups.values()) == pytest.approx(scale.noise_trace.value)
        signals = sum(g.gradient_norm_squared.value for g in scale.groups.values())
        assert signals == pytest.approx(scale.gradient_norm_squared.value)
    groups, start = noise_scale(problem, params).groups, 0
    for part, leaf in zip(groups.values(), jax.tree.leaves(params), strict=True):
        place = slice(start, start := start + np.size(leaf))
        np.testing.assert_allclose(part.noise_trace.value, np.trace(covariance(rows[:, place])))
        np.testing.assert_allclose(part.gradient_norm_squared.value, np.square(rows[:, place].mean(axis=0)).sum())


def test_a_pool_at_its_minimum_has_an_infinite_ratio():
    scale = noise_scale(linear_problem([[1.0], [-1.0]]), np.zeros(1))
    assert scale.simple_noise_scale.value == scale.noise_to_signal.value == math.inf
    assert "the mean gradient is zero" in scale.note
    assert noise_scale_interval(scale) == (math.inf, math.inf)


def test_parts_are_unbiased_over_all_samples_of_a_small_pool():
    pool = np.array([[1.0, 0.5], [-2.0, 0.0], [0.25, 3.0]])
    samples = [_from_draws(pool[list(draw)]) for draw in product(range(3), repeat=4)]
    signal, trace = np.square(pool.mean(axis=0)).sum(), np.trace(covariance(pool))
    np.testing.assert_allclose(np.mean([s.gradient_norm_squared.value for s in samples]), signal)
    np.testing.assert_allclose(np.mean([s.noise_trace.value for s in samples]), trace)
    naive = np.mean([np.square(pool[list(draw)].mean(axis=0)).sum() for draw in product(range(3), repeat=4)])
    np.testing.assert_allclose(naive, signal + trace / 4)  # what is left out without the correction


@settings(max_examples=4, deadline=None)
@given(st.integers(3, 30), st.integers(1, 5), st.floats(0.01, 100))
def test_errors_are_the_delete_one_jackknife(count, size, factor):
    rows = factor * (np.random.default_rng(count * size).normal(size=(count, size)) + 2.0)
    scale = _from_draws(rows, 3)
    values = np.array([_corrected(np.delete(rows, i, axis=0)) for i in range(count)])
    values = np.column_stack([values, values[:, 1] / values[:, 0]])
    errors = np.sqrt((count - 1) ** 2 / count * values.var(axis=0, ddof=1))
    found = scale.gradient_norm_squared, scale.noise_trace, scale.simple_noise_scale
    np.testing.assert_allclose([f.value for f in found[:2]], _corrected(rows), rtol=1e-9)
    np.testing.assert_allclose([f.stderr for f in found], errors, rtol=1e-6)
    np.testing.assert_allclose(scale.noise_to_signal.stderr, errors[2] / 3, rtol=1e-6)
    ours = noise_scale_from_gradients(rows)
    np.testing.assert_allclose([ours.value, ours.stderr], [found[2].value, found[2].stderr], rtol=1e-9)


def test_negative_estimates_are_kept_and_explained():
    scale = _from_draws(np.tile([[1.0], [-1.0], [2.0], [-2.0]], (10, 1)))
    assert scale.gradient_norm_squared.value == pytest.approx(-100 / 39 / 40)
    assert scale.simple_noise_scale.value == math.inf
    assert math.isnan(scale.simple_noise_scale.stderr)
    assert "40 draws cannot tell G from zero" in scale.note
    low, high = noise_scale_interval(scale)
    assert 0 < low < math.inf
    assert high == math.inf


def test_two_draws_give_values_without_errors():
    scale = _from_draws(np.array([[1.0], [3.0]]))
    assert scale.simple_noise_scale.value == pytest.approx(2 / 3)
    assert all(math.isnan(field.stderr) for field in scale[:5])
    with pytest.raises(ValueError, match="num_draws=2, expected at least 3"):
        noise_scale_interval(scale)


@pytest.mark.parametrize("rows", [np.ones((5, 2)), np.tile([0.1, 0.7], (1001, 1)), np.zeros((5, 2))])
def test_draws_that_coincide_show_no_noise_and_bound_nothing(rows):
    scale = _from_draws(rows)
    signal = np.square(rows[0]).sum()
    assert [float(field.value) for field in scale[:2]] == pytest.approx([signal, 0])
    assert all(math.isnan(field.stderr) for field in scale[:5])
    assert scale.note.startswith(f"All {len(rows)} draws have the same gradient")
    for quantity in QUANTITIES:
        low = 1 / scale.num_examples if quantity == "gradient_diversity" else 0.0
        assert noise_scale_interval(scale, quantity) == (low, math.inf)


def test_a_pool_of_equal_gradients_is_exact():
    scale = noise_scale(linear_problem(np.ones((5, 2))), np.zeros(2))
    assert noise_scale_interval(scale, "noise_trace") == (0, 0)
    assert scale.note == "The pool is taken as the population: the values are exact."


def test_draws_of_one_distance_from_their_mean_do_not_bound_the_trace():
    scale = _from_draws(np.tile([[1.0], [-1.0]], (10, 1)))
    assert scale.noise_trace.value == pytest.approx(20 / 19)
    assert noise_scale_interval(scale, "noise_trace") == (0, math.inf)
    assert noise_scale_interval(scale)[1] == math.inf


def test_a_pool_of_one_example_is_all_signal():
    problem = linear_problem([[1.0, 2.0]])
    scale = noise_scale(problem, np.zeros(2))
    assert [field.value for field in scale[:5]] == [5, 0, 0, 0, 1]
    assert [field.stderr for field in scale[:5]] == [0] * 5
    assert noise_scale_interval(scale, "gradient_norm_squared") == (5, 5)
    with pytest.raises(ValueError, match="at least 2 examples, and the pool holds 1"):
        noise_scale(problem, np.zeros(2), method="unbiased")


def test_the_pools_own_examples_are_a_sample_for_the_unbiased_method():
    rows = np.random.default_rng(0).normal(size=(30, 4)) + 0.5
    own, drawn = noise_scale(linear_problem(rows), np.zeros(4), 8, method="unbiased"), _from_draws(rows, 8)
    np.testing.assert_allclose([(f.value, f.stderr) for f in own[:5]], [(f.value, f.stderr) for f in drawn[:5]])
    for quantity in QUANTITIES:
        np.testing.assert_allclose(noise_scale_interval(own, quantity), noise_scale_interval(drawn, quantity))
    assert own.note == drawn.note
    assert all(part.sampling.drawn for part in own.groups.values())


def test_methods_that_are_the_default_change_nothing():
    problem, params = CASES["two_weights"]()
    for method, draws in (("population", ()), ("unbiased", (20, KEY))):
        plain, named = noise_scale(problem, params, 2, *draws), noise_scale(problem, params, 2, *draws, method=method)
        assert [f.value for f in plain[:5]] == [f.value for f in named[:5]]
        assert plain.sampling.drawn is named.sampling.drawn is bool(draws)


@pytest.fixture(scope="module")
def typical():
    rows = np.random.default_rng(0).normal(size=(300, 4)) + 0.5
    return _from_draws(rows, 8)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_intervals_contain_the_estimate_and_grow_with_the_level(typical, quantity):
    value = getattr(typical, quantity).value
    narrow, wide = (noise_scale_interval(typical, quantity, level) for level in (0.5, 0.95))
    assert wide[0] < narrow[0] < value < narrow[1] < wide[1] < math.inf


def test_the_interval_of_the_ratio_is_unbounded_exactly_when_that_of_the_signal_reaches_zero():
    rows = np.random.default_rng(0).normal(size=(300, 4)) + 0.1
    scale = _from_draws(rows)
    unbounded = [noise_scale_interval(scale, level=level)[1] == math.inf for level in (0.5, 0.9, 0.99, 0.9999)]
    zero = [noise_scale_interval(scale, "gradient_norm_squared", level)[0] == 0 for level in (0.5, 0.9, 0.99, 0.9999)]
    assert unbounded == zero
    assert unbounded[0] is False
    assert unbounded[-1] is True


def test_far_from_the_minimum_the_interval_is_value_plus_minus_errors(typical):
    signal = typical.gradient_norm_squared
    low, high = noise_scale_interval(typical, "gradient_norm_squared", 0.6827)
    np.testing.assert_allclose([low, high], [signal.value - signal.stderr, signal.value + signal.stderr], rtol=0.05)


def test_intervals_scale_with_the_loss(typical):
    rows = 10 * (np.random.default_rng(0).normal(size=(300, 4)) + 0.5)
    scaled = _from_draws(rows, 8)
    for quantity in QUANTITIES:
        power = 2 if quantity in ("gradient_norm_squared", "noise_trace") else 0
        expected = np.array(noise_scale_interval(typical, quantity)) * 10**power
        np.testing.assert_allclose(noise_scale_interval(scaled, quantity), expected, rtol=1e-9)


def test_the_variance_behind_the_interval_is_exact_for_the_u_statistic():
    """Var |G|^2 = slope |G|^2 + floor, with the population's G and D, against simulation."""
    random, mean, scales, count = np.random.default_rng(1), np.array([0.3, 0.0]), np.array([1.0, 2.0]), 12
    rows = mean + scales * random.normal(size=(40_000, count, 2))
    values = np.square(rows.mean(axis=1)).sum(axis=1) - rows.var(axis=1, ddof=1).sum(axis=1) / count
    expected = 4 * (mean**2 @ scales**2) / count + 2 * (scales**4).sum() / (count * (count - 1))
    error = np.square(values - values.mean()).std() / np.sqrt(len(values))
    assert abs(values.var() - expected) < 4 * error
    many = mean + scales * random.normal(size=(4000, 2))
    sampling = _from_draws(many).sampling
    floor = 2 * (scales**4).sum() / (4000 * 3999)
    assert sampling.signal_floor == pytest.approx(floor, rel=0.1)
    assert sampling.signal_slope * (mean @ mean) == pytest.approx(4 * (mean**2 @ scales**2) / 4000, rel=0.2)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"batch_size": 0}, ValueError, "batch_size=0 is below 1"),
        ({"batch_size": True}, TypeError, "batch_size=True is not an integer"),
        ({"num_draws": 1, "key": KEY}, ValueError, "num_draws=1 is below 2"),
        ({"num_draws": 10}, TypeError, "key=None is not one random key"),
        ({"key": KEY}, ValueError, "key has no meaning without num_draws: noise_scale then uses"),
        ({"key": KEY, "method": "unbiased"}, ValueError, "key has no meaning without num_draws"),
        ({"method": "exact"}, ValueError, "method='exact' is unknown"),
        ({"method": "population", "num_draws": 4, "key": KEY}, ValueError, 'num_draws=4 has no meaning for method="po'),
        ({"params": np.array([1, 2, 3])}, TypeError, "params has dtype int64, expected a floating array"),
    ],
)
def test_wrong_calls_are_one_sentence(wrong, error, words):
    arguments = {"problem": linear_problem(np.eye(3)), "params": np.zeros(3)} | wrong
    with pytest.raises(error, match=words):
        noise_scale(**arguments)


def test_without_a_pool_draws_are_asked_for():
    problem = Problem(lambda w, x: w @ x, lambda key, n: np.ones((n, 3)), lambda key: np.zeros(3))
    with pytest.raises(ValueError, match="num_draws is missing: noise_scale averages"):
        noise_scale(problem, np.zeros(3))


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        (np.ones((1, 3)), ValueError, "has 1 row, expected at least 2"),
        (np.ones(3), ValueError, r"shape \(3,\), expected \(n, P\)"),
        (np.array([[1.0], [np.nan]]), ValueError, "per_example_grads holds NaN"),
    ],
)
def test_wrong_gradients_are_one_sentence(wrong, error, words):
    with pytest.raises(error, match=words):
        noise_scale_from_gradients(wrong)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"quantity": "noise"}, ValueError, "quantity='noise' is unknown"),
        ({"level": 1.0}, ValueError, "level=1 is not below 1"),
        ({"level": -0.5}, ValueError, "level=-0.5 does not do. Give one finite number above 0 and below 1"),
        ({"scale": 3.0}, TypeError, "scale is a float, expected what noise_scale returns"),
    ],
)
def test_wrong_interval_calls_are_one_sentence(typical, arguments, error, words):
    with pytest.raises(error, match=words):
        noise_scale_interval(**({"scale": typical} | arguments))


@pytest.mark.slow
def test_intervals_cover_as_often_as_they_say():
    """1000 repetitions of every case of docs/coverage.md at 1000 draws: between 92% and 97%."""
    path = Path(__file__).parents[2] / "examples" / "coverage_study.py"
    spec = importlib.util.spec_from_file_location("coverage_study", path)
    assert spec is not None
    assert spec.loader is not None
    study = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(study)
    rows = [*study.noise_scale_coverage(1000, 1000), *study.critical_batch_coverage(1000)]
    assert [row for row in rows if not 0.92 <= row.covered <= 0.97] == []
