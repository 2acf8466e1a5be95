"""The balance of |x|^2 at equilibrium: its forms, its finite window, its conclusion."""

import math

import numpy as np
import pytest

from gradnoise.stationary.averages import StationaryAverages, stationary_averages
from gradnoise.stationary.equilibrium import equilibrium_identity
from gradnoise.stationary.linear_scaling import critical_batch
from gradnoise.testbeds.scale_invariant_toys import angle_toy_squared_norm

RATE, DECAY = 0.3, 0.1
SIGNAL, NOISE = 0.36, 1.0
FORMS = [
    {"process": "sgd"},
    {"process": "svag", "num_substeps": 4},
    {"process": "sde"},
    {"process": "sde", "num_substeps": 8},
    {"process": "sde", "order": 2},
]


def descent(num_steps, start, signal=SIGNAL, noise=NOISE):
    """R, G, N of a run whose steps are tangential with |g|^2 = (signal + noise)/R, all exact."""
    R = [start]
    for _ in range(num_steps):
        R.append((1 - RATE * DECAY) ** 2 * R[-1] + RATE**2 * (signal + noise) / R[-1])
    R = np.array(R)
    return R, signal / R, noise / R


def around(R, spread, records=2000, seed=0):
    """R, G, N fluctuating around the toy's stationary values: R correlated in time, G and N following it."""
    random, values = np.random.default_rng(seed), [0.0]
    for xi in random.normal(size=records - 1):
        values.append(0.9 * values[-1] + xi * math.sqrt(1 - 0.81))
    series = R * (1 + spread * np.array(values))
    return series, SIGNAL / series, NOISE / series


@pytest.mark.parametrize("window", [(0, 40), (3, 17), (0, 2)])
def test_with_the_drift_both_sides_agree_in_any_window_of_a_transient(window):
    found = equilibrium_identity(*descent(40, 0.5), RATE, DECAY, window)
    assert found.left.value == pytest.approx(found.right.value, rel=1e-12)
    assert found.decay.value + found.drift.value == pytest.approx(found.left.value, rel=1e-14)


def test_without_it_equation_11_is_off_in_a_transient_and_the_conclusion_says_so():
    found = equilibrium_identity(*descent(40, 0.5), RATE, DECAY)
    assert found.decay.value < 0.9 * found.right.value
    assert found.conclusion.startswith("not yet: R still drifts by")
    assert "it grows" in found.conclusion
    assert "it shrinks" in equilibrium_identity(*descent(40, 9.0), RATE, DECAY).conclusion
    late = equilibrium_identity(*descent(400, 0.5), RATE, DECAY, window=(300, 400))
    assert late.decay.value == pytest.approx(late.right.value, rel=1e-6)
    assert late.conclusion == "equilibrium"


@pytest.mark.parametrize("every", [2, 5])
def test_steps_between_records_are_interpolated(every):
    line = 1 + 0.01 * np.arange(41)
    one = equilibrium_identity(line, line, line, RATE, DECAY)
    few = equilibrium_identity(*(line[::every],) * 3, RATE, DECAY, every=every)
    for side in ("left", "right", "decay", "drift"):
        assert getattr(few, side).value == pytest.approx(getattr(one, side).value, rel=1e-12)


def test_what_interpolation_misses_is_of_second_order_in_the_spacing():
    """Euler and Maclaurin: (k^2 - 1)/12 times the change of slope, that is 3 to 24 for k = 2 and 5."""
    errors = []
    for every in (2, 5):
        found = equilibrium_identity(*(x[::every] for x in descent(40, 1.2)), RATE, DECAY, every=every)
        errors.append(found.left.value / found.right.value - 1)
    assert abs(errors[0]) < 1e-3
    assert errors[1] / errors[0] == pytest.approx(8, rel=0.1)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_each_process_balances_at_the_toys_closed_form(form):
    R = angle_toy_squared_norm(RATE, DECAY, **form)
    found = equilibrium_identity(*(np.full(50, x) for x in (R, SIGNAL / R, NOISE / R)), RATE, DECAY, **form)
    assert found.left.value == pytest.approx(found.right.value, rel=1e-12)
    assert found.ratio.estimate.value == pytest.approx(1, rel=1e-12)


def test_one_processs_balance_fails_for_anothers_run():
    """SGD's (11) on SVAG, order 1's (12) on SGD: off by the part of eta G that is missing."""
    for run, told in [(FORMS[1], FORMS[0]), (FORMS[0], FORMS[2]), (FORMS[4], FORMS[2])]:
        R = angle_toy_squared_norm(RATE, DECAY, **run)
        found = equilibrium_identity(*(np.full(50, x) for x in (R, SIGNAL / R, NOISE / R)), RATE, DECAY, **told)
        assert abs(found.ratio.estimate.value - 1) > 0.15


