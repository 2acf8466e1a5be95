"""Which runs are equivalent, how long they take, what momentum does to the temperature."""

import numpy as np
import pytest

from gradnoise.averaging import (
    equivalent_steps,
    fit_gap,
    momentum_excess,
    momentum_temperature,
    scaled_epochs,
)


def test_epochs_are_those_of_the_experiments():
    """V: N(2e-4) = 300, N(1e-4) = 375, N(5e-5) = 525, N = 1200 from 2e-4/13 downwards. Not proportional to 1/T."""
    epochs = [scaled_epochs(T) for T in (1e-2, 2e-4, 1e-4, 5e-5, 2e-4 / 13, 1e-6)]
    assert epochs == pytest.approx([300, 300, 375, 525, 1200, 1200])


def test_two_e_to_the_minus_four_as_printed_would_train_every_run_longest():
    """Erratum 22: "2e^-4" is 2e-4. As 2 exp(-4) = 0.037 all temperatures of the experiments would take 1200 epochs."""
    misread = 2 * np.exp(-4)
    temperatures = np.geomspace(1e-5, 2e-3, 9)
    assert {scaled_epochs(T, reference=misread) for T in temperatures} == {1200.0}
    assert len({scaled_epochs(T) for T in temperatures}) > 3


def test_runs_of_equal_time_and_temperature_differ_by_the_order_of_the_learning_rate():
    """A weight in a quadratic from 1, exactly: E theta^2 at T equal and n1 lambda1 = n2 lambda2 = 2."""

    def second_moment(rate, temperature, steps):
        contraction = (1 - rate) ** 2
        return contraction**steps + rate * temperature * (1 - contraction**steps) / (1 - contraction)

    temperature, differences = 0.2, []
    for batch_size in (80, 40):
        rate = temperature * batch_size / 1000
        steps = 2 / rate
        more = equivalent_steps(steps, temperature, batch_size, new_batch_size=batch_size // 10)
        assert more == pytest.approx(10 * steps)
        fine = second_moment(rate / 10, temperature, more)
        differences.append(second_moment(rate, temperature, steps) - fine)
    assert 0 < abs(differences[0]) < 0.01
    assert differences[0] / differences[1] == pytest.approx(2, rel=0.05)


def test_at_another_temperature_the_time_is_kept_too():
    """T1 (B1 n1) = T2 (B2 n2)."""
    steps = equivalent_steps(1000, 1e-3, 100, new_temperature=4e-3, new_batch_size=50)
    assert steps * 4e-3 * 50 == pytest.approx(1000 * 1e-3 * 100)


def test_momentum_divides_one_minus_itself_out_of_the_temperature_up_to_the_curvatures_share():
    """Var theta of the recursion, by its Lyapunov equation, over T D/(2 h (1 - mu)): momentum_excess, exactly."""
    from scipy import linalg

    D, B = 0.7, 4
    for rate, h, mu in ((0.1, 1.3, 0.9), (0.1, 1.3, 0.0), (1.5, 2.0, 0.6), (1e-4, 1.0, 0.5)):
        step = np.array([[1 - rate * h, -rate * mu], [h, mu]])
        noise = np.outer([-rate, 1.0], [-rate, 1.0]) * D / B
        variance = linalg.solve_discrete_lyapunov(step, noise)[0, 0]
        leading = momentum_temperature(rate / B, mu) * D / (2 * h)
        assert variance == pytest.approx(leading * momentum_excess(rate, h, mu), rel=1e-8)


def test_what_collapse_in_temperature_fails_by_is_of_first_order_in_rate_times_curvature():
    """V: 0.06969 of the recursion over 0.06731 of the leading order."""
    assert momentum_excess(0.1, 1.3, 0.9) == pytest.approx(0.06969 / 0.06731, abs=1e-4)
    for mu in (0.0, 0.9):
        assert momentum_excess(1e-5, 1.0, mu) - 1 == pytest.approx(1e-5 / (2 * (1 + mu)), rel=1e-4)


def test_momentum_with_velocity_in_units_of_weights_descends_gradient_and_decay_together(rng):
    """Erratum 22: (45) reads "-lambda g + - lambda alpha theta"; with both minus signs it is the recursion of PyTorch."""
    rate, mu, alpha = 0.1, 0.9, 0.05
    gradients = rng.normal(size=20)

    def path(sign):
        theta, velocity = 1.0, 0.0
        for g in gradients:
            velocity = mu * velocity - rate * g + sign * rate * alpha * theta
            theta += velocity
        return theta

    theta, buffer = 1.0, 0.0
    for g in gradients:
        buffer = mu * buffer + g + alpha * theta
        theta -= rate * buffer
    assert path(-1) == pytest.approx(theta, rel=1e-12)
    assert abs(path(+1) - theta) > 0.01


def test_a_fit_in_units_of_ten_thousandths_gives_a_and_c_divided_by_ten_thousand():
    """Erratum 21, caption of figure 1: with T' = 1e4 T the fitted a' and c' are 1e4 a and 1e4 c, b the same."""
    T = np.geomspace(1e-5, 1e-3, 12)
    gap = (2e-6 / T + 0.3) * np.exp(-T / 4e-4)
    raw, scaled = fit_gap(T, gap, num_resamples=100), fit_gap(1e4 * T, gap, num_resamples=100)
    assert raw.a.value == pytest.approx(scaled.a.value / 1e4, rel=1e-4)
    assert raw.c.value == pytest.approx(scaled.c.value / 1e4, rel=1e-4)
    assert raw.b.value == pytest.approx(scaled.b.value, rel=1e-4)
    assert raw.c.value == pytest.approx(4e-4, rel=1e-3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: scaled_epochs(0.0), "temperature=0 does not do"),
        (lambda: scaled_epochs(1e-4, most=0.5), "most=0.5 does not do"),
        (lambda: equivalent_steps(10, 1e-3, 0), "batch_size=0 is below 1"),
        (lambda: momentum_temperature(1e-3, 1.0), "momentum=1 is not below 1"),
        (lambda: momentum_excess(3.0, 1.0, 0.0), "below 2"),
    ],
)
def test_wrong_calls_are_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()
