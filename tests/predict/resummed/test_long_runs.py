"""Runs of many relaxation times: what is left falls with the learning rate as the power says, where the series is lost."""

import jax
import numpy as np
import pytest

import gradnoise as gn
from gradnoise.diagrams import Diagram
from gradnoise.predict.path.landscape import landscape
from gradnoise.predict.resummed import predict_resummed
from gradnoise.predict.resummed.derivatives import DerivativeTensors
from gradnoise.predict.resummed.embedding_sum import embedding_sum
from gradnoise.predict.resummed.propagator import propagator
from gradnoise.predict.resummed.skewness import COMPANION, STAR, skewness
from predict.resummed.exact_one_weight import mean_gap, mean_losses, operator

BEND = 0.4
SKEWED = np.array([-0.5, -0.5, 1.0])
"""Mean 0, variance 1/2, third moment 1/4."""


def exact(rate, steps, noise=SKEWED):
    return mean_losses(one_step(rate, noise), lambda w: w**2 / 2 + BEND / 6 * w**3, steps)


def one_step(rate, noise=SKEWED):
    return operator(lambda w: w + BEND / 2 * w**2 + noise[:, None], 0.0, 2.0, rate)


def exact_gap(rate, num_steps):
    losses = lambda w: w**2 / 2 + BEND / 6 * w**3 + SKEWED[:, None] * w  # noqa: E731
    return mean_gap(one_step(rate), losses, num_steps)


def cubic_loss(w, x):
    return w[0] ** 2 / 2 + BEND / 6 * w[0] ** 3 + x * w[0]


CUBIC = gn.from_arrays(cubic_loss, lambda key: np.zeros(1), SKEWED)


def test_after_excess_power_one_the_error_falls_as_the_square_of_the_rate():
    """At 2 and at 6 relaxation times alike."""
    off = []
    for rate in (0.04, 0.02, 0.01):
        steps = [round(2 / rate), round(6 / rate)]
        curve = predict_resummed(CUBIC, np.zeros(1), gn.Spacetime(steps[1], 1), rate)
        off.append((curve.value[steps] - exact(rate, steps)) / rate**2)
    np.testing.assert_allclose(off[1], off[2], rtol=0.02)
    np.testing.assert_allclose(off[0], off[2], rtol=0.05)


@pytest.mark.slow
def test_after_excess_power_two_the_error_falls_as_the_cube_of_the_rate():
    off = []
    for rate in (0.04, 0.02, 0.01):
        steps = [round(2 / rate), round(6 / rate)]
        curve = predict_resummed(CUBIC, np.zeros(1), gn.Spacetime(steps[1], 1), rate, excess_power=2)
        assert len(curve.diagrams) == 29
        off.append((curve.value[steps] - exact(rate, steps)) / rate**3)
    np.testing.assert_allclose(off[1], off[2], rtol=0.05)
    np.testing.assert_allclose(off[0], off[2], rtol=0.15)


@pytest.mark.parametrize(("power", "tolerance"), [(1, 0.05), pytest.param(2, 0.1, marks=pytest.mark.slow)])
def test_the_error_of_the_gap_falls_with_the_same_powers(power, tolerance):
    """Two relaxation times, N = T: the factor 1/N counts as one power of the rate."""
    off = []
    for rate in (0.04, 0.02, 0.01):
        steps = round(2 / rate)
        curve = predict_resummed(CUBIC, np.zeros(1), gn.Spacetime(steps, 1), rate, "gap", excess_power=power)
        off.append((curve.value[-1] - exact_gap(rate, steps)) / rate ** (power + 1))
    np.testing.assert_allclose(off[:2], off[2], rtol=3 * tolerance)
    np.testing.assert_allclose(off[1], off[2], rtol=tolerance)


def test_excess_power_two_is_right_where_one_is_not():
    """Forty steps of a large rate: the same statement in a second."""
    off = [
        predict_resummed(CUBIC, np.zeros(1), gn.Spacetime(40, 1), 0.05, excess_power=power).value[-1]
        - exact(0.05, [40])[0]
        for power in (1, 2)
    ]
    assert abs(off[1]) < 0.1 * abs(off[0])


def test_skewness_has_its_second_diagram_and_the_star_alone_the_wrong_sign():
    """Mirrored noise leaves what is odd in it, 2 S J eta^2/(36 h) in the long run: +, and not the star's -1/18."""
    rate = 0.01
    odd = np.diff([exact(rate, [3000], sign * SKEWED)[0] for sign in (-1, 1)])[0] / 2
    third, bend, one = np.full((1, 1, 1), 0.25), np.full((1, 1, 1), BEND), np.ones(1)
    assert odd == pytest.approx(skewness(third, bend, one, rate), rel=0.02)
    assert skewness(third, bend, one, 1e-5) == pytest.approx(0.25 * BEND * 1e-10 / 36, rel=1e-4)
    assert odd == pytest.approx(0.25 * BEND * rate**2 / 36, rel=0.02)
    assert odd - -(rate**2) * 0.25 * BEND / 18 > 2 * odd  # the star alone is printed in later versions of the theory


@pytest.mark.parametrize("num_steps", [1, 2, 5, 12])
def test_the_closed_form_of_skewness_is_the_sum_over_embeddings_of_its_two_diagrams(num_steps):
    """Two weights; C and S and J are contracted in any basis, the eigenbasis here."""
    loss = lambda w, x: w @ w / 2 + w[0] ** 2 / 2 + (w[0] + w[1]) ** 3 / 6 + x @ w  # noqa: E731
    pool = np.array([[1.0, 0.5], [1.0, -2.0], [-2.0, 1.5]])
    problem, point = gn.from_arrays(loss, lambda key: np.zeros(2), pool), np.zeros(2)
    with jax.enable_x64(True):
        tensors = DerivativeTensors(landscape(problem, point, 3), point, pool)
        edge = propagator(tensors.mean(2), 0.2)
    two = [
        embedding_sum(
            diagram, gn.Spacetime(2 * num_steps, 2), edge, tensors, tensors.root(len(diagram.children(diagram.root)))
        )
        for diagram in map(Diagram.parse, (STAR, COMPANION))
    ]
    third = np.einsum("xa,xb,xc->abc", pool, pool, pool) / 3
    closed = skewness(third, np.ones((2, 2, 2)), np.array([2.0, 1.0]), 0.2, num_steps, batch_size=2)
    assert (two[0] + two[1])[-1] == pytest.approx(closed, rel=1e-12)


def test_a_skewness_that_has_no_limit_is_refused():
    one = np.ones((1, 1, 1))
    with pytest.raises(ValueError, match="num_steps"):
        skewness(one, one, np.array([-0.1]), 0.1)
