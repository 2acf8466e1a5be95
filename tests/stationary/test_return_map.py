"""Closed orbits and spirals: example 19 of Chaudhari and Soatto without noise, and the orbits of its current."""

import math

import numpy as np
import pytest

from gradnoise.stationary.return_map import circular_period, return_map
from gradnoise.testbeds import rotating_double_well as well


def test_the_noiseless_drift_of_example_19_has_no_limit_cycle_but_a_slow_spiral():
    """Erratum 33: printed, stable limit cycles at rotation 1.5. r'/r - 1 = -.0016, ..., -.719 (V), negative everywhere."""
    digits = {0.05: -0.0016, 0.1: -0.0066, 0.4: -0.109, 0.8: -0.354, 1.2: -0.539, 2.0: -0.719}
    found = return_map(lambda x: well.drift(x, 1.5), [*digits])
    for change, (radius, printed) in zip(found.change, digits.items(), strict=True):
        assert change == pytest.approx(printed, abs=1.01 * 10 ** -(3 + (radius < 0.4)) / 2)
    everywhere = return_map(lambda x: well.drift(x, 1.5), np.geomspace(0.02, 6, 10))
    assert (everywhere.change < 0).all()
    assert (np.diff(everywhere.returned) > 0).all()  # paths do not cross


def test_near_the_origin_the_spiral_is_of_third_order_a_weak_focus():
    """The linear part is a centre: the change is c r^2, one focal value, and the period that of the eigenvalue 1.64609i."""
    found = return_map(lambda x: well.drift(x, 1.5), [0.02, 0.04])
    assert found.change[1] / found.change[0] == pytest.approx(4, rel=0.01)
    assert found.period[0] == pytest.approx(2 * math.pi / 1.64609, rel=1e-3)
    assert found.period[0] == pytest.approx(2 * math.pi / math.sqrt(1.5**2 * math.exp(0.5) - 1), rel=1e-3)


@pytest.mark.parametrize("rotation", [0.5, 0.7])
def test_below_the_threshold_paths_end_in_the_wells_and_do_not_return(rotation):
    found = return_map(lambda x: well.drift(x, rotation), [0.1, 1.0, 2.0], longest=60.0)
    assert np.isnan(found.returned).all()
    assert np.isnan(found.change).all()


@pytest.mark.parametrize("rotation", [0.5, 1.5])
def test_orbits_of_the_circulating_force_close_in_the_period_of_quadrature(rotation):
    """dx/dt = j: circles, angular speed rotation exp(Phi - r^4/4), closing to 1e-7 (V)."""
    radii = [0.3, 1.0, 1.7]
    found = return_map(lambda x: well.circulating_force(x, rotation), radii, longest=500.0)
    np.testing.assert_allclose(found.change, 0, atol=1e-7)
    periods = [circular_period(lambda x: well.angular_speed(x, rotation), radius) for radius in radii]
    np.testing.assert_allclose(found.period, periods, rtol=1e-7)


def test_without_rotation_nothing_goes_round():
    with pytest.raises(ValueError, match="does not cross the ray"):
        return_map(lambda x: well.drift(x, 0.0), [0.5])
    assert circular_period(lambda x: well.angular_speed(x, 0.0), 1.0) == math.inf


@pytest.mark.parametrize("turn", [1.0, -1.0])
def test_a_stable_limit_cycle_is_found_where_there_is_one(turn):
    """dr/dt = r (1 - r^2), dphi/dt = turn: 1/r^2 - 1 decays as e^(-2t), by closed form in both senses of rotation."""

    def field(x):
        away = np.asarray(x) - [0.5, -1.0]
        return away * (1 - away @ away) + turn * np.array([-away[1], away[0]])

    radii = np.array([0.2, 1.0, 3.0])
    found = return_map(field, radii, centre=(0.5, -1.0))
    exact = (1 + (radii**-2 - 1) * math.exp(-4 * math.pi)) ** -0.5
    np.testing.assert_allclose(found.returned, exact, rtol=1e-8)
    np.testing.assert_allclose(found.period, 2 * math.pi, rtol=1e-8)
    assert np.sign(found.change.round(9)).tolist() == [1, 0, -1]


def test_wrong_arguments_are_told():
    for radii in ([-1.0], [math.nan], [[1.0]]):
        with pytest.raises(ValueError, match="Give finite distances above 0"):
            return_map(lambda x: x, radii)
    with pytest.raises(ValueError, match=r"field\(x\) has shape \(3,\)"):
        return_map(lambda x: np.ones(3), [1.0])
    with pytest.raises(ValueError, match="changes sign"):
        circular_period(lambda x: x[0], 1.0)
    with pytest.raises(ValueError, match="radius=0"):
        circular_period(lambda x: x[0], 0.0)
