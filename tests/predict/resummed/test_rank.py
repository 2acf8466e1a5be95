"""Few directions of many: values of all, propagators of the most curved, and a bound on what that changes."""

import jax
import numpy as np
import pytest

import gradnoise as gn
from gradnoise.predict.resummed import predict_resummed
from gradnoise.predict.resummed.curve import domain_sentence
from gradnoise.predict.resummed.spectrum import leading_curvatures

SPACETIMES = {"fixed": gn.Spacetime(12, 3, 10), "reshuffle": gn.Spacetime(12, 3, 10, "reshuffle")}


@pytest.fixture(scope="module")
def problem():
    """A quadratic in 20 weights with curvatures that fall and noise of its own; its minimum is 0."""
    rng = np.random.default_rng(0)
    x, push = rng.standard_normal((40, 20)) * 0.8 ** np.arange(20), rng.standard_normal((40, 20)) / 5
    loss = lambda w, e: (e["x"] @ w) ** 2 / 2 + e["push"] @ w  # noqa: E731
    return gn.from_arrays(loss, lambda key: np.zeros(20), {"x": x, "push": push - push.mean(axis=0)})


@pytest.mark.parametrize("name", ["reshuffle", pytest.param("fixed", marks=pytest.mark.slow)])
def test_the_curve_is_within_its_bound_of_the_complete_one_and_the_bound_falls(problem, name):
    minimum = np.zeros(20)
    target = {"fixed": "test", "reshuffle": "train"}[name]
    whole = predict_resummed(problem, minimum, SPACETIMES[name], 0.1, target)
    bounds = []
    for rank in (2, 9, 20):
        part = predict_resummed(problem, minimum, SPACETIMES[name], 0.1, target, rank=rank)
        assert np.all(np.abs(part.value - whole.value) <= part.truncation_error + 1e-13)
        bounds.append(part.truncation_error[-1])
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] == 0
    assert np.all(whole.truncation_error == 0)


def test_away_from_the_minimum_it_sums_the_diagrams_without_third_derivatives(problem):
    start = np.full(20, 0.3)
    spacetime = gn.Spacetime(10, 10, 30)
    part = predict_resummed(problem, start, spacetime, 0.1, rank=20)
    assert [str(diagram) for diagram in part.diagrams] == ["(0-1)(01)", "(0-1-2)(02-12)", "(01-2)(02-12)"]
    few = predict_resummed(problem, start, spacetime, 0.1, rank=8)
    assert np.all(np.abs(part.value - few.value) <= few.truncation_error + 1e-13)
    assert (
        few.domain
        == f"{part.domain.replace('20', '8')}; 12 more directions were taken as flat, which holds for as "
        + ("long as truncation_error is small")
    )


def test_lanczos_finds_the_largest_curvatures_of_either_sign(problem):
    bent = gn.from_arrays(
        lambda w, x: (x @ w) ** 2 / 2 - 3 * w[-1] ** 2 / 2, lambda key: np.zeros(20), problem.pool["x"]
    )
    dense = np.linalg.eigvalsh(problem.pool["x"].T @ problem.pool["x"] / 40 - np.diag([*np.zeros(19), 3.0]))
    values, vectors = leading_curvatures(bent, np.zeros(20), 3)
    np.testing.assert_allclose(values, dense[np.argsort(-np.abs(dense))[:3]], rtol=1e-9)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=1e-12)


def test_negative_curvature_is_named_and_used():
    saddle = gn.from_arrays(
        lambda w, x: w[0] ** 2 / 2 - w[1] ** 2 / 4 + x @ w, lambda key: np.zeros(2), np.eye(2) - 0.5
    )
    curve = predict_resummed(saddle, np.zeros(2), gn.Spacetime(50, 1), 0.1)
    assert curve.negative_eigenvalues == pytest.approx([-0.5])
    assert "1 of 2 curvatures is negative" in curve.domain
    assert curve.value[-1] < 3 * curve.value[25] < 0
    for mass, steepest in ((0.0, 20.5), (0.5, 30.5)):
        assert "SGD diverges" in domain_sentence([1.0, steepest], 0.1, mass)
        assert "converges" in domain_sentence([1.0, steepest - 1], 0.1, mass)


@pytest.mark.slow
def test_a_hundred_thousand_weights_need_nothing_square():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((30, 100_000)) / np.sqrt(100_000) * np.geomspace(3, 0.003, 30)[:, None]
    problem = gn.from_arrays(lambda w, e: (e @ w) ** 2 / 2 + 0.3 * e @ w, lambda key: np.zeros(100_000), x)
    with jax.enable_x64(True):
        curve = predict_resummed(problem, np.zeros(100_000), gn.Spacetime(30, 3, 5), 0.1, rank=12)
    assert np.all(np.isfinite(curve.value))
    assert curve.truncation_error[-1] < 0.1 * abs(curve.value[-1] - curve.value[0])
