"""Noise in a diagonal metric: the identity changes nothing, and any other is the weighted sum over coordinates."""

import jax
import numpy as np
import pytest

from cases import CASES
from gradnoise.measure.gradients import example_gradients
from gradnoise.measure.metric import noise_scale_in_metric
from gradnoise.measure.noise_scale import noise_scale


@pytest.fixture
def case():
    return CASES["logistic"]()


def test_the_identity_metric_changes_nothing(case):
    ones = jax.tree.map(lambda leaf: np.ones(np.shape(leaf)), case.params)
    found = noise_scale_in_metric(case.problem, case.params, ones, method="unbiased")
    plain = noise_scale(case.problem, case.params, method="unbiased")
    for name in ("gradient_norm_squared", "noise_trace", "simple_noise_scale"):
        assert getattr(found, name).value == pytest.approx(getattr(plain, name).value, rel=1e-12)
        assert getattr(found, name).stderr == pytest.approx(getattr(plain, name).stderr, rel=1e-9, nan_ok=True)


def test_a_metric_weighs_each_coordinate(case, rng):
    """G^T M G and tr(M D), from the rows of per-example gradients."""
    metric = jax.tree.map(lambda leaf: rng.uniform(0.1, 10, np.shape(leaf)), case.params)
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(metric)])
    rows = np.concatenate(list(example_gradients(case.problem, case.params).chunks()))
    found = noise_scale_in_metric(case.problem, case.params, metric)
    assert found.gradient_norm_squared.value == pytest.approx(flat @ rows.mean(0) ** 2, rel=1e-10)
    assert found.noise_trace.value == pytest.approx(flat @ rows.var(0), rel=1e-10)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_a_metric_that_is_not_positive_is_refused(case, bad):
    metric = jax.tree.map(lambda leaf: np.full(np.shape(leaf), bad), case.params)
    with pytest.raises(ValueError, match=r"metric .* not positive and"):
        noise_scale_in_metric(case.problem, case.params, metric)


def test_a_metric_of_another_structure_is_refused(case):
    with pytest.raises(ValueError, match="metric has another structure"):
        noise_scale_in_metric(case.problem, case.params, {"other": 1.0})