def test_equation_9s_noise_is_that_of_the_sde_not_of_a_batch():
    """Erratum 4: printed with Sigma in place of eta Sigma it contradicts (12), by the factor eta."""
    R = angle_toy_squared_norm(RATE, DECAY, process="sde")
    taken_out, noise = 2 * DECAY * R, NOISE / R
    assert taken_out == pytest.approx(RATE * noise, rel=1e-12)
    assert taken_out / noise == pytest.approx(RATE, rel=1e-12)  # as printed, 1


def test_svag_goes_from_the_one_equation_to_the_other():
    R = np.full(50, 2.0), np.full(50, 0.3), np.full(50, 0.7)
    sides = {
        str(form): equilibrium_identity(*R, RATE, DECAY, **form)
        for form in (
            FORMS[0],
            FORMS[2],
            {"process": "svag", "num_substeps": 1},
            {"process": "svag", "num_substeps": 10**6},
        )
    }
    sgd, sde, first, last = sides.values()
    assert (first.left.value, first.right.value) == (sgd.left.value, sgd.right.value)
    assert last.left.value == pytest.approx(sde.left.value, rel=1e-6)
    assert last.right.value == pytest.approx(sde.right.value, rel=1e-6)


@pytest.mark.parametrize(
    ("squared_norm", "form", "printed"),
    [(6.282, FORMS[0], 0.12262), (4.557, FORMS[1], 0.09059), (4.245, {"process": "svag", "num_substeps": 16}, 0.08478)],
)
def test_left_sides_are_those_printed_for_the_notes_rayleigh_toy(squared_norm, form, printed):
    """eta = 4.8, wd = 0.01, l = 1, 4, 16."""
    constant = np.full(50, squared_norm)
    found = equilibrium_identity(constant, constant, constant, 4.8, 0.01, **form)
    assert found.left.value == pytest.approx(printed, abs=1.5e-5)


def test_a_long_stationary_window_is_called_equilibrium_and_the_ratio_contains_one():
    R = angle_toy_squared_norm(RATE, DECAY, process="sde")
    series = around(R, 0.02)
    found = equilibrium_identity(*series, RATE, DECAY, process="sde")
    assert found.conclusion == "equilibrium"
    assert found.ratio.low < 1.0005 < found.ratio.high + 1e-3  # R (1 + x) and 1/(1 + x) differ in mean by x^2
    assert 0 < found.left.stderr < 0.01 * found.left.value
    assert found.drift_share.stderr < 0.01


def test_a_short_window_cannot_tell():
    R = angle_toy_squared_norm(RATE, DECAY, process="sde")
    brief = equilibrium_identity(*around(R, 0.02, records=60), RATE, DECAY, process="sde")
    assert brief.conclusion.startswith("cannot tell: The window has")
    wild = equilibrium_identity(*around(R, 0.2, records=500), RATE, DECAY, process="sde", tolerance=0.005)
    assert wild.conclusion.startswith("cannot tell: R ")


def test_replicas_share_one_balance():
    runs = [descent(200, start) for start in (0.5, 2.0, 9.0)]
    found = equilibrium_identity(*np.stack(runs, axis=1), RATE, DECAY)
    assert found.left.value == pytest.approx(found.right.value, rel=1e-12)


def test_averages_feed_the_critical_batch_with_their_covariance():
    series = around(2.0, 0.02)
    found = stationary_averages(*series, window=(100, 1900))
    assert found.noise.value == pytest.approx(series[2][100:1901].mean())
    assert found.covariance.shape == (3, 3)
    both = {"covariance": found.covariance[1, 2]}
    careful = critical_batch(found.signal, found.noise, 8, **both)
    careless = critical_batch(found.signal, found.noise, 8)
    assert careful.sharp.stderr < 1e-3 * careless.sharp.stderr  # G/N is constant along this run
    assert StationaryAverages(found.signal, found.signal, found.signal).covariance is None


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"process": "adam"}, "process='adam' is unknown"),
        ({"process": "svag"}, "num_substeps is missing"),
        ({"num_substeps": 4}, "num_substeps=4 came with process='sgd'"),
        ({"order": 2}, "order=2 came with process='sgd'"),
        ({"order": 3, "process": "sde"}, "order=3 is above 2"),
        ({"learning_rate": 0.0}, "learning_rate=0 does not do"),
        ({"weight_decay": 0.0}, "weight_decay=0 does not do"),
        ({"window": (0, 41)}, r"window=\(0, 41\) does not fit the records, made every 1 steps up to 40"),
        ({"window": (10, 11)}, r"window=\(10, 11\) does not fit"),
        ({"window": (1, 8), "every": 2}, r"window=\(1, 8\) does not fit the records, made every 2 steps up to 80"),
        ({"noise": np.ones(7)}, "differ in shape"),
        ({"level": 1.0}, "level=1 is not below 1"),
        ({"tolerance": 0.0}, "tolerance=0 does not do"),
    ],
)
def test_wrong_calls_are_one_sentence(wrong, words):
    R, G, N = descent(40, 0.5)
    given = {"squared_norm": R, "signal": G, "noise": N, "learning_rate": RATE, "weight_decay": DECAY}
    with pytest.raises(ValueError, match=words):
        equilibrium_identity(**(given | wrong))
